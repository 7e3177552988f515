//! The table behind HANDLE: numbers that name the objects of this process.
//!
//! A value is a generation and a slot, shifted left by two. A slot's generation moves on when its object goes, so that
//! a value names one object ever, and a stale, invented or wrongly typed one is refused and no more than that.

use std::ptr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::abi::HANDLE;
use crate::kernel::{Event, Port};
use crate::peerdist::{Content, ContentInfo, Instance, Stream};

/// The most handles that are open at a time. Each event and port holds a file descriptor, so those end first.
pub const MAX_HANDLES: usize = 1 << 20;

/// Callers may set these in `OVERLAPPED.hEvent`.
const TAG_BITS: u32 = 2;
const SLOT_BITS: u32 = MAX_HANDLES.ilog2();
/// Not all ones, so that no value is INVALID_HANDLE_VALUE, whose two low bits are set besides.
const LAST_GENERATION: usize = (1 << (usize::BITS - TAG_BITS - SLOT_BITS)) - 2;

/// What a handle names.
#[derive(Debug, Clone)]
pub enum Object {
    /// Made by CreateEvent.
    Event(Arc<Event>),
    /// Made by CreateIoCompletionPort.
    Port(Arc<Port>),
    /// PEERDIST_INSTANCE_HANDLE.
    Instance(Arc<Instance>),
    /// PEERDIST_CONTENT_HANDLE.
    Content(Arc<Content>),
    /// PEERDIST_STREAM_HANDLE.
    Stream(Arc<Stream>),
    /// PEERDIST_CONTENTINFO_HANDLE.
    ContentInfo(Arc<ContentInfo>),
}

/// A value that [`Table`] may have given out: a slot and a generation that is not zero, the two low bits zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    slot: usize,
    generation: usize,
}

impl Handle {
    /// `None` for what is no handle to begin with: NULL, INVALID_HANDLE_VALUE, a value with one of the low bits set.
    #[must_use]
    pub fn from_raw(raw: HANDLE) -> Option<Self> {
        let value = raw.addr();
        if value & ((1 << TAG_BITS) - 1) != 0 {
            return None;
        }
        let slot = (value >> TAG_BITS) & (MAX_HANDLES - 1);
        let generation = value >> (TAG_BITS + SLOT_BITS);
        (1..=LAST_GENERATION).contains(&generation).then_some(Self { slot, generation })
    }

    /// The value for C.
    #[must_use]
    pub fn to_raw(self) -> HANDLE {
        ptr::without_provenance_mut(self.generation << (TAG_BITS + SLOT_BITS) | self.slot << TAG_BITS)
    }
}

/// The objects of the process.
#[derive(Debug)]
pub struct Table(RwLock<Slots>);

#[derive(Debug)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Slot {
    generation: usize,
    object: Option<Object>,
}

/// The one table of this process.
pub static TABLE: Table = Table::new();

impl Table {
    const fn new() -> Self {
        Self(RwLock::new(Slots { slots: Vec::new(), free: Vec::new() }))
    }

    /// `None` when [`MAX_HANDLES`] are open.
    pub fn insert(&self, object: Object) -> Option<Handle> {
        let mut slots = self.write();
        let slot = match slots.free.pop() {
            Some(slot) => slot,
            None if slots.slots.len() < MAX_HANDLES => {
                slots.slots.push(Slot { generation: 1, object: None });
                slots.slots.len() - 1
            }
            None => return None,
        };
        let entry = &mut slots.slots[slot];
        entry.object = Some(object);
        Some(Handle { slot, generation: entry.generation })
    }

    /// The object, if it is still there.
    #[must_use]
    pub fn get(&self, handle: Handle) -> Option<Object> {
        let slots = self.read();
        let slot = slots.slots.get(handle.slot).filter(|slot| slot.generation == handle.generation)?;
        slot.object.clone()
    }

    /// Ends the handle if `wanted` says so, and returns its object. Of several callers one gets it. `wanted` runs under
    /// the table's lock.
    pub fn remove_if(&self, handle: Handle, wanted: impl FnOnce(&Object) -> bool) -> Option<Object> {
        let mut slots = self.write();
        let slot = slots.slots.get_mut(handle.slot).filter(|slot| slot.generation == handle.generation)?;
        let object = slot.object.take_if(|object| wanted(object))?;
        // A slot whose generations are used up is left alone, for its values must not come again.
        if slot.generation < LAST_GENERATION {
            slot.generation += 1;
            slots.free.push(handle.slot);
        }
        Some(object)
    }

