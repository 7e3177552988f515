//! A daemon that is killed in the middle of operations: each of them ends, once, with a code that is documented for it.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use peerdist::abi::*;
use peerdist::peerdist::calls::client::PeerDistClientGetInformationByHandle;

use crate::support::*;

/// How long a program may have to wait for the end of an operation after the end of the daemon.
const SOON: DWORD = 30_000;
const SIZE: usize = 100_000;
const TAG: u8 = 7;

/// Handles for every asynchronous function, such that no operation has to wait for another one.
struct Handles {
    instance: HANDLE,
    port: HANDLE,
    /// A content without content information.
    bare: HANDLE,
    /// A content whose content information is there and not completed.
    described: HANDLE,
    /// A content none of whose bytes is there.
    empty: HANDLE,
    stream: HANDLE,
    /// A stream with bytes.
    filled: HANDLE,
    information: HANDLE,
}

/// The keys of the packets of contents, streams, content information and flushes.
const KEYS: [usize; 4] = [101, 102, 103, 104];

impl Handles {
    /// `name` keeps the publications of several apart.
    fn open(instance: HANDLE, port: HANDLE, name: &str) -> Self {
        let content = || open_content(instance, TAG, port, KEYS[0]).unwrap();
        let stream = |kind: &str| {
            publish_stream_to(instance, format!("{kind} {name}").as_bytes(), 0, None, port, KEYS[1]).unwrap()
        };
        let handles = Self {
            instance,
            port,
            bare: content(),
            described: content(),
            empty: content(),
            stream: stream("empty"),
            filled: stream("filled"),
            information: open_information_to(instance, b"killed", 0, 0, port, KEYS[2]).unwrap(),
        };
        // With an event no packet comes.
        let (at, described) = (Overlapped::new(event()), information(instance, b"killed", 1));
        let done = |code: DWORD| assert_eq!((code, at.wait().error), (ERROR_IO_PENDING, ERROR_SUCCESS));
        done(add_to_stream(instance, handles.filled, b"bytes", &at));
        for content in [handles.described, handles.empty] {
            at.set_offset(0);
            done(add_information(instance, content, &described, &at));
        }
        done(complete_information(instance, handles.empty, &at));
        handles
    }

    /// Every operation on a handle: which function, the key of its packet, and how it is started.
    fn each(&self, mut start: impl FnMut(&'static str, usize, &mut dyn FnMut(&Overlapped) -> DWORD)) {
        let (instance, [content, stream, information, _]) = (self.instance, KEYS);
        // What an operation has in hand when a case fails stays where it is.
        let data: &[u8] = Vec::leak(bytes(SIZE));
        let room = |size| Vec::leak(vec![0xEE; size]);
        start("AddContentInformation", content, &mut |at| add_information(instance, self.bare, &data[..100], at));
        start("CompleteContentInformation", content, &mut |at| complete_information(instance, self.described, at));
        start("AddData", content, &mut |at| add_data(instance, self.empty, data, at));
        start("BlockRead", content, &mut |at| block_read(instance, self.empty, room(1000), SOON, at));
        start("BlockRead", content, &mut |at| block_read(instance, self.empty, &mut [], 0, at));
        start("StreamRead", content, &mut |at| stream_read(instance, self.empty, room(1000), SOON, at));
        start("StreamRead", content, &mut |at| stream_read(instance, self.empty, room(1000), SOON, at));
        start("AddToStream", stream, &mut |at| add_to_stream(instance, self.stream, data, at));
        start("AddToStream", stream, &mut |at| add_to_stream(instance, self.stream, data, at));
        start("CompleteStream", stream, &mut |at| complete_stream(instance, self.filled, at));
        start("Retrieve", information, &mut |at| retrieve(instance, self.information, room(20), at));
        start("Retrieve", information, &mut |at| retrieve(instance, self.information, room(20), at));
    }

    fn flush(&self, at: &Overlapped) -> DWORD {
        flush(self.instance, TAG, self.port, KEYS[3], at)
    }

    /// What is called after the service went: nothing begins, and everything can be closed, once.
    fn expect_dead(&self) {
        let (instance, dead) = (self.instance, PEERDIST_ERROR_INVALIDATED);
        self.each(|what, _, start| assert_eq!(start(&Overlapped::new(NULL)), dead, "{what}"));
        assert_eq!(flash_crowd(instance, self.empty), Err(dead));
        for code in [ERROR_SUCCESS, ERROR_INVALID_HANDLE] {
            for content in [self.bare, self.described, self.empty] {
                assert_eq!(close_content(instance, content), code);
            }
            for stream in [self.stream, self.filled] {
                assert_eq!(close_stream(instance, stream), code);
            }
            assert_eq!(close_information(instance, self.information), code);
        }
    }
}

/// PeerDistClientGetInformationByHandle.
fn flash_crowd(instance: HANDLE, content: HANDLE) -> Result<BOOL, DWORD> {
    let mut basic = PEERDIST_CLIENT_BASIC_INFO { fFlashCrowd: 0 };
    let (size, out) = (size_of_val(&basic) as DWORD, (&raw mut basic).cast());
    // SAFETY: as many bytes as announced.
    match unsafe { PeerDistClientGetInformationByHandle(instance, content, PeerDistClientBasicInfo, size, out) } {
        ERROR_SUCCESS => Ok(basic.fFlashCrowd),
        error => Err(error),
    }
}

/// Operations under way.
#[derive(Default)]
struct Flight(Vec<Started>);

struct Started {
    what: &'static str,
    key: usize,
    at: Overlapped,
    event: HANDLE,
}

impl Flight {
    /// Starts every operation, each with an event of its own or with none.
    fn start(&mut self, handles: &Handles, event: impl Fn() -> HANDLE) {
        let mut start = |what, key, start: &mut dyn FnMut(&Overlapped) -> DWORD| {
            let event = event();
            let at = Overlapped::new(event);
            assert_eq!(start(&at), ERROR_IO_PENDING, "{what}");
            self.0.push(Started { what, key, at, event });
        };
        handles.each(&mut start);
        start("Flush", KEYS[3], &mut |at| handles.flush(at));
    }

