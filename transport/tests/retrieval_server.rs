//! The retrieval server over real sockets: what it answers, and what it bounds.
#![allow(clippy::unwrap_used)]

mod retrieval_support;

use std::time::Duration;

use peerdist_protocol::content::BlockRanges;
use peerdist_protocol::retrieval::{
    Answer, Exchange, MAX_REQUEST_SIZE, PATH, ProtocolVersion, RequestId, VersionRange, blk_head, empty_blk,
};
use peerdist_transport::retrieval::server::ServerLimits;
use retrieval_support::{FOREVER, Memory, Raw, Running, SHORT, get_block, id, post, tail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

async fn ask(raw: &mut Raw, exchange: &Exchange) -> Answer {
    raw.send(&post(&exchange.body())).await;
    let message = raw.receive().await.unwrap();
    assert_eq!(message.status(), 200);
    exchange.accept(&message.body).unwrap()
}

mod answers {
    use super::*;

    #[tokio::test]
    async fn a_block_goes_out_byte_for_byte() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        raw.send(&post(&get_block(1, 1).body())).await;
        let message = raw.receive().await.unwrap();
        // Known clients need the reason phrase, and nothing after the length's digits.
        assert_eq!(message.lines, ["HTTP/1.1 200 OK", "Content-Length: 65644"]);
        let tail = tail(1, 65_552);
        assert_eq!(message.body, [&blk_head(&id(1), 1, 3, &tail), &tail.bytes[..]].concat());
    }

    #[tokio::test]
    async fn a_block_not_held_is_an_empty_answer_at_once() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        for (segment, index, next) in [(1, 2, 3), (1, 9, 0), (9, 0, 0)] {
            raw.send(&post(&get_block(segment, index).body())).await;
            assert_eq!(raw.receive().await.unwrap().body, empty_blk(&id(segment), index, next));
        }
        assert_eq!(running.server.counters().not_held, 3);
    }

    #[tokio::test]
    async fn lists_and_versions() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        let exchange = Exchange::get_block_list(id(1), &[1, 2, 3].into_iter().collect());
        let ranges: BlockRanges = [1, 3].into_iter().collect();
        assert_eq!(ask(&mut raw, &exchange).await, Answer::BlockList { ranges, next: 0 });
        let exchange = Exchange::get_segment_list(RequestId([7; 16]), vec![id(9), id(1), id(2)]).unwrap();
        let held = vec![(id(1), None), (id(2), Some(Duration::from_secs(7)))];
        assert_eq!(ask(&mut raw, &exchange).await, Answer::SegmentList { held });
        let exchange = Exchange::negotiate(VersionRange::ALL);
        assert_eq!(ask(&mut raw, &exchange).await, Answer::Negotiate(VersionRange::ALL));
    }

    #[tokio::test]
    async fn the_versions_spoken_are_a_setting() {
        let versions = VersionRange { min: ProtocolVersion::V1, max: ProtocolVersion::V1 };
        let limits = ServerLimits { versions, ..ServerLimits::default() };
        let running = Running::start(Memory::small(), limits).await;
        let mut raw = running.connect().await;
        let exchange = Exchange::get_segment_list(RequestId([7; 16]), vec![id(1)]).unwrap();
        assert_eq!(ask(&mut raw, &exchange).await, Answer::Negotiate(versions));
        assert!(matches!(ask(&mut raw, &get_block(1, 0)).await, Answer::Block(..)));
    }

    #[tokio::test]
    async fn one_connection_carries_many_requests_one_after_the_other_or_all_at_once() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        for _ in 0..3 {
            assert!(matches!(ask(&mut raw, &get_block(1, 0)).await, Answer::Block(_, 1)));
        }
        let exchanges = [get_block(1, 0), get_block(1, 2), get_block(1, 3), get_block(2, 0)];
        raw.send(&exchanges.iter().flat_map(|exchange| post(&exchange.body())).collect::<Vec<_>>()).await;
        let mut blocks = 0;
        for exchange in &exchanges {
            let message = raw.receive().await.unwrap();
            blocks += i32::from(matches!(exchange.accept(&message.body).unwrap(), Answer::Block(..)));
        }
        assert_eq!(blocks, 3);
        let counters = running.server.counters();
        assert_eq!((counters.connections, counters.requests, counters.blocks), (1, 7, 6));
        assert_eq!(counters.block_bytes, 6 * 65_552);
    }

    #[tokio::test]
    async fn a_client_may_ask_before_it_sends_its_body() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        let exchange = get_block(1, 0);
        let body = exchange.body();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        raw.send(head.as_bytes()).await;
        assert_eq!(raw.receive_head().await.unwrap()[0], "HTTP/1.1 100 Continue");
        raw.send(&body).await;
        let message = raw.receive().await.unwrap();
        assert!(matches!(exchange.accept(&message.body).unwrap(), Answer::Block(..)));
        assert!(matches!(ask(&mut raw, &exchange).await, Answer::Block(..)));
    }

    #[tokio::test]
    async fn http_1_0_is_answered_and_closed() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        let exchange = get_block(1, 0);
        let body = exchange.body();
        let head = format!("POST {PATH} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
        raw.send(&[head.as_bytes(), &body].concat()).await;
        let message = raw.receive().await.unwrap();
        assert!(matches!(exchange.accept(&message.body).unwrap(), Answer::Block(..)));
        assert!(raw.is_closed().await);
    }

    #[tokio::test]
    async fn chunked_requests_are_understood() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        let exchange = get_block(1, 0);
        let body = exchange.body();
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        raw.send(head.as_bytes()).await;
        for piece in body.chunks(30) {
            raw.send(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
        }
        raw.send(b"0\r\n\r\n").await;
        let message = raw.receive().await.unwrap();
        assert!(matches!(exchange.accept(&message.body).unwrap(), Answer::Block(..)));
    }

    #[tokio::test]
    async fn requests_come_in_any_pieces_and_on_any_spelling_of_the_path() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        let exchange = get_block(1, 0);
        for byte in post(&exchange.body()) {
            raw.send(&[byte]).await;
        }
        assert_eq!(raw.receive().await.unwrap().body.len(), 65_644);
        for path in [PATH.to_lowercase(), PATH.trim_end_matches('/').to_owned(), format!("http://x{PATH}")] {
            let request = String::from_utf8_lossy(&post(b"")).replace(PATH, &path).replace("Length: 0", "Length: 68");
            raw.send(&[request.as_bytes(), &exchange.body()].concat()).await;
            assert_eq!(raw.receive().await.unwrap().body.len(), 65_644, "{path}");
        }
    }

    #[tokio::test]
    async fn a_client_that_closes_its_half_after_the_request_is_answered() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        raw.send(&post(&get_block(1, 0).body())).await;
        raw.0.shutdown().await.unwrap();
        assert_eq!(raw.receive().await.unwrap().body.len(), 65_644);
        assert!(raw.is_closed().await);
    }

    #[tokio::test]
    async fn forty_connections_of_one_client_are_served_at_once() {
        let running = Running::start(Memory::gated(), ServerLimits::default()).await;
        let mut connections = Vec::new();
        for _ in 0..40 {
            let mut raw = running.connect().await;
            raw.send(&post(&get_block(1, 0).body())).await;
            connections.push(raw);
        }
        running.until(|counters| counters.uploads == 40).await;
        running.source.gate.add_permits(1);
        for raw in &mut connections {
            assert_eq!(raw.receive().await.unwrap().body.len(), 65_644);
        }
        running.until(|counters| counters.uploads == 0).await;
        assert_eq!(running.server.counters().busy, 0);
    }
}

