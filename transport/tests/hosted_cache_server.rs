//! Offers to a running hosted cache over real sockets: which are taken, and what becomes of the others.
#![allow(clippy::unwrap_used)]

mod hosted_cache_support;
mod retrieval_support;

use std::process::Stdio;
use std::sync::Arc;

use hosted_cache_support::{
    HostedCache, INTERESTED, OK, batched_offer, bind, connect, head, initial_offer, post, vectors,
};
use peerdist_protocol::hosted_cache::{MAX_MESSAGE_SIZE, Offer, Version};
use peerdist_protocol::retrieval::{Answer, PATH};
use peerdist_transport::retrieval::server::{Listener, Server, ServerLimits};
use retrieval_support::{FOREVER, Memory, Raw, SHORT, get_block};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Sends a request, and expects this answer to an offer.
async fn answered<T: AsyncRead + AsyncWrite + Unpin>(raw: &mut Raw<T>, request: &[u8], body: &[u8]) {
    raw.send(request).await;
    let message = raw.receive().await.unwrap();
    assert_eq!(message.lines, ["HTTP/1.1 200 OK", "Content-Length: 5"]);
    assert_eq!(message.body, body);
}

/// Sends a request, and expects a refusal with this status, after which the connection ends.
async fn refused<T: AsyncRead + AsyncWrite + Unpin>(mut raw: Raw<T>, request: &[u8], status: u16) {
    raw.send(request).await;
    let message = raw.receive().await.unwrap();
    let shown = String::from_utf8_lossy(&request[..request.len().min(80)]);
    assert_eq!(message.status(), status, "{shown}");
    assert_eq!(message.header("Content-Length"), Some("0"), "{shown}");
    assert_eq!(message.header("Connection").unwrap().to_lowercase(), "close", "{shown}");
    assert_eq!(message.header("Allow").is_some(), status == 405, "{shown}");
    assert!(raw.is_closed().await, "{shown}");
}

mod answers {
    use super::*;

    #[tokio::test]
    async fn good_offers_of_version_2_come_with_their_source_and_are_answered() {
        let cache = HostedCache::start().await;
        for vector in vectors("batched_offer") {
            for address in [cache.shared, cache.plain] {
                let mut raw = connect(address).await;
                answered(&mut raw, &post(Version::V2, &vector.bytes), OK).await;
                let offer = Offer::parse(Version::V2, &vector.bytes).unwrap();
                assert_eq!(cache.take_offered(), [(raw.0.local_addr().unwrap(), offer)], "{}", vector.name);
            }
        }
        assert_eq!(cache.server.counters().offers, [(Version::V2, 6)].into());
    }

    #[tokio::test]
    async fn good_offers_of_version_1_come_with_their_source_and_are_answered() {
        let cache = HostedCache::start().await;
        for (beginning, body) in [("initial_offer", INTERESTED), ("segment_info", OK)] {
            for vector in vectors(beginning) {
                let mut raw = cache.connect_tls().await;
                answered(&mut raw, &post(Version::V1, &vector.bytes), body).await;
                let offer = Offer::parse(Version::V1, &vector.bytes).unwrap();
                let source = raw.0.get_ref().0.local_addr().unwrap();
                assert_eq!(cache.take_offered(), [(source, offer)], "{}", vector.name);
            }
        }
        assert_eq!(cache.server.counters().offers, [(Version::V1, 6)].into());
    }

    #[tokio::test]
    async fn offers_and_retrieval_share_a_port_and_a_connection() {
        let cache = HostedCache::start().await;
        let mut raw = connect(cache.shared).await;
        let exchange = get_block(1, 0);
        for _ in 0..2 {
            answered(&mut raw, &post(Version::V2, &batched_offer().emit()), OK).await;
            raw.send(&retrieval_support::post(&exchange.body())).await;
            let message = raw.receive().await.unwrap();
            assert!(matches!(exchange.accept(&message.body).unwrap(), Answer::Block(..)));
        }
        let counters = cache.server.counters();
        assert_eq!((counters.connections, counters.requests, counters.blocks), (1, 4, 2));
        assert_eq!(counters.offers, [(Version::V2, 2)].into());
    }

    #[tokio::test]
    async fn one_tls_connection_carries_many_offers_one_after_the_other_or_all_at_once() {
        let cache = HostedCache::start().await;
        let mut raw = cache.connect_tls().await;
        let request = post(Version::V1, &initial_offer().emit());
        for _ in 0..3 {
            answered(&mut raw, &request, INTERESTED).await;
        }
        raw.send(&request.repeat(4)).await;
        for _ in 0..4 {
            assert_eq!(raw.receive().await.unwrap().body, INTERESTED);
        }
        assert_eq!(cache.take_offered().len(), 7);
        assert_eq!(cache.server.counters().connections, 1);
    }

