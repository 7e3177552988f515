//! WaitForSingleObject and WaitForMultipleObjects. Events can be waited for, and nothing else.
#![allow(unsafe_code, non_snake_case, reason = "exported to C under the names of Windows")]

use std::sync::Arc;

use crate::abi::{
    BOOL, DWORD, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, FALSE, HANDLE, MAXIMUM_WAIT_OBJECTS, WAIT_FAILED,
    WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use crate::boundary::reporting;
use crate::handle;
use crate::kernel::Event;
use crate::kernel::wait::{self, Deadline};

/// WaitForSingleObject.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_WaitForSingleObject(object: HANDLE, milliseconds: DWORD) -> DWORD {
    reporting(WAIT_FAILED, || wait_for_one(object, milliseconds))
}

/// WaitForSingleObjectEx. There is nothing to be alerted by.
#[unsafe(no_mangle)]
pub extern "C" fn peerdist_WaitForSingleObjectEx(object: HANDLE, milliseconds: DWORD, _alertable: BOOL) -> DWORD {
    reporting(WAIT_FAILED, || wait_for_one(object, milliseconds))
}

fn wait_for_one(object: HANDLE, milliseconds: DWORD) -> Result<DWORD, DWORD> {
    let event = handle::event(object).ok_or(ERROR_INVALID_HANDLE)?;
    Ok(wait::any(&[&event], Deadline::after(milliseconds)).map_or(WAIT_TIMEOUT, |_| WAIT_OBJECT_0))
}

/// WaitForMultipleObjects.
///
/// # Safety
///
/// `objects` is NULL or points to `count` handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn peerdist_WaitForMultipleObjects(
    count: DWORD,
    objects: *const HANDLE,
    all: BOOL,
    milliseconds: DWORD,
) -> DWORD {
    reporting(WAIT_FAILED, || {
        if !(1..=MAXIMUM_WAIT_OBJECTS).contains(&count) || objects.is_null() {
            return Err(ERROR_INVALID_PARAMETER);
        }
        let events = (0..count as usize).map(|index| {
            // SAFETY: not NULL, and so of `count` elements by the caller's word.
            let object = unsafe { objects.add(index).read_unaligned() };
            handle::event(object).ok_or(ERROR_INVALID_HANDLE)
        });
        let events: Vec<Arc<Event>> = events.collect::<Result<_, _>>()?;
        wait_for_several(&events, all != FALSE, Deadline::after(milliseconds))
    })
}

fn wait_for_several(events: &[Arc<Event>], all: bool, deadline: Deadline) -> Result<DWORD, DWORD> {
    let events: Vec<&Event> = events.iter().map(Arc::as_ref).collect();
    if !all {
        return Ok(wait::any(&events, deadline).map_or(WAIT_TIMEOUT, |index| WAIT_OBJECT_0 + index as DWORD));
    }
    let repeats = |(index, event): (usize, &&Event)| events[..index].iter().any(|other| std::ptr::eq(*other, *event));
    if events.iter().enumerate().any(repeats) {
        return Err(ERROR_INVALID_PARAMETER);
    }
    Ok(if wait::all(&events, deadline) { WAIT_OBJECT_0 } else { WAIT_TIMEOUT })
}
