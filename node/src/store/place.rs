//! What memory keeps of a record: 16 bytes.

use std::sync::atomic::{AtomicU64, Ordering};

use peerdist_protocol::content::{BlockIndex, CryptoAlgoId};

use super::entry::{ALIGNMENT, UnixTime, record_size};
use super::types::Trust;

/// Names an open pack. At 256 MiB a pack, 65,536 of them are 16 TiB.
pub(super) type PackSlot = u16;

/// Where a record is and what it is:
///
/// | bits | |
/// |---|---|
/// | 24 | offset in the pack, in units of 16 bytes |
/// | 18 | SizeOfBlock |
/// | 16 | pack slot |
/// | 2 | cipher |
/// | 2 | trust; 3 in no record |
/// | 1 | its checksum was checked |
/// | 1 | it was read since it was written (the second chance) |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64);

const SIZE_SHIFT: u32 = 24;
const SLOT_SHIFT: u32 = 42;
const ALGORITHM_SHIFT: u32 = 58;
const TRUST_SHIFT: u32 = 60;
const CHECKED: u64 = 1 << 62;
const USED: u64 = 1 << 63;

impl Place {
    pub(super) fn new(slot: PackSlot, offset: u32, size_of_block: u32, algorithm: CryptoAlgoId, trust: Trust) -> Self {
        debug_assert!(u64::from(offset).is_multiple_of(ALIGNMENT) && u64::from(offset) / ALIGNMENT < 1 << SIZE_SHIFT);
        debug_assert!(size_of_block < 1 << (SLOT_SHIFT - SIZE_SHIFT));
        Self(
            (u64::from(offset) / ALIGNMENT)
                | (u64::from(size_of_block) << SIZE_SHIFT)
                | (u64::from(slot) << SLOT_SHIFT)
                | (u64::from(algorithm.to_wire()) << ALGORITHM_SHIFT)
                | ((trust as u64) << TRUST_SHIFT),
        )
    }

    pub(super) fn offset(self) -> u32 {
        (self.field(0, SIZE_SHIFT) * ALIGNMENT) as u32
    }

    pub(super) fn size_of_block(self) -> u32 {
        self.field(SIZE_SHIFT, SLOT_SHIFT) as u32
    }

    pub(super) fn slot(self) -> PackSlot {
        self.field(SLOT_SHIFT, ALGORITHM_SHIFT) as PackSlot
    }

    pub(super) fn algorithm(self) -> CryptoAlgoId {
        CryptoAlgoId::from_wire(self.field(ALGORITHM_SHIFT, TRUST_SHIFT) as u32).unwrap_or_default()
    }

    /// The trust; what is no record reads as blind.
    pub(super) fn trust(self) -> Trust {
        match self.field(TRUST_SHIFT, 62) {
            2 => Trust::Bound,
            1 => Trust::Claimed,
            _ => Trust::Blind,
        }
    }

    pub(super) fn is_checked(self) -> bool {
        self.0 & CHECKED != 0
    }

    pub(super) fn is_used(self) -> bool {
        self.0 & USED != 0
    }

    pub(super) fn bound(self) -> Self {
        Self((self.0 & !(3 << TRUST_SHIFT)) | ((Trust::Bound as u64) << TRUST_SHIFT))
    }

    /// Whether both are the same record, whatever was learnt of it meanwhile.
    pub(super) fn is_at(self, other: Self) -> bool {
        let location = ((1 << SIZE_SHIFT) - 1) | (0xffff << SLOT_SHIFT);
        (self.0 ^ other.0) & location == 0
    }

    /// The record's size in its pack.
    pub(super) fn record_size(self) -> u64 {
        record_size(self.size_of_block(), self.algorithm())
    }

    fn field(self, from: u32, to: u32) -> u64 {
        (self.0 >> from) & ((1 << (to - from)) - 1)
    }
}

/// The rest of it: entry time (32 bits), tag (23), block index (9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note(u64);

/// How many tags there are for [`Note`], with [`Tag::NONE`](super::types::Tag::NONE) as the first.
pub(super) const MAX_TAGS: u32 = 1 << 23;

