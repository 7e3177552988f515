//! FormatMessage for the errors that this library returns, and LocalFree for what it allocates.
#![allow(unsafe_code, non_snake_case, reason = "exported to C under the names of Windows")]

use std::ffi::{c_char, c_void};
use std::mem::size_of;
use std::ptr;

use crate::abi::{
    DWORD, ERROR_INSUFFICIENT_BUFFER, ERROR_INVALID_PARAMETER, ERROR_MR_MID_NOT_FOUND, ERROR_NOT_ENOUGH_MEMORY,
    ERROR_NOT_SUPPORTED,
};
use crate::boundary::{guarded, reporting, write_out};
use crate::kernel::message::text;

/// `buffer` points to a pointer, which gets memory to be freed with LocalFree.
pub const FORMAT_MESSAGE_ALLOCATE_BUFFER: DWORD = 0x100;
/// The text comes from the caller; not offered.
pub const FORMAT_MESSAGE_FROM_STRING: DWORD = 0x400;
/// The text is the system's: the only ones that there are.
pub const FORMAT_MESSAGE_FROM_SYSTEM: DWORD = 0x1000;
/// The width of a line; all ones ask for one line.
pub const FORMAT_MESSAGE_MAX_WIDTH_MASK: DWORD = 0xFF;

/// FormatMessageA. English, whatever the language asked for; no text has inserts.
///
/// # Safety
///
/// `buffer` is NULL, or has room for `size` characters or, with [`FORMAT_MESSAGE_ALLOCATE_BUFFER`], a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_FormatMessageA(
    flags: DWORD,
    _source: *const c_void,
    message: DWORD,
    _language: DWORD,
    buffer: *mut c_char,
    size: DWORD,
    _arguments: *mut c_void,
) -> DWORD {
    reporting(0, || {
        let text = formatted(flags, message)?;
        // SAFETY: handed on from the caller. Bytes are what C's characters are here.
        unsafe { give(flags, text.as_bytes(), buffer.cast(), size) }
    })
}

/// FormatMessageW. English, whatever the language asked for; no text has inserts.
///
/// # Safety
///
/// As [`peerdist_FormatMessageA`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_FormatMessageW(
    flags: DWORD,
    _source: *const c_void,
    message: DWORD,
    _language: DWORD,
    buffer: *mut u16,
    size: DWORD,
    _arguments: *mut c_void,
) -> DWORD {
    reporting(0, || {
        let text: Vec<u16> = formatted(flags, message)?.encode_utf16().collect();
        // SAFETY: handed on from the caller.
        unsafe { give(flags, &text, buffer, size) }
    })
}

/// LocalFree, of what FormatMessage allocated.
///
/// # Safety
///
/// `memory` is NULL or was allocated by FormatMessage and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_LocalFree(memory: *mut c_void) -> *mut c_void {
    guarded(memory, || {
        // SAFETY: it came from malloc, by the caller's word; NULL is allowed.
        unsafe { libc::free(memory) };
        ptr::null_mut()
    })
}

fn formatted(flags: DWORD, message: DWORD) -> Result<String, DWORD> {
    if flags & FORMAT_MESSAGE_FROM_STRING != 0 {
        return Err(ERROR_NOT_SUPPORTED);
    }
    if flags & FORMAT_MESSAGE_FROM_SYSTEM == 0 {
        return Err(ERROR_INVALID_PARAMETER);
    }
    let text = text(message).ok_or(ERROR_MR_MID_NOT_FOUND)?;
    let one_line = flags & FORMAT_MESSAGE_MAX_WIDTH_MASK == FORMAT_MESSAGE_MAX_WIDTH_MASK;
    Ok(format!("{text}{}", if one_line { " " } else { "\r\n" }))
}

/// Copies the text and a zero; returns its length without that.
///
/// # Safety
///
/// As [`peerdist_FormatMessageA`].
unsafe fn give<T: Copy + Default>(flags: DWORD, text: &[T], buffer: *mut T, size: DWORD) -> Result<DWORD, DWORD> {
    if buffer.is_null() {
        return Err(ERROR_INVALID_PARAMETER);
    }
    let needed = text.len() + 1;
    let target = if flags & FORMAT_MESSAGE_ALLOCATE_BUFFER != 0 {
        // SAFETY: malloc takes any size.
        let allocated: *mut T = unsafe { libc::malloc(needed.max(size as usize) * size_of::<T>()) }.cast();
        if allocated.is_null() {
            return Err(ERROR_NOT_ENOUGH_MEMORY);
        }
        // SAFETY: with this flag there is room for a pointer, by the caller's word.
        unsafe { write_out(buffer.cast::<*mut T>(), allocated) }?;
        allocated
    } else if needed > size as usize {
        return Err(ERROR_INSUFFICIENT_BUFFER);
    } else {
        buffer
    };
    // SAFETY: there is room for `needed` elements, allocated or by the caller's word and the comparison above.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), target, text.len());
        target.add(text.len()).write(T::default());
    }
    // No text of the table is that long.
    Ok(text.len() as DWORD)
}
