//! Programs in C, beside the case that starts them.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::world::{World, built, command};

/// Compiles `tests/c/<name>.c` against the library, warnings being errors.
pub(crate) fn compiled(world: &World, name: &str) -> PathBuf {
    let library = built("libpeerdist.so");
    // The library under the name that programs ask for.
    let soname = world.home.join("libpeerdist.so.0");
    if !soname.exists() {
        symlink(&library, soname).unwrap();
    }
    let program = world.home.join(name);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = Command::new("gcc");
    compiler.args(["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread", "-I"]);
    compiler.arg(folder.join("include")).arg(folder.join(format!("tests/c/{name}.c"))).arg(library);
    let said = compiler.arg("-o").arg(&program).output().expect("the tests need gcc");
    assert!(said.status.success(), "{name}: {}", String::from_utf8_lossy(&said.stderr));
    program
}

/// Runs a program that finds the library and the daemon.
pub(crate) fn beside(world: &World, program: impl AsRef<OsStr>) -> Command {
    let mut command = command(program, &world.home);
    command.env("LD_LIBRARY_PATH", &world.home);
    command
}