    fn read(&self) -> RwLockReadGuard<'_, Slots> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slots> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts an object into [`TABLE`]; NULL when it is full.
pub fn open(object: Object) -> HANDLE {
    TABLE.insert(object).map_or(ptr::null_mut(), Handle::to_raw)
}

/// The object that a value from C names.
#[must_use]
pub fn object(raw: HANDLE) -> Option<Object> {
    TABLE.get(Handle::from_raw(raw)?)
}

/// The event that a value from C names.
#[must_use]
pub fn event(raw: HANDLE) -> Option<Arc<Event>> {
    match object(raw)? {
        Object::Event(event) => Some(event),
        _ => None,
    }
}

/// The port that a value from C names.
#[must_use]
pub fn port(raw: HANDLE) -> Option<Arc<Port>> {
    match object(raw)? {
        Object::Port(port) => Some(port),
        _ => None,
    }
}

/// The event that `OVERLAPPED.hEvent` names, whatever its two low bits, and whether bit 0 asks for no packet.
#[must_use]
pub fn overlapped_event(raw: HANDLE) -> Option<(Arc<Event>, bool)> {
    let without_tag = raw.map_addr(|value| value & !((1 << TAG_BITS) - 1));
    Some((event(without_tag)?, raw.addr() & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn an_event() -> Object {
        Object::Event(Arc::new(Event::new(true, false).unwrap()))
    }

    #[test]
    fn values_are_neither_null_nor_all_ones_nor_odd() {
        let table = Table::new();
        for _ in 0..100 {
            let raw = table.insert(an_event()).unwrap().to_raw();
            assert!(!raw.is_null() && raw.addr() & 3 == 0);
            assert_eq!(Handle::from_raw(raw).map(Handle::to_raw), Some(raw));
        }
        let last = Handle { slot: MAX_HANDLES - 1, generation: LAST_GENERATION };
        assert_ne!(last.to_raw().addr() | 3, usize::MAX);
        assert_eq!(Handle::from_raw(last.to_raw()), Some(last));
    }

    #[test]
    fn what_was_never_given_out_names_nothing() {
        let table = Table::new();
        let handle = table.insert(an_event()).unwrap();
        let value = handle.to_raw().addr();
        for foreign in [0, 1, 2, 3, 4, value | 1, value | 2, value + 4, value ^ (1 << 40), usize::MAX, usize::MAX - 3] {
            let object = Handle::from_raw(ptr::without_provenance_mut(foreign)).and_then(|handle| table.get(handle));
            assert!(object.is_none(), "{foreign:#x}");
        }
        assert!(table.get(handle).is_some());
    }

    #[test]
    fn a_slot_is_used_again_and_its_old_handle_stays_dead() {
        let table = Table::new();
        let old = table.insert(an_event()).unwrap();
        assert!(table.remove_if(old, |_| true).is_some());
        let new = table.insert(an_event()).unwrap();
        assert_eq!(new.slot, old.slot);
        assert_ne!(new, old);
        assert!(table.get(old).is_none());
        assert!(table.remove_if(old, |_| true).is_none());
        assert!(table.get(new).is_some());
    }

    #[test]
    fn an_unwanted_object_stays() {
        let table = Table::new();
        let handle = table.insert(an_event()).unwrap();
        assert!(table.remove_if(handle, |object| matches!(object, Object::Port(_))).is_none());
        assert!(table.get(handle).is_some());
    }

    #[test]
    fn a_slot_without_generations_left_is_not_used_again() {
        let table = Table::new();
        let first = table.insert(an_event()).unwrap();
        table.write().slots[first.slot].generation = LAST_GENERATION;
        let last = Handle { generation: LAST_GENERATION, ..first };
        assert!(table.remove_if(last, |_| true).is_some());
        assert!(table.get(last).is_none());
        assert_ne!(table.insert(an_event()).unwrap().slot, first.slot);
    }

    #[test]
    fn the_number_of_handles_is_limited() {
        let table = Table::new();
        let object = an_event();
        let first = table.insert(object.clone()).unwrap();
        for _ in 1..MAX_HANDLES {
            assert!(table.insert(object.clone()).is_some());
        }
        assert!(table.insert(object.clone()).is_none());
        assert!(table.remove_if(first, |_| true).is_some());
        assert!(table.insert(object).is_some());
    }

    #[test]
    fn t46_the_low_bits_count_in_h_event_only() {
        let raw = open(an_event());
        let odd = raw.map_addr(|value| value | 1);
        assert!(event(odd).is_none());
        assert_eq!(overlapped_event(odd).map(|(_, silent)| silent), Some(true));
        assert_eq!(overlapped_event(raw).map(|(_, silent)| silent), Some(false));
        assert!(port(raw).is_none());
    }
}
