//! The retrieval client against our own server, and against peers that do not behave.
#![allow(clippy::unwrap_used)]

mod retrieval_support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use peerdist_protocol::content::{BlockRanges, CryptoAlgoId};
use peerdist_protocol::retrieval::{
    Answer, Exchange, MAX_RESPONSE_SIZE, ProtocolVersion, Rejection, RequestId, RequestMessage, Response,
    ResponseMessage, VersionRange, blk_head,
};
use peerdist_transport::retrieval::client::{Client, ClientLimits, Excess, ExchangeError, Wait};
use retrieval_support::{FOREVER, Peer, Raw, Running, SHORT, get_block, id, tail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Limits out of reach.
fn patient() -> ClientLimits {
    ClientLimits {
        connect_time: FOREVER,
        progress_time: FOREVER,
        exchange_time: FOREVER,
        idle_time: FOREVER,
        ..ClientLimits::default()
    }
}

fn client() -> Client {
    Client::new(patient())
}

/// The body of an answer with block 0 of segment 1.
fn block_body(size: usize) -> Vec<u8> {
    let tail = tail(5, size);
    [&blk_head(&id(1), 0, 0, &tail), &tail.bytes[..]].concat()
}

fn http(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

async fn ask(client: &Client, peer: &Peer) -> Result<Answer, ExchangeError> {
    timeout(FOREVER, client.exchange(peer.address, &get_block(1, 0))).await.unwrap()
}

fn assert_block(answer: Result<Answer, ExchangeError>, size: usize) {
    match answer {
        Ok(Answer::Block(block, _)) => {
            assert_eq!((block.data.len(), block.iv), (size, [5; 16]));
            assert!(block.data.iter().all(|byte| *byte == 5));
        }
        other => panic!("{other:?}"),
    }
}

mod with_our_server {
    use super::*;

    #[tokio::test]
    async fn every_request_has_its_answer_over_one_connection() {
        let running = Running::small().await;
        let client = client();
        let Answer::Block(block, 3) = client.exchange(running.address, &get_block(1, 1)).await.unwrap() else {
            panic!()
        };
        assert_eq!((block.algorithm, block.iv, block.data.len()), (CryptoAlgoId::Aes128, [1; 16], 65_552));
        assert!(block.data.iter().all(|byte| *byte == 1));
        assert_eq!(client.exchange(running.address, &get_block(1, 2)).await.unwrap(), Answer::Empty);
        let list = Exchange::get_block_list(id(1), &BlockRanges::first(3));
        let answer = client.exchange(running.address, &list).await.unwrap();
        assert_eq!(answer, Answer::BlockList { ranges: BlockRanges::first(2), next: 0 });
        let segments = Exchange::get_segment_list(RequestId([7; 16]), vec![id(9), id(2)]).unwrap();
        let answer = client.exchange(running.address, &segments).await.unwrap();
        assert_eq!(answer, Answer::SegmentList { held: vec![(id(2), Some(Duration::from_secs(7)))] });
        let answer = client.exchange(running.address, &Exchange::negotiate(VersionRange::ALL)).await.unwrap();
        assert_eq!(answer, Answer::Negotiate(VersionRange::ALL));

        let counters = client.counters();
        assert_eq!((counters.exchanges, counters.connections, counters.reused, counters.retried), (5, 1, 4, 0));
        assert!(counters.bytes_received > 65_644 && counters.failed.is_empty());
        assert_eq!(running.server.counters().connections, 1);
    }

    #[tokio::test]
    async fn the_largest_segment_list_request_fits() {
        let running = Running::small().await;
        let ids = vec![id(2); (98_304 - 40) / 36];
        let exchange = Exchange::get_segment_list(RequestId([7; 16]), ids.clone()).unwrap();
        let Answer::SegmentList { held } = client().exchange(running.address, &exchange).await.unwrap() else {
            panic!()
        };
        assert_eq!(held.len(), ids.len());
    }

    #[tokio::test]
    async fn exchanges_side_by_side_use_connections_of_their_own_and_few_are_kept() {
        let running = Running::start(retrieval_support::Memory::gated(), Default::default()).await;
        let client = Client::new(ClientLimits { idle_per_peer: 2, ..patient() });
        let exchange = get_block(1, 0);
        let asking = join_all((0..6).map(|_| client.exchange(running.address, &exchange)));
        let opening = async {
            running.until(|counters| counters.uploads == 6).await;
            running.source.gate.add_permits(1);
        };
        let (answers, ()) = tokio::join!(asking, opening);
        assert!(answers.iter().all(|answer| matches!(answer, Ok(Answer::Block(..)))));
        running.until(|counters| counters.open_connections == 2).await;
        assert_eq!(client.counters().connections, 6);
    }

    #[tokio::test]
    async fn kept_connections_are_bounded_in_all() {
        let [one, two] = [Running::small().await, Running::small().await];
        let client = Client::new(ClientLimits { idle_connections: 1, ..patient() });
        for running in [&one, &two] {
            client.exchange(running.address, &get_block(1, 0)).await.unwrap();
        }
        two.until(|counters| counters.open_connections == 0).await;
        assert_eq!(one.server.counters().open_connections, 1);
    }

    #[tokio::test]
    async fn idle_connections_are_closed_in_time_and_with_the_client() {
        let running = Running::small().await;
        let client = Client::new(ClientLimits { idle_time: SHORT, ..patient() });
        client.exchange(running.address, &get_block(1, 0)).await.unwrap();
        running.until(|counters| counters.open_connections == 0).await;
        client.exchange(running.address, &get_block(1, 0)).await.unwrap();
        assert_eq!(client.counters().connections, 2);

        let client = Client::new(patient());
        client.exchange(running.address, &get_block(1, 0)).await.unwrap();
        drop(client);
        running.until(|counters| counters.open_connections == 0).await;
    }

    #[tokio::test]
    async fn dropping_an_exchange_closes_its_connection() {
        let running = Running::start(retrieval_support::Memory::gated(), Default::default()).await;
        let client = client();
        let exchange = get_block(1, 0);
        tokio::select! {
            answer = client.exchange(running.address, &exchange) => panic!("{answer:?}"),
            () = running.until(|counters| counters.uploads == 1) => {}
        }
        running.source.gate.add_permits(1);
        running.until(|counters| counters.open_connections == 0 && counters.uploads == 0).await;
    }
}

mod answers {
    use super::*;

    #[tokio::test]
    async fn in_every_framing() {
        let body = block_body(65_552);
        let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for piece in body.chunks(10_000) {
            chunked.extend(format!("{:x};ext\r\n", piece.len()).bytes().chain(piece.iter().copied()).chain(*b"\r\n"));
        }
        chunked.extend(b"0\r\nTrailer: x\r\n\r\n");
        let until_close = [b"HTTP/1.0 200 OK\r\n\r\n", &body[..]].concat();
        let continued = [b"HTTP/1.1 100 Continue\r\n\r\n", &http(&body)[..]].concat();
        let spelled = [b"HTTP/1.1 200 \r\ncontent-length:  65644 \r\nConnection: close\r\n\r\n", &body[..]].concat();
        for (bytes, then_close) in
            [(http(&body), false), (chunked, false), (until_close, true), (continued, false), (spelled, true)]
        {
            let peer = Peer::answering(bytes, then_close).await;
            assert_block(ask(&client(), &peer).await, 65_552);
        }
    }

    #[tokio::test]
    async fn in_any_pieces() {
        let bytes = http(&block_body(512));
        let peer = Peer::start(move |_, mut raw| {
            let bytes = bytes.clone();
            async move {
                raw.receive().await.unwrap();
                raw.0.set_nodelay(true).unwrap();
                for byte in &bytes {
                    raw.send(&[*byte]).await;
                    tokio::task::yield_now().await;
                }
                raw.is_closed().await;
            }
        })
        .await;
        assert_block(ask(&client(), &peer).await, 512);
    }

    #[tokio::test]
    async fn the_request_is_as_other_clients_send_it() {
        let seen = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&seen);
        let peer = Peer::start(move |_, mut raw| {
            let kept = Arc::clone(&kept);
            async move {
                let message = raw.receive().await.unwrap();
                *kept.lock().unwrap() = Some(message);
                raw.send(&http(&block_body(512))).await;
            }
        })
        .await;
        ask(&client(), &peer).await.unwrap();
        let message = seen.lock().unwrap().take().unwrap();
        assert_eq!(message.lines[0], "POST /116B50EB-ECE2-41ac-8429-9F9E963361B7/ HTTP/1.1");
        assert_eq!(message.header("Host"), Some(&*peer.address.to_string()));
        assert_eq!(message.header("Content-Length"), Some("68"));
        assert_eq!(message.lines.len(), 3);
        assert_eq!(message.body, get_block(1, 0).body());
    }
}

mod failures {
    use super::*;

    #[tokio::test]
    async fn nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = client();
        let failed = client.exchange(address, &get_block(1, 0)).await;
        assert!(matches!(failed, Err(ExchangeError::Connect(_))), "{failed:?}");
        assert_eq!(client.counters().failed, [("connect", 1)].into());
    }

    #[tokio::test]
    async fn no_way_there_is_our_own_fault() {
        let failed = client().exchange("0.0.0.0:0".parse().unwrap(), &get_block(1, 0)).await;
        assert!(matches!(failed, Err(ExchangeError::Local(_) | ExchangeError::Connect(_))), "{failed:?}");
        // A link-local address without its interface.
        let failed = client().exchange("[fe80::1]:1".parse().unwrap(), &get_block(1, 0)).await;
        assert!(matches!(failed, Err(ExchangeError::Local(_))), "{failed:?}");
    }

    #[tokio::test]
    async fn a_peer_that_stalls() {
        let whole = http(&block_body(65_552));
        let client = Client::new(ClientLimits { progress_time: 5 * SHORT, ..patient() });
        let cases = [(0, Wait::Answer), (20, Wait::Answer), (100, Wait::Body), (60_000, Wait::Body)];
        join_all(cases.map(async |(sent, wait)| {
            let peer = Peer::answering(whole[..sent].to_vec(), false).await;
            let failed = ask(&client, &peer).await;
            assert!(matches!(failed, Err(ExchangeError::TimedOut(at)) if at == wait), "{sent}: {failed:?}");
        }))
        .await;
        assert_eq!(client.counters().failed, [("timed_out", 4)].into());
    }

    #[tokio::test]
    async fn a_peer_that_drips() {
        let whole = http(&block_body(65_552));
        let peer = Peer::start(move |_, mut raw| {
            let whole = whole.clone();
            async move {
                raw.receive().await;
                let (head, body) = whole.split_at(100);
                raw.send(head).await;
                for byte in body {
                    if raw.0.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                    // Waits a while for the client to give up.
                    if timeout(SHORT / 8, raw.0.read(&mut [0])).await.is_ok() {
                        break;
                    }
                }
            }
        })
        .await;
        let client = Client::new(ClientLimits { exchange_time: 2 * SHORT, ..patient() });
        let failed = ask(&client, &peer).await;
        assert!(matches!(failed, Err(ExchangeError::TimedOut(Wait::Exchange))), "{failed:?}");
    }

    #[tokio::test]
    async fn a_status_other_than_200_whatever_it_asks_for() {
        let moved = "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned();
        let status = |status| format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nno\n");
        for (code, bytes) in [(302, moved), (404, status(404)), (503, status(503)), (204, status(204))] {
            let peer = Peer::answering(bytes, false).await;
            let failed = ask(&client(), &peer).await;
            assert!(matches!(failed, Err(ExchangeError::Status(status)) if status == code), "{failed:?}");
            assert_eq!(peer.count(), 1);
        }
    }

    #[tokio::test]
    async fn garbage() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(20_000));
        let lengths = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_owned();
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(50_000));
        for bytes in ["<html>".to_owned(), "\0\0\0\0\r\n\r\n".to_owned(), long, lengths, endless] {
            let peer = Peer::answering(bytes.clone(), true).await;
            let failed = ask(&client(), &peer).await;
            assert!(matches!(failed, Err(ExchangeError::Http(_))), "{failed:?} for {:.40}", bytes);
            assert_eq!(peer.count(), 1);
        }
    }

    #[tokio::test]
    async fn a_peer_that_closes_in_the_middle() {
        let whole = http(&block_body(65_552));
        for sent in [0, 20, 100, 60_000, whole.len() - 1] {
            let peer = Peer::answering(whole[..sent].to_vec(), true).await;
            let failed = ask(&client(), &peer).await;
            assert!(matches!(failed, Err(ExchangeError::Http(_))), "{sent}: {failed:?}");
            assert_eq!(peer.count(), 1, "a connection that was opened for the request is not worth another try");
        }
    }

    #[tokio::test]
    async fn more_than_any_response_may_have() {
        let limit = MAX_RESPONSE_SIZE + 4;
        let announced = |length: u64| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let chunk = [b"8000\r\n", &[0; 0x8000][..], b"\r\n"].concat();
        chunked.extend(chunk.repeat(limit / 0x8000 + 1));
        let until_close = [b"HTTP/1.0 200 OK\r\n\r\n", &vec![0; limit + 1][..]].concat();
        for bytes in [announced(limit as u64 + 1), announced(u64::MAX - 9), chunked, until_close] {
            let peer = Peer::answering(bytes, false).await;
            let failed = ask(&client(), &peer).await;
            assert!(
                matches!(failed, Err(ExchangeError::TooLarge { limit: l, of: Excess::Bytes }) if l == limit),
                "{failed:?}"
            );
        }
        let most = [announced(limit as u64), vec![0; limit]].concat();
        let failed = ask(&client(), &Peer::answering(most, false).await).await;
        assert!(matches!(failed, Err(ExchangeError::Rejected(Rejection::Malformed(_)))), "{failed:?}");
    }

    #[tokio::test]
    async fn interim_responses_without_end_are_the_peers_fault_and_soon_over() {
        let interim = b"HTTP/1.1 102 Processing\r\n\r\n";
        let endless = Peer::start(move |_, mut raw| async move {
            raw.receive().await.unwrap();
            while raw.0.write_all(&interim.repeat(100)).await.is_ok() {}
        })
        .await;
        let few = Peer::answering([interim.repeat(16), http(&block_body(512))].concat(), false).await;
        let many = Peer::answering([interim.repeat(17), http(&block_body(512))].concat(), false).await;
        assert_block(ask(&client(), &few).await, 512);
        for peer in [endless, many] {
            let client = client();
            let failed = ask(&client, &peer).await.unwrap_err();
            assert_eq!(failed.to_string(), "the peer's response exceeds 16 interim responses");
            assert_eq!((client.counters().failed, peer.count()), ([("too_large", 1)].into(), 1));
        }
    }

    #[tokio::test]
    async fn a_body_in_tiny_pieces_is_the_peers_fault_and_soon_over() {
        let chunked = |size: usize| {
            let body: Vec<u8> =
                block_body(size).iter().flat_map(|byte| [b"1\r\n", &[*byte][..], b"\r\n"].concat()).collect();
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &body[..], b"0\r\n\r\n"].concat()
        };
        assert_block(ask(&client(), &Peer::answering(chunked(2048), false).await).await, 2048);
        let failed = ask(&client(), &Peer::answering(chunked(4096), false).await).await.unwrap_err();
        assert_eq!(failed.to_string(), "the peer's response exceeds 4096 pieces");
    }

    #[tokio::test]
    async fn an_answer_to_another_question() {
        let tail = tail(5, 512);
        let body = |segment: u8, index| http(&[&blk_head(&id(segment), index, 0, &tail), &tail.bytes[..]].concat());
        let failed = ask(&client(), &Peer::answering(body(2, 0), false).await).await;
        let got = id(2);
        assert!(matches!(failed, Err(ExchangeError::Rejected(Rejection::WrongSegmentId { got: g })) if g == got));
        let failed = ask(&client(), &Peer::answering(body(1, 7), false).await).await;
        let wrong = Rejection::WrongBlockIndex { asked: 0, got: 7 };
        assert!(matches!(failed, Err(ExchangeError::Rejected(r)) if r == wrong));
        let failed = ask(&client(), &Peer::answering(http(b"It works!"), false).await).await;
        assert!(matches!(failed, Err(ExchangeError::Rejected(Rejection::Malformed(_)))));
    }
}