    #[tokio::test]
    async fn the_path_is_taken_in_any_case_with_or_without_the_slash() {
        let cache = HostedCache::start().await;
        let offer = batched_offer().emit();
        let mut raw = connect(cache.shared).await;
        let path = Version::V2.path();
        for path in
            [path.to_uppercase(), path.trim_end_matches('/').to_owned(), format!("http://x{path}"), format!("{path}?x")]
        {
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", offer.len());
            answered(&mut raw, &[head.as_bytes(), &offer].concat(), OK).await;
        }
        assert_eq!(cache.take_offered().len(), 4);
    }

    #[tokio::test]
    async fn http_1_0_without_host_and_content_type_is_answered_and_closed() {
        let cache = HostedCache::start().await;
        let offer = batched_offer().emit();
        let path = Version::V2.path();
        let head = format!("POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", offer.len());
        let mut raw = connect(cache.shared).await;
        raw.send(&[head.as_bytes(), &offer].concat()).await;
        let message = raw.receive().await.unwrap();
        assert_eq!((message.status(), &message.body[..]), (200, OK));
        assert!(raw.is_closed().await);
        let offer = initial_offer().emit();
        let path = Version::V1.path();
        let head = format!("POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", offer.len());
        let mut raw = cache.connect_tls().await;
        raw.send(&[head.as_bytes(), &offer].concat()).await;
        let message = raw.receive().await.unwrap();
        assert_eq!((message.status(), &message.body[..]), (200, INTERESTED));
        assert!(raw.is_closed().await);
    }

    #[tokio::test]
    async fn a_client_may_ask_before_it_sends_its_offer_or_send_it_in_chunks() {
        let cache = HostedCache::start().await;
        let offer = batched_offer().emit();
        let mut raw = connect(cache.plain).await;
        raw.send(&head(Version::V2, &format!("Expect: 100-continue\r\nContent-Length: {}\r\n", offer.len()))).await;
        assert_eq!(raw.receive_head().await.unwrap()[0], "HTTP/1.1 100 Continue");
        answered(&mut raw, &offer, OK).await;
        raw.send(&head(Version::V2, "Transfer-Encoding: chunked\r\n")).await;
        for piece in offer.chunks(30) {
            raw.send(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
        }
        answered(&mut raw, b"0\r\n\r\n", OK).await;
        assert_eq!(cache.take_offered().len(), 2);
    }

    #[tokio::test]
    async fn curl_gets_the_response_over_http_1_0_and_1_1_and_over_tls() {
        let cache = HostedCache::start().await;
        let trusted = cache.files.path("authority.pem");
        std::fs::write(&trusted, &cache.authority.pem).unwrap();
        for (offer, url, response) in [
            (batched_offer(), format!("http://{}{}", cache.shared, Version::V2.path()), OK),
            (initial_offer(), format!("https://{}{}", cache.tls, Version::V1.path()), INTERESTED),
        ] {
            let body = cache.files.path("offer");
            std::fs::write(&body, offer.emit()).unwrap();
            for options in [&["--http1.0"][..], &["--http1.1", "--header", "Expect: 100-continue"], &[]] {
                let output = tokio::process::Command::new("curl")
                    .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--cacert"])
                    .arg(&trusted)
                    .args(options)
                    .arg("--data-binary")
                    .arg(format!("@{}", body.display()))
                    .arg(&url)
                    .stdin(Stdio::null())
                    .output();
                let output = timeout(FOREVER, output).await.unwrap().unwrap();
                assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
                assert_eq!(output.stdout, response, "{options:?}");
            }
        }
        assert_eq!(cache.take_offered().len(), 6);
    }
}

mod refusals {
    use super::*;

