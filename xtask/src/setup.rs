//! Other people's programs: which ones the tests start, and how they come onto a machine.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, run, succeeds};
use crate::tree;

/// A program, and the Debian package that brings it.
struct Program {
    name: &'static str,
    package: &'static str,
}

/// What the tests start.
const TESTS: &[Program] = &[
    Program { name: "cc", package: "gcc" },
    Program { name: "curl", package: "curl" },
    Program { name: "editcap", package: "wireshark-common" },
    Program { name: "g++", package: "g++" },
    Program { name: "gcc", package: "gcc" },
    Program { name: "ip", package: "iproute2" },
    Program { name: "nginx", package: "nginx-light" },
    Program { name: "openssl", package: "openssl" },
    Program { name: "pkg-config", package: "pkg-config" },
    Program { name: "python3", package: "python3" },
    Program { name: "readelf", package: "binutils" },
    Program { name: "tc", package: "iproute2" },
    Program { name: "tshark", package: "tshark" },
    Program { name: "unshare", package: "util-linux" },
    Program { name: "valgrind", package: "valgrind" },
    Program { name: "wget", package: "wget" },
    Program { name: "wsdd", package: "wsdd" },
];

/// What the benchmarks start beside our own programs.
const BENCHMARKS: &[Program] = &[
    Program { name: "aria2c", package: "aria2" },
    Program { name: "curl", package: "curl" },
    Program { name: "mktorrent", package: "mktorrent" },
    Program { name: "nginx", package: "nginx-light" },
    Program { name: "openssl", package: "openssl" },
    Program { name: "taskset", package: "util-linux" },
    Program { name: "wrk", package: "wrk" },
];

/// The package from PyPI whose probes our node answers, with the version that the tests were written against.
const WSDISCOVERY: &str = "WSDiscovery==2.1.2";

/// Programs that are missing, where we cannot install them.
#[derive(Debug)]
pub(crate) struct Missing {
    programs: Vec<&'static str>,
    packages: Vec<&'static str>,
}

impl std::error::Error for Missing {}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "these programs are missing: {}", self.programs.join(", "))?;
        write!(
            f,
            "Install them, on Debian by `apt-get install {}`, or run this command as root.",
            self.packages.join(" ")
        )
    }
}

/// Installs what the tests start and this machine lacks.
pub(crate) fn for_tests() -> Result<(), Failure> {
    programs(TESTS)?;
    wsdiscovery()
}

/// Installs what the benchmarks start and this machine lacks.
pub(crate) fn for_benchmarks() -> Result<(), Failure> {
    programs(BENCHMARKS)
}

fn programs(wanted: &'static [Program]) -> Result<(), Failure> {
    let Some(missing) = missing(wanted) else { return Ok(()) };
    if !is_root() || find("apt-get").is_none() {
        return Err(missing.into());
    }
    install(&missing.packages)?;
    match self::missing(wanted) {
        None => Ok(()),
        Some(still) => Err(still.into()),
    }
}

fn missing(wanted: &'static [Program]) -> Option<Missing> {
    let missing: Vec<&Program> = wanted.iter().filter(|program| find(program.name).is_none()).collect();
    if missing.is_empty() {
        return None;
    }
    let packages: BTreeSet<&str> = missing.iter().map(|program| program.package).collect();
    Some(Missing {
        programs: missing.iter().map(|program| program.name).collect(),
        packages: packages.into_iter().collect(),
    })
}

fn install(packages: &[&str]) -> Result<(), Failure> {
    let mut update = Command::new("apt-get");
    run(update.args(["update", "--quiet", "--quiet"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(packages);
    let keep_services_off = ServicePolicy::refuse_starts();
    let outcome = run(install.env("DEBIAN_FRONTEND", "noninteractive"));
    drop(keep_services_off);
    outcome
}

/// Tells Debian's packages not to start their services, for as long as it lives: tests start nginx and wsdd
/// themselves, with their own configuration, and nobody asked for servers on this machine's own addresses.
struct ServicePolicy {
    written: Option<PathBuf>,
}

impl ServicePolicy {
    fn refuse_starts() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = PathBuf::from("/usr/sbin/policy-rc.d");
        // A policy that is already there is the administrator's.
        if path.exists() || std::fs::write(&path, "#!/bin/sh\nexit 101\n").is_err() {
            return Self { written: None };
        }
        // Not executable means not consulted; services start then, which is a nuisance and not an error.
        let _ = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755));
        Self { written: Some(path) }
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if let Some(path) = &self.written {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Installs the WSDiscovery package into an environment of its own under the target directory, where
/// `peerdist_interop_tests::programs::wsdiscovery_python` looks for it.
fn wsdiscovery() -> Result<(), Failure> {
    let environment = target_directory()?.join("interop/venv");
    let python = environment.join("bin/python");
    if succeeds(Command::new(&python).args(["-c", "import wsdiscovery"])) {
        return Ok(());
    }
    if let Err(failure) = run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment)) {
        // Debian's python3 comes without the module that makes environments.
        if !is_root() || find("apt-get").is_none() {
            eprintln!("python3 with its venv module is needed, on Debian by `apt-get install python3-venv`.");
            return Err(failure);
        }
        install(&["python3", "python3-venv"])?;
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    }
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", WSDISCOVERY]))
}

fn target_directory() -> Result<PathBuf, Failure> {
    Ok(tree::metadata()?.target_directory.into_std_path_buf())
}

/// Looks `program` up in `PATH` and where Debian keeps what administrators run.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    // Our own process's directory belongs to our effective user.
    Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_named_with_their_packages() {
        const WANTED: &[Program] = &[
            Program { name: "sh", package: "dash" },
            Program { name: "no-such-program-a", package: "somewhere" },
            Program { name: "no-such-program-b", package: "somewhere" },
        ];
        let message = missing(WANTED).unwrap().to_string();
        assert!(message.contains("no-such-program-a, no-such-program-b"), "{message}");
        assert!(message.contains("`apt-get install somewhere`"), "{message}");
        assert!(missing(&WANTED[..1]).is_none());
    }
}
