//! `libpeerdist` as it is installed, and programs compiled against it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::programs;

/// The library, its headers and its pkg-config file in a prefix of their own.
#[derive(Debug)]
pub struct Installed {
    prefix: TempDir,
}

/// What a program is compiled as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// With gcc.
    C,
    /// With g++.
    Cpp,
}

impl Installed {
    /// Installs what cargo built beside this test.
    ///
    /// # Panics
    /// If it was not built, or cannot be installed.
    pub fn new() -> Self {
        let prefix = TempDir::with_prefix("prefix-").expect("a temporary folder");
        let mut install = Command::new(programs::xtask());
        install.arg("install-library").arg("--library").arg(programs::library()).arg("--prefix").arg(prefix.path());
        output_of(&mut install);
        Self { prefix }
    }

    /// Where it is.
    pub fn prefix(&self) -> &Path {
        self.prefix.path()
    }

    /// Where programs find the library that is not where the system looks for it.
    pub fn libraries(&self) -> PathBuf {
        self.prefix.path().join("lib")
    }

    /// Where pkg-config finds it.
    pub fn descriptions(&self) -> PathBuf {
        self.libraries().join("pkgconfig")
    }

    /// What pkg-config says, as words.
    ///
    /// # Panics
    /// If it says that there is no such library.
    pub fn pkg_config(&self, options: &[&str]) -> Vec<String> {
        let mut command = Command::new(programs::find("pkg-config"));
        let said = output_of(command.args(options).arg("peerdist").env("PKG_CONFIG_PATH", self.descriptions()));
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// Compiles an example, warnings being errors; `sources` are names in `node/capi/examples`.
    ///
    /// # Panics
    /// If the compiler finds something wrong with it.
    pub fn compile(&self, language: Language, sources: &[&str]) -> PathBuf {
        let compiler = match language {
            Language::C => "gcc",
            Language::Cpp => "g++",
        };
        let program = self.prefix.path().join(format!("{}-{language:?}", sources[0].trim_end_matches(".c")));
        let mut command = Command::new(programs::find(compiler));
        command.args(["-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread", "-o"]).arg(&program);
        if language == Language::Cpp {
            command.args(["-x", "c++"]);
        }
        command.args(sources.iter().map(|source| example(source)));
        // The libraries come behind what needs them, and no language applies to them.
        command.args(["-x", "none"]).args(self.pkg_config(&["--cflags", "--libs"]));
        output_of(&mut command);
        program
    }
}

impl Default for Installed {
    fn default() -> Self {
        Self::new()
    }
}

/// A file in `node/capi/examples`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tree").join("node/capi/examples").join(name)
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