mod refusals {
    use super::*;

    /// Sends the bytes and expects a refusal with this status, after which the connection ends.
    async fn refused(running: &Running, request: &[u8], status: u16) {
        let mut raw = running.connect().await;
        raw.send(request).await;
        let message = raw.receive().await.unwrap();
        let shown = String::from_utf8_lossy(&request[..request.len().min(80)]);
        assert_eq!(message.status(), status, "{shown}");
        assert_eq!(message.header("Content-Length"), Some("0"), "{shown}");
        assert_eq!(message.header("Connection").unwrap().to_lowercase(), "close", "{shown}");
        assert_eq!(message.header("Allow").is_some(), status == 405, "{shown}");
        assert!(raw.is_closed().await, "{shown}");
    }

    fn head(line: &str, headers: &str) -> Vec<u8> {
        format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()
    }

    #[tokio::test]
    async fn each_fault_has_its_status() {
        let running = Running::small().await;
        let body = get_block(1, 0).body();
        refused(&running, &[head("POST /", "Content-Length: 68\r\n"), body.to_vec()].concat(), 404).await;
        refused(&running, &head("GET /", ""), 404).await;
        refused(&running, &head(&format!("GET {PATH}"), ""), 405).await;
        refused(&running, &head(&format!("PUT {PATH}"), "Content-Length: 0\r\n"), 405).await;
        refused(&running, &head(&format!("POST {PATH}"), ""), 411).await;
        refused(&running, &post(b""), 400).await;
        refused(&running, &post(&body[..67]), 400).await;
        refused(&running, &post(&[&body[..], b"\0"].concat()), 400).await;
        let counters = running.server.counters();
        assert_eq!(counters.refused, [(400, 3), (404, 2), (405, 2), (411, 1)].into());
        assert_eq!(counters.discarded, [("too_short", 1), ("wrong_message_size", 2)].into());
    }

