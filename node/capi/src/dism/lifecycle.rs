//! DismInitialize, DismShutdown, sessions, messages, and giving memory back.
#![allow(unsafe_code, reason = "exported functions, with the caller's pointers")]
#![allow(non_snake_case, reason = "the names of the Windows header")]

use std::ffi::c_void;

use peerdist_node::control::client::AdminClient;

use super::elevation::is_elevated;
use super::failure::{Failure, guarded, last_message, reporting};
use super::image::{Image, is_online};
use super::memory::{Texts, hand_out, take_back};
use super::types::{
    DismLogErrorsWarningsInfo, DismLogLevel, DismSession, DismString, ELEVATION_REQUIRED, HRESULT, NOT_FOUND, PCWSTR,
};
use super::{process, text};

/// Begins the use of DISM in this process. No log is written, and no scratch space is needed: both paths are ignored.
///
/// # Safety
///
/// The texts are NULL, or UTF-16 with a zero at the end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn DismInitialize(
    log_level: DismLogLevel,
    log_file_path: PCWSTR,
    scratch_directory: PCWSTR,
) -> HRESULT {
    reporting(|| {
        if log_level > DismLogErrorsWarningsInfo {
            return Err(Failure::argument("there is no such log level"));
        }
        for path in [log_file_path, scratch_directory] {
            // SAFETY: the caller's word.
            unsafe { text::read(path) }?;
        }
        process::initialise(|| {
            let socket = AdminClient::from_env();
            if is_elevated(socket.path()) {
                return Ok(());
            }
            let message = format!("neither root nor permitted to write to {}", socket.path().display());
            Err(Failure::new(ELEVATION_REQUIRED, message))
        })
    })
}

/// Ends the use of DISM in this process, unless sessions are open. What was not given back stays where it is.
#[unsafe(no_mangle)]
pub extern "C" fn DismShutdown() -> HRESULT {
    guarded(process::shut_down)
}

/// Opens a session about the running system (DISM_ONLINE_IMAGE), or about the one below a root directory. Names of
/// directories within it are only taken where it does not run, and ignored.
///
/// # Safety
///
/// The texts are NULL, or UTF-16 with a zero at the end; `session` is NULL or has room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn DismOpenSession(
    image_path: PCWSTR,
    windows_directory: PCWSTR,
    system_drive: PCWSTR,
    session: *mut DismSession,
) -> HRESULT {
    reporting(|| {
        process::need_initialised()?;
        if session.is_null() {
            return Err(Failure::argument("Session is NULL"));
        }
        // SAFETY: the caller's word.
        let path = unsafe { text::read_required(image_path, "ImagePath") }?;
        // SAFETY: the caller's word.
        let within = unsafe { (text::read(windows_directory)?, text::read(system_drive)?) };
        if is_online(&path) && within != (None, None) {
            return Err(Failure::argument("WindowsDirectory and SystemDrive have to be NULL for the online image"));
        }
        let opened = process::open_session(Image::open(&path)?)?;
        // SAFETY: not NULL, and so has room by the caller's word.
        unsafe { session.write_unaligned(opened) };
        Ok(())
    })
}

/// Closes a session. Operations under way end first; the session takes no new ones meanwhile.
#[unsafe(no_mangle)]
pub extern "C" fn DismCloseSession(session: DismSession) -> HRESULT {
    reporting(|| process::close_session(session))
}

/// What failed just before on this thread, for DismDelete to free.
///
/// # Safety
///
/// `message` is NULL or has room for a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn DismGetLastErrorMessage(message: *mut *mut DismString) -> HRESULT {
    guarded(|| {
        process::need_initialised()?;
        if message.is_null() {
            return Err(Failure::argument("ErrorMessage is NULL"));
        }
        let last = last_message().ok_or_else(|| Failure::new(NOT_FOUND, "nothing failed just before"))?;
        let mut texts = Texts::default();
        let string = DismString { Value: texts.add(&last) };
        // SAFETY: not NULL, and so has room by the caller's word.
        unsafe { message.write_unaligned(hand_out(vec![string], texts)) };
        Ok(())
    })
}

/// Frees what another function returned, and touches nothing else: of an array, the pointer to its first element.
#[unsafe(no_mangle)]
pub extern "C" fn DismDelete(structure: *mut c_void) -> HRESULT {
    guarded(|| {
        process::need_initialised()?;
        take_back(structure.addr())
    })
}
