//! What a peer holds, and how ProbeMatches say it: block counts, two bits per id, ages.

use std::time::Duration;

use super::MAX_IDS;
use crate::wire::{Put, Reader};

/// What this host holds of a segment at the moment, as the lookup of a [`super::ProbeServer`] says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// How many verified blocks can be served; 0 is the same as not holding the segment.
    pub blocks: u32,
    /// Whether these are all blocks of the segment.
    pub complete: bool,
    /// How long ago the segment came into the cache, where that is known.
    pub age: Option<Duration>,
}

/// What a peer says it holds of a segment: never nothing, and a hint only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Availability {
    /// How many blocks: version 1 answers say it, unless their counts cannot be read.
    pub blocks: Option<u32>,
    /// Whether all blocks: version 2 answers say it.
    pub complete: Option<bool>,
    /// How long the segment has been in the peer's cache: version 2 answers may say it.
    pub age: Option<Duration>,
}

impl Availability {
    /// Whether the peer claims all of a segment of so many blocks.
    #[must_use]
    pub fn is_all_of(&self, block_count: u32) -> bool {
        self.complete == Some(true) || self.blocks.is_some_and(|blocks| blocks >= block_count)
    }
}

/// The version 2 Scopes of a ProbeMatch: two bits for each id of the Probe, in its order ([MS-PCCRD] 2.2.3.3).
///
/// The first id has the two most significant bits of the first byte; the document leaves the order open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvailabilityBits(Box<[u8]>);

const HELD: u8 = 0b10;
const HELD_COMPLETELY: u8 = 0b11;

impl AvailabilityBits {
    /// The bits as they came.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bits for what is held of each id of a Probe.
    #[must_use]
    pub fn of(held: &[Option<Held>]) -> Self {
        Self(
            held.chunks(4)
                .map(|four| {
                    let pairs = four.iter().map(|held| match held {
                        Some(held) if held.blocks == 0 => 0,
                        Some(held) if held.complete => HELD_COMPLETELY,
                        Some(_) => HELD,
                        None => 0,
                    });
                    pairs.zip([6, 4, 2, 0]).fold(0, |byte, (pair, shift)| byte | pair << shift)
                })
                .collect(),
        )
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What is said of the id at `index` of a Probe with `count` ids: `Some(true)` for all blocks, `Some(false)` for
    /// some, `None` for nothing, which the invalid value 01 and a missing byte mean too.
    #[must_use]
    pub fn get(&self, index: usize, count: usize) -> Option<bool> {
        let byte = *self.0.get(index / 4)?;
        // Whoever fills the byte from the other end still answers a Probe of one id unmistakably.
        let pair = if count == 1 && byte >> 6 == 0 { byte & 0b11 } else { byte >> (6 - 2 * (index % 4)) & 0b11 };
        match pair {
            HELD_COMPLETELY => Some(true),
            HELD => Some(false),
            _ if count == 1 && byte != 0 => Some(false),
            _ => None,
        }
    }
}

/// The unit of the ages in a blob ([MS-PCCRR] 2.2.6.1, SegmentAgeUnits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeUnits {
    /// 1.
    Seconds = 1,
    /// 2.
    Tenths = 2,
    /// 3, the one that senders should use.
    Hundredths = 3,
    /// 4.
    Milliseconds = 4,
}

impl AgeUnits {
    fn duration(self, count: u32) -> Duration {
        let milliseconds = match self {
            Self::Seconds => 1000,
            Self::Tenths => 100,
            Self::Hundredths => 10,
            Self::Milliseconds => 1,
        };
        Duration::from_millis(u64::from(count) * milliseconds)
    }
}

/// The SegmentAges of a version 2 ProbeMatch ([MS-PCCRD] 2.2.3.9): the extensible blob version 1 of [MS-PCCRR] 2.2.6.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentAges {
    units: AgeUnits,
    /// Position in the Probe and age in `units`.
    ages: Vec<(u8, u32)>,
}

const BLOB_VERSION: u16 = 1;
const MAX_AGE: u32 = 0x00ff_ffff;

impl SegmentAges {
    /// The ages of what is held of each id of a Probe, or `None` where no age is known.
    ///
    /// Hundredths of a second; whole seconds where one of the ages is longer than 46 hours.
    #[must_use]
    pub fn of(held: &[Option<Held>]) -> Option<Self> {
        let known = || {
            let held = held.iter().take(MAX_IDS).zip(0u8..);
            held.filter_map(|(held, index)| held.filter(|held| held.blocks > 0)?.age.map(|age| (index, age)))
        };
        let longest = known().map(|(_, age)| age).max()?;
        let (units, milliseconds) = if longest <= AgeUnits::Hundredths.duration(MAX_AGE) {
            (AgeUnits::Hundredths, 10)
        } else {
            (AgeUnits::Seconds, 1000)
        };
        let count = |age: Duration| u32::try_from(age.as_millis() / milliseconds).unwrap_or(MAX_AGE).min(MAX_AGE);
        Some(Self { units, ages: known().map(|(index, age)| (index, count(age))).collect() })
    }

