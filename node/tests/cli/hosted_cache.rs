//! `peerdist hosted-cache status`, and a hosted cache that is killed.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerdist_protocol::content::{BlockIndex, BlockRanges, CryptoAlgoId, SegmentId};
use peerdist_protocol::hosted_cache::{BatchedOffer, ContentTag, Offer, SegmentDescriptor, Version};
use peerdist_protocol::retrieval::{Answer, BlkTail, Exchange, tail_size};
use peerdist_transport::retrieval::client::{Client, ClientLimits};
use peerdist_transport::retrieval::server::{BlockSource, Listener, Server, ServerLimits};
use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::Home;

const SIZE: u32 = 1000;
const LIMIT: Duration = Duration::from_secs(60);

/// Has the one block of every segment.
struct Everything;

fn block() -> BlkTail {
    let bytes = vec![0; tail_size(SIZE, CryptoAlgoId::None)].into();
    BlkTail { algorithm: CryptoAlgoId::None, size_of_block: SIZE, bytes }
}

impl BlockSource for Everything {
    fn held(&self, _: &SegmentId) -> BlockRanges {
        BlockRanges::first(1)
    }

    async fn read(&self, _: &SegmentId, _: BlockIndex) -> Option<BlkTail> {
        Some(block())
    }
}

#[test]
fn the_status_of_another_mode_says_so_in_words() {
    let home = Home::new("");
    let _daemon = home.start();
    let text = home.peerdist(&["hosted-cache", "status"]).stdout();
    assert!(text.starts_with("The daemon is in mode \"local\"."), "{text}");
    let json = home.peerdist(&["hosted-cache", "status", "--json"]).json();
    assert_eq!(json, serde_json::json!({ "mode": "local" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_hosted_cache_has_what_it_had_fetched() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let home = Home::new(&format!(
        "node.mode = \"hosted-cache\"\nnode.listen = [\"127.0.0.1\"]\nnode.port = {port}\nhosted_cache.http_port = {port}\n\
         cache.keep_free = \"1 MiB\"\n"
    ));
    let daemon = home.start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = listener.local_addr().unwrap().port();
    let server = Server::new(Arc::new(Everything), ServerLimits::default());
    tokio::spawn(async move { server.serve(vec![Listener::retrieval(listener)], std::future::pending()).await });

    let ids: Vec<_> = (0..100u8).map(|number| SegmentId::from_slice(&[number; 32]).unwrap()).collect();
    let descriptor = |id: &SegmentId| SegmentDescriptor {
        block_size: SIZE,
        segment_size: SIZE,
        content_tag: ContentTag::WEBIO,
        hash_algorithm: 4,
        segment_id: *id,
    };
    let body = Offer::Batched(BatchedOffer { port: source, segments: ids.iter().map(descriptor).collect() }).emit();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(stream, "POST {} HTTP/1.0\r\nContent-Length: {}\r\n\r\n", Version::V2.path(), body.len()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&[0, 0, 0, 1, 0]));

    let deadline = Instant::now() + LIMIT;
    loop {
        let status = home.peerdist(&["hosted-cache", "status", "--json"]).json();
        if status["hosted_cache"]["pulled_segments"] == 100 {
            assert_eq!(status["hosted_cache"]["tags"]["WebIO"]["pulled_blocks"], 100);
            break;
        }
        assert!(Instant::now() < deadline, "{status:#}");
    }
    let text = home.peerdist(&["hosted-cache", "status"]).stdout();
    assert!(text.contains("mode  hosted-cache") && text.contains("pulled blocks"), "{text}");
    let all: Value = home.peerdist(&["status", "--json"]).json();
    assert_eq!(crate::openapi::document(&home).mistakes("AdminStatus", &all), Vec::<String>::new());

    daemon.signal(Signal::KILL);
    daemon.wait();
    let _daemon = home.start();
    let client = Client::new(ClientLimits::default());
    for id in ids {
        let exchange = Exchange::get_block(id, 0, CryptoAlgoId::Aes128);
        let answer = client.exchange((Ipv4Addr::LOCALHOST, port).into(), &exchange).await.unwrap();
        assert!(matches!(answer, Answer::Block(block, _) if block.data.len() == SIZE as usize));
    }
}
