//! The API without a socket: what a change of the status does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerdist_node::api::{Api, Content, ContentInfo, Error, Instance, Outcome, Quotas, Status, Stream, Wanted};
use peerdist_node::config::Config;
use peerdist_node::node::Node;
use peerdist_protocol::content::ContentVersion;

use super::HERE;
use crate::fixture::{content, information};

pub(super) async fn api(dir: &Path, extra: &str) -> Api {
    let mode = if extra.contains("node.mode") { "" } else { "node.mode = \"local\"" };
    let text = format!("{mode}\ncache.dir = {:?}\n{extra}", dir.join("cache"));
    let config = Config::parse(&text, Path::new("test")).unwrap();
    let quotas = Quotas::from(&config.control);
    Api::new(Node::start(config).await.unwrap(), dir.join("key"), quotas)
}

/// One handle of each kind, all in order.
async fn handles(instance: &Instance, name: &[u8], bytes: &Bytes) -> (Content, Stream, ContentInfo) {
    let published = instance.server_publish_stream(name, 0, Default::default()).unwrap();
    published.server_publish_add_to_stream(bytes.clone()).await.unwrap();
    published.server_publish_complete_stream().await.unwrap();
    let info = instance.server_open_content_information(name, &Wanted::default()).await.unwrap();
    let content = instance.client_open_content([0; 16]).unwrap();
    content.client_add_content_information(&info.server_retrieve_content_information(0, usize::MAX).unwrap()).unwrap();
    content.client_complete_content_information().await.unwrap();
    let stream = instance.server_publish_stream(&[name, b" again"].concat(), 0, Default::default()).unwrap();
    (content, stream, info)
}

/// A content that is published, and described in one version.
pub(super) async fn described(instance: &Instance, bytes: &Bytes, version: u32) -> Content {
    let name = version.to_string().into_bytes();
    let published = instance.server_publish_stream(&name, 0, Default::default()).unwrap();
    published.server_publish_add_to_stream(bytes.clone()).await.unwrap();
    published.server_publish_complete_stream().await.unwrap();
    let wanted = Wanted { min_version: version, max_version: version, ..Wanted::default() };
    let info = instance.server_open_content_information(&name, &wanted).await.unwrap();
    let content = instance.client_open_content([0; 16]).unwrap();
    content.client_add_content_information(&info.server_retrieve_content_information(0, usize::MAX).unwrap()).unwrap();
    content.client_complete_content_information().await.unwrap();
    content
}

fn error<T: std::fmt::Debug>(result: Result<T, Error>) -> Error {
    result.unwrap_err()
}

#[tokio::test]
async fn handles_die_with_the_service_and_stay_dead() {
    let dir = tempfile::tempdir().unwrap();
    let api = api(dir.path(), "").await;
    let bytes = Bytes::from(content(1000));
    for (gone, refused) in [(Status::Disabled, Error::Disabled), (Status::Unavailable, Error::ServiceUnavailable)] {
        let instance = api.startup(1).unwrap();
        let (content, stream, info) = handles(&instance, b"name", &bytes).await;
        content.client_add_data(0, bytes.clone()).await.unwrap();
        api.set_status(gone);
        assert_eq!(instance.status().status, gone);
        assert_eq!(error(instance.client_open_content([0; 16])), refused);
        assert_eq!(error(instance.server_publish_stream(b"other", 0, Default::default())), refused);
        assert_eq!(error(instance.server_open_content_information(b"name", &Wanted::default()).await), refused);
        assert_eq!(error(instance.server_unpublish(b"name")), refused);
        assert_eq!(error(instance.client_flush_content([0; 16]).await), refused);
        for again in [gone, Status::Available] {
            api.set_status(again);
            assert_eq!(error(content.client_block_read(0, 1, HERE).await), Error::Invalidated);
            assert_eq!(error(content.client_stream_read(1, HERE).await), Error::Invalidated);
            assert_eq!(error(content.query(0).await), Error::Invalidated);
            assert_eq!(error(content.client_add_data(0, bytes.clone()).await), Error::Invalidated);
            assert_eq!(error(content.client_add_content_information(b"x")), Error::Invalidated);
            assert_eq!(error(content.client_complete_content_information().await), Error::Invalidated);
            assert_eq!(error(content.flash_crowd()), Error::Invalidated);
            assert_eq!(error(content.explanation().map(drop)), Error::Invalidated);
            assert_eq!(error(stream.server_publish_add_to_stream(bytes.clone()).await), Error::Invalidated);
            assert_eq!(error(stream.server_publish_complete_stream().await), Error::Invalidated);
            assert_eq!(error(info.server_retrieve_content_information(0, 1)), Error::Invalidated);
        }
        let (new, ..) = handles(&instance, b"new", &bytes).await;
        let Outcome::Data { range, .. } = new.client_block_read(0, 10, HERE).await.unwrap() else {
            // Another publication has another secret only where the key is another.
            panic!("the cache has it")
        };
        assert_eq!(range, 0..10);
        assert_eq!(instance.publications().len(), 2, "publications outlive the service");
        // Handles that are dead can be closed, and give back what they hold.
        content.close();
        stream.close();
        info.close();
        drop((content, stream, info, new, instance));
        assert_eq!((api.held().users, api.held().publications), (0, 0));
    }
}

