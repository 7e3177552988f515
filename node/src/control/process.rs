//! Watching a process until it ends.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process that is being watched.
#[derive(Debug)]
pub(super) struct Process(AsyncFd<OwnedFd>);

impl Process {
    /// Watches the process with a number, if there is one. Needs a tokio runtime.
    pub(super) fn watch(pid: i32) -> Option<Self> {
        let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK).ok()?;
        #[expect(deprecated, reason = "an owned descriptor keeps the promise for which its successor is unsafe")]
        let watched = AsyncFd::with_interest(pidfd, Interest::READABLE);
        watched.ok().map(Self)
    }

    /// Done when the process has ended; never without one.
    pub(super) async fn ended(process: Option<&Self>) {
        match process {
            Some(Self(pidfd)) => drop(pidfd.readable().await),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_process_is_noticed() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Process::watch(child.id() as i32).unwrap();
        drop(child.stdin.take());
        Process::ended(Some(&process)).await;
        child.wait().unwrap();
        assert!(Process::watch(0).is_none());
    }
}
