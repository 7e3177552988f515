//! What stands between C and this library: no panic gets out, and C's pointers are looked at before they are followed.
#![allow(unsafe_code, reason = "writes through the caller's pointers")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::abi::{DWORD, ERROR_INTERNAL_ERROR, ERROR_INVALID_PARAMETER};
use crate::kernel::last_error;

/// The body of every exported function. After a panic the caller gets `failure`, and ERROR_INTERNAL_ERROR as last error.
pub(crate) fn guarded<T>(failure: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        last_error::set(ERROR_INTERNAL_ERROR);
        failure
    })
}

/// As [`guarded`], for functions that report through the last error.
pub(crate) fn reporting<T: Copy>(failure: T, body: impl FnOnce() -> Result<T, DWORD>) -> T {
    guarded(failure, || {
        body().unwrap_or_else(|error| {
            last_error::set(error);
            failure
        })
    })
}

/// Writes to an out parameter that C may have given as NULL.
///
/// # Safety
///
/// `out` is NULL or points to room for a `T`; it may be unaligned.
pub(crate) unsafe fn write_out<T>(out: *mut T, value: T) -> Result<(), DWORD> {
    if out.is_null() {
        return Err(ERROR_INVALID_PARAMETER);
    }
    // SAFETY: not NULL, and so valid by the caller's word.
    unsafe { out.write_unaligned(value) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn a_panic_becomes_a_failure() {
        last_error::set(0);
        assert_eq!(guarded(7, || panic!("on purpose")), 7);
        assert_eq!(last_error::get(), ERROR_INTERNAL_ERROR);
    }

    #[test]
    fn an_error_becomes_the_last_error() {
        last_error::set(0);
        assert_eq!(reporting(7, || Ok(8)), 8);
        assert_eq!(last_error::get(), 0);
        assert_eq!(reporting(7, || Err(ERROR_INVALID_PARAMETER)), 7);
        assert_eq!(last_error::get(), ERROR_INVALID_PARAMETER);
    }

    #[test]
    fn nothing_is_written_to_null() {
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { write_out(ptr::null_mut::<u32>(), 1) }, Err(ERROR_INVALID_PARAMETER));
    }
}
