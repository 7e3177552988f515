//! Events, completion ports and waiting, through the exported functions.
#![allow(unsafe_code, reason = "calls functions meant for C")]
#![allow(clippy::unwrap_used)]

use std::ffi::{c_char, c_int};
use std::os::fd::BorrowedFd;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use peerdist::abi::*;
use peerdist::handle;
use peerdist::kernel::Packet;
use peerdist::kernel::calls::*;

/// A handle that goes from thread to thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Raw(usize);

impl Raw {
    fn get(self) -> HANDLE {
        ptr::without_provenance_mut(self.0)
    }
}

fn event(manual: bool, signalled: bool) -> Raw {
    let event = peerdist_CreateEventA(ptr::null(), manual.into(), signalled.into(), ptr::null());
    assert!(!event.is_null());
    Raw(event.addr())
}

fn port() -> Raw {
    let port = peerdist_CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 0);
    assert!(!port.is_null());
    Raw(port.addr())
}

fn pointer(address: usize) -> *mut OVERLAPPED {
    ptr::without_provenance_mut(address)
}

fn wait(event: Raw, milliseconds: DWORD) -> DWORD {
    peerdist_WaitForSingleObject(event.get(), milliseconds)
}

fn wait_several(events: &[Raw], all: bool, milliseconds: DWORD) -> DWORD {
    let handles: Vec<HANDLE> = events.iter().map(|event| event.get()).collect();
    // SAFETY: the pointer is to as many handles.
    unsafe { peerdist_WaitForMultipleObjects(handles.len() as DWORD, handles.as_ptr(), all.into(), milliseconds) }
}

/// What GetQueuedCompletionStatus returned and stored; 0xDD... where it stored nothing.
#[derive(Debug, PartialEq, Eq)]
struct Dequeued {
    result: BOOL,
    bytes: DWORD,
    key: ULONG_PTR,
    overlapped: usize,
    error: DWORD,
}

const UNTOUCHED: Dequeued = Dequeued { result: FALSE, bytes: 0xDDDD, key: 0xDDDD, overlapped: 0, error: 0 };

fn dequeue(port: Raw, milliseconds: DWORD) -> Dequeued {
    let (mut bytes, mut key, mut overlapped) = (0xDDDD, 0xDDDD, pointer(0xDDDD));
    peerdist_SetLastError(0);
    // SAFETY: all three are there to be written to.
    let result =
        unsafe { peerdist_GetQueuedCompletionStatus(port.get(), &mut bytes, &mut key, &mut overlapped, milliseconds) };
    Dequeued { result, bytes, key, overlapped: overlapped.addr(), error: peerdist_GetLastError() }
}

fn post(port: Raw, bytes: DWORD, key: ULONG_PTR, overlapped: usize) -> BOOL {
    peerdist_PostQueuedCompletionStatus(port.get(), bytes, key, pointer(overlapped))
}

fn readable(fd: c_int) -> bool {
    assert!(fd >= 0);
    // SAFETY: the event or port is open until the end of the test.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut polled = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&now)).unwrap() == 1
}

#[test]
fn t41_an_empty_port_times_out() {
    let port = port();
    assert_eq!(dequeue(port, 0), Dequeued { error: WAIT_TIMEOUT, ..UNTOUCHED });
    let start = Instant::now();
    assert_eq!(dequeue(port, 20), Dequeued { error: WAIT_TIMEOUT, ..UNTOUCHED });
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn t42_closing_a_port_ends_all_waits_for_it() {
    let port = port();
    let object = handle::port(port.get()).unwrap();
    let waiters: Vec<_> = (0..4).map(|_| thread::spawn(move || dequeue(port, INFINITE))).collect();
    let several = thread::spawn(move || dequeue_several(port, 2, INFINITE));
    while object.waiting() < waiters.len() + 1 {
        thread::yield_now();
    }
    assert_eq!(peerdist_CloseHandle(port.get()), TRUE);
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), Dequeued { error: ERROR_ABANDONED_WAIT_0, ..UNTOUCHED });
    }
    assert_eq!(several.join().unwrap(), Err(ERROR_ABANDONED_WAIT_0));
    assert_eq!(dequeue(port, 0), Dequeued { error: ERROR_INVALID_HANDLE, ..UNTOUCHED });
    assert_eq!(post(port, 1, 2, 3), FALSE);
    // As an operation does that began before.
    object.post(Packet { bytes: 1, key: 2, overlapped: pointer(3), status: STATUS_SUCCESS });
}