    #[tokio::test]
    async fn a_body_of_98304_bytes_is_read_and_one_byte_more_is_not() {
        let running = Running::small().await;
        refused(&running, &post(&vec![0; MAX_REQUEST_SIZE]), 400).await;
        assert_eq!(running.server.counters().discarded, [("wrong_message_size", 1)].into());
        // The client sends everything before it reads, and still finds the answer.
        refused(&running, &post(&vec![0; MAX_REQUEST_SIZE + 1]), 413).await;
        refused(&running, &post(&vec![0; 16 << 20]), 413).await;
        refused(&running, &head(&format!("POST {PATH}"), "Content-Length: 18446744073709551000\r\n"), 413).await;
        let chunked = head(&format!("POST {PATH}"), "Transfer-Encoding: chunked\r\n");
        let chunk = [format!("{:x}\r\n", MAX_REQUEST_SIZE + 1).as_bytes(), &vec![0; MAX_REQUEST_SIZE + 1]].concat();
        refused(&running, &[chunked, chunk].concat(), 413).await;
        assert_eq!(running.server.counters().refused, [(400, 1), (413, 4)].into());
    }

    #[tokio::test]
    async fn a_client_that_waits_for_leave_to_send_too_much_does_not_get_it() {
        let running = Running::small().await;
        let headers = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", MAX_REQUEST_SIZE + 1);
        refused(&running, &head(&format!("POST {PATH}"), &headers), 413).await;
    }

    #[tokio::test]
    async fn what_is_not_http_ends_the_connection() {
        let running = Running::small().await;
        let bodies_in_two_ways = head(&format!("POST {PATH}"), "Content-Length: 68\r\nContent-Length: 69\r\n");
        let long = head(&format!("POST {PATH}"), &format!("X: {}\r\n", "x".repeat(20_000)));
        let many = head(&format!("POST {PATH}"), &"X: y\r\n".repeat(200));
        for bytes in [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), bodies_in_two_ways, long, many]
        {
            let mut raw = running.connect().await;
            let _ = raw.0.write_all(&bytes).await;
            let answer = raw.receive().await;
            assert!(answer.is_none_or(|message| (400..500).contains(&message.status())));
            assert!(raw.is_closed().await);
        }
        running.until(|counters| counters.open_connections == 0).await;
        let counters = running.server.counters();
        assert_eq!((counters.requests, counters.bad_http, counters.broken_off), (0, 4, 0));
    }

    #[tokio::test]
    async fn clients_that_break_off_are_counted() {
        let running = Running::small().await;
        let request = post(&get_block(1, 0).body());
        for sent in [20, request.len() - 1] {
            let mut raw = running.connect().await;
            raw.send(&request[..sent]).await;
        }
        let mut raw = running.connect().await;
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n");
        raw.send(head.as_bytes()).await;
        assert!(raw.is_closed().await);
        running.until(|counters| counters.broken_off == 3 && counters.open_connections == 0).await;
    }
}

