//! Contents of which content information describes a range.

use std::ops::Range;

use peerdist::abi::*;

use crate::support::*;

const DEFAULT: DWORD = PEERDIST_READ_TIMEOUT_DEFAULT;
/// A range within a block, one across blocks, one that reaches the end, and all.
const RANGES: [Range<u64>; 4] = [1000..1500, 60_000..200_000, 250_000..300_000, 0..300_000];

#[test]
fn t64_where_the_range_ends_there_is_no_more() {
    case("ranges::t64_where_the_range_ends_there_is_no_more", |_| {
        let instance = startup();
        let content = bytes(300_000);
        for version in [1, 2] {
            let (here, missing) = ([version as u8, 1], [version as u8, 0]);
            cached(instance, 1, &here, &content, version);
            // Other bytes, so that nothing of it is here.
            publish(instance, &missing, &bytes(300_001)[..300_000]);
            for (name, is_here) in [(here, true), (missing, false)] {
                for range in RANGES {
                    let handle = readable(instance, 1, &information_of(instance, &name, &range, version));
                    for (timeout, max) in [(0, 0), (0, 1000), (DEFAULT, 0), (DEFAULT, 1000)] {
                        let (ended, _) = read(instance, handle, range.end, max, timeout);
                        assert_eq!(ended.error, PEERDIST_ERROR_NO_MORE, "version {version}, {range:?}");
                        // The last byte is there, is missing, or is none of those that are there.
                        let (last, _) = read(instance, handle, range.end - 1, max, timeout);
                        assert_eq!(last.offset, range.end - 1);
                        assert_eq!(last.bytes, u32::from(is_here || max > 0), "version {version}, {range:?}");
                    }
                }
            }
        }
    });
}

#[test]
fn t65_all_that_is_left_of_the_range_is_missing() {
    case("ranges::t65_all_that_is_left_of_the_range_is_missing", |_| {
        let instance = startup();
        publish(instance, b"t65", &bytes(300_000));
        for version in [1, 2] {
            for range in RANGES {
                let handle = readable(instance, 1, &information_of(instance, b"t65", &range, version));
                for timeout in [0, DEFAULT] {
                    for offset in [range.start, range.start + 1, range.end - 300, range.end - 1] {
                        let bytes = (range.end - offset) as u32;
                        let missing = Ended { error: PEERDIST_ERROR_MISSING_DATA, bytes, offset };
                        assert_eq!(read(instance, handle, offset, 1, timeout).0, missing, "version {version}");
                    }
                }
            }
        }
    });
}