#[test]
fn t43_what_is_posted_comes_out_as_it_went_in() {
    let port = port();
    for (bytes, key, overlapped) in [(0, 0, 0), (1, 2, 3), (DWORD::MAX, usize::MAX, usize::MAX)] {
        assert_eq!(post(port, bytes, key, overlapped), TRUE);
        assert_eq!(dequeue(port, INFINITE), Dequeued { result: TRUE, bytes, key, overlapped, error: 0 });
    }
}

#[test]
fn t44_several_packets_are_taken_at_once_and_failures_are_among_them() {
    let port = port();
    let failure = status_of(PEERDIST_ERROR_MISSING_DATA);
    let object = handle::port(port.get()).unwrap();
    object.post(Packet { bytes: 1, key: 2, overlapped: pointer(0x30), status: STATUS_SUCCESS });
    object.post(Packet { bytes: 4, key: 5, overlapped: pointer(0x60), status: failure });
    assert_eq!(
        dequeue_several(port, 8, 0),
        Ok(vec![(2, 0x30, STATUS_SUCCESS, 1), (5, 0x60, failure, 4)]),
        "TRUE, and the status in the entry"
    );
    assert_eq!(dequeue_several(port, 8, 0), Err(WAIT_TIMEOUT));

    for key in 0..5 {
        post(port, 0, key, 0);
    }
    let keys = |taken: Result<Vec<(usize, usize, NTSTATUS, DWORD)>, DWORD>| -> Vec<usize> {
        taken.unwrap().into_iter().map(|(key, ..)| key).collect()
    };
    assert_eq!(keys(dequeue_several(port, 3, 0)), [0, 1, 2]);
    assert_eq!(keys(dequeue_several(port, 3, 0)), [3, 4]);
}

#[test]
fn a_failed_packet_is_a_failure_with_all_its_values() {
    let port = port();
    let status = status_of(PEERDIST_ERROR_MISSING_DATA);
    let object = handle::port(port.get()).unwrap();
    object.post(Packet { bytes: 4, key: 5, overlapped: pointer(0x60), status });
    let failed = Dequeued { result: FALSE, bytes: 4, key: 5, overlapped: 0x60, error: PEERDIST_ERROR_MISSING_DATA };
    assert_eq!(dequeue(port, 0), failed);
}

/// Key, pointer, status and bytes of the entries, or the last error.
fn dequeue_several(port: Raw, most: usize, milliseconds: DWORD) -> Result<Vec<(usize, usize, NTSTATUS, DWORD)>, DWORD> {
    let nothing = OVERLAPPED_ENTRY {
        lpCompletionKey: 0,
        lpOverlapped: ptr::null_mut(),
        Internal: 0,
        dwNumberOfBytesTransferred: 0,
    };
    let mut entries = vec![nothing; most];
    let mut removed = 0xDDDD;
    // SAFETY: there are as many entries, and the number can be written to.
    let result = unsafe {
        let entries = entries.as_mut_ptr();
        peerdist_GetQueuedCompletionStatusEx(port.get(), entries, most as DWORD, &mut removed, milliseconds, TRUE)
    };
    if result == FALSE {
        assert_eq!(removed, 0);
        return Err(peerdist_GetLastError());
    }
    let values = |entry: &OVERLAPPED_ENTRY| {
        let status = status_in(entry.Internal);
        (entry.lpCompletionKey, entry.lpOverlapped.addr(), status, entry.dwNumberOfBytesTransferred)
    };
    Ok(entries[..removed as usize].iter().map(values).collect())
}

