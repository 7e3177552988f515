//! The extensible blob, version 1: ages of segments ([MS-PCCRR] 2.2.6).

use std::time::Duration;

use thiserror::Error;

use crate::wire::{Put, Reader};

/// The only version of the blob ([MS-PCCRR] 2.2.6.1).
const VERSION: u16 = 1;
/// The largest age that 24 bits hold, in units.
pub const MAX_ENCODED_AGE: u32 = 0x00ff_ffff;

/// SegmentAgeUnits ([MS-PCCRR] 2.2.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AgeUnits {
    /// 1.
    Seconds = 1,
    /// 2.
    TenthsOfSeconds = 2,
    /// 3, what senders use.
    HundredthsOfSeconds = 3,
    /// 4.
    Milliseconds = 4,
}

impl AgeUnits {
    fn from_wire(value: u8) -> Option<Self> {
        [Self::Seconds, Self::TenthsOfSeconds, Self::HundredthsOfSeconds, Self::Milliseconds]
            .into_iter()
            .find(|units| *units as u8 == value)
    }

    fn milliseconds(self) -> u32 {
        match self {
            Self::Seconds => 1000,
            Self::TenthsOfSeconds => 100,
            Self::HundredthsOfSeconds => 10,
            Self::Milliseconds => 1,
        }
    }
}

/// ENCODED_SEGMENT_AGE ([MS-PCCRR] 2.2.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedSegmentAge {
    /// Which segment: its distance from the first segment of the message.
    pub segment_index: u8,
    /// Time since it entered the cache, in the blob's units; at most [`MAX_ENCODED_AGE`].
    pub age: u32,
}

/// Extensible blob version 1 ([MS-PCCRR] 2.2.6.1), at most 255 ages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensibleBlob {
    units: AgeUnits,
    ages: Vec<EncodedSegmentAge>,
}

/// Why a blob is ignored. The message that carries it stays valid ([MS-PCCRR] 2.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BlobError {
    /// Fewer bytes than the version, the fixed fields or the announced ages take.
    #[error("{size} bytes are too few, {needed} needed")]
    TooShort {
        /// Bytes that came.
        size: usize,
        /// Bytes that the fields take.
        needed: usize,
    },
    /// A version other than 1.
    #[error("unknown blob version {0}")]
    UnknownVersion(u16),
    /// SegmentAgeUnits is none of 1 to 4.
    #[error("unknown age units {0}")]
    UnknownUnits(u8),
}

impl ExtensibleBlob {
    /// Ages by segment index, in hundredths of a second, or in seconds where one does not fit. Ages beyond half a year
    /// are cut to it. Only the first 255 are taken.
    #[must_use]
    pub fn new(ages: impl IntoIterator<Item = (u8, Duration)>) -> Self {
        let ages: Vec<_> = ages.into_iter().take(usize::from(u8::MAX)).collect();
        let encode = |age: Duration, units: AgeUnits| age.as_millis() / u128::from(units.milliseconds());
        let fine = AgeUnits::HundredthsOfSeconds;
        let fits = ages.iter().all(|(_, age)| encode(*age, fine) <= u128::from(MAX_ENCODED_AGE));
        let units = if fits { fine } else { AgeUnits::Seconds };
        let ages = ages
            .into_iter()
            .map(|(segment_index, age)| EncodedSegmentAge {
                segment_index,
                age: encode(age, units).min(u128::from(MAX_ENCODED_AGE)) as u32,
            })
            .collect();
        Self { units, ages }
    }

