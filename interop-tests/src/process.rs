//! Programs that run on a host of the lab.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How long anything that is not under test may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Calls `attempt` until it gives something.
///
/// # Panics
/// If it has not within `limit`; `what` says what was waited for.
#[track_caller]
pub fn wait_until<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running program, killed on drop. What it printed is shown when the test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Readable once the process has ended.
    ended: OwnedFd,
    stdout: Collected,
    stderr: Collected,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Process {
    /// Starts `command` in the namespace of the calling thread; see [`Host::spawn`](crate::lab::Host::spawn).
    pub(crate) fn start(name: String, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdout = Collected::start(child.stdout.take().expect("it is piped"));
        let stderr = Collected::start(child.stderr.take().expect("it is piped"));
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("the child is not reaped yet");
        Self { name, child, ended, stdout, stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has complained about so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until it prints a line that holds `text`, on either stream, and returns the line.
    ///
    /// # Panics
    /// If it ends or [`PATIENCE`] does before that.
    #[track_caller]
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let name = self.name.clone();
        self.wait_alive(&format!("{name} to print {text:?}"), |process| {
            let printed = [process.stdout.text(), process.stderr.text()];
            printed.iter().flat_map(|printed| printed.lines()).find(|line| line.contains(text)).map(str::to_owned)
        })
    }

    /// Waits until a TCP socket listens on `port` in its namespace.
    ///
    /// # Panics
    /// If it ends or [`PATIENCE`] does before that.
    #[track_caller]
    pub fn wait_listening(&mut self, port: u16) {
        let name = self.name.clone();
        self.wait_alive(&format!("{name} to listen on TCP port {port}"), |process| {
            listens(process.pid(), port).then_some(())
        });
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it has not within `limit`.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Finished {
        assert!(self.ends_within(limit), "{} still runs after {limit:?}", self.name);
        self.finished()
    }

    /// Kills it, as a power cut would.
    pub fn kill(mut self) -> Finished {
        // It may have ended by itself just now.
        let _ = self.child.kill();
        self.finished()
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`].
    #[track_caller]
    pub fn terminate(self) -> Finished {
        self.signal(Signal::TERM);
        self.wait(PATIENCE)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended by itself just now.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Waits until `attempt` gives something; `what` says what is waited for.
    ///
    /// # Panics
    /// If the program ends or [`PATIENCE`] does before that.
    #[track_caller]
    pub fn wait_alive<T>(&mut self, what: &str, mut attempt: impl FnMut(&Self) -> Option<T>) -> T {
        wait_until(what, PATIENCE, || {
            // Asked before the attempt, so that what it did last is still seen.
            let ended = self.ends_within(Duration::ZERO);
            let found = attempt(self);
            assert!(found.is_some() || !ended, "{} ended, but was expected: {what}", self.name);
            found
        })
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("limits are short");
            match poll(&mut [PollFd::new(&self.ended, PollFlags::IN)], Some(&left)) {
                Err(rustix::io::Errno::INTR) => {}
                ready => return ready.expect("a process handle can be polled") == 1,
            }
        }
    }

    fn finished(&mut self) -> Finished {
        let status = self.child.wait().expect("a child can be waited for");
        Finished { status, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}{}", self.name, self.stdout.text(), self.stderr.text());
        }
    }
}

impl Finished {
    /// Itself, if the program was content.
    ///
    /// # Panics
    /// If its exit status is another than 0.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{}\n{}{}", self.status, self.stdout, self.stderr);
        self
    }
}

/// A stream of a child, read to its end by a thread so that the child never waits for us.
#[derive(Debug)]
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Collected {
    fn start(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::default();
        let sink: Arc<Mutex<Vec<u8>>> = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
                sink.extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Everything, once the stream has ended.
    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        self.text()
    }
}

/// Whether a TCP socket listens on `port` in the network namespace of process `pid`.
fn listens(pid: u32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        table.lines().skip(1).any(|line| is_listening_on(line, port))
    })
}

/// A line of `/proc/net/tcp`: number, local address, remote address, state (0A is LISTEN), all in hexadecimal.
fn is_listening_on(line: &str, port: u16) -> bool {
    let mut fields = line.split_whitespace().skip(1);
    let local_port = fields.next().and_then(|local| local.rsplit_once(':')).map(|(_, port)| port);
    let state = fields.nth(1);
    state == Some("0A") && local_port.and_then(|hex| u16::from_str_radix(hex, 16).ok()) == Some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_sockets_are_told_from_connected_ones() {
        let listening = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1";
        let connected = "   1: 0100007F:1F90 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000     0        0 2";
        assert!(is_listening_on(listening, 8080));
        assert!(!is_listening_on(listening, 80));
        assert!(!is_listening_on(connected, 8080));
    }

    #[test]
    fn output_is_collected_whole_and_the_end_is_seen() {
        let mut script = Command::new("sh");
        script.args(["-c", "echo out; echo err >&2; exit 3"]);
        let finished = Process::start("script".to_owned(), &mut script).wait(PATIENCE);
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
    }

    #[test]
    #[should_panic(expected = "ended, but was expected: script to print")]
    fn a_process_that_ends_is_not_waited_for() {
        let mut script = Command::new("true");
        Process::start("script".to_owned(), &mut script).wait_for_line("ready");
    }
}
