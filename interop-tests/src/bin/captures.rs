//! Makes the captures of `pcaps/` anew: `captures [--to FOLDER] [NAME...]`. Without names, all of them and the folder's page.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool speaks to the person who runs it")]

use std::path::PathBuf;
use std::process::ExitCode;

use peerdist_interop_tests::captures::{self, ALL, Capture};
use peerdist_interop_tests::isolated;

fn main() -> ExitCode {
    let mut folder = captures::folder();
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), &mut arguments) {
            ("--to", rest) => match rest.next() {
                Some(named) => folder = PathBuf::from(named),
                None => return usage("--to takes a folder"),
            },
            (name, _) if ALL.iter().any(|capture| capture.name == name) => names.push(argument),
            (other, _) => return usage(&format!("there is no capture {other:?}")),
        }
    }
    let wanted: Vec<&Capture> =
        ALL.iter().filter(|capture| names.is_empty() || names.iter().any(|name| name == capture.name)).collect();
    isolated::run_program(|| {
        for capture in wanted {
            capture.make(&folder);
            let file = capture.file(&folder);
            std::fs::write(capture.decode_file(&folder), captures::decode(&file)).expect("the folder takes files");
            println!("{}", file.display());
        }
        if names.is_empty() {
            std::fs::write(folder.join("README.md"), captures::page()).expect("the folder takes files");
        }
    })
}

fn usage(reason: &str) -> ExitCode {
    let names: Vec<_> = ALL.iter().map(|capture| capture.name).collect();
    eprintln!("{reason}\nusage: captures [--to FOLDER] [NAME...]\nnames: {}", names.join(" "));
    ExitCode::from(2)
}
