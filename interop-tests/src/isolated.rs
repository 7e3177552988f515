//! Tests run where network namespaces can be made.
//!
//! Root can make them at once. Anybody else becomes root of a user namespace first: the test's own binary is started
//! again under `unshare`, for this one test. Where neither is possible the test fails and says why, unless
//! `PEERDIST_SKIP_LAB=1` says that this is known.

use std::process::{Command, ExitCode};
use std::sync::OnceLock;

use crate::netns::{self, Namespace};
use crate::programs;

/// Set for the copy of a test that runs inside the user namespace.
const INSIDE: &str = "PEERDIST_LAB_INSIDE";

/// Runs `test`, a closure written directly in a `#[test]` function, where it may make network namespaces.
///
/// # Panics
/// If `test` does, or if no namespace can be made and `PEERDIST_SKIP_LAB` is not `1`.
pub fn run<F: FnOnce()>(test: F) {
    if std::env::var_os("PEERDIST_SKIP_LAB").is_some_and(|value| value == "1") {
        eprintln!("skipped: PEERDIST_SKIP_LAB=1");
        return;
    }
    match namespaces_allowed() {
        Ok(()) => {
            netns::remove_stale();
            test();
        }
        Err(reason) if std::env::var_os(INSIDE).is_some() => {
            panic!("no network namespace can be made, not even as root of a user namespace: {reason}");
        }
        Err(reason) => run_in_user_namespace(&test_name::<F>(), reason),
    }
}

/// Runs the work of a program where it may make network namespaces: here, or in a copy of the program with the same
/// arguments that is root of a user namespace. Returns how the program is to end.
///
/// # Panics
/// If `work` does, or if no namespace can be made.
pub fn run_program(work: impl FnOnce()) -> ExitCode {
    match namespaces_allowed() {
        Ok(()) => {
            netns::remove_stale();
            work();
            ExitCode::SUCCESS
        }
        Err(reason) if std::env::var_os(INSIDE).is_some() => {
            panic!("no network namespace can be made, not even as root of a user namespace: {reason}");
        }
        Err(_) => {
            let status = in_user_namespace().args(std::env::args_os().skip(1)).status().expect("unshare starts");
            if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
    }
}

/// Starts this program again as root of a user namespace.
fn in_user_namespace() -> Command {
    let own = std::env::current_exe().expect("the program has a binary");
    let mut command = Command::new(programs::find("unshare"));
    command.args(["--user", "--map-root-user", "--net", "--mount", "--"]);
    // `ip netns` keeps its handles below /run, which is somebody else's outside.
    command.args(["sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\""]).arg(own).env(INSIDE, "1");
    command
}

/// Whether this process can make network namespaces, found out by making one.
fn namespaces_allowed() -> Result<(), &'static str> {
    static ALLOWED: OnceLock<Result<(), String>> = OnceLock::new();
    match ALLOWED.get_or_init(|| Namespace::try_new("probe").map(drop)) {
        Ok(()) => Ok(()),
        Err(reason) => Err(reason),
    }
}

fn run_in_user_namespace(test: &str, reason: &str) {
    let mut command = in_user_namespace();
    command.args([test, "--exact", "--nocapture", "--include-ignored"]);
    let output = command.output().expect("unshare starts");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A filter that matches nothing is a success to the test runner.
    let ran = said.contains("1 passed") || said.contains("1 failed");
    assert!(
        output.status.success() && ran,
        "{test} did not pass in a user namespace, where it ran because {reason}.\n\
         Run it as root, allow unprivileged user namespaces, or set PEERDIST_SKIP_LAB=1 to go without.\n{said}"
    );
}

/// The name by which the test runner knows the function that `F` was written in.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>();
    let (_crate, path) = path.split_once("::").unwrap_or(("", path));
    path.split("::{{closure}}").next().unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of<F: FnOnce()>(_: F) -> String {
        test_name::<F>()
    }

    #[test]
    fn a_test_is_named_as_the_runner_names_it() {
        assert_eq!(name_of(|| {}), "isolated::tests::a_test_is_named_as_the_runner_names_it");
    }
}
