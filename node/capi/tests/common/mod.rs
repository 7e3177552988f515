//! Compiles the programs in `tests/c` against `include/` and the library.
#![allow(dead_code, reason = "no test uses all of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Language {
    C,
    Cpp,
}

pub(crate) const LANGUAGES: [Language; 2] = [Language::C, Language::Cpp];

/// A directory for what the compilers make.
pub(crate) struct Workshop {
    pub(crate) directory: TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    /// Compiles `tests/c/<program>.c`, warnings being errors; what the compiler says, and where its result is.
    pub(crate) fn compile(&self, language: Language, program: &str, options: &[&str]) -> (Output, PathBuf) {
        let result = self.directory.path().join(format!("{program}-{language:?}"));
        let mut compiler = match language {
            Language::C => command("gcc", &["-std=c11", "-x", "c"]),
            Language::Cpp => command("g++", &["-std=c++17", "-x", "c++"]),
        };
        compiler.args(["-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread", "-I"]).arg(in_crate("include"));
        compiler.arg("-I").arg(self.directory.path()).arg(in_crate("tests/c").join(format!("{program}.c")));
        // The libraries come behind what needs them, and no language applies to them.
        let output = compiler.args(["-x", "none"]).args(options).arg("-o").arg(&result).output();
        (output.expect("the tests need gcc and g++"), result)
    }

    /// Compiles, runs, and returns what the program prints.
    pub(crate) fn run(&self, language: Language, program: &str, options: &[&str]) -> String {
        let (compiled, result) = self.compile(language, program, options);
        assert!(compiled.status.success(), "{program} as {language:?}: {}", text(&compiled.stderr));
        let output = Command::new(result).env("LD_LIBRARY_PATH", self.directory.path()).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{program} as {language:?}: {:?} {said}", output.status);
        text(&output.stdout)
    }
}

/// The shared library that was built with this test.
pub(crate) fn library() -> PathBuf {
    let library = std::env::current_exe().unwrap().with_file_name("libpeerdist.so");
    assert!(library.exists(), "{}", library.display());
    library
}

pub(crate) fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments);
    command
}
