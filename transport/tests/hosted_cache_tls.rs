//! The TLS port of a running hosted cache: what else than TLS comes to it, and how its certificate is renewed.
#![allow(clippy::unwrap_used)]

mod hosted_cache_support;
mod retrieval_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use hosted_cache_support::{
    Authority, Files, HostedCache, INTERESTED, batched_offer, connect, connect_from, connect_tls, initial_offer, post,
};
use peerdist_protocol::hosted_cache::Version;
use peerdist_transport::hosted_cache::{Certificate, CertificateError, CertificateFault};
use peerdist_transport::retrieval::server::ServerLimits;
use rcgen::KeyPair;
use retrieval_support::{FOREVER, Raw, SHORT};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The certificate that the server shows now.
async fn shown(cache: &HostedCache) -> CertificateDer<'static> {
    let raw = cache.connect_tls().await;
    raw.0.get_ref().1.peer_certificates().unwrap()[0].clone()
}

mod strangers {
    use super::*;

    /// A ClientHello that openssl begins with, cut off where it stops to say anything new.
    const CLIENT_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];

    #[tokio::test]
    async fn junk_ends_the_connection_and_is_counted() {
        let cache = HostedCache::start().await;
        let plain = post(Version::V1, &initial_offer().emit());
        let record = [0x17, 0x03, 0x03, 0xff, 0xff].repeat(20_000);
        let huge_handshake = [&[0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0xff, 0xff, 0xff][..], &[0; 65_536]].concat();
        let junk = [&plain[..], &record, &huge_handshake, &[0xff; 100_000], b"\r\n\r\n", b"\0"];
        for (sent, bytes) in (1..).zip(junk) {
            let mut raw = connect(cache.tls).await;
            let _ = raw.0.write_all(bytes).await;
            let _ = raw.0.shutdown().await;
            // An alert may come before the end.
            let mut answer = Vec::new();
            let _ = timeout(FOREVER, raw.0.read_to_end(&mut answer)).await.unwrap();
            assert!(answer.is_empty() || answer[0] == 0x15, "{answer:?}");
            cache.until(|counters| counters.tls_failures == sent && counters.open_connections == 0).await;
        }
        assert_eq!(cache.server.counters().requests, 0);
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn half_open_and_slow_handshakes_end_in_time() {
        let cache = HostedCache::with(ServerLimits { handshake_time: 5 * SHORT, ..ServerLimits::default() }).await;
        let mut silent = connect(cache.tls).await;
        let mut stopped = connect(cache.tls).await;
        stopped.send(CLIENT_HELLO).await;
        let mut slow = connect(cache.tls).await;
        let dripping = async {
            for byte in CLIENT_HELLO.iter().chain(&[0; 400]) {
                if slow.0.write_all(&[*byte]).await.is_err() {
                    break;
                }
                if timeout(SHORT / 8, slow.0.read(&mut [0])).await.is_ok() {
                    break;
                }
            }
        };
        timeout(FOREVER, dripping).await.unwrap();
        assert!(silent.is_closed().await);
        assert!(stopped.is_closed().await);
        cache.until(|counters| counters.open_connections == 0).await;
        let counters = cache.server.counters();
        assert_eq!((counters.timed_out, counters.tls_failures), ([("handshake", 3)].into(), 0));
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn a_connection_without_a_request_ends_in_time() {
        let cache = HostedCache::with(ServerLimits { header_time: 5 * SHORT, ..ServerLimits::default() }).await;
        let mut raw = cache.connect_tls().await;
        assert!(raw.is_closed().await);
        cache.until(|counters| counters.timed_out == [("header", 1)].into()).await;
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn clients_that_do_not_trust_the_certificate_are_counted() {
        let cache = HostedCache::start().await;
        let other = Authority::new();
        let error = connect_tls(cache.tls, &other.pem).await.unwrap_err();
        assert!(error.to_string().starts_with("invalid peer certificate"), "{error}");
        cache.until(|counters| counters.tls_failures == 1 && counters.open_connections == 0).await;
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn handshakes_count_among_the_connections_of_their_source() {
        let limits = ServerLimits { connections_per_source: 2, handshake_time: FOREVER, ..ServerLimits::default() };
        let cache = HostedCache::with(limits).await;
        let first = connect(cache.tls).await;
        let second = connect(cache.tls).await;
        cache.until(|counters| counters.open_connections == 2).await;
        assert!(connect(cache.tls).await.is_closed().await);
        assert!(connect(cache.shared).await.is_closed().await);
        assert_eq!(cache.server.counters().connections_over_source_limit, 2);
        drop((first, second));
        cache.until(|counters| counters.open_connections == 0).await;
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn half_handshakes_leave_places_for_others_and_half_of_all_for_retrieval() {
        let limits = ServerLimits {
            connections: 6,
            handshakes_per_source: 2,
            handshake_time: FOREVER,
            header_time: FOREVER,
            ..ServerLimits::default()
        };
        let cache = HostedCache::with(limits).await;
        let half = [connect(cache.tls).await, connect(cache.tls).await];
        cache.until(|counters| counters.open_connections == 2).await;
        assert!(connect(cache.tls).await.is_closed().await);
        assert_eq!(cache.server.counters().connections_over_source_limit, 1);
        // Handshakes of others have a bound of their own, and what has ended makes room.
        let other = connect_from([127, 0, 0, 2], cache.tls).await;
        cache.until(|counters| counters.open_connections == 3).await;
        drop((half, other));
        cache.until(|counters| counters.open_connections == 0).await;
        // What is past the handshake leaves the bound of handshakes, and takes half of the connections.
        let mut sessions = Vec::new();
        for _ in 0..3 {
            let mut raw = cache.connect_tls().await;
            raw.send(&post(Version::V1, &initial_offer().emit())).await;
            assert_eq!(raw.receive().await.unwrap().body, INTERESTED);
            sessions.push(raw);
        }
        assert!(connect(cache.tls).await.is_closed().await);
        assert!(connect(cache.plain).await.is_closed().await);
        assert_eq!(cache.server.counters().connections_over_limit, 2);
        let mut raw = connect(cache.shared).await;
        raw.send(&post(Version::V2, &batched_offer().emit())).await;
        assert_eq!(raw.receive().await.unwrap().status(), 200);
        drop(sessions);
        cache.until(|counters| counters.open_connections == 1).await;
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn half_handshakes_of_many_addresses_keep_nobody_out() {
        // What is full first: the places of handshakes, or those of all connections for offers.
        for (handshakes, connections) in [(64, 512), (512, 128)] {
            let limits = ServerLimits {
                connections,
                handshakes,
                handshakes_per_source: 8,
                handshake_time: FOREVER,
                ..ServerLimits::default()
            };
            let cache = HostedCache::with(limits).await;
            let mut half = Vec::new();
            for host in 1..=20 {
                for _ in 0..10 {
                    half.push(connect_from([127, 0, 0, 1 + host], cache.tls).await);
                }
            }
            cache.until(|counters| counters.connections_over_source_limit >= 40).await;
            cache.until(|counters| counters.open_connections == 64).await;
            let started = Instant::now();
            cache.answers_good_offers().await;
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
            assert!(half[0].is_closed().await, "the oldest one ended");
            assert!(cache.server.counters().connections_over_limit >= 97);
        }
    }

    #[tokio::test]
    async fn junk_inside_tls_ends_the_connection() {
        let cache = HostedCache::start().await;
        let mut raw = cache.connect_tls().await;
        raw.send(b"\x00\x01\x02 this is not HTTP\r\n\r\n").await;
        let answer = raw.receive().await;
        assert!(answer.is_none_or(|message| message.status() == 400));
        assert!(raw.is_closed().await);
        cache.until(|counters| counters.bad_http == 1 && counters.open_connections == 0).await;
        cache.answers_good_offers().await;
    }

    #[tokio::test]
    async fn a_client_may_leave_without_a_word_between_offers() {
        let cache = HostedCache::start().await;
        let mut raw = cache.connect_tls().await;
        raw.send(&post(Version::V1, &initial_offer().emit())).await;
        assert_eq!(raw.receive().await.unwrap().body, INTERESTED);
        // The TCP connection ends without close_notify.
        drop(raw);
        cache.until(|counters| counters.open_connections == 0).await;
        let counters = cache.server.counters();
        assert_eq!((counters.broken_off, counters.bad_http, counters.tls_failures), (0, 0, 0));
    }

    #[tokio::test]
    async fn the_server_stops_while_a_handshake_hangs() {
        let cache = HostedCache::with(ServerLimits { handshake_time: FOREVER, ..ServerLimits::default() }).await;
        let mut hanging = connect(cache.tls).await;
        hanging.send(CLIENT_HELLO).await;
        cache.until(|counters| counters.open_connections == 1).await;
        cache.stop.send(()).unwrap();
        timeout(ServerLimits::default().shutdown_time, cache.task).await.unwrap().unwrap();
        assert!(hanging.is_closed().await);
    }

    #[tokio::test]
    async fn openssl_sees_the_chain_and_gets_its_offer_answered() {
        let cache = HostedCache::start().await;
        let trusted = cache.files.path("authority.pem");
        fs::write(&trusted, &cache.authority.pem).unwrap();
        // The second takes an ECDSA certificate, and is what the oldest clients with TLS 1.2 and GCM may have alone.
        let oldest = ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "-groups", "P-256"];
        for protocol in [&["-tls1_2"][..], &oldest, &["-tls1_3"]] {
            let mut openssl = tokio::process::Command::new("openssl")
                .args(["s_client", "-quiet", "-no_ign_eof", "-verify_return_error", "-verify_hostname", "localhost"])
                .args(protocol)
                .args(["-connect", &cache.tls.to_string(), "-CAfile"])
                .arg(&trusted)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let mut stdin = openssl.stdin.take().unwrap();
            stdin.write_all(&post(Version::V1, &initial_offer().emit())).await.unwrap();
            let mut answer = [0; 100];
            let mut read = 0;
            let mut stdout = openssl.stdout.take().unwrap();
            timeout(FOREVER, async {
                while !answer[..read].ends_with(INTERESTED) {
                    let more = stdout.read(&mut answer[read..]).await.unwrap();
                    assert!(more > 0, "{}", String::from_utf8_lossy(&answer[..read]));
                    read += more;
                }
            })
            .await
            .unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
    }

    #[tokio::test]
    async fn versions_of_tls_before_1_2_are_refused() {
        let cache = HostedCache::start().await;
        let mut old = tokio::process::Command::new("openssl")
            .args(["s_client", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-connect", &cache.tls.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        assert!(!timeout(FOREVER, old.wait()).await.unwrap().unwrap().success());
        cache.until(|counters| counters.tls_failures == 1).await;
        cache.answers_good_offers().await;
    }
}

mod certificates {
    use super::*;

    #[tokio::test]
    async fn a_renewed_certificate_is_shown_without_a_restart() {
        let cache = HostedCache::start().await;
        let mut open = cache.connect_tls().await;
        let old = shown(&cache).await;
        let renewed = cache.authority.issue(&["localhost"]);
        assert_ne!(old, renewed.certificate());
        // Between the two files the old certificate stays, since the key is not the new one's.
        cache.files.replace("chain.pem", &renewed.chain);
        timeout(FOREVER, async {
            let mut handshakes = 0;
            // Long enough for the server to have looked at the files.
            while handshakes < 15 {
                assert_eq!(shown(&cache).await, old);
                handshakes += 1;
                sleep(Duration::from_millis(100)).await;
            }
            cache.files.replace("key.pem", &renewed.key);
            while shown(&cache).await != renewed.certificate() {
                sleep(Duration::from_millis(100)).await;
            }
        })
        .await
        .unwrap();
        cache.answers_good_offers().await;
        // A connection that was there before goes on.
        open.send(&post(Version::V1, &initial_offer().emit())).await;
        assert_eq!(open.receive().await.unwrap().body, INTERESTED);
    }

    /// What loading these two files fails with.
    fn failure(chain: &str, key: &str) -> (CertificateError, Files) {
        let good = Authority::new().issue(&["localhost"]);
        let files = Files::of(&good);
        files.replace("chain.pem", chain);
        files.replace("key.pem", key);
        let failure = Certificate::load(&files.path("chain.pem"), &files.path("key.pem")).unwrap_err();
        (failure, files)
    }

    #[test]
    fn each_fault_names_its_file_and_no_key() {
        let good = Authority::new().issue(&["localhost"]);
        let other = Authority::new().issue(&["localhost"]);
        let secret = good.key.lines().nth(1).unwrap();
        let broken_base64 = good.key.replace(secret, &format!("{secret}*"));
        let broken_start = good.key.replacen("-----BEGIN PRIVATE KEY-----", &format!("-----BEGIN {secret}"), 1);
        let cut_off = good.key.replace("-----END PRIVATE KEY-----", "");
        let encrypted = good.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let not_a_key = good.chain.replace("CERTIFICATE", "PRIVATE KEY");
        let not_a_certificate = good.key.replace("PRIVATE KEY", "CERTIFICATE");
        let cases = [
            ("", &*good.key, "chain.pem: no certificate in it"),
            ("some text", &good.key, "chain.pem: no certificate in it"),
            (&good.key, &good.key, "chain.pem: no certificate in it"),
            (&not_a_certificate, &good.key, "chain.pem: invalid peer certificate: BadEncoding"),
            (&good.chain, "", "key.pem: no private key in it, or one that is encrypted"),
            (&good.chain, &good.chain, "key.pem: no private key in it, or one that is encrypted"),
            (&good.chain, &encrypted, "key.pem: no private key in it, or one that is encrypted"),
            (&good.chain, &broken_base64, "key.pem: a PEM section is not base64"),
            (&good.chain, &broken_start, "key.pem: a PEM section does not begin as it should"),
            (&good.chain, &cut_off, "key.pem: a PEM section does not end"),
            (&good.chain, &not_a_key, "key.pem: "),
            (&good.chain, &other.key, "does not belong to the first certificate in"),
        ];
        for (chain, key, expected) in cases {
            let (error, _files) = failure(chain, key);
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains(&secret[..16]), "{text}");
            }
            assert!(error.to_string().contains(expected), "{error} instead of {expected}");
        }
    }

    #[test]
    fn a_missing_file_and_a_key_that_everybody_can_read_are_refused() {
        let files = Files::of(&Authority::new().issue(&["localhost"]));
        let [chain, key, missing] = ["chain.pem", "key.pem", "missing.pem"].map(|name| files.path(name));
        for (chain, key) in [(&chain, &missing), (&missing, &key)] {
            let error = Certificate::load(chain, key).unwrap_err();
            assert!(matches!(&error, CertificateError::Read { path, .. } if *path == missing), "{error}");
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Certificate::load(&chain, &key).unwrap_err();
        assert!(matches!(error, CertificateError::Readable { mode: 0o644, .. }), "{error}");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        Certificate::load(&chain, &key).unwrap();
        fs::write(&chain, vec![b'\n'; 5 << 20]).unwrap();
        let error = Certificate::load(&chain, &key).unwrap_err();
        assert!(error.to_string().contains("larger than any PEM file"), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let files = Files::of(&Authority::new().issue(&["localhost"]));
        let [chain, key, fifo] = ["chain.pem", "key.pem", "fifo"].map(|name| files.path(name));
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for (chain, key) in [(&chain, &fifo), (&fifo, &key), (&files.path("."), &key)] {
            let (done, waiting) = std::sync::mpsc::channel();
            let [chain, key] = [chain, key].map(Clone::clone);
            std::thread::spawn(move || done.send(Certificate::load(&chain, &key).unwrap_err().to_string()));
            let error = waiting.recv_timeout(FOREVER).unwrap();
            assert!(error.ends_with(": not a regular file"), "{error}");
        }
    }

    #[test]
    fn keys_of_every_usual_kind_and_form_are_understood() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let chain = rcgen::CertificateParams::new(["hc.example".to_owned()]).unwrap().self_signed(&key).unwrap();
            let identity = hosted_cache_support::Identity { chain: chain.pem(), key: key.serialize_pem() };
            let is_ecdsa = algorithm != &rcgen::PKCS_ED25519;
            assert_eq!(Files::of(&identity).load().faults(SystemTime::now()).is_empty(), is_ecdsa);
        }
        // As administrators make them: RSA, in the older form of the key's file as well.
        let files = Files::of(&Authority::new().issue(&["localhost"]));
        let [chain, key, older] = ["chain.pem", "key.pem", "older.pem"].map(|name| files.path(name));
        let openssl = |arguments: &[&str]| {
            let run = std::process::Command::new("openssl").args(arguments).current_dir(files.path(".")).output();
            let output = run.unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=hc.example",
            "-addext",
            "subjectAltName=DNS:hc.example",
            "-keyout",
            "key.pem",
            "-out",
            "chain.pem",
        ]);
        let faults = Certificate::load(&chain, &key).unwrap().faults(SystemTime::now());
        assert_eq!(faults, [CertificateFault::NotForWindows7]);
        openssl(&["rsa", "-traditional", "-in", "key.pem", "-out", "older.pem"]);
        assert!(fs::read_to_string(&older).unwrap().contains("BEGIN RSA PRIVATE KEY"));
        fs::set_permissions(&older, fs::Permissions::from_mode(0o600)).unwrap();
        Certificate::load(&chain, &older).unwrap();
    }
}

#[tokio::test]
async fn the_plain_ports_do_not_speak_tls() {
    let cache = HostedCache::start().await;
    for address in [cache.shared, cache.plain, cache.retrieval] {
        assert!(connect_tls(address, &cache.authority.pem).await.is_err());
    }
    cache.until(|counters| counters.bad_http == 3).await;
    let mut raw: Raw<TcpStream> = connect(cache.shared).await;
    raw.send(&post(Version::V2, &batched_offer().emit())).await;
    assert_eq!(raw.receive().await.unwrap().status(), 200);
}
