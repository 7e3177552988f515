//! The PeerDist API over the api socket: what each function does, seen from outside.

mod forward;
mod in_process;
mod processes;
mod publishing;
mod ranges;
mod reading;

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerdist_node::api::Wanted;
use peerdist_node::control::client::{ClientError, Pieces, RemoteContent, RemoteRead, SessionHandle};
use peerdist_node::control::wire::ErrorCode;
use peerdist_node::fetch::MissingReason;

use crate::daemon::Home;

const BLOCK: u64 = 65_536;
/// A read of what is here alone.
const HERE: Duration = Duration::ZERO;
/// Long enough for anything but a defect.
const PATIENCE: Duration = Duration::from_secs(3000);

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ErrorCode {
    match result {
        Err(ClientError::Refused { error, .. }) => error,
        other => panic!("{other:?}"),
    }
}

/// A node that asks the loopback, where nobody answers, and waits for an hour.
fn patient() -> Home {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    Home::new(&format!(
        "node.mode = \"client\"\ndiscovery.interfaces = [\"lo\"]\ndiscovery.port = {port}\nfetch.probe_timeout = \"1h\"\n"
    ))
}

/// How many Probes the node has sent.
async fn probes(home: &Home) -> u64 {
    home.admin().status().await.unwrap()["fetching"]["probes"].as_u64().unwrap()
}

/// What the daemon counts under `api`.
async fn held(home: &Home, what: &str) -> u64 {
    home.admin().status().await.unwrap()["api"][what].as_u64().unwrap()
}

/// Publishes bytes in one piece.
async fn publish(session: &SessionHandle, identifier: &[u8], bytes: &Bytes) {
    let stream = session.publish(identifier, 0, 2).await.unwrap();
    stream.add(0, bytes.clone()).await.unwrap();
    assert_eq!(stream.complete().await.unwrap(), bytes.len() as u64);
    stream.close().await.unwrap();
}

/// Content information of a part of a publication.
async fn describe(session: &SessionHandle, identifier: &[u8], version: u32, part: Range<u64>) -> Bytes {
    let length = part.end - part.start;
    let wanted = Wanted { offset: part.start, length, min_version: version, max_version: version };
    let information = session.open_information(identifier, &wanted).await.unwrap();
    let bytes = information.retrieve(0, u64::MAX).await.unwrap();
    assert_eq!(bytes.len() as u64, information.size());
    information.close().await.unwrap();
    bytes
}

/// A read with its bytes.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Data(u64, Bytes),
    Missing(Range<u64>, MissingReason),
}

async fn got(read: Result<RemoteRead<Pieces>, ClientError>) -> Result<Got, ClientError> {
    match read? {
        RemoteRead::Data { range, mut bytes, .. } => {
            let mut all = BytesMut::new();
            while let Some(piece) = bytes.next().await? {
                all.extend_from_slice(&piece);
            }
            assert_eq!(all.len() as u64, range.end - range.start);
            Ok(Got::Data(range.start, all.freeze()))
        }
        RemoteRead::Missing { range, reason } => Ok(Got::Missing(range, reason)),
    }
}

/// The bytes of a range of a content, all of which are here.
async fn read(content: &RemoteContent, range: Range<u64>) -> Vec<u8> {
    let mut all = Vec::new();
    while range.start + (all.len() as u64) < range.end {
        let position = range.start + all.len() as u64;
        match got(content.block_read(position, range.end - position, HERE).await).await.unwrap() {
            Got::Data(at, bytes) => {
                assert_eq!(at, position);
                all.extend_from_slice(&bytes);
            }
            missing => panic!("{missing:?}"),
        }
    }
    all
}