mod limits {
    use super::*;

    #[tokio::test]
    async fn over_the_upload_limit_answers_are_empty_and_at_once() {
        let limits = ServerLimits { uploads: 1, ..ServerLimits::default() };
        let running = Running::start(Memory::gated(), limits).await;
        let mut first = running.connect().await;
        first.send(&post(&get_block(1, 0).body())).await;
        running.until(|counters| counters.uploads == 1).await;

        let mut second = running.connect().await;
        assert_eq!(ask(&mut second, &get_block(1, 0)).await, Answer::Empty);
        let exchange = Exchange::get_block_list(id(1), &BlockRanges::first(4));
        let ranges = BlockRanges::new();
        assert_eq!(ask(&mut second, &exchange).await, Answer::BlockList { ranges, next: 0 });
        let exchange = Exchange::get_segment_list(RequestId([7; 16]), vec![id(1)]).unwrap();
        assert_eq!(ask(&mut second, &exchange).await, Answer::SegmentList { held: vec![] });
        // Versions are told to anybody, and what cannot be answered is refused.
        let exchange = Exchange::negotiate(VersionRange::ALL);
        assert_eq!(ask(&mut second, &exchange).await, Answer::Negotiate(VersionRange::ALL));
        assert_eq!(running.server.counters().busy, 3);

        running.source.gate.add_permits(1);
        assert_eq!(first.receive().await.unwrap().body.len(), 65_644);
        running.until(|counters| counters.uploads == 0).await;
        assert!(matches!(ask(&mut second, &get_block(1, 0)).await, Answer::Block(..)));
    }