    fn expect_pending(&self) {
        for Started { what, at, .. } in &self.0 {
            assert_eq!(at.result(false), None, "{what}");
        }
    }

    /// The packet of one of them, which has had none yet.
    fn packet(&mut self, port: HANDLE) -> (Started, Taken) {
        let packet = take(port, SOON).unwrap_or_else(|| panic!("no packet of {:?}", self.names()));
        let index = self.0.iter().position(|started| started.at.raw() == packet.overlapped);
        let started = self.0.swap_remove(index.expect("a packet that was there, or of nothing"));
        let ended = started.at.result(false).unwrap();
        assert_eq!(
            (packet.key, packet.error, packet.bytes),
            (started.key, ended.error, ended.bytes),
            "{}",
            started.what
        );
        (started, packet)
    }

    fn names(&self) -> Vec<&str> {
        self.0.iter().map(|started| started.what).collect()
    }
}

/// Codes that the documentation has for the end of the service.
fn is_gone(code: DWORD) -> bool {
    [PEERDIST_ERROR_INVALIDATED, PEERDIST_ERROR_SERVICE_UNAVAILABLE].contains(&code)
}

/// Three sets of handles: with a port, for events, and for neither.
fn three(instance: HANDLE, port: HANDLE) -> [Handles; 3] {
    [("port", port), ("event", NULL), ("neither", NULL)].map(|(name, port)| Handles::open(instance, port, name))
}

#[test]
fn every_operation_ends_once_when_the_daemon_is_killed() {
    case("killed_daemon::every_operation_ends_once_when_the_daemon_is_killed", |world| {
        let (port, of_status) = (port(), port());
        let instances = FORMS.map(|_| notified(PEERDIST_STATUS_AVAILABLE));
        let instance = instances[0];
        for _ in 0..3 {
            publish(instance, b"killed", &bytes(SIZE));
            let all = three(instance, port);
            let registrations = FORMS.map(|form| Registration::new(form, NULL));
            world.daemon().pause();
            let [mut packets, mut events, mut neither] = [const { Flight(Vec::new()) }; 3];
            packets.start(&all[0], || NULL);
            events.start(&all[1], || event_of(false, false));
            neither.start(&all[2], || NULL);
            for (registration, instance) in registrations.iter().zip(instances) {
                assert_eq!(registration.submit(instance, of_status, 105), ERROR_IO_PENDING);
            }
            for flight in [&packets, &events, &neither] {
                flight.expect_pending();
            }
            assert_eq!((take(port, 0), take(of_status, 0)), (None, None));
            world.kill();

            while !packets.0.is_empty() {
                let (started, packet) = packets.packet(port);
                assert!(is_gone(packet.error), "{}: {}", started.what, packet.error);
            }
            for Started { what, at, event, .. } in &events.0 {
                assert!(wait_for(*event, SOON), "{what}");
                assert!(at.result(false).is_some_and(|ended| is_gone(ended.error)), "{what}");
            }
            for Started { what, at, .. } in &neither.0 {
                assert!(is_gone(at.wait().error), "{what}");
            }
            // That the service went is what a registration waits for.
            for _ in &registrations {
                let packet = take(of_status, SOON).unwrap();
                assert_eq!((packet.error, packet.key), (ERROR_SUCCESS, 105));
            }
            for registration in &registrations {
                assert_eq!(registration.at.result(false).map(|ended| ended.error), Some(ERROR_SUCCESS));
                assert_eq!(registration.status(), PEERDIST_STATUS_UNAVAILABLE);
            }

            let at = Overlapped::new(NULL);
            all[0].each(|what, _, start| assert_eq!(start(&at), PEERDIST_ERROR_INVALIDATED, "{what}"));
            assert_eq!(all[0].flush(&at), PEERDIST_ERROR_SERVICE_UNAVAILABLE);
            assert_eq!(open_content(instance, TAG, NULL, 0), Err(PEERDIST_ERROR_SERVICE_UNAVAILABLE));
            world.start();
            for (instance, form) in instances.into_iter().zip(FORMS) {
                let back = Registration::new(form, event());
                assert_eq!(back.submit(instance, NULL, 0), ERROR_IO_PENDING);
                assert_eq!((back.at.wait().error, back.status()), (ERROR_SUCCESS, PEERDIST_STATUS_AVAILABLE));
            }
            all.iter().for_each(Handles::expect_dead);
            // Nothing was told twice, and what is new works.
            assert_eq!((take(port, 0), take(of_status, 0)), (None, None));
            assert!(events.0.iter().all(|started| !is_set(started.event)));
            assert_eq!(open_information(instance, b"killed", 0, 0), Err(ERROR_NOT_FOUND));
            let handle = cached(instance, TAG, b"new", &bytes(SIZE), 2);
            assert_eq!(
                read(instance, handle, 0, 10, 0),
                (Ended { error: 0, bytes: 10, offset: 0 }, bytes(SIZE)[..10].to_vec())
            );
            assert_eq!(close_content(instance, handle), ERROR_SUCCESS);
        }
    });
}

#[test]
fn every_operation_ends_once_whenever_the_daemon_is_killed() {
    case("killed_daemon::every_operation_ends_once_whenever_the_daemon_is_killed", |world| {
        let (instance, port) = (startup(), port());
        for answered in [0, 1, 2, 5, 10, 15, 20, 25, 30, 35, 38, 39] {
            wait_for_status(instance, PEERDIST_STATUS_AVAILABLE);
            publish(instance, b"killed", &bytes(SIZE));
            let all = ["a", "b", "c"].map(|name| Handles::open(instance, port, name));
            let mut flight = Flight::default();
            all.iter().for_each(|handles| flight.start(handles, || NULL));
            let total = flight.0.len();
            assert_eq!(total, 39);
            while !flight.0.is_empty() {
                if flight.0.len() == total - answered {
                    world.kill();
                }
                let (started, packet) = flight.packet(port);
                let by_itself = match started.what {
                    "BlockRead" => &[ERROR_SUCCESS, PEERDIST_ERROR_MISSING_DATA][..],
                    "StreamRead" => &[ERROR_SUCCESS, PEERDIST_ERROR_MISSING_DATA, PEERDIST_ERROR_NO_MORE],
                    _ => &[ERROR_SUCCESS],
                };
                assert!(
                    by_itself.contains(&packet.error) || is_gone(packet.error),
                    "{}: {}",
                    started.what,
                    packet.error
                );
            }
            world.kill();
            wait_for_status(instance, PEERDIST_STATUS_UNAVAILABLE);
            all.iter().for_each(Handles::expect_dead);
            assert_eq!(take(port, 0), None);
            world.start();
        }
    });
}

/// A call that waits for the daemon: what it is called, what it may return when the daemon goes, and the call.
type Call = (&'static str, DWORD, Box<dyn FnOnce() -> DWORD + Send>);

fn calls(instance: HANDLE, other: HANDLE, handles: &Handles) -> Vec<Call> {
    let [instance, other, content, closed] = [instance, other, handles.empty, handles.bare].map(Carried::new);
    let [stream, information] = [handles.stream, handles.information].map(Carried::new);
    let of = |result: Result<HANDLE, DWORD>| result.err().unwrap_or(ERROR_SUCCESS);
    let options = PEERDIST_RETRIEVAL_OPTIONS {
        cbSize: 16,
        dwContentInfoMinVersion: 1,
        dwContentInfoMaxVersion: 2,
        dwReserved: 0,
    };
    let gone = PEERDIST_ERROR_SERVICE_UNAVAILABLE;
    vec![
        ("OpenContent", gone, Box::new(move || of(open_content(instance.get(), TAG, NULL, 0)))),
        ("PublishStream", gone, Box::new(move || of(publish_stream(instance.get(), b"more", 0)))),
        ("OpenContentInformation", gone, Box::new(move || of(open_information(instance.get(), b"killed", 0, 0)))),
        ("...Ex", gone, Box::new(move || of(open_information_ex(instance.get(), b"killed", options)))),
        ("Unpublish", gone, Box::new(move || unpublish(instance.get(), b"other"))),
        (
            "GetInformationByHandle",
            PEERDIST_ERROR_INVALIDATED,
            Box::new(move || flash_crowd(instance.get(), content.get()).err().unwrap_or(ERROR_SUCCESS)),
        ),
        ("CloseContent", ERROR_SUCCESS, Box::new(move || close_content(instance.get(), closed.get()))),
        ("CloseStreamHandle", ERROR_SUCCESS, Box::new(move || close_stream(instance.get(), stream.get()))),
        (
            "CloseContentInformation",
            ERROR_SUCCESS,
            Box::new(move || close_information(instance.get(), information.get())),
        ),
        ("Shutdown", ERROR_SUCCESS, Box::new(move || shutdown(other.get()))),
    ]
}

/// Waits until a thread of this process sleeps.
fn wait_until_asleep(thread: &Path) {
    let began = Instant::now();
    // The state stands behind the name, which stands in parentheses.
    while !fs::read_to_string(thread.join("stat")).unwrap().contains(") S ") {
        assert!(began.elapsed() < LIMIT, "it does not wait");
        thread::yield_now();
    }
}

#[test]
fn no_call_waits_for_a_daemon_that_was_killed() {
    case("killed_daemon::no_call_waits_for_a_daemon_that_was_killed", |world| {
        let instance = startup();
        for _ in 0..2 {
            let other = startup();
            for instance in [instance, other] {
                wait_for_status(instance, PEERDIST_STATUS_AVAILABLE);
            }
            publish(instance, b"killed", &bytes(SIZE));
            publish(instance, b"other", &bytes(SIZE));
            let handles = Handles::open(instance, NULL, "calls");
            world.daemon().pause();
            thread::scope(|scope| {
                let calls = calls(instance, other, &handles).into_iter().map(|(what, expected, call)| {
                    let (begins, begun) = mpsc::channel();
                    let thread = scope.spawn(move || {
                        begins.send(fs::canonicalize("/proc/thread-self").unwrap()).unwrap();
                        call()
                    });
                    wait_until_asleep(&begun.recv().unwrap());
                    (what, expected, thread)
                });
                let calls: Vec<_> = calls.collect();
                // These never wait.
                assert_eq!(status(instance), PEERDIST_STATUS_AVAILABLE);
                assert_eq!(unregister(instance), ERROR_SUCCESS);
                let at = Overlapped::new(NULL);
                assert_eq!(cancel(instance, handles.empty, Some(&at)), PEERDIST_ERROR_OPERATION_NOTFOUND);
                assert_eq!(server_cancel(instance, b"killed", at.raw()), PEERDIST_ERROR_OPERATION_NOTFOUND);
                assert_eq!(shutdown(startup_only()), ERROR_SUCCESS);
                for (what, _, thread) in &calls {
                    assert!(!thread.is_finished(), "{what}");
                }

                let killed = Instant::now();
                world.kill();
                for (what, expected, thread) in calls {
                    assert_eq!(thread.join().unwrap(), expected, "{what}");
                }
                // Less than a call waits for a daemon that says nothing.
                assert!(killed.elapsed() < Duration::from_secs(20));
            });
            world.start();
        }
    });
}