#[test]
fn t45_packets_come_in_the_order_of_posting_with_their_own_keys() {
    let port = port();
    for number in 0..100 {
        assert_eq!(post(port, number, 7 + number as usize % 2, 0x1000 + number as usize), TRUE);
    }
    for number in 0..100 {
        let dequeued = dequeue(port, 0);
        assert_eq!((dequeued.bytes, dequeued.key), (number, 7 + number as usize % 2));
        assert_eq!(dequeued.overlapped, 0x1000 + number as usize);
    }
}

#[test]
fn t45_each_packet_goes_to_one_of_several_threads() {
    const PACKETS: usize = 2000;
    let port = port();
    let (taken, all) = mpsc::channel();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let taken = taken.clone();
            thread::spawn(move || {
                while let Dequeued { result: TRUE, key, .. } = dequeue(port, INFINITE) {
                    taken.send(key).unwrap();
                }
            })
        })
        .collect();
    (0..PACKETS).for_each(|key| assert_eq!(post(port, 0, key, 0), TRUE));
    let mut keys: Vec<usize> = all.iter().take(PACKETS).collect();
    keys.sort_unstable();
    assert!(keys.into_iter().eq(0..PACKETS));
    assert_eq!(peerdist_CloseHandle(port.get()), TRUE);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn t46_the_low_bit_means_something_in_h_event_alone() {
    let event = event(true, false);
    let odd = Raw(event.0 | 1);
    let (object, silent) = handle::overlapped_event(odd.get()).unwrap();
    assert!(silent);
    object.set();
    assert_eq!(wait(event, 0), WAIT_OBJECT_0);
    assert_eq!(peerdist_SetEvent(odd.get()), FALSE);
    assert_eq!(wait(odd, 0), WAIT_FAILED);
    assert_eq!(peerdist_CloseHandle(odd.get()), FALSE);
}

#[test]
fn an_auto_reset_event_ends_one_wait_each_time() {
    const THREADS: usize = 8;
    let event = event(false, false);
    let (ended, ends) = mpsc::channel();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let ended = ended.clone();
            thread::spawn(move || ended.send(wait(event, INFINITE)).unwrap())
        })
        .collect();
    for _ in 0..THREADS {
        assert_eq!(peerdist_SetEvent(event.get()), TRUE);
        assert_eq!(ends.recv().unwrap(), WAIT_OBJECT_0);
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    // Had one signal ended two waits, the last would have found no waiter.
    assert_eq!(wait(event, 0), WAIT_TIMEOUT);
}

#[test]
fn threads_that_race_for_an_event_get_it_once_per_signal() {
    const ROUNDS: usize = 2000;
    let (signal, stop) = (event(false, false), event(true, false));
    let wins = AtomicUsize::new(0);
    let (won, winners) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..4 {
            let (won, wins) = (won.clone(), &wins);
            scope.spawn(move || {
                while wait_several(&[stop, signal], false, INFINITE) == WAIT_OBJECT_0 + 1 {
                    wins.fetch_add(1, Ordering::Relaxed);
                    won.send(()).unwrap();
                }
            });
        }
        for _ in 0..ROUNDS {
            assert_eq!(peerdist_SetEvent(signal.get()), TRUE);
            winners.recv().unwrap();
        }
        assert_eq!(peerdist_SetEvent(stop.get()), TRUE);
    });
    assert_eq!(wins.load(Ordering::Relaxed), ROUNDS);
}

#[test]
fn a_manual_reset_event_ends_all_waits_until_it_is_reset() {
    let event = event(true, false);
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(move || wait(event, INFINITE))).collect();
    assert_eq!(peerdist_SetEvent(event.get()), TRUE);
    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), WAIT_OBJECT_0));
    assert_eq!(wait(event, 0), WAIT_OBJECT_0);
    assert_eq!(peerdist_ResetEvent(event.get()), TRUE);
    let start = Instant::now();
    assert_eq!(peerdist_WaitForSingleObjectEx(event.get(), 20, TRUE), WAIT_TIMEOUT);
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_wait_for_all_takes_all_or_none() {
    let (auto, other) = (event(false, true), event(false, false));
    assert_eq!(wait_several(&[auto, other], true, 0), WAIT_TIMEOUT);
    assert_eq!(wait(auto, 0), WAIT_OBJECT_0, "left alone");
    let waiter = thread::spawn(move || wait_several(&[auto, other], true, INFINITE));
    peerdist_SetEvent(other.get());
    peerdist_SetEvent(auto.get());
    assert_eq!(waiter.join().unwrap(), WAIT_OBJECT_0);
    assert_eq!(wait_several(&[auto, other], false, 0), WAIT_TIMEOUT, "both are taken");
}

