//! What is logged of hosted caches that are down, and what the status says.

use std::time::Duration;

use peerdist_node::hosted_client::queue::REST_TIME;
use peerdist_node::store::Tag;

use super::logged::Log;
use super::support::{Blocks, Cache, Closed, User, configured, sample, until};

#[tokio::test]
async fn an_outage_that_offers_meet_first_is_logged_once_and_so_is_its_end() {
    let (log, _guard) = Log::start();
    let down = Closed::new(1, 0);
    let port = down.port();
    let user = User::new(&configured(&[1], port));
    let (sample, tag) = (sample(1_000_000), Tag { owner: 1000, bytes: *b"sixteen letters." });
    // A server that failed rests, at most for four times the first rest.
    let offer = async || {
        user.store.clear().unwrap();
        let content = user.fetcher.open_tagged("", tag, sample.v2.clone());
        content.add_data(0, sample.bytes.clone()).await.unwrap();
        tokio::time::pause();
        tokio::time::advance(4 * REST_TIME).await;
        tokio::time::resume();
    };
    for attempt in 1..=2 {
        offer().await;
        until(|| user.status().servers[0].offers_failed.values().sum::<u64>() >= attempt).await;
        let began = log.with("does not take offers");
        assert!(matches!(&began[..], [line] if line.contains("WARN") && line.contains("does not accept connections")));
    }
    assert!(log.with("takes offers again").is_empty());

    drop(down);
    let _back = Cache::start(1, port, Blocks::default()).await;
    offer().await;
    until(|| user.status().servers[0].offers_answered > 0).await;
    let ended = log.with("takes offers again");
    assert!(matches!(&ended[..], [line] if line.contains("INFO")), "{ended:?}");
    assert_eq!(log.with("WARN").len(), 1);
}

#[tokio::test]
async fn an_outage_is_logged_once_and_so_is_its_end() {
    let (log, _guard) = Log::start();
    let sample = sample(1_000_000);
    let down = Closed::new(1, 0);
    let port = down.port();
    let user = User::new(&configured(&[1], port));
    for _ in 0..3 {
        assert_eq!(user.read(&sample.v2, &sample).await.sources.origin, 1_000_000);
        user.store.clear().unwrap();
    }
    let began = log.with("left alone");
    assert!(matches!(&began[..], [line] if line.contains("WARN") && line.contains("does not accept connections")));
    let text = user.status().to_string();
    assert!(text.contains("failed or could not be reached") && text.contains("\n  last error "), "{text}");
    assert!(log.with("works again").is_empty());

    drop(down);
    let _back = Cache::start(1, port, Blocks { blocks: sample.sealed(&sample.v2).into(), ..Blocks::default() }).await;
    until(|| user.status().servers[0].out.is_none()).await;
    // That it could not be asked for these segments is believed for a moment longer.
    for _ in 0..2 {
        while user.read(&sample.v2, &sample).await.sources.origin > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            user.store.clear().unwrap();
        }
        user.store.clear().unwrap();
    }
    let ended = log.with("works again");
    assert!(matches!(&ended[..], [line] if line.contains("INFO")), "{ended:?}");
    assert_eq!(log.with("left alone").len(), 1);
    let text = user.status().to_string();
    assert!(text.contains("in use") && !text.contains("last error"), "{text}");
}
