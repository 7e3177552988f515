//! Byte ranges (RFC 9110 14). With `peerdist` they are ranges of the identity content, whatever travels.

use std::fmt;
use std::ops::Range;

use super::headers::{digits, trim};

/// A `Range` header with more ranges than this is ignored, as RFC 9110 14.2 permits.
pub const MAX_BYTE_RANGES: usize = 64;

/// One range of a `Range` header, before the content's length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-last`, both inclusive; `last` may lie beyond the end.
    FromTo(u64, u64),
    /// `first-`.
    From(u64),
    /// `-count`: the last bytes.
    Last(u64),
}

impl ByteRange {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        match (trim(first), trim(last)) {
            ("", count) => position(count).map(Self::Last),
            (first, "") => position(first).map(Self::From),
            (first, last) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(Self::FromTo(first, last))
            }
        }
    }

    /// The bytes that this range selects of `length` bytes, `None` if there are none.
    fn resolve(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::FromTo(first, last) => first..last.saturating_add(1).min(length),
            Self::From(first) => first..length,
            Self::Last(count) => length.saturating_sub(count)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

/// A position in a request. One beyond 64 bits lies behind every content and is as good as the last of them.
fn position(text: &str) -> Option<u64> {
    digits(text).or_else(|| (text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty()).then_some(u64::MAX))
}

/// A `Range` header in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteRangeSet(Vec<ByteRange>);

/// What a [`ByteRangeSet`] selects of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Everything: the header is to be ignored.
    Whole,
    /// One range: 206 with `Content-Range`.
    Single(Range<u64>),
    /// Several: 206 with `multipart/byteranges`, which content information cannot express.
    Several(Vec<Range<u64>>),
    /// None of it: 416.
    Unsatisfiable,
}

impl ByteRangeSet {
    /// Reads a `Range` header. `None` means that it is to be ignored: another unit, bad syntax, too many ranges.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, ranges) = header.split_once('=')?;
        if !trim(unit).eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut set = Vec::new();
        for range in ranges.split(',').map(trim).filter(|range| !range.is_empty()) {
            if set.len() == MAX_BYTE_RANGES {
                return None;
            }
            set.push(ByteRange::parse(range)?);
        }
        (!set.is_empty()).then_some(Self(set))
    }

    /// The ranges as they were written.
    #[must_use]
    pub fn ranges(&self) -> &[ByteRange] {
        &self.0
    }

    /// What the header selects of a content of `length` bytes. Ranges that ask for more bytes than there are in all,
    /// by overlapping, select the whole: they would let a small request make a large answer (RFC 9110 14.2).
    #[must_use]
    pub fn resolve(&self, length: u64) -> Resolved {
        let mut ranges: Vec<_> = self.0.iter().filter_map(|range| range.resolve(length)).collect();
        let total: u128 = ranges.iter().map(|range| u128::from(range.end - range.start)).sum();
        match (ranges.pop(), ranges.is_empty()) {
            (None, _) => Resolved::Unsatisfiable,
            (Some(only), true) => Resolved::Single(only),
            (Some(_), false) if total > u128::from(length) => Resolved::Whole,
            (Some(last), false) => {
                ranges.push(last);
                Resolved::Several(ranges)
            }
        }
    }
}

/// A `Content-Range` in bytes (RFC 9110 14.4). Displays as the header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRange {
    range: Range<u64>,
    total: Option<u64>,
}

impl ContentRange {
    /// `None` where the range is empty or leaves the content. A `total` of `None` is the `*` of an unknown length.
    #[must_use]
    pub fn new(range: Range<u64>, total: Option<u64>) -> Option<Self> {
        (range.start < range.end && total.is_none_or(|total| range.end <= total)).then_some(Self { range, total })
    }

    /// Reads `bytes first-last/total` or `bytes first-last/*`; the unsatisfied form `bytes */total` is `None`.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, rest) = trim(header).split_once([' ', '\t'])?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let end = digits(trim(last))?.checked_add(1)?;
        let total = match trim(total) {
            "*" => None,
            total => Some(digits(total)?),
        };
        Self::new(digits(trim(first))?..end, total)
    }

    /// The bytes of the answer, in content offsets.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// The length of the whole content in bytes, where the server knows it.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/", self.range.start, self.range.end - 1)?;
        match self.total {
            Some(total) => write!(f, "{total}"),
            None => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_headers() {
        let resolved = |header: &str, length| ByteRangeSet::parse(header).map(|set| set.resolve(length));
        for (header, expected) in [
            ("bytes=0-0", Some(Resolved::Single(0..1))),
            ("BYTES = 2-4", Some(Resolved::Single(2..5))),
            ("bytes=2-", Some(Resolved::Single(2..10))),
            ("bytes=-3", Some(Resolved::Single(7..10))),
            ("bytes=-30", Some(Resolved::Single(0..10))),
            ("bytes=5-99999999999999", Some(Resolved::Single(5..10))),
            ("bytes=5-18446744073709551614", Some(Resolved::Single(5..10))),
            ("bytes=5-99999999999999999999999", Some(Resolved::Single(5..10))),
            ("bytes=99999999999999999999999-", Some(Resolved::Unsatisfiable)),
            ("bytes=-99999999999999999999999", Some(Resolved::Single(0..10))),
            ("bytes=5-1e9", None),
            ("bytes=10-", Some(Resolved::Unsatisfiable)),
            ("bytes=-0", Some(Resolved::Unsatisfiable)),
            ("bytes=0-1, 4-5", Some(Resolved::Several(vec![0..2, 4..6]))),
            ("bytes=,0-1,,", Some(Resolved::Single(0..2))),
            ("bytes=0-1,20-", Some(Resolved::Single(0..2))),
            ("bytes=20-,30-", Some(Resolved::Unsatisfiable)),
            ("bytes=0-9,0-9", Some(Resolved::Whole)),
            ("bytes=4-2", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=1-2,x", None),
            ("lines=1-2", None),
            ("bytes", None),
        ] {
            assert_eq!(resolved(header, 10), expected, "{header}");
        }
        assert_eq!(resolved("bytes=0-", 0), Some(Resolved::Unsatisfiable));
        let most = format!("bytes={}", "0-0,".repeat(MAX_BYTE_RANGES));
        assert!(ByteRangeSet::parse(&most).is_some());
        assert_eq!(ByteRangeSet::parse(&format!("{most}0-0")), None);
    }

    #[test]
    fn content_range_headers() {
        for (header, expected) in [
            ("bytes 0-4/5", ContentRange::new(0..5, Some(5))),
            ("Bytes 2-3/*", ContentRange::new(2..4, None)),
            ("bytes 0-5/5", None),
            ("bytes 3-2/5", None),
            ("bytes */5", None),
            ("bytes 0-9999999999999999999/*", ContentRange::new(0..10_000_000_000_000_000_000, None)),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes=0-4/5", None),
            ("", None),
        ] {
            let parsed = ContentRange::parse(header);
            assert_eq!(parsed, expected, "{header}");
            if let Some(range) = parsed {
                assert_eq!(ContentRange::parse(&range.to_string()), Some(range));
            }
        }
    }
}
