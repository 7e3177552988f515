//! A volume that is full: a small tmpfs in a mount namespace of its own, where this test runs itself once more.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use peerdist_node::store::{AppendError, Limits, Refusal, SegmentKey, SizeLimit, Store, StoreConfig, Tag, Trust};
use peerdist_protocol::content::{CryptoAlgoId, SegmentId};
use peerdist_protocol::retrieval::{BlkTail, tail_size};

/// Names the directory on the small volume.
const DIRECTORY: &str = "PEERDIST_FULL_DISK_DIRECTORY";
const SIZE: u32 = 100_000;

fn key(number: u32) -> SegmentKey {
    let mut bytes = [0x3c; 32];
    bytes[10..14].copy_from_slice(&number.to_be_bytes());
    SegmentKey { id: SegmentId::from_slice(&bytes).unwrap(), block_count: 1 }
}

fn tail(number: u32) -> BlkTail {
    let algorithm = CryptoAlgoId::Aes128;
    let bytes = vec![number as u8; tail_size(SIZE, algorithm)];
    BlkTail { algorithm, size_of_block: SIZE, bytes: bytes.into() }
}

#[test]
fn a_full_volume_stops_appends_and_nothing_else() {
    if let Ok(dir) = std::env::var(DIRECTORY) {
        return tokio::runtime::Runtime::new().unwrap().block_on(on_a_small_volume(Path::new(&dir)));
    }
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=24m none {0} && {DIRECTORY}={0} exec {1} --exact --nocapture \
         a_full_volume_stops_appends_and_nothing_else",
        dir.path().display(),
        std::env::current_exe().unwrap().display(),
    );
    let output = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).output();
    let output = output.expect("unshare of util-linux starts");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "needs user namespaces; the child says: {text}");
    assert!(text.contains("1 passed"), "the child ran something else: {text}");
}

async fn on_a_small_volume(dir: &Path) {
    // The store thinks that it may have more than there is, while somebody else takes all of it.
    let limits = Limits { size: SizeLimit::Bytes(64 << 20), keep_free: 0, ..Limits::default() };
    let config = StoreConfig { limits, ..StoreConfig::new(dir.join("cache")) };
    let store = Store::open(&config).unwrap();
    let append = |number| store.append(&key(number), 0, &tail(number), Trust::Bound, Tag::NONE);
    for number in 0..20 {
        append(number).unwrap();
    }
    let ballast = dir.join("ballast");
    let filled = std::fs::File::create(&ballast).and_then(|mut file| {
        use std::io::Write as _;
        loop {
            file.write_all(&[0; 4096])?;
        }
    });
    let error: std::io::Error = filled.map(|never: std::convert::Infallible| match never {}).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);

    let (mut held, mut refused) = (20, 0);
    for number in 20..40 {
        match append(number) {
            Ok(()) => held += 1,
            Err(AppendError::Refused(Refusal::DiskFull | Refusal::KeepFree)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused >= 10, "{held} blocks fitted into nothing");
    let stats = store.stats();
    assert_eq!(stats.refused.disk_full + stats.refused.keep_free, refused);
    assert!(stats.refused.disk_full > 0);
    assert_eq!(stats.paused, Some(Refusal::DiskFull));
    for number in 0..held {
        assert!(
            store.read_async(&key(number).id, 0).await.unwrap() == Some(tail(number)),
            "block {number} of {held}: {stats:?}"
        );
    }
    // What there is can be removed, and stays removed, on the full volume.
    assert_eq!(store.remove(&key(5).id).unwrap(), 1);
    store.close().unwrap();
    let store = Store::open(&config).unwrap();
    assert!(store.read(&key(5).id, 0).unwrap().is_none());
    for number in (0..held).filter(|number| *number != 5) {
        assert!(store.read(&key(number).id, 0).unwrap() == Some(tail(number)), "block {number}");
    }
    std::fs::remove_file(&ballast).unwrap();
    store.append(&key(50), 0, &tail(50), Trust::Bound, Tag::NONE).unwrap();
    assert!(store.read(&key(50).id, 0).unwrap() == Some(tail(50)));
}