impl Note {
    pub(super) fn new(time: UnixTime, tag: u32, index: BlockIndex) -> Self {
        debug_assert!(tag < MAX_TAGS && index < 1 << 9);
        Self(u64::from(time) | (u64::from(tag) << 32) | (u64::from(index) << 55))
    }

    pub(super) fn time(self) -> UnixTime {
        self.0 as u32
    }

    pub(super) fn tag(self) -> u32 {
        (self.0 >> 32) as u32 & (MAX_TAGS - 1)
    }

    pub(super) fn index(self) -> BlockIndex {
        (self.0 >> 55) as u32
    }
}

/// A record as it is passed around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) note: Note,
}

/// A record as it is kept. What reading teaches of it is written under a shared lock.
#[derive(Debug)]
pub(super) struct Cell {
    place: AtomicU64,
    note: Note,
}

impl Cell {
    /// A cell without a record that carries `link` for the index.
    pub(super) fn link(link: u32) -> Self {
        Self { place: AtomicU64::new(3 << TRUST_SHIFT), note: Note(u64::from(link)) }
    }

    /// The record, or the link of a cell that has none.
    pub(super) fn get(&self) -> Result<Record, u32> {
        let place = self.place.load(Ordering::Relaxed);
        if (place >> TRUST_SHIFT) & 3 == 3 {
            return Err(self.note.0 as u32);
        }
        Ok(Record { place: Place(place), note: self.note })
    }

    pub(super) fn set_place(&mut self, place: Place) {
        *self.place.get_mut() = place.0;
    }

    /// Remembers that the record was read and found intact, if it is still the one at `place`.
    pub(super) fn mark_used(&self, place: Place) {
        let now = self.place.load(Ordering::Relaxed);
        if Place(now).is_at(place) && now & (CHECKED | USED) != CHECKED | USED {
            self.place.fetch_or(CHECKED | USED, Ordering::Relaxed);
        }
    }

    /// Remembers that the record was found intact, without counting as a use.
    pub(super) fn mark_checked(&self, place: Place) {
        if Place(self.place.load(Ordering::Relaxed)).is_at(place) {
            self.place.fetch_or(CHECKED, Ordering::Relaxed);
        }
    }
}

impl From<Record> for Cell {
    fn from(record: Record) -> Self {
        Self { place: AtomicU64::new(record.place.0), note: record.note }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        let place = Place::new(u16::MAX, 0x0fff_fff0, 131_088, CryptoAlgoId::Aes256, Trust::Blind);
        assert_eq!(place.slot(), u16::MAX);
        assert_eq!(place.offset(), 0x0fff_fff0);
        assert_eq!(place.size_of_block(), 131_088);
        assert_eq!(place.algorithm(), CryptoAlgoId::Aes256);
        assert_eq!(place.trust(), Trust::Blind);
        assert!(!place.is_checked() && !place.is_used());
        assert_eq!(place.bound().trust(), Trust::Bound);
        assert!(place.bound().is_at(place));
        let other = Place::new(u16::MAX, 0x0fff_ffe0, 131_088, CryptoAlgoId::Aes256, Trust::Blind);
        assert!(!other.is_at(place));

        let note = Note::new(u32::MAX, MAX_TAGS - 1, 0);
        assert_eq!((note.time(), note.tag(), note.index()), (u32::MAX, MAX_TAGS - 1, 0));
        let note = Note::new(0, 0, 511);
        assert_eq!((note.time(), note.tag(), note.index()), (0, 0, 511));
        assert_eq!(size_of::<Cell>(), 16);
    }

    #[test]
    fn a_link_is_no_record() {
        assert_eq!(Cell::link(77).get(), Err(77));
        let place = Place::new(1, 16, 48, CryptoAlgoId::Aes128, Trust::Bound);
        let record = Record { place, note: Note::new(5, 0, 0) };
        let cell = Cell::from(record);
        assert_eq!(cell.get(), Ok(record));
        cell.mark_used(place);
        assert!(cell.get().unwrap().place.is_used());
    }
}