    #[tokio::test]
    async fn bad_vectors_are_dropped_or_answered_as_they_say_and_good_offers_still_answered() {
        let cache = HostedCache::start().await;
        let mut verdicts = [0, 0];
        for vector in vectors("neg_").into_iter().filter(|vector| !vector.name.contains("response")) {
            let request = post(vector.version(), &vector.bytes);
            if vector.expect.starts_with("drop") {
                match vector.version() {
                    Version::V1 => refused(cache.connect_tls().await, &request, 400).await,
                    Version::V2 => refused(connect(cache.shared).await, &request, 400).await,
                }
                assert_eq!(cache.take_offered(), [], "{}", vector.name);
                verdicts[0] += 1;
            } else {
                assert!(vector.expect.starts_with("HTTP 200 + OK"), "{vector:?}");
                match vector.version() {
                    Version::V1 => answered(&mut cache.connect_tls().await, &request, OK).await,
                    Version::V2 => answered(&mut connect(cache.shared).await, &request, OK).await,
                }
                // What came is handed on, and says itself that it leads to nothing.
                let ignored = match cache.take_offered().remove(0).1 {
                    Offer::Batched(offer) => offer.segments.iter().all(|segment| segment.block_count().is_err()),
                    Offer::SegmentInfo(offer) => offer.segment().is_err(),
                    Offer::Initial(_) => false,
                };
                assert!(ignored, "{}", vector.name);
                verdicts[1] += 1;
            }
            cache.answers_good_offers().await;
        }
        assert_eq!(verdicts, [10, 5]);
        let counters = cache.server.counters();
        assert_eq!(counters.refused, [(400, 10)].into());
        assert_eq!(
            counters.offers_discarded,
            [("content_tag_size", 2), ("descriptor_count", 2), ("truncated", 2), ("unknown_type", 2), ("version", 2)]
                .into()
        );
        assert_eq!(counters.offers, [(Version::V1, 15 + 4), (Version::V2, 15 + 1)].into());
        assert!(counters.discarded.is_empty());
    }

