//! Contents of which content information describes a range.

use std::ops::Range;

use peerdist::abi::*;

use crate::support::*;

/// A range within a block, one across blocks, and one across the segments of version 1.
const RANGES: [Range<u64>; 3] = [1000..1500, 60_000..200_000, (32 << 20) - 70_000..(32 << 20) + 70_000];
const LENGTH: u64 = 33 << 20;

#[test]
fn t64_outside_of_its_range_a_content_has_no_bytes() {
    case("ranges::t64_outside_of_its_range_a_content_has_no_bytes", |_| {
        let instance = startup();
        let content = bytes(LENGTH as usize);
        for version in [1, 2] {
            let name = [version as u8];
            cached(instance, 1, &name, &content, version);
            for range in RANGES {
                let handle = readable(instance, 2, &information_of(instance, &name, &range, version));
                for timeout in [0, PEERDIST_READ_TIMEOUT_DEFAULT] {
                    for max in [0, 1, 1000] {
                        for outside in [0, 1, range.start - 1, range.end + 1, LENGTH - 1, LENGTH + 1, 1 << 40] {
                            let (ended, _) = read(instance, handle, outside, max, timeout);
                            assert_eq!(ended.error, PEERDIST_ERROR_NO_MORE, "{version} {range:?} {outside}");
                        }
                    }
                    for offset in [range.start, range.start + 1, range.end - 1] {
                        let (ended, got) = read(instance, handle, offset, 1000, timeout);
                        assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, offset), "{version} {range:?}");
                        assert_eq!(got, content[offset as usize..][..got.len()]);
                        assert!(!got.is_empty() && offset + got.len() as u64 <= range.end);
                        let (ended, _) = read(instance, handle, offset, 0, timeout);
                        assert_eq!((ended.error, u64::from(ended.bytes)), (ERROR_SUCCESS, range.end - offset));
                    }
                }
            }
        }
    });
}

#[test]
fn t65_what_is_missing_lies_within_the_range() {
    case("ranges::t65_what_is_missing_lies_within_the_range", |_| {
        let instance = startup();
        publish(instance, b"t65", &bytes(LENGTH as usize));
        for version in [1, 2] {
            for range in RANGES {
                let handle = readable(instance, 1, &information_of(instance, b"t65", &range, version));
                for timeout in [0, PEERDIST_READ_TIMEOUT_DEFAULT] {
                    for offset in [range.start, range.start + 1, range.start + 300, range.end - 1] {
                        let (ended, _) = read(instance, handle, offset, 1, timeout);
                        let missing = ended.offset..ended.offset + u64::from(ended.bytes);
                        assert_eq!(ended.error, PEERDIST_ERROR_MISSING_DATA);
                        assert!(missing.start >= range.start && missing.end <= range.end, "{missing:?} of {range:?}");
                        assert!(missing.contains(&offset), "{offset} of {missing:?}");
                    }
                }
            }
        }
    });
}

#[test]
fn t100_content_information_of_a_range_is_smaller_and_holds_the_client_to_it() {
    case("ranges::t100_content_information_of_a_range_is_smaller_and_holds_the_client_to_it", |_| {
        let instance = startup();
        let content = bytes(LENGTH as usize);
        publish(instance, b"t100", &content);
        for version in [1, 2] {
            let whole = information(instance, b"t100", version);
            for range in RANGES {
                let described = information_of(instance, b"t100", &range, version);
                assert!(described.len() < whole.len(), "{} of {} bytes", described.len(), whole.len());
                // The bytes of the range alone make all of it readable, and nothing else.
                let handle = readable(instance, 1, &described);
                let bytes = &content[range.start as usize..range.end as usize];
                assert_eq!(add(instance, handle, range.start, bytes).error, ERROR_SUCCESS);
                let mut position = range.start;
                while position < range.end {
                    let (ended, got) = read(instance, handle, position, 1 << 20, 0);
                    assert_eq!((ended.error, ended.offset), (ERROR_SUCCESS, position), "{version} {range:?}");
                    assert_eq!(got, content[position as usize..][..got.len()]);
                    position += got.len() as u64;
                }
                assert_eq!(position, range.end);
                for outside in [range.start - 1, range.end + 1] {
                    assert_eq!(read(instance, handle, outside, 1, 0).0.error, PEERDIST_ERROR_NO_MORE);
                }
                let flushed = Overlapped::new(NULL);
                assert_eq!(flush(instance, 1, NULL, 0, &flushed), ERROR_IO_PENDING);
                assert_eq!((flushed.wait().error, close_content(instance, handle)), (ERROR_SUCCESS, ERROR_SUCCESS));
            }
        }
    });
}
