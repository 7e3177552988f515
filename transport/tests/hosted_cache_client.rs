//! Offers from our client: to a running hosted cache, and to servers that do what they should not.
#![allow(clippy::unwrap_used)]

mod hosted_cache_support;
mod retrieval_support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hosted_cache_support::{
    Authority, Files, HostedCache, INTERESTED, Identity, OK, batched_offer, bind, initial_offer, segment_info, vectors,
};
use peerdist_protocol::hosted_cache::{Offer, Response, Version};
use peerdist_transport::hosted_cache::{CertificateError, OfferClient, SendError, TlsFault};
use peerdist_transport::retrieval::server::{Listener, Server, ServerLimits};
use retrieval_support::{FOREVER, Memory, Message, Peer, Raw, SHORT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, advance, pause, resume, timeout};

/// A client that trusts one authority.
fn trusting(authority: &Authority) -> (OfferClient, Files) {
    let files = Files::of(&authority.issue(&["unused"]));
    files.replace("trust.pem", &authority.pem);
    (OfferClient::new(Some(&files.path("trust.pem")), Vec::new()).unwrap(), files)
}

/// A client of version 2.0, which needs no trust.
fn plain() -> OfferClient {
    OfferClient::new(None, Vec::new()).unwrap()
}

async fn offer_to(client: &OfferClient, peer: &Peer, offer: &Offer) -> Result<Response, SendError> {
    timeout(FOREVER, client.offer("127.0.0.1", peer.address.port(), offer)).await.unwrap()
}

/// An answer with status 200 and this body.
fn ok(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// A peer that answers each connection with its own bytes in turn, as long as the connection lasts, the last for good.
async fn answering(answers: Vec<Vec<u8>>) -> Peer {
    let answers = Arc::new(answers);
    Peer::start(move |number, mut raw| {
        let answers = Arc::clone(&answers);
        async move {
            let answer = answers.get(number).or(answers.last()).unwrap();
            while raw.receive().await.is_some() {
                raw.send(answer).await;
            }
        }
    })
    .await
}

mod answered {
    use super::*;

    #[tokio::test]
    async fn offers_of_both_versions_reach_a_hosted_cache_by_name_and_by_address() {
        let cache = HostedCache::start().await;
        let (client, _files) = trusting(&cache.authority);
        for server in ["localhost", "LOCALHOST", "127.0.0.1"] {
            for (offer, port, response) in [
                (initial_offer(), cache.tls.port(), Response::Interested),
                (segment_info(), cache.tls.port(), Response::Ok),
                (batched_offer(), cache.shared.port(), Response::Ok),
            ] {
                assert_eq!(client.offer(server, port, &offer).await.unwrap(), response, "{server}");
                assert_eq!(cache.take_offered().remove(0).1, offer);
            }
        }
        let counters = cache.server.counters();
        assert_eq!(counters.offers, [(Version::V1, 6), (Version::V2, 3)].into());
        // One connection for each name and port: INITIAL_OFFER and SEGMENT_INFO share theirs.
        assert_eq!((counters.connections, counters.tls_failures), (6, 0));
    }

    #[tokio::test]
    async fn an_offer_leaves_from_the_address_that_it_is_told_where_that_can_be() {
        let cache = HostedCache::start().await;
        let [v4, v6] = ["127.0.0.7", "::1"].map(|own| own.parse().unwrap());
        for (from, own) in [(vec![v6, v4], "127.0.0.7"), (vec![v6], "127.0.0.1")] {
            let client = OfferClient::new(None, from).unwrap();
            client.offer("127.0.0.1", cache.shared.port(), &batched_offer()).await.unwrap();
            assert_eq!(cache.take_offered().remove(0).0.ip().to_string(), own);
        }
    }

    #[tokio::test]
    async fn an_offer_is_one_plain_post() {
        let (seen, mut requests) = mpsc::unbounded_channel::<Message>();
        let peer = Peer::start(move |_, mut raw| {
            let seen = seen.clone();
            async move {
                while let Some(message) = raw.receive().await {
                    seen.send(message).unwrap();
                    raw.send(&ok(OK)).await;
                }
            }
        })
        .await;
        let client = plain();
        for _ in 0..3 {
            assert_eq!(offer_to(&client, &peer, &batched_offer()).await.unwrap(), Response::Ok);
            let message = requests.recv().await.unwrap();
            let length = batched_offer().emit().len();
            assert_eq!(message.lines[0], format!("POST {} HTTP/1.1", Version::V2.path()));
            let mut headers = message.lines[1..].to_vec();
            headers.sort();
            assert_eq!(headers, [format!("Content-Length: {length}"), format!("Host: {}", peer.address)]);
            assert_eq!(message.body, batched_offer().emit());
        }
        assert_eq!(peer.count(), 1, "the connection is kept");
    }

    #[tokio::test]
    async fn ok_and_interested_are_told_apart_however_they_come() {
        let chunked = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", INTERESTED, b"\r\n0\r\n\r\n"];
        let peer = answering(vec![ok(INTERESTED)]).await;
        assert_eq!(offer_to(&plain(), &peer, &batched_offer()).await.unwrap(), Response::Interested);
        let peer = answering(vec![chunked.concat()]).await;
        assert_eq!(offer_to(&plain(), &peer, &batched_offer()).await.unwrap(), Response::Interested);
        // An old server that ends its answer by closing.
        let until_close = [b"HTTP/1.0 200 OK\r\n\r\n", OK].concat();
        let peer = Peer::answering(until_close, true).await;
        let client = plain();
        assert_eq!(offer_to(&client, &peer, &batched_offer()).await.unwrap(), Response::Ok);
        assert_eq!(offer_to(&client, &peer, &batched_offer()).await.unwrap(), Response::Ok);
        assert_eq!(peer.count(), 2);
    }

    #[tokio::test]
    async fn an_offer_over_a_kept_connection_that_is_closed_goes_over_a_new_one() {
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        // Each connection answers one offer, and closes when it sees the beginning of the next.
        let peer = Peer::start(move |_, mut raw| {
            let opened = Arc::clone(&opened);
            async move {
                raw.receive().await.unwrap();
                raw.send(&ok(OK)).await;
                opened.add_permits(1);
                raw.0.read_exact(&mut [0; 4]).await.unwrap();
            }
        })
        .await;
        let client = plain();
        for _ in 0..3 {
            assert_eq!(offer_to(&client, &peer, &batched_offer()).await.unwrap(), Response::Ok);
            gate.acquire().await.unwrap().forget();
        }
        assert_eq!(peer.count(), 3);
    }

    #[tokio::test]
    async fn offers_to_one_server_at_once_are_all_answered() {
        let cache = HostedCache::start().await;
        let (client, _files) = trusting(&cache.authority);
        let mut offers = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (client, port) = (client.clone(), cache.tls.port());
            offers.spawn(async move { client.offer("localhost", port, &initial_offer()).await });
        }
        for result in offers.join_all().await {
            assert_eq!(result.unwrap(), Response::Interested);
        }
        assert_eq!(cache.take_offered().len(), 20);
    }
}

