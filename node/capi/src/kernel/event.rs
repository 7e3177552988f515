//! Events: an eventfd whose counter is 0 or 1.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Signalled or not; threads wait for it to be signalled.
#[derive(Debug)]
pub struct Event {
    fd: OwnedFd,
    manual: bool,
    lock: Mutex<()>,
}

/// An event that nobody else sets, resets or takes meanwhile.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    event: &'a Event,
    _guard: MutexGuard<'a, ()>,
}

impl Event {
    /// A manual-reset event stays signalled until it is reset, an auto-reset one until one wait has ended by it.
    pub fn new(manual: bool, signalled: bool) -> io::Result<Self> {
        let fd = eventfd(u32::from(signalled), EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd, manual, lock: Mutex::new(()) })
    }

    /// Signals it.
    pub fn set(&self) {
        let event = self.lock();
        if !event.is_signalled() {
            // Of an eventfd at 0 this cannot fail.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }

    /// Makes it not signalled.
    pub fn reset(&self) {
        self.lock().drain();
    }

    /// Whether a wait would end now; of an auto-reset event it then has ended. Of several threads that take an
    /// auto-reset event one gets it.
    pub fn take(&self) -> bool {
        self.lock().take()
    }

    /// Readable while signalled. To be polled and not to be read.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn lock(&self) -> Locked<'_> {
        Locked { event: self, _guard: self.lock.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl Locked<'_> {
    pub(super) fn is_signalled(&self) -> bool {
        readable(self.event.fd())
    }

    pub(super) fn take(&self) -> bool {
        if self.event.manual { self.is_signalled() } else { self.drain() }
    }

    /// Whether there was anything.
    fn drain(&self) -> bool {
        rustix::io::read(&self.event.fd, &mut [0; 8]).is_ok()
    }
}

fn readable(fd: BorrowedFd<'_>) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [PollFd::new(&fd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut polled, Some(&now))).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_event_stays_signalled_until_it_is_reset() {
        let event = Event::new(true, false).unwrap();
        assert!(!event.take());
        event.set();
        assert!(event.take() && event.take());
        assert!(readable(event.fd()));
        event.reset();
        assert!(!event.take());
        assert!(!readable(event.fd()));
    }

    #[test]
    fn an_auto_event_is_taken_once_however_often_it_was_set() {
        let event = Event::new(false, false).unwrap();
        event.set();
        event.set();
        assert!(event.take());
        assert!(!event.take());
        event.reset();
        assert!(!event.take());
        assert!(Event::new(false, true).unwrap().take());
    }
}
