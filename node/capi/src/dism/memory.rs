//! What was handed out and is to come back through DismDelete.
#![allow(unsafe_code, reason = "keeps what the caller's pointers point to")]

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::failure::Failure;
use super::text::encode;
use super::types::PCWSTR;

/// By the address that the caller has.
static HANDED_OUT: Mutex<BTreeMap<usize, Parcel>> = Mutex::new(BTreeMap::new());

/// Structures, and the texts that they point to.
#[derive(Debug)]
struct Parcel {
    /// A `Vec` of structures.
    _items: Box<dyn Any>,
    _texts: Vec<Vec<u16>>,
}

// SAFETY: the pointers in the structures lead to texts of the same parcel, which nobody changes.
unsafe impl Send for Parcel {}

/// Collects the texts of a parcel. They do not move when more are added, nor when it is handed out.
#[derive(Debug, Default)]
pub(super) struct Texts(Vec<Vec<u16>>);

impl Texts {
    /// A pointer to a copy of the text.
    pub(super) fn add(&mut self, text: &str) -> PCWSTR {
        self.0.push(encode(text));
        self.0.last().map_or(std::ptr::null(), |units| units.as_ptr())
    }
}

/// Hands structures out, which keep until [`take_back`]. NULL where there are none.
pub(super) fn hand_out<T: Copy + 'static>(mut items: Vec<T>, texts: Texts) -> *mut T {
    if items.is_empty() {
        return std::ptr::null_mut();
    }
    let first = items.as_mut_ptr();
    let parcel = Parcel { _items: Box::new(items), _texts: texts.0 };
    HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner).insert(first.expose_provenance(), parcel);
    first
}

/// Frees what was handed out at an address, and nothing else.
pub(super) fn take_back(address: usize) -> Result<(), Failure> {
    let parcel = HANDED_OUT.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
    parcel.map(drop).ok_or_else(|| Failure::argument("the pointer is none that this library returned"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_comes_back_once() {
        let mut texts = Texts::default();
        let pointers = vec![texts.add("a"), texts.add("b")];
        let first = hand_out(pointers, texts);
        // SAFETY: two pointers were handed out, to texts of two units each.
        let second = unsafe { std::slice::from_raw_parts(*first.add(1), 2) };
        assert_eq!(second, [u16::from(b'b'), 0]);
        let address = first.addr();
        assert!(take_back(address + size_of::<PCWSTR>()).is_err(), "not the first element");
        take_back(address).unwrap();
        assert!(take_back(address).is_err());
        assert!(take_back(0).is_err());
    }

    #[test]
    fn nothing_is_null() {
        assert!(hand_out(Vec::<u32>::new(), Texts::default()).is_null());
    }
}
