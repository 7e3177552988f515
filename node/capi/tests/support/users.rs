//! A case of two users. Each has a process; what they have in common is the daemon, and a way to talk.

use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::ptr;

use rustix::process::geteuid;

use super::world::{LIMIT, World, case};

/// Set in the process of the other user.
const OTHER_VARIABLE: &str = "PEERDIST_CASE_OTHER_USER";
/// `nobody`.
const OTHER: u32 = 65534;

/// The process of the other user, as this one talks to it.
pub(crate) struct Partner {
    stream: UnixStream,
    child: Option<Child>,
}

/// Runs a case as root, which starts its [`Partner`]: that does `theirs` as another user. Skipped by everybody who cannot
/// become one.
pub(crate) fn case_of_two_users(name: &str, ours: fn(&mut World), theirs: fn(&mut Partner)) {
    if std::env::var_os(OTHER_VARIABLE).is_some() {
        let mut partner = Partner::of_standard_input();
        become_another_user();
        theirs(&mut partner);
    } else if geteuid().is_root() {
        case(name, ours);
    } else {
        skip("only root can become another user");
    }
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Afterwards, not before the program starts: the other user may be unable to reach its file.
fn become_another_user() {
    // SAFETY: no groups are read; the C library changes all threads of the process.
    let codes = unsafe { [libc::setgroups(0, ptr::null()), libc::setgid(OTHER), libc::setuid(OTHER)] };
    assert_eq!(codes, [0; 3], "{}", io::Error::last_os_error());
    assert!(!geteuid().is_root());
}

impl Partner {
    /// Starts this test once more, for the other user.
    pub(crate) fn start(world: &World) -> Self {
        fs::set_permissions(&world.home, Permissions::from_mode(0o755)).unwrap();
        let (stream, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(std::env::args_os().skip(1)).env(OTHER_VARIABLE, "1").stdin(OwnedFd::from(theirs));
        let child = command.spawn().unwrap();
        Self::new(stream, Some(child))
    }

    fn of_standard_input() -> Self {
        Self::new(io::stdin().as_fd().try_clone_to_owned().unwrap().into(), None)
    }

    fn new(stream: UnixStream, child: Option<Child>) -> Self {
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self { stream, child }
    }

    pub(crate) fn tell(&mut self, what: &[u8]) {
        self.stream.write_all(&(what.len() as u32).to_le_bytes()).unwrap();
        self.stream.write_all(what).unwrap();
    }

    /// Waits for what the other one tells.
    pub(crate) fn hear(&mut self) -> Vec<u8> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).expect("the other one speaks");
        let mut what = vec![0; u32::from_le_bytes(size) as usize];
        self.stream.read_exact(&mut what).unwrap();
        what
    }

    /// Waits until the other one is done.
    pub(crate) fn join(mut self) {
        let ended = self.child.as_mut().expect("a partner that was started").wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
