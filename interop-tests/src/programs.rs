//! Where programs are: ours beside the test, other people's on the machine.

use std::path::{Path, PathBuf};

/// `peerdist` as cargo built it beside this test.
///
/// # Panics
/// If it was not built.
pub fn peerdist() -> PathBuf {
    ours("peerdist")
}

/// `peerdistd` as cargo built it beside this test.
///
/// # Panics
/// If it was not built.
pub fn peerdistd() -> PathBuf {
    ours("peerdistd")
}

/// `xtask` as cargo built it beside this test.
///
/// # Panics
/// If it was not built.
pub fn xtask() -> PathBuf {
    ours("xtask")
}

/// `libpeerdist` as cargo built it beside this test.
///
/// # Panics
/// If it was not built.
pub fn library() -> PathBuf {
    ours("libpeerdist.so")
}

/// The interpreter whose environment has the WSDiscovery package.
///
/// # Panics
/// If `cargo xtask test` has not made that environment.
pub fn wsdiscovery_python() -> PathBuf {
    let python = target_directory().join("interop/venv/bin/python");
    assert!(python.exists(), "{} is missing; `cargo xtask test` sets it up", python.display());
    python
}

/// A program of the machine, looked up in `PATH` and where Debian keeps what administrators run.
///
/// # Panics
/// If there is none.
pub fn find(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|candidate| candidate.is_file()));
    found.unwrap_or_else(|| panic!("{name} is not installed; `cargo xtask test` installs what the tests need"))
}

fn ours(name: &str) -> PathBuf {
    let binary = profile_directory().join(name);
    assert!(binary.exists(), "{} is missing; build it with `cargo build --workspace`", binary.display());
    binary
}

/// `target/debug` or its like: a program lies in it, a test in `deps` below it.
fn profile_directory() -> PathBuf {
    let own = std::env::current_exe().expect("the program has a binary");
    let folder = own.parent().expect("the binary lies in a folder");
    let profile = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    profile.expect("deps lies in the profile's folder").to_owned()
}

fn target_directory() -> PathBuf {
    profile_directory().parent().map(Path::to_owned).expect("the profile's folder lies in the target directory")
}
