//! Network namespaces that go away again.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::programs;

/// Where `ip netns` keeps the handles of namespaces.
const HANDLES: &str = "/run/netns";

/// All our namespaces are called so, then the process that made them.
const PREFIX: &str = "peerdist-lab";

/// A network namespace, removed on drop together with every process that still runs in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    /// Makes a namespace with its loopback up. `role` ends its name, for people who look.
    ///
    /// # Panics
    /// If that is not possible.
    pub(crate) fn new(role: &str) -> Self {
        Self::try_new(role).unwrap_or_else(|reason| panic!("cannot make a network namespace: {reason}"))
    }

    /// As [`Namespace::new`], with the reason why it is not possible.
    pub(crate) fn try_new(role: &str) -> Result<Self, String> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let owner = Owner::this_process();
        let name = format!("{PREFIX}-{}-{}-{count}-{role}", owner.pid, owner.started);
        ip(&["netns", "add", &name])?;
        let handle = File::open(PathBuf::from(HANDLES).join(&name)).map_err(|error| error.to_string())?;
        let namespace = Self { name, handle };
        namespace.enter(quiet_ipv6);
        namespace.ip_batch("link set lo up\n");
        Ok(namespace)
    }

    /// Runs `work` on a thread of its own that has moved into this namespace. Sockets that it opens and processes
    /// that it starts stay there.
    ///
    /// # Panics
    /// If `work` does.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.handle.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("who makes a namespace may enter it");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs lines of `ip` commands in this namespace.
    ///
    /// # Panics
    /// If one of them fails.
    pub(crate) fn ip_batch(&self, lines: &str) {
        let mut command = Command::new(programs::find("ip"));
        command.args(["-netns", &self.name, "-batch", "-"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip starts");
        child.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("ip reads its commands");
        let output = child.wait_with_output().expect("ip ends");
        assert!(output.status.success(), "ip: {}in {}:\n{lines}", String::from_utf8_lossy(&output.stderr), self.name);
    }

    /// The name under which `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Link-local addresses are usable at once, without duplicate address detection, and nothing but the test configures
/// addresses. A kernel without IPv6 has none of these files, and tests that need it fail later.
fn quiet_ipv6() {
    for (setting, value) in [("accept_dad", "0"), ("dad_transmits", "0"), ("accept_ra", "0"), ("autoconf", "0")] {
        for scope in ["all", "default"] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/{setting}"), value);
        }
    }
}

/// Removes the namespaces of test processes that were killed before they could.
pub(crate) fn remove_stale() {
    for entry in std::fs::read_dir(HANDLES).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if Owner::of(&name).is_some_and(|owner| !owner.lives()) {
            remove(&name);
        }
    }
}

fn remove(name: &str) {
    let pids = ip(&["netns", "pids", name]).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| line.trim().parse().ok()).filter_map(Pid::from_raw) {
        // Everything in the namespace was started by its test; what has gone meanwhile is gone.
        let _ = kill_process(pid, Signal::KILL);
    }
    // Two tests may find the same stale namespace.
    let _ = ip(&["netns", "delete", name]);
}

fn ip(words: &[&str]) -> Result<String, String> {
    let output = Command::new(programs::find("ip")).args(words).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The process that made a namespace: its id, and when it started, since ids are used again.
#[derive(Debug, PartialEq, Eq)]
struct Owner {
    pid: u32,
    started: u64,
}

impl Owner {
    fn this_process() -> Self {
        let pid = std::process::id();
        Self { pid, started: start_time(pid).expect("this process lives") }
    }

    fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split('-');
        Some(Self { pid: parts.next()?.parse().ok()?, started: parts.next()?.parse().ok()? })
    }

    fn lives(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }
}

/// Field 22 of `/proc/PID/stat`: clock ticks since boot at which the process started.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, and may itself hold blanks and brackets.
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(22 - 3)?.parse().ok()
}

/// The index of an interface of the calling thread's namespace.
///
/// # Panics
/// If there is no such interface.
pub(crate) fn interface_index(name: &str) -> u32 {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket to ask with");
    rustix::net::netdevice::name_to_index(&socket, name).unwrap_or_else(|error| panic!("interface {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_read_back_from_a_name() {
        let owner = Owner::this_process();
        let name = format!("{PREFIX}-{}-{}-3-host0", owner.pid, owner.started);
        assert_eq!(Owner::of(&name), Some(owner));
        assert_eq!(Owner::of("somebody-else-1-2-3"), None);
    }

    #[test]
    fn a_process_id_used_again_is_another_owner() {
        let mut owner = Owner::this_process();
        assert!(owner.lives());
        owner.started += 1;
        assert!(!owner.lives());
    }
}