mod refused {
    use super::*;

    #[tokio::test]
    async fn a_401_is_told_as_what_it_is() {
        // The sample of the system document, on which a client would authenticate.
        let body = "<html>Not Authorized</html>";
        let unauthorized = format!(
            "HTTP/1.1 401 Unauthorized\r\nServer: Microsoft-HTTPAPI/2.0\r\nContent-Type: text/html\r\n\
             WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let peer = answering(vec![unauthorized.into_bytes(), ok(OK)]).await;
        let client = plain();
        let error = offer_to(&client, &peer, &batched_offer()).await.unwrap_err();
        let SendError::Unauthorized { schemes } = &error else { panic!("{error}") };
        assert_eq!(schemes, &["Negotiate", "NTLM"]);
        assert!(error.to_string().contains("demands authentication (Negotiate, NTLM)"), "{error}");
        // Nothing was sent again; the next offer goes out as ever.
        assert_eq!(peer.count(), 1);
        assert_eq!(offer_to(&client, &peer, &batched_offer()).await.unwrap(), Response::Ok);
    }

    #[tokio::test]
    async fn other_statuses_are_errors_and_no_redirect_is_followed() {
        let target = answering(vec![ok(OK)]).await;
        let redirect = format!(
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}{}\r\nContent-Length: 0\r\n\r\n",
            target.address,
            Version::V2.path()
        );
        let not_found = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned();
        let no_content = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
        for (answer, status) in [(redirect, 307), (not_found, 404), (no_content, 204)] {
            let peer = answering(vec![answer.into_bytes()]).await;
            let error = offer_to(&plain(), &peer, &batched_offer()).await.unwrap_err();
            assert!(matches!(error, SendError::Status(found) if found == status), "{error}");
        }
        assert_eq!(target.count(), 0);
    }