#[test]
fn waits_for_all_in_opposite_orders_do_not_lock_each_other_out() {
    const ROUNDS: usize = 500;
    let (a, b) = (event(false, true), event(false, true));
    thread::scope(|scope| {
        for events in [[a, b], [b, a]] {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    assert_eq!(wait_several(&events, true, INFINITE), WAIT_OBJECT_0);
                    events.iter().for_each(|event| assert_eq!(peerdist_SetEvent(event.get()), TRUE));
                }
            });
        }
    });
    assert_eq!(wait_several(&[a, b], true, 0), WAIT_OBJECT_0);
}

#[test]
fn file_descriptors_follow_events_and_ports() {
    let (event, port) = (event(true, false), port());
    let (event_fd, port_fd) = (peerdist_event_fd(event.get()), peerdist_port_fd(port.get()));
    assert!(!readable(event_fd) && !readable(port_fd));
    peerdist_SetEvent(event.get());
    post(port, 0, 0, 0);
    post(port, 0, 0, 0);
    assert!(readable(event_fd) && readable(port_fd));
    peerdist_ResetEvent(event.get());
    dequeue(port, 0);
    assert!(!readable(event_fd) && readable(port_fd), "one packet is left");
    dequeue(port, 0);
    assert!(!readable(port_fd));
    assert_eq!(peerdist_event_fd(port.get()), -1);
    assert_eq!(peerdist_port_fd(event.get()), -1);
}

/// Runs what fails; the last error.
fn error_of_failed<T: PartialEq + std::fmt::Debug>(failure: T, call: impl FnOnce() -> T) -> DWORD {
    peerdist_SetLastError(0);
    assert_eq!(call(), failure);
    peerdist_GetLastError()
}

#[test]
fn handles_of_the_wrong_kind_are_refused() {
    let (event, port) = (event(true, false).get(), port().get());
    let garbage: HANDLE = ptr::without_provenance_mut(0xDEAD_BEE0);
    for wrong in [ptr::null_mut(), INVALID_HANDLE_VALUE, garbage, port] {
        assert_eq!(error_of_failed(FALSE, || peerdist_SetEvent(wrong)), ERROR_INVALID_HANDLE);
        assert_eq!(error_of_failed(FALSE, || peerdist_ResetEvent(wrong)), ERROR_INVALID_HANDLE);
        assert_eq!(error_of_failed(WAIT_FAILED, || peerdist_WaitForSingleObject(wrong, 0)), ERROR_INVALID_HANDLE);
        let several = || wait_several(&[Raw(event.addr()), Raw(wrong.addr())], false, 0);
        assert_eq!(error_of_failed(WAIT_FAILED, several), ERROR_INVALID_HANDLE);
    }
    for wrong in [ptr::null_mut(), INVALID_HANDLE_VALUE, garbage, event] {
        assert_eq!(dequeue(Raw(wrong.addr()), 0), Dequeued { error: ERROR_INVALID_HANDLE, ..UNTOUCHED });
        assert_eq!(dequeue_several(Raw(wrong.addr()), 1, 0), Err(ERROR_INVALID_HANDLE));
        assert_eq!(error_of_failed(FALSE, || post(Raw(wrong.addr()), 0, 0, 0)), ERROR_INVALID_HANDLE);
    }
    for object in [event, port] {
        assert_eq!(peerdist_CloseHandle(object), TRUE);
        assert_eq!(error_of_failed(FALSE, || peerdist_CloseHandle(object)), ERROR_INVALID_HANDLE);
    }
    assert_eq!(error_of_failed(FALSE, || peerdist_CloseHandle(garbage)), ERROR_INVALID_HANDLE);
}

