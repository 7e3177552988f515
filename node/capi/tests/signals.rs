//! Signals are the program's: none ends it for what the library does, and the library's thread takes none.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Language, Workshop, library, text};

/// A program with an instance, and where it looks for the daemon.
struct Program {
    child: Child,
    socket: UnixListener,
    _workshop: Workshop,
}

impl Program {
    fn start() -> Self {
        let workshop = Workshop::new();
        let directory = workshop.directory.path();
        let library_here = directory.join("libpeerdist.so.0");
        symlink(library(), &library_here).unwrap();
        let (compiled, program) = workshop.compile(Language::C, "lasting", &[library_here.to_str().unwrap()]);
        assert!(compiled.status.success(), "{}", text(&compiled.stderr));
        let socket = UnixListener::bind(directory.join("api.sock")).unwrap();
        socket.set_nonblocking(true).unwrap();
        // To a child all signals do what they do by default, SIGPIPE too.
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", directory).env("PEERDIST_SOCKET", directory.join("api.sock"));
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        Self { child, socket, _workshop: workshop }
    }

    /// The library's next connection.
    #[track_caller]
    fn accept(&mut self) -> UnixStream {
        loop {
            match self.socket.accept() {
                Ok((connection, _)) => {
                    connection.set_nonblocking(false).unwrap();
                    return connection;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            assert_eq!(self.child.try_wait().unwrap(), None, "the program has ended");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    fn end(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

#[test]
fn a_daemon_that_goes_away_ends_no_program() {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    let mut program = Program::start();
    for _ in 0..3 {
        let mut connection = program.accept();
        connection.read_exact(&mut [0; 24]).unwrap();
        // The library answers these frames of HTTP/2, and nobody reads that any more.
        connection.shutdown(Shutdown::Read).unwrap();
        connection.write_all(&[SETTINGS, PING].concat()).unwrap();
        // Until it has tried to: then it closes the connection.
        while connection.write_all(PING).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    program.end();
}

#[test]
fn the_thread_of_the_library_takes_no_signals() {
    let mut program = Program::start();
    // It has begun when it connects.
    let _connection = program.accept();
    let tasks = fs::read_dir(format!("/proc/{}/task", program.child.id())).unwrap();
    let threads = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap().to_owned()
    };
    let blocked: Vec<_> = threads.map(|status| (field(&status, "Name"), field(&status, "SigBlk"))).collect();
    // All but SIGKILL (9), SIGSTOP (19), and the two that the C library keeps for itself (32, 33).
    let all = format!("{:016x}", !(1_u64 << 8 | 1 << 18 | 3 << 31));
    assert!(blocked.contains(&("peerdist".to_owned(), all)), "{blocked:?}");
    assert!(blocked.iter().any(|(name, mask)| name == "lasting-C" && mask.trim_start_matches('0').is_empty()));
    program.end();
}