    #[tokio::test]
    async fn a_malformed_response_is_dropped_with_its_connection() {
        let bad = vectors("neg_response").into_iter().map(|vector| vector.bytes);
        let others =
            [&b""[..], b"\0", &[OK, b"\0"].concat(), &[OK, OK].concat(), b"<html>"].map(Bytes::copy_from_slice);
        for body in bad.chain(others) {
            let peer = answering(vec![ok(&body), ok(OK)]).await;
            let client = plain();
            let error = offer_to(&client, &peer, &batched_offer()).await.unwrap_err();
            assert!(matches!(error, SendError::Response(_)), "{body:?}: {error}");
            assert_eq!(offer_to(&client, &peer, &batched_offer()).await.unwrap(), Response::Ok);
            assert_eq!(peer.count(), 2);
        }
    }

    #[tokio::test]
    async fn an_answer_is_bounded() {
        // It never ends; only what is bounded is read.
        let endless = Peer::start(|_, mut raw| async move {
            raw.receive().await.unwrap();
            raw.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            while raw.0.write_all(b"100\r\n").await.is_ok() && raw.0.write_all(&[0; 258]).await.is_ok() {}
        })
        .await;
        let error = offer_to(&plain(), &endless, &batched_offer()).await.unwrap_err();
        assert!(matches!(error, SendError::TooLarge { .. } | SendError::Http(_)), "{error}");
        let announced = answering(vec![ok(&[0; 1025])]).await;
        let error = offer_to(&plain(), &announced, &batched_offer()).await.unwrap_err();
        assert!(matches!(error, SendError::TooLarge { limit: 1024, .. }), "{error}");
        let headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(20_000));
        let endless_headers = answering(vec![headers.into_bytes()]).await;
        let error = offer_to(&plain(), &endless_headers, &batched_offer()).await.unwrap_err();
        assert!(matches!(error, SendError::Http(_)), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_breaks_off_or_speaks_no_http_is_told_so() {
        let cut_off = ok(OK)[..ok(OK).len() - 1].to_vec();
        for answer in [b"".to_vec(), b"SSH-2.0-x\r\n\r\n".to_vec(), b"HTTP/1.1 2".to_vec(), cut_off] {
            let peer = Peer::answering(answer, true).await;
            let error = offer_to(&plain(), &peer, &batched_offer()).await.unwrap_err();
            assert!(matches!(error, SendError::Http(_)), "{error}");
            assert_eq!(peer.count(), 1, "an offer is not sent again over a new connection");
        }
    }

    #[tokio::test]
    async fn who_is_not_there_is_told_from_who_has_no_name() {
        let (address, socket) = bind().await;
        drop(socket);
        let error = plain().offer("127.0.0.1", address.port(), &batched_offer()).await.unwrap_err();
        assert!(matches!(error, SendError::Unreachable(_)), "{error}");
        let error = plain().offer("localhost", address.port(), &batched_offer()).await.unwrap_err();
        assert!(matches!(error, SendError::Unreachable(_)), "{error}");
        // No resolver needs to be asked about a label that is too long.
        let error = plain().offer(&"a".repeat(64), 80, &batched_offer()).await.unwrap_err();
        assert!(matches!(error, SendError::Name(_)), "{error}");
    }
}

#[tokio::test]
async fn interim_responses_without_end_are_the_servers_fault_and_soon_over() {
    let peer = Peer::start(move |_, mut raw| async move {
        raw.receive().await.unwrap();
        while raw.0.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)).await.is_ok() {}
    })
    .await;
    let error = offer_to(&plain(), &peer, &batched_offer()).await.unwrap_err();
    assert_eq!(error.to_string(), "the hosted cache's answer exceeds 16 interim responses");
    let few = answering(vec![[b"HTTP/1.1 100 Continue\r\n\r\n".repeat(16), ok(OK)].concat()]).await;
    assert_eq!(offer_to(&plain(), &few, &batched_offer()).await.unwrap(), Response::Ok);
}

mod trust {
    use super::*;

    /// A hosted cache with this certificate.
    async fn with(identity: &Identity) -> u16 {
        let (address, socket) = bind().await;
        let listeners = vec![Listener::offers_over_tls(socket, Files::of(identity).load())];
        let offers = Arc::new(|_, _| Response::Ok);
        let server = Server::with_offers(Arc::new(Memory::small()), ServerLimits::default(), offers);
        tokio::spawn(async move { server.serve(listeners, std::future::pending()).await });
        address.port()
    }

    async fn fault(client: &OfferClient, server: &str, port: u16) -> TlsFault {
        let error = client.offer(server, port, &initial_offer()).await.unwrap_err();
        let SendError::Tls { fault, .. } = error else { panic!("{error}") };
        assert!(error.to_string().len() > fault.to_string().len() + 2, "it says more: {error}");
        fault
    }

