//! The header in C and C++, and a program in C against the library.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::{built, command, stored, with_daemon};

const C: (&str, &[&str]) = ("gcc", &["-std=c11", "-x", "c"]);
const CPP: (&str, &[&str]) = ("g++", &["-std=c++17", "-x", "c++"]);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The compiler with our headers, and every complaint an error.
fn compiler((program, words): (&str, &[&str])) -> Command {
    let mut compiler = Command::new(program);
    compiler.args(words).args(["-Wall", "-Wextra", "-Werror", "-pedantic"]);
    compiler.arg("-I").arg(folder("include"));
    compiler
}

#[track_caller]
fn succeeds(mut command: Command) {
    let ran = command.output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}

#[test]
fn the_header_compiles_and_has_the_layouts_and_values_of_windows() {
    for (language, words) in [C, CPP] {
        for text in [&[][..], &["-fshort-wchar"]] {
            let mut compiler = compiler((language, words));
            compiler.args(text).arg("-fsyntax-only").arg(folder("tests/dism/layout.c"));
            succeeds(compiler);
        }
    }
}

#[test]
fn a_program_in_c_turns_the_feature_off_and_on() {
    with_daemon("c_programs::a_program_in_c_turns_the_feature_off_and_on", |home| {
        let library = built("libpeerdist.so");
        // The library under the name that programs ask for.
        symlink(&library, home.join("libpeerdist.so.0")).unwrap();
        for (language, text) in [(C, &[][..]), (CPP, &["-fshort-wchar"])] {
            let program = home.join(format!("toggle-{}", language.0));
            let mut compiler = compiler(language);
            compiler.args(text).arg(folder("tests/dism/toggle.c")).args(["-x", "none"]).arg(&library);
            succeeds({
                compiler.arg("-o").arg(&program);
                compiler
            });
            let mut run = command(&program, home);
            run.env("LD_LIBRARY_PATH", home);
            succeeds(run);
            assert_eq!(stored(&home.join("features.toml")), (true, false));
            fs::remove_file(home.join("features.toml")).unwrap();
        }
    });
}
