//! Texts in UTF-16, in both directions.
#![allow(unsafe_code, reason = "follows the caller's pointers")]

use super::failure::Failure;
use super::types::PCWSTR;

/// Texts of the Windows API have fewer units than this.
const MAX_UNITS: usize = 1 << 15;

/// The text behind a pointer; none behind NULL.
///
/// # Safety
///
/// `text` is NULL or points to units of which one is zero; it may be unaligned.
pub(super) unsafe fn read(text: PCWSTR) -> Result<Option<String>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    let mut units = Vec::new();
    for index in 0..MAX_UNITS {
        // SAFETY: none of the units before was zero, so by the caller's word this one is there.
        match unsafe { text.add(index).read_unaligned() } {
            0 => {
                let text = String::from_utf16(&units).map_err(|_| Failure::argument("a text is not UTF-16"))?;
                return Ok(Some(text));
            }
            unit => units.push(unit),
        }
    }
    Err(Failure::argument("a text is too long"))
}

/// As [`read`], where a text is needed.
///
/// # Safety
///
/// As for [`read`].
pub(super) unsafe fn read_required(text: PCWSTR, what: &str) -> Result<String, Failure> {
    // SAFETY: the caller's word.
    unsafe { read(text) }?.ok_or_else(|| Failure::argument(&format!("{what} is NULL")))
}

/// The text with a zero at its end.
pub(super) fn encode(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// The parts of a list with semicolons; spaces around them and empty ones do not count.
pub(super) fn split(list: &str) -> Vec<&str> {
    list.split(';').map(str::trim).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    fn read_back(units: &[u16]) -> Result<Option<String>, Failure> {
        // SAFETY: every test ends its units with zero, or has more of them than are looked at.
        unsafe { read(units.as_ptr()) }
    }

    #[test]
    fn texts_read_back() {
        for text in ["", "PeerDist", "größer 𝄞"] {
            assert_eq!(read_back(&encode(text)).unwrap().unwrap(), text);
        }
        // SAFETY: NULL is allowed.
        assert!(unsafe { read(ptr::null()) }.unwrap().is_none());
    }

    #[test]
    fn a_text_may_lie_at_an_odd_address() {
        let bytes: Vec<u8> = [0xFF].into_iter().chain(encode("odd").into_iter().flat_map(u16::to_ne_bytes)).collect();
        // SAFETY: the units of the text, its zero among them, follow the first byte.
        assert_eq!(unsafe { read(bytes.as_ptr().add(1).cast()) }.unwrap().unwrap(), "odd");
    }

    #[test]
    fn half_a_character_and_endless_texts_are_refused() {
        assert!(read_back(&[0xD834, 0]).is_err());
        assert!(read_back(&[0x41; MAX_UNITS]).is_err());
    }

    #[test]
    fn lists_are_split() {
        assert_eq!(split("PeerDist; SMBHashGeneration;"), ["PeerDist", "SMBHashGeneration"]);
        assert!(split(" ;").is_empty());
    }
}