    #[tokio::test]
    async fn only_a_certificate_of_the_configured_authority_for_the_configured_name_is_trusted() {
        let authority = Authority::new();
        let (client, _files) = trusting(&authority);
        let port = with(&authority.issue(&["localhost"])).await;
        assert_eq!(client.offer("localhost", port, &initial_offer()).await.unwrap(), Response::Ok);
        assert_eq!(fault(&client, "127.0.0.1", port).await, TlsFault::WrongName);
        let port = with(&authority.issue(&["127.0.0.1"])).await;
        assert_eq!(client.offer("127.0.0.1", port, &initial_offer()).await.unwrap(), Response::Ok);
        assert_eq!(fault(&client, "localhost", port).await, TlsFault::WrongName);
        let port = with(&authority.issue(&["other.example"])).await;
        assert_eq!(fault(&client, "localhost", port).await, TlsFault::WrongName);
        let port = with(&Authority::new().issue(&["localhost"])).await;
        assert_eq!(fault(&client, "localhost", port).await, TlsFault::NotTrusted);
        let old = authority.issue_with(&["localhost"], |params| {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        });
        let port = with(&old).await;
        assert_eq!(fault(&client, "localhost", port).await, TlsFault::NotTrusted);
        // What the system trusts is no authority of a test.
        let port = with(&authority.issue(&["localhost"])).await;
        assert_eq!(fault(&plain(), "localhost", port).await, TlsFault::NotTrusted);
    }

    #[tokio::test]
    async fn a_certificate_that_signed_itself_is_trusted_where_it_is_the_configured_one() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let identity = Identity { chain: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() };
        let files = Files::of(&identity);
        let client = OfferClient::new(Some(&files.path("chain.pem")), Vec::new()).unwrap();
        let port = with(&identity).await;
        assert_eq!(client.offer("localhost", port, &initial_offer()).await.unwrap(), Response::Ok);
    }

    #[tokio::test]
    async fn a_port_that_does_not_speak_tls_is_told_so() {
        let cache = HostedCache::start().await;
        let (client, _files) = trusting(&cache.authority);
        assert_eq!(fault(&client, "localhost", cache.shared.port()).await, TlsFault::Other);
        let closing = Peer::start(|_, _| async {}).await;
        assert_eq!(fault(&client, "localhost", closing.address.port()).await, TlsFault::Other);
        // And the other way round.
        let error = client.offer("localhost", cache.tls.port(), &batched_offer()).await.unwrap_err();
        assert!(matches!(error, SendError::Http(_)), "{error}");
        assert_eq!(cache.take_offered(), []);
    }

    #[test]
    fn a_file_without_certificates_is_refused_at_once() {
        let files = Files::of(&Authority::new().issue(&["localhost"]));
        let error = OfferClient::new(Some(&files.path("missing.pem")), Vec::new()).unwrap_err();
        assert!(matches!(error, CertificateError::Read { .. }), "{error}");
        let error = OfferClient::new(Some(&files.path("key.pem")), Vec::new()).unwrap_err();
        assert!(error.to_string().ends_with("key.pem: no certificate in it"), "{error}");
    }
}

mod timer {
    use super::*;

    /// A peer that reports its requests, and answers once it may.
    async fn silent() -> (Peer, mpsc::UnboundedReceiver<usize>, Arc<Semaphore>) {
        let (seen, requests) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let opened = Arc::clone(&gate);
        let peer = Peer::start(move |number, mut raw: Raw| {
            let (seen, opened) = (seen.clone(), Arc::clone(&opened));
            async move {
                raw.receive().await.unwrap();
                seen.send(number).unwrap();
                opened.acquire().await.unwrap().forget();
                let _ = raw.0.write_all(&ok(INTERESTED)).await;
                let _ = raw.0.read(&mut [0]).await;
                seen.send(number).unwrap();
            }
        })
        .await;
        (peer, requests, gate)
    }

    /// Lets so many seconds pass at once, and then time go on as ever.
    async fn seconds_later(seconds: u64) {
        pause();
        advance(Duration::from_secs(seconds)).await;
        resume();
    }

