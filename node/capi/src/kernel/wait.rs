//! Waiting for events.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::event::{Event, Locked};
use crate::abi::{DWORD, INFINITE};

/// When a wait ends without its object; never, if there is no instant in it.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// From now; [`INFINITE`] is never.
    #[must_use]
    pub fn after(milliseconds: DWORD) -> Self {
        let after = Duration::from_millis(u64::from(milliseconds));
        Self((milliseconds != INFINITE).then(|| Instant::now() + after))
    }

    /// The time left, `None` if there is no end to it.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0.map(|instant| instant.saturating_duration_since(Instant::now()))
    }

    fn has_passed(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

/// Waits for one event of several; its index, the lowest of those signalled. `None` when the time has passed. An event
/// is looked at once even if no time is given.
pub fn any(events: &[&Event], deadline: Deadline) -> Option<usize> {
    loop {
        if let Some(index) = events.iter().position(|event| event.take()) {
            return Some(index);
        }
        // Another thread may take what has become readable: then from the beginning.
        if !becomes_readable(events, deadline) {
            return None;
        }
    }
}

/// Waits until all events are signalled at the same time, and takes them then and no sooner. An event may be in
/// `events` once only. `false` when the time has passed.
pub fn all(events: &[&Event], deadline: Deadline) -> bool {
    loop {
        match take_all(events) {
            Ok(()) => return true,
            Err(missing) if !becomes_readable(&[events[missing]], deadline) => return false,
            Err(_) => {}
        }
    }
}

/// Takes all events or none; the index of one that was not signalled.
fn take_all(events: &[&Event]) -> Result<(), usize> {
    // Two threads that lock the same events do so in the same order.
    let mut order: Vec<usize> = (0..events.len()).collect();
    order.sort_by_key(|&index| std::ptr::from_ref(events[index]));
    let locked: Vec<(usize, Locked<'_>)> = order.into_iter().map(|index| (index, events[index].lock())).collect();
    match locked.iter().find(|(_, event)| !event.is_signalled()) {
        Some(&(index, _)) => Err(index),
        None => {
            locked.iter().for_each(|(_, event)| {
                event.take();
            });
            Ok(())
        }
    }
}

/// Sleeps until one event is signalled, whoever takes it then; `false` when the time has passed.
fn becomes_readable(events: &[&Event], deadline: Deadline) -> bool {
    let fds: Vec<_> = events.iter().map(|event| event.fd()).collect();
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    loop {
        if deadline.has_passed() {
            return false;
        }
        let left = deadline
            .left()
            .map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
        match poll(&mut polled, left.as_ref()) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return true,
            // The kernel is short of memory: try again, but not at once.
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events<const N: usize>(manual: bool, signalled: [bool; N]) -> [Event; N] {
        signalled.map(|signalled| Event::new(manual, signalled).unwrap())
    }

    #[test]
    fn the_lowest_signalled_event_ends_a_wait_for_any() {
        let [a, b, c] = events(false, [false, true, true]);
        let all = [&a, &b, &c];
        assert_eq!(any(&all, Deadline::after(0)), Some(1));
        assert_eq!(any(&all, Deadline::after(INFINITE)), Some(2));
        assert_eq!(any(&all, Deadline::after(0)), None);
    }

    #[test]
    fn a_wait_for_all_takes_nothing_until_it_can_take_all() {
        let [a, b] = events(false, [true, false]);
        assert!(!all(&[&a, &b], Deadline::after(0)));
        assert!(a.take(), "left alone by the wait");
        a.set();
        b.set();
        assert!(all(&[&b, &a], Deadline::after(INFINITE)));
        assert!(!a.take() && !b.take());
    }

    #[test]
    fn time_passes() {
        let [a] = events(true, [false]);
        let start = Instant::now();
        assert_eq!(any(&[&a], Deadline::after(20)), None);
        assert!(!all(&[&a], Deadline::after(20)));
        assert!(start.elapsed() >= Duration::from_millis(40));
    }
}
