//! Hashing files on several threads.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use peerdist_protocol::content::{HashError, HashOptions, Hasher, ServerSecret};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_transport::hashing::{HashFileError, HashReaderError, hash_file, hash_reader};

const BOTH: HashOptions = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: true };

fn secret() -> ServerSecret {
    ServerSecret::from_passphrase("no more secrets")
}

fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

fn content(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

#[test]
fn every_number_of_threads_gives_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    for length in [1, 65_536, 1 << 20, (1 << 20) + 1, 7_654_321] {
        let bytes = content(length);
        fs::write(&path, &bytes).unwrap();
        for options in
            [BOTH, HashOptions { v1: None, v2: true }, HashOptions { v1: Some(HashAlgorithm::Sha384), v2: false }]
        {
            let mut alone = Hasher::new(options, &secret());
            alone.update(&bytes);
            let expected = alone.finish().unwrap();
            for count in [1, 2, 3, 8] {
                let hashed = hash_file(&path, options, &secret(), threads(count)).unwrap();
                assert_eq!(hashed, expected, "{length} bytes on {count} threads, {options:?}");
            }
        }
    }
}

/// Yields a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1.is_multiple_of(5) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let limit = buffer.len().min(1 + self.1 * 37 % 5000);
        self.0.read(&mut buffer[..limit])
    }
}

#[test]
fn portions_do_not_matter() {
    let bytes = content(3_000_000);
    let whole = hash_reader(bytes.as_slice(), BOTH, &secret(), threads(2)).unwrap();
    assert_eq!(hash_reader(Trickle(&bytes, 0), BOTH, &secret(), threads(2)).unwrap(), whole);
}

#[test]
fn errors_of_the_reader_come_through() {
    struct Breaks(usize);
    impl Read for Breaks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::ConnectionReset)?;
            Ok(buffer.len())
        }
    }
    for count in [1, 4] {
        let error = hash_reader(Breaks(9), BOTH, &secret(), threads(count)).unwrap_err();
        assert!(matches!(error, HashReaderError::Read(error) if error.kind() == io::ErrorKind::ConnectionReset));
        let error = hash_reader(io::empty(), BOTH, &secret(), threads(count)).unwrap_err();
        assert!(matches!(error, HashReaderError::Hash(HashError::Empty)));
    }
}

#[test]
fn files_that_cannot_be_hashed() {
    let directory = tempfile::tempdir().unwrap();
    let hash = |name: &str| hash_file(&directory.path().join(name), BOTH, &secret(), threads(2)).unwrap_err();
    fs::write(directory.path().join("empty"), "").unwrap();
    assert!(matches!(hash("missing"), HashFileError::Read { .. }));
    assert!(matches!(hash(""), HashFileError::NotAFile { .. }));
    assert!(matches!(hash("empty"), HashFileError::Hash { source: HashError::Empty, .. }));
}

#[test]
fn a_file_that_grows_meanwhile_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    fs::write(&path, content(16 << 20)).unwrap();
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
            }
        });
        let result = hash_file(&path, BOTH, &secret(), threads(2));
        stop.store(true, Ordering::Relaxed);
        result
    });
    assert!(matches!(result, Err(HashFileError::Changed { .. })), "{result:?}");
}