    #[tokio::test]
    async fn an_offer_expires_with_the_third_tick_after_it() {
        let (peer, mut requests, _gate) = silent().await;
        let client = plain();
        let start = Instant::now();
        let send = || {
            let (client, port) = (client.clone(), peer.address.port());
            tokio::spawn(async move {
                let error = client.offer("127.0.0.1", port, &batched_offer()).await.unwrap_err();
                assert!(matches!(error, SendError::TimedOut), "{error}");
                start.elapsed()
            })
        };
        // The timer ticks every five seconds after the first offer: at 5, 10, 15 and 20.
        let first = send();
        requests.recv().await.unwrap();
        seconds_later(2).await;
        let second = send();
        requests.recv().await.unwrap();
        seconds_later(5).await;
        let third = send();
        requests.recv().await.unwrap();
        pause();
        let [first, second, third] = [first.await, second.await, third.await].map(Result::unwrap);
        let about = |seconds, passed: Duration| {
            assert!((seconds..=seconds + 1).contains(&passed.as_secs()), "{passed:?} instead of {seconds} s");
        };
        about(15, first);
        about(15, second);
        about(20, third);
    }

    #[tokio::test]
    async fn the_timer_starts_anew_once_nothing_is_outstanding() {
        let (peer, mut requests, gate) = silent().await;
        let client = plain();
        gate.add_permits(1);
        assert_eq!(offer_to(&client, &peer, &batched_offer()).await.unwrap(), Response::Interested);
        requests.recv().await.unwrap();
        // Were the first offer's timer still running, the next one would expire at its third tick, after 11 seconds.
        seconds_later(4).await;
        let start = Instant::now();
        let next = tokio::spawn(async move {
            let result = client.offer("127.0.0.1", peer.address.port(), &batched_offer()).await;
            drop(peer);
            (result, start.elapsed())
        });
        while requests.recv().await.unwrap() == 0 {}
        pause();
        let (result, passed) = next.await.unwrap();
        assert!(matches!(result, Err(SendError::TimedOut)));
        assert!((15..=16).contains(&passed.as_secs()), "{passed:?}");
    }

    #[tokio::test]
    async fn a_late_response_is_not_taken_for_the_next_offers() {
        let (peer, mut requests, gate) = silent().await;
        let client = plain();
        let late = tokio::spawn({
            let (client, port) = (client.clone(), peer.address.port());
            async move { client.offer("127.0.0.1", port, &batched_offer()).await }
        });
        assert_eq!(requests.recv().await.unwrap(), 0);
        seconds_later(15).await;
        assert!(matches!(late.await.unwrap(), Err(SendError::TimedOut)));
        // The answer comes now, to a connection that is closed.
        gate.add_permits(1);
        assert_eq!(requests.recv().await.unwrap(), 0);
        let next = tokio::spawn({
            let (client, port) = (client.clone(), peer.address.port());
            async move { client.offer("127.0.0.1", port, &batched_offer()).await }
        });
        assert_eq!(requests.recv().await.unwrap(), 1, "it goes over another connection");
        assert!(
            timeout(SHORT, async {
                while !next.is_finished() {
                    tokio::task::yield_now().await
                }
            })
            .await
            .is_err()
        );
        gate.add_permits(1);
        assert_eq!(next.await.unwrap().unwrap(), Response::Interested);
    }

    #[tokio::test]
    async fn an_answer_that_stops_in_the_middle_expires_too() {
        let (seen, mut requests) = mpsc::unbounded_channel();
        let peer = Peer::start(move |_, mut raw| {
            let seen = seen.clone();
            async move {
                raw.receive().await.unwrap();
                raw.send(&ok(OK)[..ok(OK).len() - 1]).await;
                seen.send(()).unwrap();
                let _ = raw.0.read(&mut [0]).await;
            }
        })
        .await;
        let offer = tokio::spawn(async move {
            let result = offer_to(&plain(), &peer, &batched_offer()).await;
            drop(peer);
            result
        });
        requests.recv().await.unwrap();
        seconds_later(15).await;
        assert!(matches!(offer.await.unwrap(), Err(SendError::TimedOut)));
    }

    #[tokio::test]
    async fn a_handshake_that_hangs_expires_too() {
        let (seen, mut connections) = mpsc::unbounded_channel();
        let peer = Peer::start(move |_, mut raw| {
            let seen = seen.clone();
            async move {
                let _ = raw.0.read(&mut [0]).await;
                seen.send(()).unwrap();
                let _ = raw.0.read_to_end(&mut Vec::new()).await;
            }
        })
        .await;
        let (client, _files) = trusting(&Authority::new());
        let port = peer.address.port();
        let offer = tokio::spawn(async move { client.offer("localhost", port, &initial_offer()).await });
        connections.recv().await.unwrap();
        seconds_later(15).await;
        assert!(matches!(offer.await.unwrap(), Err(SendError::TimedOut)));
    }
}