#[test]
fn arguments_are_looked_at() {
    let (event, port) = (event(true, true), port());
    let null = ptr::null_mut();
    assert_eq!(error_of_failed(WAIT_FAILED, || wait_several(&[], false, 0)), ERROR_INVALID_PARAMETER);
    assert_eq!(error_of_failed(WAIT_FAILED, || wait_several(&[event; 65], false, 0)), ERROR_INVALID_PARAMETER);
    assert_eq!(wait_several(&[event; 64], false, 0), WAIT_OBJECT_0);
    assert_eq!(error_of_failed(WAIT_FAILED, || wait_several(&[event; 2], true, 0)), ERROR_INVALID_PARAMETER);
    // SAFETY: NULL is allowed, here and below.
    let no_array = || unsafe { peerdist_WaitForMultipleObjects(1, ptr::null(), FALSE, 0) };
    assert_eq!(error_of_failed(WAIT_FAILED, no_array), ERROR_INVALID_PARAMETER);

    post(port, 0, 0, 0);
    let (mut bytes, mut key, mut overlapped) = (0, 0, pointer(0));
    for (bytes, key, overlapped) in [
        (ptr::null_mut(), &raw mut key, &raw mut overlapped),
        (&raw mut bytes, ptr::null_mut(), &raw mut overlapped),
        (&raw mut bytes, &raw mut key, ptr::null_mut()),
    ] {
        // SAFETY: as above.
        let call = || unsafe { peerdist_GetQueuedCompletionStatus(port.get(), bytes, key, overlapped, 0) };
        assert_eq!(error_of_failed(FALSE, call), ERROR_INVALID_PARAMETER);
    }
    let nothing =
        OVERLAPPED_ENTRY { lpCompletionKey: 0, lpOverlapped: pointer(0), Internal: 0, dwNumberOfBytesTransferred: 0 };
    let (mut entry, mut removed) = (nothing, 0);
    for (entries, count, removed) in [
        (ptr::null_mut(), 1, &raw mut removed),
        (&raw mut entry, 0, &raw mut removed),
        (&raw mut entry, 1, ptr::null_mut()),
    ] {
        // SAFETY: as above.
        let call = || unsafe { peerdist_GetQueuedCompletionStatusEx(port.get(), entries, count, removed, 0, FALSE) };
        assert_eq!(error_of_failed(FALSE, call), ERROR_INVALID_PARAMETER);
    }
    assert_eq!(dequeue(port, 0).result, TRUE, "no packet was lost by that");

    let a_file = event.get();
    let associated = || peerdist_CreateIoCompletionPort(a_file, port.get(), 0, 0);
    assert_eq!(error_of_failed(null, associated), ERROR_NOT_SUPPORTED);
    let twice = || peerdist_CreateIoCompletionPort(INVALID_HANDLE_VALUE, port.get(), 0, 0);
    assert_eq!(error_of_failed(null, twice), ERROR_INVALID_PARAMETER);

    let name: [c_char; 2] = [1, 0];
    let named = || peerdist_CreateEventA(ptr::null(), TRUE, FALSE, name.as_ptr());
    assert_eq!(error_of_failed(null, named), ERROR_NOT_SUPPORTED);
    let secured = || peerdist_CreateEventExW(name.as_ptr().cast(), ptr::null(), 0, 0);
    assert_eq!(error_of_failed(null, secured), ERROR_NOT_SUPPORTED);
    let odd_flags = || peerdist_CreateEventExA(ptr::null(), ptr::null(), 4, 0);
    assert_eq!(error_of_failed(null, odd_flags), ERROR_INVALID_PARAMETER);
}

#[test]
fn t34_each_thread_has_a_last_error_of_its_own() {
    peerdist_SetLastError(ERROR_TIMEOUT);
    thread::spawn(|| {
        assert_eq!(peerdist_GetLastError(), ERROR_SUCCESS);
        peerdist_SetLastError(ERROR_NOT_FOUND);
    })
    .join()
    .unwrap();
    assert_eq!(peerdist_GetLastError(), ERROR_TIMEOUT);
}
