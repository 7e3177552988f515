//! Who may use DISM: whoever may administer the daemon.
#![allow(unsafe_code, reason = "asks libc")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Whether the caller is root, or may write to the admin socket.
pub(super) fn is_elevated(admin_socket: &Path) -> bool {
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return true;
    }
    let Ok(path) = CString::new(admin_socket.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path ends with a zero and outlives the call.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK, libc::AT_EACCESS) == 0 }
}