    #[tokio::test]
    async fn one_address_has_its_share_of_the_uploads() {
        let limits = ServerLimits { uploads: 3, uploads_per_source: 2, ..ServerLimits::default() };
        let running = Running::start(Memory::gated(), limits).await;
        let mut waiting = Vec::new();
        for count in 1..=2 {
            let mut raw = running.connect().await;
            raw.send(&post(&get_block(1, 0).body())).await;
            running.until(|counters| counters.uploads == count).await;
            waiting.push(raw);
        }
        assert_eq!(ask(&mut running.connect().await, &get_block(1, 0)).await, Answer::Empty);
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 2], 0).into()).unwrap();
        let mut other = Raw(socket.connect(running.address).await.unwrap());
        other.send(&post(&get_block(1, 0).body())).await;
        running.until(|counters| counters.uploads == 3 && counters.busy == 1).await;
        running.source.gate.add_permits(3);
        for raw in waiting.iter_mut().chain([&mut other]) {
            assert_eq!(raw.receive().await.unwrap().body.len(), 65_644);
        }
        running.until(|counters| counters.uploads == 0).await;
    }

    #[tokio::test]
    async fn an_upload_lasts_until_its_answer_is_written() {
        let limits = ServerLimits { uploads: 1, upload_time: 5 * SHORT, ..ServerLimits::default() };
        let running = Running::start(Memory::small(), limits).await;
        // More answers than the sockets of both sides can hold, and nobody reads them.
        let mut stalled = running.connect().await;
        let requests = post(&get_block(1, 0).body()).repeat(2000);
        let sending = tokio::spawn(async move {
            let _ = stalled.0.write_all(&requests).await;
            stalled
        });
        let mut other = running.connect().await;
        timeout(FOREVER, async { while ask(&mut other, &get_block(1, 0)).await != Answer::Empty {} }).await.unwrap();
        // The Upload Timer ends the stalled connection and gives its place back.
        running.until(|counters| counters.timed_out.get("upload") == Some(&1)).await;
        timeout(FOREVER, async { while ask(&mut other, &get_block(1, 0)).await == Answer::Empty {} }).await.unwrap();
        drop(sending.await.unwrap());
    }

    #[tokio::test]
    async fn a_source_that_does_not_answer_ends_with_the_upload_timer() {
        let limits = ServerLimits { upload_time: SHORT, ..ServerLimits::default() };
        let running = Running::start(Memory::gated(), limits).await;
        let mut raw = running.connect().await;
        raw.send(&post(&get_block(1, 0).body())).await;
        assert!(raw.is_closed().await);
        running.until(|counters| counters.uploads == 0 && counters.open_connections == 0).await;
        assert_eq!(running.server.counters().timed_out, [("upload", 1)].into());
    }

    #[tokio::test]
    async fn connections_are_bounded_in_all_and_by_source() {
        for (connections, connections_per_source) in [(2, 10), (10, 2)] {
            let limits = ServerLimits { connections, connections_per_source, ..ServerLimits::default() };
            let running = Running::start(Memory::small(), limits).await;
            let mut first = running.connect().await;
            let mut second = running.connect().await;
            ask(&mut first, &get_block(1, 0)).await;
            ask(&mut second, &get_block(1, 0)).await;
            assert!(running.connect().await.is_closed().await);
            let counters = running.server.counters();
            assert_eq!(counters.connections_over_limit, u64::from(connections == 2));
            assert_eq!(counters.connections_over_source_limit, u64::from(connections != 2));
            drop(first);
            running.until(|counters| counters.open_connections == 1).await;
            let mut third = running.connect().await;
            assert!(matches!(ask(&mut third, &get_block(1, 0)).await, Answer::Block(..)));
        }
    }

    #[tokio::test]
    async fn idle_connections_make_room_for_others_where_few_are_left() {
        let running = with_short(|limits| limits.connections = 8).await;
        let mut idle = Vec::new();
        for _ in 0..8 {
            let mut raw = running.connect().await;
            ask(&mut raw, &get_block(1, 0)).await;
            idle.push(raw);
        }
        assert!(running.connect().await.is_closed().await);
        // Those that were the last ones go, the others may stay.
        running.until(|counters| counters.open_connections == 6).await;
        let mut other = running.connect().await;
        assert!(matches!(ask(&mut other, &get_block(1, 0)).await, Answer::Block(..)));
        assert!(matches!(ask(&mut idle[0], &get_block(1, 0)).await, Answer::Block(..)));
    }

    /// A server with one short limit, the others out of reach.
    async fn with_short(change: impl Fn(&mut ServerLimits)) -> Running {
        let mut limits = ServerLimits {
            header_time: FOREVER,
            body_time: FOREVER,
            upload_time: FOREVER,
            idle_time: FOREVER,
            ..ServerLimits::default()
        };
        change(&mut limits);
        Running::start(Memory::small(), limits).await
    }

    /// Sends bytes one by one, as slowly as it takes to stay alive where each byte counts, until the connection ends.
    async fn drip(raw: &mut Raw, bytes: &[u8]) {
        timeout(FOREVER, async {
            for byte in bytes.iter().cycle() {
                if raw.0.write_all(&[*byte]).await.is_err() {
                    break;
                }
                if let Ok(read) = timeout(SHORT / 8, raw.0.read(&mut [0])).await {
                    assert!(matches!(read, Ok(0) | Err(_)));
                    break;
                }
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn headers_have_a_time_limit_from_the_start_and_after_each_request() {
        let running = with_short(|limits| limits.header_time = 5 * SHORT).await;
        let mut silent = running.connect().await;
        assert!(silent.is_closed().await);
        let mut slow = running.connect().await;
        slow.send(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nX: ").as_bytes()).await;
        drip(&mut slow, b"x").await;
        let mut second = running.connect().await;
        ask(&mut second, &get_block(1, 0)).await;
        second.send(b"P").await;
        assert!(second.is_closed().await);
        running.until(|counters| counters.timed_out.get("header") == Some(&3)).await;
        assert_eq!(running.server.counters().timed_out.len(), 1);
    }

    #[tokio::test]
    async fn bodies_have_a_time_limit() {
        let running = with_short(|limits| limits.body_time = SHORT).await;
        let request = post(&[0; 10_000]);
        let mut silent = running.connect().await;
        silent.send(&request[..request.len() - 9_000]).await;
        assert!(silent.is_closed().await);
        let mut slow = running.connect().await;
        slow.send(&request[..request.len() - 9_000]).await;
        drip(&mut slow, b"\0").await;
        running.until(|counters| counters.timed_out.get("body") == Some(&2)).await;
        assert_eq!(running.server.counters().timed_out.len(), 1);
    }

    #[tokio::test]
    async fn idle_connections_are_closed_without_ado() {
        let running = with_short(|limits| limits.idle_time = SHORT).await;
        let mut raw = running.connect().await;
        ask(&mut raw, &get_block(1, 0)).await;
        assert!(raw.is_closed().await);
        running.until(|counters| counters.open_connections == 0).await;
        assert!(running.server.counters().timed_out.is_empty());
    }

    #[tokio::test]
    async fn a_refused_client_cannot_send_on_for_long() {
        let running = Running::small().await;
        let mut raw = running.connect().await;
        raw.send(format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n").as_bytes()).await;
        assert_eq!(raw.receive().await.unwrap().status(), 413);
        running.until(|counters| counters.open_connections == 0).await;
        assert!(running.server.counters().timed_out.is_empty());
    }
}

mod stopping {
    use super::*;

    #[tokio::test]
    async fn requests_under_way_are_finished_and_idle_connections_closed() {
        let running = Running::start(Memory::gated(), ServerLimits::default()).await;
        let mut idle = running.connect().await;
        assert_eq!(ask(&mut idle, &Exchange::negotiate(VersionRange::ALL)).await, Answer::Negotiate(VersionRange::ALL));
        let mut busy = running.connect().await;
        busy.send(&post(&get_block(1, 0).body())).await;
        running.until(|counters| counters.uploads == 1).await;
        running.stop.send(()).unwrap();
        assert!(idle.is_closed().await);
        running.source.gate.add_permits(1);
        assert_eq!(busy.receive().await.unwrap().body.len(), 65_644);
        assert!(busy.is_closed().await);
        timeout(FOREVER, running.task).await.unwrap().unwrap();
        assert!(tokio::net::TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn stopping_ends_in_bounded_time() {
        let limits = ServerLimits { shutdown_time: SHORT, upload_time: FOREVER, ..ServerLimits::default() };
        let running = Running::start(Memory::gated(), limits).await;
        let mut stuck = running.connect().await;
        stuck.send(&post(&get_block(1, 0).body())).await;
        running.until(|counters| counters.uploads == 1).await;
        running.stop.send(()).unwrap();
        timeout(FOREVER, running.task).await.unwrap().unwrap();
        assert!(stuck.is_closed().await);
        assert_eq!(running.server.counters().open_connections, 0);
        assert_eq!(running.server.counters().uploads, 0);
    }

    #[tokio::test]
    async fn dropping_the_server_closes_everything() {
        let running = Running::start(Memory::gated(), ServerLimits::default()).await;
        let mut raw = running.connect().await;
        raw.send(&post(&get_block(1, 0).body())).await;
        running.until(|counters| counters.uploads == 1).await;
        running.task.abort();
        assert!(raw.is_closed().await);
    }
}