#[tokio::test]
async fn reads_that_wait_end_with_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let api = api(
        dir.path(),
        &format!(
            "node.mode = \"client\"\ndiscovery.interfaces = [\"lo\"]\ndiscovery.port = {port}\nfetch.probe_timeout = \"1h\"\n"
        ),
    )
    .await;
    let instance = api.startup(1).unwrap();
    let ci = information(&content(300_000), ContentVersion::V1).emit();
    for ending in ["status", "close", "shutdown"] {
        let content = Arc::new(instance.client_open_content([0; 16]).unwrap());
        content.client_add_content_information(&ci).unwrap();
        content.client_complete_content_information().await.unwrap();
        let mut reads = tokio::task::JoinSet::new();
        for position in (0..300_000).step_by(65_536) {
            let content = Arc::clone(&content);
            reads.spawn(async move { content.client_block_read(position, 1, Duration::from_secs(3000)).await });
        }
        let reader = Arc::clone(&content);
        reads.spawn(async move { reader.client_stream_read(1, Duration::from_secs(3000)).await });
        // All of them have begun once each had a turn, and nothing else can end them.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let expected = match ending {
            "status" => {
                api.set_status(Status::Disabled);
                Error::Invalidated
            }
            "close" => {
                content.close();
                Error::Aborted
            }
            _ => {
                instance.shutdown();
                Error::Aborted
            }
        };
        while let Some(read) = reads.join_next().await {
            assert_eq!(error(read.unwrap()), expected, "{ending}");
        }
        api.set_status(Status::Available);
    }
    assert_eq!(error(instance.client_open_content([0; 16])), Error::InvalidHandle);
}

/// What is opened while the service goes is as dead as what was open.
#[test]
fn content_information_that_is_being_made_dies_with_the_service() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let api = api(dir.path(), "").await;
        let instance = api.startup(1).unwrap();
        let _handles = handles(&instance, b"name", &Bytes::from(content(1000))).await;
        for ending in ["status", "unpublish"] {
            // The one thread that could make it is busy until then.
            let (free, busy) = std::sync::mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || busy.recv());
            let wanted = Wanted::default();
            let mut opening = std::pin::pin!(instance.server_open_content_information(b"name", &wanted));
            assert!(futures_util::poll!(opening.as_mut()).is_pending());
            match ending {
                "status" => {
                    api.set_status(Status::Disabled);
                    api.set_status(Status::Available);
                }
                _ => instance.server_unpublish(b"name").unwrap(),
            }
            drop(free);
            let opened = opening.await.and_then(|open| open.server_retrieve_content_information(0, 1));
            assert!(matches!(opened, Err(Error::Invalidated | Error::Aborted)), "{ending}: {opened:?}");
        }
    });
}
