//! Running the binaries.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// What a command printed, and its exit status.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        let output: Output = command.output().unwrap();
        Self {
            status: output.status.code().expect("it ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Standard output of a command that went well and had nothing to complain about.
    #[track_caller]
    pub(crate) fn stdout(self) -> String {
        // That a command goes on without a daemon is no trouble.
        let mut trouble = self.stderr.lines().filter(|line| !line.ends_with(": going on without a daemon"));
        assert_eq!((self.status, trouble.next()), (0, None), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The one JSON object of a command that went well.
    #[track_caller]
    pub(crate) fn json(self) -> serde_json::Value {
        let value: serde_json::Value = serde_json::from_str(&self.stdout()).expect("exactly one JSON value");
        assert!(value.is_object());
        value
    }

    /// Standard error of a command that ended with `status` and printed nothing else.
    #[track_caller]
    pub(crate) fn error(self, status: i32) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (status, ""), "{}", self.stderr);
        assert!(!self.stderr.contains('\x1b'), "no colour off a terminal: {:?}", self.stderr);
        self.stderr
    }
}

/// `peerdist` with these words.
pub(crate) fn peerdist<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Ran {
    Ran::of(command(words))
}

/// `peerdist` with these words, not started yet.
pub(crate) fn command<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peerdist"));
    command.args(words).env_remove("PEERDIST_LOG");
    command
}

/// A command that goes on until a signal ends it. Killed when dropped.
pub(crate) struct Going {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Going {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// The next line of its standard output; empty at the end.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Everything that is still to come on standard output.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        rest
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its exit status and standard error, when it has ended.
    pub(crate) fn wait(mut self) -> (i32, String) {
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code().expect("it ended by itself"), stderr)
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        let _: std::io::Result<()> = self.child.kill();
        let _: std::io::Result<std::process::ExitStatus> = self.child.wait();
    }
}
