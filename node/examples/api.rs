//! The PeerDist API in process: publish a content, then fetch it as another program would.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use peerdist_node::api::{Api, Outcome, PublicationOptions, Quotas, Wanted};
use peerdist_node::config::{Config, Mode};
use peerdist_node::node::Node;

/// Nobody is waited for here; on a LAN this is how long peers may take.
const TIMEOUT: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // A node that asks nobody. `Mode::Distributed` asks the LAN and serves it, `Mode::Client` only asks.
    let folder = tempfile::tempdir()?;
    let mut config = Config::default();
    config.node.mode = Mode::Local;
    config.cache.dir = folder.path().join("cache");
    let quotas = Quotas::from(&config.control);
    let node = Node::start(config).await?;
    let api = Api::new(node.clone(), folder.path().join("publish.key"), quotas);
    let user = 1000;

    // The server: from the content to content information, in pieces of any size.
    let content = Bytes::from(vec![7; 200_000]);
    let server = api.startup(user)?;
    let stream = server.server_publish_stream(b"image", content.len() as u64, PublicationOptions::Version2)?;
    stream.server_publish_add_to_stream(content.slice(..50_000)).await?;
    stream.server_publish_add_to_stream(content.slice(50_000..)).await?;
    stream.server_publish_complete_stream().await?;
    let wanted = Wanted { min_version: 1, max_version: 2, ..Wanted::default() };
    let open = server.server_open_content_information(b"image", &wanted).await?;
    let information = open.server_retrieve_content_information(0, usize::MAX)?;

    // It travels to the client by whatever protocol the two speak. Whoever has it can read the content.
    let client = api.startup(user)?;
    let opened = client.client_open_content(*b"example-tag-0001")?;
    opened.client_add_content_information(&information)?;
    let end = opened.client_complete_content_information().await?.range.end;

    // Reading: what is near comes verified; what is missing is fetched from the origin, and added for the others.
    let mut read = Vec::new();
    while (read.len() as u64) < end {
        match opened.client_block_read(read.len() as u64, 1 << 20, TIMEOUT).await? {
            Outcome::Data { range, pieces, source } => {
                println!("{range:?} from {source:?}");
                pieces.iter().for_each(|piece| read.extend_from_slice(piece));
            }
            Outcome::Missing { range, .. } | Outcome::TimedOut { range } => {
                println!("{range:?} from the origin");
                let from_origin = content.slice(range.start as usize..range.end as usize);
                opened.client_add_data(range.start, from_origin).await?;
            }
        }
    }
    assert!(read == content);

    // Dropping would close and take back, too.
    opened.close();
    server.server_unpublish(b"image")?;
    node.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().expect("it goes through");
    }
}