    /// Reads a blob, or `None` where [MS-PCCRR] 2.2.6.1.1 calls it invalid. Bytes behind the last age are allowed.
    #[must_use]
    pub fn parse(blob: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(blob);
        if reader.u16_be().ok()? != BLOB_VERSION {
            return None;
        }
        let units = match reader.u8().ok()? {
            1 => AgeUnits::Seconds,
            2 => AgeUnits::Tenths,
            3 => AgeUnits::Hundredths,
            4 => AgeUnits::Milliseconds,
            _ => return None,
        };
        let count = reader.u8().ok()?;
        let mut ages = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let [index, low, middle, high] = reader.take_array().ok()?;
            ages.push((index, u32::from_le_bytes([low, middle, high, 0])));
        }
        Some(Self { units, ages })
    }

    /// The blob.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(4 * (self.ages.len() + 1));
        blob.put_u16_be(BLOB_VERSION);
        blob.put_u8(self.units as u8);
        blob.put_u8(u8::try_from(self.ages.len()).unwrap_or(u8::MAX));
        for &(index, age) in self.ages.iter().take(MAX_IDS) {
            let [low, middle, high, _] = age.to_le_bytes();
            blob.put(&[index, low, middle, high]);
        }
        blob
    }

    /// The unit the ages are counted in.
    #[must_use]
    pub fn units(&self) -> AgeUnits {
        self.units
    }

    /// Positions in the Probe and ages, as listed.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Duration)> {
        self.ages.iter().map(|&(index, age)| (usize::from(index), self.units.duration(age)))
    }

    /// The age of the id at `index` of the Probe.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Duration> {
        self.iter().find(|(position, _)| *position == index).map(|(_, age)| age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(complete: bool, age: Option<Duration>) -> Option<Held> {
        Some(Held { blocks: 1, complete, age })
    }

    #[test]
    fn two_bits_for_each_id_from_the_most_significant_end() {
        let nothing = Some(Held { blocks: 0, complete: true, age: None });
        let bits = AvailabilityBits::of(&[held(true, None), None, held(false, None), nothing, held(true, None)]);
        assert_eq!(bits.as_bytes(), [0b1100_1000, 0b1100_0000]);
        let read: Vec<_> = (0..6).map(|index| bits.get(index, 6)).collect();
        assert_eq!(read, [Some(true), None, Some(false), None, Some(true), None]);
        assert_eq!(bits.get(8, 9), None);
        assert_eq!(AvailabilityBits::from_bytes([0b0100_0000]).get(0, 2), None, "01 is invalid");
    }

    #[test]
    fn any_bit_answers_a_probe_of_one_id() {
        for (byte, expected) in [(0xc0, Some(true)), (0x80, Some(false)), (0x03, Some(true)), (0x02, Some(false))] {
            assert_eq!(AvailabilityBits::from_bytes([byte]).get(0, 1), expected, "{byte:#x}");
        }
        assert_eq!(AvailabilityBits::from_bytes([0x40]).get(0, 1), Some(false));
        assert_eq!(AvailabilityBits::from_bytes([0]).get(0, 1), None);
    }

    #[test]
    fn ages_change_their_unit_when_they_are_long() {
        let ages = SegmentAges::of(&[held(true, Some(Duration::from_secs(600))), None, held(true, None)]).unwrap();
        assert_eq!(ages.units(), AgeUnits::Hundredths);
        assert_eq!(ages.get(0), Some(Duration::from_secs(600)));
        assert_eq!(ages.get(2), None);
        let day = Duration::from_secs(86_400);
        let ages = SegmentAges::of(&[held(true, Some(day)), held(true, Some(day * 300))]).unwrap();
        assert_eq!(ages.units(), AgeUnits::Seconds);
        assert_eq!(ages.get(0), Some(day));
        assert_eq!(ages.get(1), Some(Duration::from_secs(u64::from(MAX_AGE))));
        assert_eq!(SegmentAges::of(&[held(true, None)]), None);
    }

    #[test]
    fn blobs_are_checked_in_the_order_of_the_document() {
        let blob = [0, 1, 3, 2, 0, 0x60, 0xea, 0, 2, 0x60, 0xea, 0];
        let ages = SegmentAges::parse(&blob).unwrap();
        assert_eq!(ages.emit(), blob);
        assert_eq!(ages.iter().collect::<Vec<_>>(), [(0, Duration::from_secs(600)), (2, Duration::from_secs(600))]);
        for length in 0..blob.len() {
            assert_eq!(SegmentAges::parse(&blob[..length]), None, "{length}");
        }
        assert_eq!(SegmentAges::parse(&[0, 2, 3, 0]), None);
        assert_eq!(SegmentAges::parse(&[0, 1, 5, 0]), None);
        assert!(SegmentAges::parse(&[0, 1, 4, 0, 9, 9]).is_some(), "larger is allowed");
    }
}