mod versions {
    use super::*;

    /// A peer that speaks these versions and answers block requests under them.
    async fn peer_speaking(versions: VersionRange, asked: Arc<AtomicUsize>) -> Peer {
        Peer::start(move |_, mut raw| {
            let asked = Arc::clone(&asked);
            async move {
                while let Some(message) = raw.receive().await {
                    asked.fetch_add(1, Ordering::SeqCst);
                    let request = RequestMessage::parse(&message.body).unwrap();
                    let body = if versions.contains(request.version) {
                        block_body(512)
                    } else {
                        ResponseMessage::new(Response::NegoResp(versions), CryptoAlgoId::None).emit()
                    };
                    raw.send(&http(&body)).await;
                }
            }
        })
        .await
    }

    fn versions(min: u16, max: u16) -> VersionRange {
        let version = |major| ProtocolVersion { major, minor: 0 };
        VersionRange { min: version(min), max: version(max) }
    }

    #[tokio::test]
    async fn a_request_is_sent_again_under_the_common_version() {
        let asked = Arc::default();
        let peer = peer_speaking(versions(2, 3), Arc::clone(&asked)).await;
        let client = client();
        assert_block(ask(&client, &peer).await, 512);
        assert_eq!((asked.load(Ordering::SeqCst), peer.count()), (2, 1));
    }

