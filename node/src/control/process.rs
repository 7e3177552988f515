//! Watching a process until it ends.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A process that is being watched.
#[derive(Debug)]
pub(super) enum Process {
    Running(AsyncFd<OwnedFd>),
    Ended,
}

impl Process {
    /// Watches the process with a number. `None` where it cannot be watched: it may be out of sight. Needs a tokio
    /// runtime.
    pub(super) fn watch(pid: i32) -> Option<Self> {
        let pidfd = match pidfd_open(Pid::from_raw(pid)?, PidfdFlags::NONBLOCK) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Some(Self::Ended),
            Err(_) => return None,
        };
        #[expect(deprecated, reason = "an owned descriptor keeps the promise for which its successor is unsafe")]
        let watched = AsyncFd::with_interest(pidfd, Interest::READABLE);
        watched.ok().map(Self::Running)
    }

    /// Done when the process has ended; never without one.
    pub(super) async fn ended(process: Option<&Self>) {
        match process {
            Some(Self::Running(pidfd)) => drop(pidfd.readable().await),
            Some(Self::Ended) => {}
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
        Process::ended(Process::watch(child.id() as i32).as_ref()).await;
        assert!(Process::watch(0).is_none());
    }
}