    /// Reads a blob, checking in the order of [MS-PCCRR] 2.2.6.1.1. Bytes after the last age are allowed.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlobError> {
        let size = bytes.len();
        let mut reader = Reader::new(bytes);
        let version = reader.u16_be().map_err(|_| BlobError::TooShort { size, needed: 2 })?;
        if version != VERSION {
            return Err(BlobError::UnknownVersion(version));
        }
        let [units, count] = reader.take_array().map_err(|_| BlobError::TooShort { size, needed: 4 })?;
        let units = AgeUnits::from_wire(units).ok_or(BlobError::UnknownUnits(units))?;
        let needed = 4 * (usize::from(count) + 1);
        let too_short = BlobError::TooShort { size, needed };
        let ages = reader.take(needed - 4).map_err(|_| too_short)?;
        let (ages, _) = ages.as_chunks();
        let ages = ages
            .iter()
            .map(|[segment_index, low, mid, high]| EncodedSegmentAge {
                segment_index: *segment_index,
                age: u32::from_le_bytes([*low, *mid, *high, 0]),
            })
            .collect();
        Ok(Self { units, ages })
    }

    /// The bytes.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 * (self.ages.len() + 1));
        out.put_u16_be(VERSION);
        out.put_u8(self.units as u8);
        out.put_u8(self.ages.len() as u8);
        for EncodedSegmentAge { segment_index, age } in &self.ages {
            let [low, mid, high, _] = age.to_le_bytes();
            out.put(&[*segment_index, low, mid, high]);
        }
        out
    }

    /// SegmentAgeUnits.
    #[must_use]
    pub fn units(&self) -> AgeUnits {
        self.units
    }

    /// The ages as they are encoded.
    #[must_use]
    pub fn encoded(&self) -> &[EncodedSegmentAge] {
        &self.ages
    }

    /// The ages by segment index.
    pub fn ages(&self) -> impl Iterator<Item = (u8, Duration)> + '_ {
        let unit = u64::from(self.units.milliseconds());
        self.ages.iter().map(move |age| (age.segment_index, Duration::from_millis(u64::from(age.age) * unit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_encoded_as_finely_as_they_fit() {
        let hour = Duration::from_secs(3600);
        let blob = ExtensibleBlob::new([(0, hour), (7, Duration::from_millis(1239))]);
        assert_eq!(blob.units(), AgeUnits::HundredthsOfSeconds);
        assert_eq!(blob.ages().collect::<Vec<_>>(), [(0, hour), (7, Duration::from_millis(1230))]);
        let blob = ExtensibleBlob::new([(0, hour), (1, 100 * hour), (2, Duration::MAX)]);
        assert_eq!(blob.units(), AgeUnits::Seconds);
        let longest = Duration::from_secs(MAX_ENCODED_AGE.into());
        assert_eq!(blob.ages().collect::<Vec<_>>(), [(0, hour), (1, 100 * hour), (2, longest)]);
        assert_eq!(ExtensibleBlob::parse(&blob.emit()), Ok(blob));
    }

    #[test]
    fn every_unit_is_understood() {
        for (units, milliseconds) in [(1, 3_000), (2, 300), (3, 30), (4, 3)] {
            let blob = ExtensibleBlob::parse(&[0, 1, units, 1, 0, 3, 0, 0]).unwrap();
            assert_eq!(blob.ages().collect::<Vec<_>>(), [(0, Duration::from_millis(milliseconds))]);
        }
    }

    #[test]
    fn only_255_ages_fit() {
        let blob = ExtensibleBlob::new((0..=255).map(|index| (index, Duration::ZERO)));
        assert_eq!(blob.encoded().len(), 255);
        assert_eq!(ExtensibleBlob::parse(&blob.emit()), Ok(blob));
    }

    #[test]
    fn checks_come_in_the_order_of_the_document() {
        let parse = ExtensibleBlob::parse;
        assert_eq!(parse(&[0]), Err(BlobError::TooShort { size: 1, needed: 2 }));
        assert_eq!(parse(&[0, 2]), Err(BlobError::UnknownVersion(2)));
        assert_eq!(parse(&[0, 1, 9]), Err(BlobError::TooShort { size: 3, needed: 4 }));
        assert_eq!(parse(&[0, 1, 0, 9]), Err(BlobError::UnknownUnits(0)));
        assert_eq!(parse(&[0, 1, 5, 0]), Err(BlobError::UnknownUnits(5)));
        assert_eq!(parse(&[0, 1, 4, 1, 0, 0, 0]), Err(BlobError::TooShort { size: 7, needed: 8 }));
        assert_eq!(parse(&[0, 1, 4, 1, 6, 1, 2, 3, 0xff]).unwrap().encoded()[0].age, 0x03_02_01);
    }
}