    #[tokio::test]
    async fn each_version_has_its_own_url_and_understands_nothing_else_there() {
        let cache = HostedCache::start().await;
        let (v1, v2) = (initial_offer().emit(), batched_offer().emit());
        // The other version's message at a URL, then the other version's URL at a port.
        refused(cache.connect_tls().await, &post(Version::V1, &v2), 400).await;
        refused(connect(cache.shared).await, &post(Version::V2, &v1), 400).await;
        refused(cache.connect_tls().await, &post(Version::V2, &v2), 404).await;
        for address in [cache.shared, cache.plain, cache.retrieval] {
            refused(connect(address).await, &post(Version::V1, &v1), 404).await;
        }
        assert_eq!(cache.server.counters().offers_discarded, [("version", 2)].into());
        assert_eq!(cache.take_offered(), []);
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn a_listener_has_the_paths_that_it_says_and_no_others() {
        let cache = HostedCache::start().await;
        let exchange = retrieval_support::post(&get_block(1, 0).body());
        let offer = post(Version::V2, &batched_offer().emit());
        refused(connect(cache.retrieval).await, &offer, 404).await;
        refused(connect(cache.plain).await, &exchange, 404).await;
        refused(cache.connect_tls().await, &exchange, 404).await;
        for path in ["/", "/C574AC30", &PATH[1..], &format!("/x{}", Version::V2.path())] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            let mut raw = connect(cache.shared).await;
            raw.send(head.as_bytes()).await;
            // What does not begin with a slash is not HTTP.
            let status = raw.receive().await.unwrap().status();
            assert_eq!(status, if path.starts_with('/') { 404 } else { 400 }, "{path}");
        }
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn a_server_that_takes_no_offers_has_no_path_for_them() {
        let (address, socket) = bind().await;
        let server = Server::new(Arc::new(Memory::small()), ServerLimits::default());
        let listeners = vec![Listener::retrieval_and_offers(socket)];
        let serving = tokio::spawn({
            let server = server.clone();
            async move { server.serve(listeners, std::future::pending()).await }
        });
        refused(connect(address).await, &post(Version::V2, &batched_offer().emit()), 404).await;
        let mut raw = connect(address).await;
        raw.send(&retrieval_support::post(&get_block(1, 0).body())).await;
        assert_eq!(raw.receive().await.unwrap().status(), 200);
        serving.abort();
    }

    #[tokio::test]
    async fn other_methods_and_bodies_of_unknown_length_are_refused() {
        let cache = HostedCache::start().await;
        let line = |method: &str, path: &str, headers: &str| {
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes()
        };
        let (v1, v2) = (Version::V1.path(), Version::V2.path());
        refused(connect(cache.shared).await, &line("GET", v2, ""), 405).await;
        refused(connect(cache.shared).await, &line("PUT", v2, "Content-Length: 0\r\n"), 405).await;
        refused(connect(cache.shared).await, &line("POST", v2, ""), 411).await;
        refused(connect(cache.shared).await, &line("POST", v2, "Content-Length: 0\r\n"), 400).await;
        refused(cache.connect_tls().await, &line("GET", v1, ""), 405).await;
        refused(cache.connect_tls().await, &line("POST", v1, ""), 411).await;
        refused(cache.connect_tls().await, &line("POST", v1, "Content-Length: 0\r\n"), 400).await;
        assert_eq!(cache.server.counters().refused, [(400, 2), (405, 3), (411, 2)].into());
        assert_eq!(cache.server.counters().offers_discarded, [("truncated", 2)].into());
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn a_body_is_bounded_before_it_is_read() {
        let cache = HostedCache::start().await;
        refused(connect(cache.shared).await, &post(Version::V2, &vec![0; MAX_MESSAGE_SIZE]), 400).await;
        assert_eq!(cache.server.counters().offers_discarded, [("version", 1)].into());
        // The client sends everything before it reads, and still finds the answer.
        refused(connect(cache.shared).await, &post(Version::V2, &vec![0; MAX_MESSAGE_SIZE + 1]), 413).await;
        refused(connect(cache.shared).await, &post(Version::V2, &vec![0; 4 << 20]), 413).await;
        refused(cache.connect_tls().await, &post(Version::V1, &vec![0; 4 << 20]), 413).await;
        let huge = head(Version::V2, "Content-Length: 18446744073709551000\r\n");
        refused(connect(cache.shared).await, &huge, 413).await;
        let chunk = [format!("{:x}\r\n", MAX_MESSAGE_SIZE + 1).as_bytes(), &vec![0; MAX_MESSAGE_SIZE + 1]].concat();
        let chunked = [head(Version::V2, "Transfer-Encoding: chunked\r\n"), chunk].concat();
        refused(connect(cache.shared).await, &chunked, 413).await;
        let waiting = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", MAX_MESSAGE_SIZE + 1);
        refused(connect(cache.shared).await, &head(Version::V2, &waiting), 413).await;
        assert_eq!(cache.server.counters().refused, [(400, 1), (413, 6)].into());
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn a_body_in_very_many_pieces_is_refused() {
        let cache = HostedCache::start().await;
        let offer = Offer::parse(Version::V2, &vectors("batched_offer_max_128").remove(0).bytes).unwrap().emit();
        let pieces = |size: usize| {
            let pieces =
                offer.chunks(size).map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
            [
                head(Version::V2, "Transfer-Encoding: chunked\r\n"),
                pieces.collect::<Vec<_>>().concat(),
                b"0\r\n\r\n".to_vec(),
            ]
            .concat()
        };
        answered(&mut connect(cache.shared).await, &pieces(16), OK).await;
        refused(connect(cache.shared).await, &pieces(1), 413).await;
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn what_else_is_expected_than_to_go_on_is_refused() {
        let cache = HostedCache::start().await;
        let offer = batched_offer().emit();
        let expecting = |what: &str| {
            let headers = format!("Expect: {what}\r\nContent-Length: {}\r\n", offer.len());
            [head(Version::V2, &headers), offer.clone()].concat()
        };
        refused(connect(cache.shared).await, &expecting("junk"), 417).await;
        refused(connect(cache.shared).await, &expecting("100-continue\r\nExpect: tea"), 417).await;
        let mut raw = connect(cache.shared).await;
        raw.send(&expecting("100-Continue")).await;
        let status = raw.receive().await.unwrap().status();
        let status = if status == 100 { raw.receive().await.unwrap().status() } else { status };
        assert_eq!(status, 200);
    }

    #[tokio::test]
    async fn a_second_message_behind_the_first_spoils_both() {
        let cache = HostedCache::start().await;
        let initial = initial_offer().emit();
        refused(cache.connect_tls().await, &post(Version::V1, &initial.repeat(2)), 400).await;
        let batched = batched_offer().emit();
        refused(connect(cache.shared).await, &post(Version::V2, &batched.repeat(2)), 400).await;
        assert_eq!(cache.take_offered(), []);
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn an_offer_that_stops_ends_in_time() {
        let limits = ServerLimits { body_time: SHORT, header_time: FOREVER, ..ServerLimits::default() };
        let cache = HostedCache::with(limits).await;
        let offer = post(Version::V2, &batched_offer().emit());
        let mut plain = connect(cache.shared).await;
        plain.send(&offer[..offer.len() - 1]).await;
        let offer = post(Version::V1, &initial_offer().emit());
        let mut tls = cache.connect_tls().await;
        tls.send(&offer[..offer.len() - 1]).await;
        assert!(plain.is_closed().await);
        assert!(tls.is_closed().await);
        cache.until(|counters| counters.timed_out.get("body") == Some(&2) && counters.open_connections == 0).await;
        assert_eq!(cache.take_offered(), []);
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn clients_that_break_off_an_offer_are_counted() {
        let cache = HostedCache::start().await;
        let offer = post(Version::V2, &batched_offer().emit());
        let mut plain = connect(cache.shared).await;
        plain.send(&offer[..offer.len() - 1]).await;
        drop(plain);
        let offer = post(Version::V1, &initial_offer().emit());
        let mut tls = cache.connect_tls().await;
        tls.send(&offer[..offer.len() - 1]).await;
        tls.0.shutdown().await.unwrap();
        cache.until(|counters| counters.broken_off == 2 && counters.open_connections == 0).await;
        cache.answers_good_offers().await;
    }
}
