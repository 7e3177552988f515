//! FormatMessage, through the exported functions.
#![allow(unsafe_code, reason = "calls functions meant for C")]
#![allow(clippy::unwrap_used)]

use std::ffi::{CStr, c_char};
use std::ptr;

use peerdist::abi::*;
use peerdist::kernel::calls::*;

/// The text for a code, or the last error.
fn format(flags: DWORD, code: DWORD, room: usize) -> Result<String, DWORD> {
    let mut buffer = vec![c_char::MAX; room + 1];
    // SAFETY: the buffer has that room.
    let length = unsafe {
        peerdist_FormatMessageA(flags, ptr::null(), code, 0, buffer.as_mut_ptr(), room as DWORD, ptr::null_mut())
    };
    assert_eq!(buffer[room], c_char::MAX, "written past the end");
    if length == 0 {
        return Err(peerdist_GetLastError());
    }
    let text = buffer[..length as usize].iter().map(|&byte| char::from(byte.cast_unsigned())).collect();
    assert_eq!(buffer[length as usize], 0);
    Ok(text)
}

#[test]
fn every_error_of_peerdist_has_a_text() {
    let texts: Vec<String> = (4050..=4066).map(|code| format(FORMAT_MESSAGE_FROM_SYSTEM, code, 200).unwrap()).collect();
    for (index, text) in texts.iter().enumerate() {
        assert!(text.len() > 10 && text.ends_with(".\r\n") && !text.contains('%'), "{text}");
        assert!(!texts[..index].contains(text), "{text}");
    }
    for code in [4049, 4067, 0xFFFF_FFFF] {
        assert_eq!(format(FORMAT_MESSAGE_FROM_SYSTEM, code, 200), Err(ERROR_MR_MID_NOT_FOUND));
    }
}

#[test]
fn an_hresult_of_an_error_has_its_text() {
    let text = format(FORMAT_MESSAGE_FROM_SYSTEM, PEERDIST_ERROR_MISSING_DATA, 200);
    assert!(text.is_ok());
    assert_eq!(format(FORMAT_MESSAGE_FROM_SYSTEM, 0x8007_0000 | PEERDIST_ERROR_MISSING_DATA, 200), text);
}

#[test]
fn the_width_mask_asks_for_one_line() {
    let text = format(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_MAX_WIDTH_MASK, ERROR_TIMEOUT, 200).unwrap();
    assert!(text.ends_with(". "), "{text:?}");
}

#[test]
fn a_buffer_may_be_just_large_enough() {
    let text = format(FORMAT_MESSAGE_FROM_SYSTEM, ERROR_SUCCESS, 200).unwrap();
    assert_eq!(format(FORMAT_MESSAGE_FROM_SYSTEM, ERROR_SUCCESS, text.len() + 1), Ok(text.clone()));
    assert_eq!(format(FORMAT_MESSAGE_FROM_SYSTEM, ERROR_SUCCESS, text.len()), Err(ERROR_INSUFFICIENT_BUFFER));
    assert_eq!(format(FORMAT_MESSAGE_FROM_SYSTEM, ERROR_SUCCESS, 0), Err(ERROR_INSUFFICIENT_BUFFER));
}

#[test]
fn other_sources_of_text_are_refused() {
    assert_eq!(format(0, ERROR_SUCCESS, 200), Err(ERROR_INVALID_PARAMETER));
    assert_eq!(format(FORMAT_MESSAGE_FROM_STRING, ERROR_SUCCESS, 200), Err(ERROR_NOT_SUPPORTED));
    // SAFETY: NULL is allowed.
    let length = unsafe {
        let (source, buffer, arguments) = (ptr::null(), ptr::null_mut(), ptr::null_mut());
        peerdist_FormatMessageA(FORMAT_MESSAGE_FROM_SYSTEM, source, 0, 0, buffer, 200, arguments)
    };
    assert_eq!((length, peerdist_GetLastError()), (0, ERROR_INVALID_PARAMETER));
}

#[test]
fn an_allocated_text_is_the_same() {
    const FLAGS: DWORD = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_ALLOCATE_BUFFER;
    let text = format(FORMAT_MESSAGE_FROM_SYSTEM, ERROR_TIMEOUT, 200).unwrap();
    for least in [0, 1000] {
        let mut narrow: *mut c_char = ptr::null_mut();
        let mut wide: *mut u16 = ptr::null_mut();
        let (target, wide_target) = ((&raw mut narrow).cast(), (&raw mut wide).cast());
        // SAFETY: there is room for a pointer, which then points to a text with a zero behind, until it is freed.
        unsafe {
            let length = peerdist_FormatMessageA(FLAGS, ptr::null(), ERROR_TIMEOUT, 0, target, least, ptr::null_mut());
            assert_eq!(length as usize, text.len());
            assert_eq!(CStr::from_ptr(narrow).to_str().unwrap(), text);
            assert!(peerdist_LocalFree(narrow.cast()).is_null());

            let length =
                peerdist_FormatMessageW(FLAGS, ptr::null(), ERROR_TIMEOUT, 0, wide_target, least, ptr::null_mut());
            let units = std::slice::from_raw_parts(wide, length as usize + 1);
            assert_eq!(String::from_utf16(units).unwrap(), format!("{text}\0"));
            assert!(peerdist_LocalFree(wide.cast()).is_null());
        }
    }
}
