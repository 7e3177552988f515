//! Answers that no hosted cache should give ([MS-PCHC] 3.2.5.2).

use std::future::pending;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use peerdist_node::config;
use peerdist_protocol::hosted_cache::{Offer, Response, Version};
use peerdist_transport::hosted_cache::Certificate;
use peerdist_transport::retrieval::server::{Listener, Server, ServerLimits};
use tempfile::TempDir;

use super::support::{BLOCK, Blocks, Closed, User, configured, listener, sample, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interested_in_answer_to_a_segment_info_is_an_answer_and_no_more() {
    let dir = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let listener = listener(1, 0).await;
    let port = listener.local_addr().unwrap().port();
    let listener = Listener::offers_over_tls(listener, Certificate::load(&chain, &key).unwrap());
    let offers = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&offers);
    let always_interested = move |_, offer| {
        seen.lock().unwrap().push(offer);
        Response::Interested
    };
    let server = Server::with_offers(Arc::new(Blocks::default()), ServerLimits::default(), Arc::new(always_interested));
    tokio::spawn(async move { server.serve(vec![listener], pending()).await });

    let nowhere = Closed::new(1, 0);
    let mut config = config::HostedClient { retrieval_port: nowhere.port(), ..configured(&[1], port) };
    config.version.0 = Version::V1;
    config.trust.clone_from(&chain);
    let user = User::new(&config);
    let samples = [sample(3 * BLOCK as usize), sample(2 * BLOCK as usize)];
    for (count, sample) in (1..).zip(&samples) {
        user.fetcher.open(sample.v1.clone()).add_data(0, sample.bytes.clone()).await.unwrap();
        until(|| user.status().offers.answered == 2 * count).await;
    }
    let status = user.status().offers;
    assert_eq!((status.sent, status.segments, status.waiting), (4, 2, 0));
    let offers = offers.lock().unwrap();
    use Offer::{Initial, SegmentInfo};
    assert!(matches!(&offers[..], [Initial(_), SegmentInfo(_), Initial(_), SegmentInfo(_)]), "{offers:?}");
}