    #[tokio::test]
    async fn without_a_common_version_it_is_not() {
        let asked = Arc::default();
        let peer = peer_speaking(versions(3, 4), Arc::clone(&asked)).await;
        let failed = ask(&client(), &peer).await;
        let expected = versions(3, 4);
        assert!(matches!(failed, Err(ExchangeError::Incompatible { theirs }) if theirs == expected), "{failed:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn it_is_sent_again_once_only() {
        let body = ResponseMessage::new(Response::NegoResp(VersionRange::ALL), CryptoAlgoId::None).emit();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let peer = Peer::start(move |_, mut raw| {
            let (body, counted) = (body.clone(), Arc::clone(&counted));
            async move {
                while raw.receive().await.is_some() {
                    counted.fetch_add(1, Ordering::SeqCst);
                    raw.send(&http(&body)).await;
                }
            }
        })
        .await;
        let failed = ask(&client(), &peer).await;
        assert!(matches!(failed, Err(ExchangeError::Incompatible { .. })), "{failed:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}

mod kept_connections {
    use super::*;

    /// Answers this many requests on each connection and leaves the next one without an answer.
    async fn peer_closing_after(answers: usize) -> Peer {
        Peer::start(move |_, mut raw: Raw| async move {
            for _ in 0..answers {
                if raw.receive().await.is_none() {
                    return;
                }
                raw.send(&http(&block_body(512))).await;
            }
            raw.receive().await;
        })
        .await
    }

    #[tokio::test]
    async fn a_connection_that_the_peer_closed_meanwhile_costs_one_more_try() {
        let peer = peer_closing_after(1).await;
        let client = client();
        for _ in 0..3 {
            assert_block(ask(&client, &peer).await, 512);
        }
        let counters = client.counters();
        assert_eq!((counters.connections, counters.reused, counters.retried), (3, 2, 2));
        assert!(counters.failed.is_empty());
    }

    #[tokio::test]
    async fn a_peer_that_closed_an_idle_connection_and_is_gone_is_said_to_be_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::new(ClientLimits { progress_time: Duration::from_secs(20), ..patient() });
        let serving = async {
            let mut raw = Raw(listener.accept().await.unwrap().0);
            raw.receive().await.unwrap();
            raw.send(&http(&block_body(512))).await;
            raw
        };
        let exchange = get_block(1, 0);
        let (answer, raw) = tokio::join!(client.exchange(address, &exchange), serving);
        assert_block(answer, 512);
        drop((raw, listener));
        // The end of the connection is seen meanwhile, as it is where a connection was idle for a while.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let failed = client.exchange(address, &exchange).await;
        assert!(matches!(failed, Err(ExchangeError::Connect(_))), "{failed:?}");
        assert_eq!((client.counters().reused, client.counters().retried), (1, 1));
    }

    #[tokio::test]
    async fn but_only_one() {
        let peer = Peer::start(|number, mut raw: Raw| async move {
            raw.receive().await;
            if number == 0 {
                raw.send(&http(&block_body(512))).await;
                raw.receive().await;
            }
        })
        .await;
        let client = client();
        assert_block(ask(&client, &peer).await, 512);
        let failed = ask(&client, &peer).await;
        assert!(matches!(failed, Err(ExchangeError::Http(_))), "{failed:?}");
        assert_eq!(peer.count(), 2);
    }

    #[tokio::test]
    async fn and_none_for_a_peer_that_answers_nonsense() {
        let peer = Peer::start(|_, mut raw: Raw| async move {
            raw.receive().await;
            raw.send(&http(&block_body(512))).await;
            raw.receive().await;
            raw.send(b"nonsense\r\n\r\n").await;
        })
        .await;
        let client = client();
        assert_block(ask(&client, &peer).await, 512);
        let failed = ask(&client, &peer).await;
        assert!(matches!(failed, Err(ExchangeError::Http(_))), "{failed:?}");
        assert_eq!((peer.count(), client.counters().retried), (1, 0));
    }

    #[tokio::test]
    async fn a_failed_exchange_leaves_no_connection_behind() {
        let peer = Peer::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", false).await;
        let client = client();
        for _ in 0..2 {
            assert!(matches!(ask(&client, &peer).await, Err(ExchangeError::Status(_))));
        }
        assert_eq!((peer.count(), client.counters().reused), (2, 0));
        let closing = String::from_utf8_lossy(&http(b"")).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let peer = Peer::answering(closing, false).await;
        for _ in 0..2 {
            assert!(matches!(ask(&client, &peer).await, Err(ExchangeError::Rejected(_))));
        }
        assert_eq!((peer.count(), client.counters().reused), (2, 0));
    }
}
