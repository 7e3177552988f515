//! Completion ports: packets, first in, first out.
#![allow(unsafe_code, reason = "a packet carries the caller's pointer from thread to thread")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::wait::Deadline;
use crate::abi::{DWORD, NTSTATUS, OVERLAPPED, ULONG_PTR};

/// The end of an operation, or what PostQueuedCompletionStatus posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Bytes transferred.
    pub bytes: DWORD,
    /// The key given with the port.
    pub key: ULONG_PTR,
    /// The operation. Never followed here: it may be anything.
    pub overlapped: *mut OVERLAPPED,
    /// Negative is an error.
    pub status: NTSTATUS,
}

// SAFETY: the pointer is only handed on, to a caller that knows what it is.
unsafe impl Send for Packet {}

/// A queue of packets that threads wait on.
#[derive(Debug)]
pub struct Port {
    state: Mutex<State>,
    changed: Condvar,
    fd: OwnedFd,
}

#[derive(Debug, Default)]
struct State {
    packets: VecDeque<Packet>,
    waiting: usize,
    closed: bool,
}

/// What a wait for packets ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// At least one.
    Packets(Vec<Packet>),
    /// The time has passed.
    TimedOut,
    /// The port was closed.
    Closed,
}

impl Port {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { state: Mutex::default(), changed: Condvar::new(), fd })
    }

    /// Appends a packet. On a closed port it is dropped.
    pub fn post(&self, packet: Packet) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if state.packets.is_empty() {
            // Of an eventfd at 0 this cannot fail.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
        state.packets.push_back(packet);
        self.changed.notify_one();
    }

    /// Waits for packets and takes up to `most` of those that are there, the oldest first.
    pub fn take(&self, most: usize, deadline: Deadline) -> Taken {
        let mut state = self.lock();
        loop {
            if state.closed {
                return Taken::Closed;
            }
            if !state.packets.is_empty() {
                let count = most.min(state.packets.len());
                let taken = state.packets.drain(..count).collect();
                if state.packets.is_empty() {
                    let _ = rustix::io::read(&self.fd, &mut [0; 8]);
                } else {
                    // Several posts may have woken this thread alone.
                    self.changed.notify_one();
                }
                return Taken::Packets(taken);
            }
            let left = deadline.left();
            if left.is_some_and(|left| left.is_zero()) {
                return Taken::TimedOut;
            }
            state.waiting += 1;
            state = match left {
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting -= 1;
        }
    }

    /// Drops the packets, ends all waits, and takes no more packets.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.packets.clear();
        let _ = rustix::io::read(&self.fd, &mut [0; 8]);
        self.changed.notify_all();
    }

    /// The number of threads that wait for a packet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Readable while packets are queued. To be polled and not to be read.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
