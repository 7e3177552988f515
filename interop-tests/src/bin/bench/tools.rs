//! The yardsticks' programs, and how long something takes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use peerdist_interop_tests::programs::find;

/// Bytes in the unit of throughput.
pub(crate) const MB: f64 = 1e6;

/// Seconds that `work` takes.
pub(crate) fn seconds(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

/// What `openssl speed` says of a hash at 64 KiB on one core, in MB/s.
pub(crate) fn openssl_speed(hash: &str) -> f64 {
    let output = Command::new(find("taskset"))
        .args(["-c", "0"])
        .arg(find("openssl"))
        .args(["speed", "-evp", hash, "-bytes", "65536", "-seconds", "1"])
        .stderr(Stdio::null())
        .output()
        .expect("openssl starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().and_then(|line| line.split_whitespace().last()).unwrap_or_default();
    // In thousands of bytes a second.
    last.trim_end_matches('k').parse::<f64>().unwrap_or_else(|_| panic!("openssl speed said: {text}")) / 1000.0
}

/// A program that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts a program on these cores.
    pub(crate) fn start<A: AsRef<OsStr>>(cores: &str, program: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        let child = pinned(cores, program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.expect("the program starts"))
    }

    /// Its process id: `taskset` becomes the program it starts.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command for a program on these cores.
pub(crate) fn pinned(cores: &str, program: &Path) -> Command {
    let mut command = Command::new(find("taskset"));
    command.args(["-c", cores]).arg(program);
    command
}

/// A field of `/proc/PID/status` in MB, such as `VmRSS` or `VmHWM`.
pub(crate) fn memory(id: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("Linux names it");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|figure| figure.parse().ok()).expect("a number");
    kib * 1024.0 / MB
}

/// Runs `wrk` from core 1 with 16 connections, each request as the script says, and returns its requests a second.
pub(crate) fn wrk(url: &str, script: &Path) -> f64 {
    let mut command = pinned("1", &find("wrk"));
    command.args(["--threads", "1", "--connections", "16", "--duration", "3s", "--script"]).arg(script);
    let output = command.arg(url).output().expect("wrk starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Non-2xx"), "the server refused: {text}");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    line.and_then(|figure| figure.trim().parse().ok()).unwrap_or_else(|| panic!("wrk said: {text}"))
}

/// A BitTorrent tracker that knows one seeder on this host.
#[derive(Debug)]
pub(crate) struct Tracker(u16);

impl Tracker {
    /// Answers announces until the process ends.
    pub(crate) fn start(seeder: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let [high, low] = seeder.to_be_bytes();
                let _ =
                    answer(stream, &[b"d8:intervali5e5:peers6:\x7f\0\0\x01", [high, low].as_slice(), b"e"].concat());
            }
        });
        Self(port)
    }

    /// The announce URL.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/announce", self.0)
    }
}

/// Reads a request's head and answers it with `body`.
fn answer(stream: TcpStream, body: &[u8]) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    write!(&stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    (&stream).write_all(body)
}
