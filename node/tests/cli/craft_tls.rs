//! `peerdist craft` and `peerdist replay` to a hosted cache that speaks TLS.

use std::future::pending;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use peerdist_protocol::hosted_cache::{Offer, Response};
use peerdist_transport::hosted_cache::{Certificate, Offers};
use peerdist_transport::retrieval::server::{Listener, Server, ServerLimits};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::craft::Nothing;
use crate::run::{Ran, peerdist};

const OFFER: &str = r#"{"message":"INITIAL_OFFER_MESSAGE","fields":{"CONNECTION_INFORMATION":{"Port":80},"Hash":"0707070707070707070707070707070707070707070707070707070707070707"}}"#;

/// A hosted cache of version 1.0 that wants everything.
struct HostedCache {
    authority: String,
    directory: TempDir,
    heard: Arc<Mutex<Vec<Offer>>>,
}

impl HostedCache {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (directory.path().join("chain.pem"), directory.path().join("key.pem"));
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        let heard: Arc<Mutex<Vec<Offer>>> = Arc::default();
        let offers: Offers = Arc::new({
            let heard = Arc::clone(&heard);
            move |_, offer| {
                let response = if matches!(offer, Offer::Initial(_)) { Response::Interested } else { Response::Ok };
                heard.lock().unwrap().push(offer);
                response
            }
        });
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = format!("localhost:{}", socket.local_addr().unwrap().port());
        let listener = Listener::offers_over_tls(socket, Certificate::load(&chain, &key).unwrap());
        let server = Server::with_offers(Arc::new(Nothing), ServerLimits::default(), offers);
        tokio::spawn(async move { server.serve(vec![listener], pending()).await });
        Self { authority, directory, heard }
    }

    fn chain(&self) -> String {
        self.directory.path().join("chain.pem").display().to_string()
    }

    async fn run(&self, words: &[&str]) -> Ran {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        tokio::task::spawn_blocking(move || peerdist(words)).await.unwrap()
    }

    /// An offer as craft reads it.
    fn offer(&self) -> String {
        let path = self.directory.path().join("offer.json");
        std::fs::write(&path, OFFER).unwrap();
        path.display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offer_of_version_1_is_sent_over_tls_and_its_answer_decoded() {
    let cache = HostedCache::start().await;
    let (offer, to, chain) = (cache.offer(), format!("https://{}", cache.authority), cache.chain());
    let said = cache.run(&["craft", &offer, "--send", &to, "--trust", &chain, "--json"]).await.json();
    // INTERESTED
    assert_eq!((&said["message"], &said["fields"]["ResponseCode"]), (&"RESPONSE_MESSAGE".into(), &1.into()));
    assert!(matches!(cache.heard.lock().unwrap()[..], [Offer::Initial(_)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_trust_or_with_another_name_gets_nothing() {
    let cache = HostedCache::start().await;
    let (offer, to, chain) = (cache.offer(), format!("https://{}", cache.authority), cache.chain());
    let said = cache.run(&["craft", &offer, "--send", &to]).await.error(9);
    assert!(said.contains("no TLS with 127.0.0.1:") && said.contains("UnknownIssuer"), "{said}");
    let other = to.replace("localhost", "127.0.0.1");
    let said = cache.run(&["craft", &offer, "--send", &other, "--trust", &chain]).await.error(9);
    assert!(said.contains("no TLS with 127.0.0.1:") && said.contains("not valid for name"), "{said}");
    let said = cache.run(&["craft", &offer, "--send", &to, "--trust", "/nowhere.pem"]).await.error(1);
    assert!(said.contains("/nowhere.pem"), "{said}");
    assert!(cache.heard.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_byte_by_byte_does_not_outlast_the_time_limit() {
    let cache = HostedCache::start().await;
    let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = format!("https://{}", slow.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = slow.accept().await.unwrap();
        // A record of TLS that is long.
        let mut written = stream.write_all(&[0x16, 3, 3, 0x40, 0]).await;
        while written.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            written = stream.write_all(&[0]).await;
        }
    });
    let began = Instant::now();
    let words = ["craft", &cache.offer(), "--send", &to, "--trust", &cache.chain(), "--timeout", "0.5"];
    assert!(cache.run(&words).await.error(9).contains("did not answer in time"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_captured_in_tls_is_replayed_in_tls() {
    let cache = HostedCache::start().await;
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps/hosted-v1.pcapng");
    let words = ["replay", capture.to_str().unwrap(), "--to", "127.0.0.1:9", "--tls-to", &cache.authority];
    let only = ["--trust", &cache.chain(), "--only", "MS-PCHC", "--rate", "1000"];
    let text = cache.run(&[&words[..], &only[..]].concat()).await.stdout();
    let heard = std::mem::take(&mut *cache.heard.lock().unwrap());
    let requests = format!("{} requests: {} answered as in the capture, 0 differently", heard.len(), heard.len());
    assert!(heard.len() > 1 && text.contains(&requests), "{text}");
}
