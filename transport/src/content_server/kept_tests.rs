use std::os::unix::fs::PermissionsExt;

use peerdist_protocol::content::Hasher;

use super::*;

const OPTIONS: HashOptions = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true };

fn secret() -> ServerSecret {
    ServerSecret::from_passphrase("no more secrets")
}

fn kept(length: usize) -> Kept {
    let mut hasher = Hasher::new(OPTIONS, &secret());
    hasher.update(&(0..length).map(|i| (i * i / 7) as u8).collect::<Vec<u8>>());
    Kept::from_hashed(hasher.finish().unwrap()).unwrap()
}

fn key(resource: &str, length: usize, stamp: &str) -> ContentKey {
    ContentKey { resource: resource.as_bytes().into(), length: length as u64, stamp: stamp.into() }
}

fn open(memory: u64, directory: Option<&Path>, limit: u64) -> KeptContent {
    let state = directory.map(|directory| (directory, limit));
    KeptContent::open(memory, state, OPTIONS, &secret(), Arc::default()).unwrap()
}

#[test]
fn the_newest_acceptable_version_is_given() {
    let kept = kept(200_000);
    let version = |accepted, range: Range<u64>| {
        let body = kept.describe(accepted, &range)?;
        let described = ContentInformation::parse(body).unwrap();
        assert_eq!(described.range(), range);
        Some(described.version())
    };
    assert_eq!(version(ContentVersions::V1AndV2, 0..200_000), Some(ContentVersion::V2));
    assert_eq!(version(ContentVersions::V1, 0..200_000), Some(ContentVersion::V1));
    assert_eq!(version(ContentVersions::V2, 70_000..150_000), Some(ContentVersion::V2));
    assert_eq!(version(ContentVersions::V1, 70_000..150_000), Some(ContentVersion::V1));
    assert_eq!(version(ContentVersions::V1, 70_000..70_050), None, "the bytes are shorter than their description");
    assert_eq!(version(ContentVersions::V1, 70_000..200_001), None, "beyond the end");
}

#[test]
fn keys_are_not_printed() {
    assert_eq!(format!("{:?}", kept(100_000)), "Kept(..)");
}

#[test]
fn memory_keeps_what_was_used_last() {
    let weight = kept(100_000).weight() + 64;
    let content = open(2 * weight, None, 0);
    let keys = ["a", "b", "c"].map(|resource| key(resource, 100_000, "1"));
    content.put(&keys[0], kept(100_000));
    content.put(&keys[1], kept(100_000));
    assert!(content.get_from_memory(&keys[0]).is_some());
    content.put(&keys[2], kept(100_000));
    assert!(content.get_from_memory(&keys[0]).is_some());
    assert!(content.get_from_memory(&keys[1]).is_none());
    assert!(content.get_from_memory(&keys[2]).is_some());
    assert!(content.get_from_memory(&key("a", 100_000, "2")).is_none(), "another state");
    let tiny = open(10, None, 0);
    tiny.put(&keys[0], kept(100_000));
    assert!(tiny.get_from_memory(&keys[0]).is_some(), "alone");
    tiny.put(&keys[1], kept(100_000));
    assert!(tiny.get_from_memory(&keys[0]).is_none());
}

#[test]
fn what_is_kept_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    open(1 << 20, Some(&state), 1 << 20).put(&key("a", 100_000, "1"), kept(100_000));
    let again = open(1 << 20, Some(&state), 1 << 20);
    let read = again.get(&key("a", 100_000, "1")).unwrap();
    assert_eq!(
        read.describe(ContentVersions::V1, &(0..100_000)),
        kept(100_000).describe(ContentVersions::V1, &(0..100_000))
    );
    assert!(again.get(&key("a", 100_000, "2")).is_none());
    assert!(again.get(&key("a", 100_001, "1")).is_none());
    assert!(again.get(&key("b", 100_000, "1")).is_none());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for file in fs::read_dir(&state).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn another_secret_or_other_options_make_other_content_information() {
    let directory = tempfile::tempdir().unwrap();
    let state = Some((directory.path(), 1 << 20));
    open(0, Some(directory.path()), 1 << 20).put(&key("a", 100_000, "1"), kept(100_000));
    let with = |options, passphrase: &str| {
        let content = KeptContent::open(0, state, options, &ServerSecret::from_passphrase(passphrase), Arc::default());
        content.unwrap().get(&key("a", 100_000, "1")).is_some()
    };
    assert!(with(OPTIONS, "no more secrets"));
    assert!(!with(OPTIONS, "more secrets"));
    assert!(!with(HashOptions { v2: false, ..OPTIONS }, "no more secrets"));
    assert!(!with(HashOptions { v1: Some(HashAlgorithm::Sha512), ..OPTIONS }, "no more secrets"));
}

#[test]
fn damaged_files_count_as_none() {
    let directory = tempfile::tempdir().unwrap();
    let the_key = key("a", 100_000, "1");
    let content = open(0, Some(directory.path()), 1 << 20);
    content.put(&the_key, kept(100_000));
    let path = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&path).unwrap();
    assert!(content.get(&the_key).is_some());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&path, bad).unwrap();
        assert!(content.get(&the_key).is_none(), "bit flipped at {at}");
    }
    for length in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        fs::write(&path, &good[..length]).unwrap();
        assert!(content.get(&the_key).is_none(), "cut to {length}");
    }
    content.put(&the_key, kept(100_000));
    assert!(content.get(&the_key).is_some());
}

#[test]
fn the_directory_stays_within_its_limit() {
    let directory = tempfile::tempdir().unwrap();
    open(0, Some(directory.path()), 1 << 20).put(&key("a", 100_000, "1"), kept(100_000));
    let size = fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().metadata().unwrap().len();
    fs::write(directory.path().join("killed.new"), "half").unwrap();
    let content = open(0, Some(directory.path()), 2 * size);
    for resource in ["a", "b", "c", "d", "b"] {
        content.put(&key(resource, 100_000, "1"), kept(100_000));
    }
    let count = fs::read_dir(directory.path()).unwrap().count();
    assert!((1..=2).contains(&count), "{count}");
    assert!(content.get(&key("b", 100_000, "1")).is_some());
    assert_eq!(content.counters.snapshot().state_failures, 0);
    let small = open(1 << 20, Some(directory.path()), 10);
    small.put(&key("z", 100_000, "1"), kept(100_000));
    assert_eq!(small.counters.snapshot().state_failures, 1);
    assert!(small.get(&key("z", 100_000, "1")).is_some(), "memory does without the disk");
}
