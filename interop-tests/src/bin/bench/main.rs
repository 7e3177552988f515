//! Every row of the table of speed, side by side with its yardstick in one run. `cargo xtask bench` builds and runs it.
//!
//! A figure is the median of several rounds in which ours and the yardstick take turns, so that a machine that slows
//! down slows both. Processes under test are pinned: "one core" is core 0, whatever loads them runs on core 1.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark speaks to the person who runs it")]

mod api;
mod fetching;
mod hashing;
mod hosted;
mod memory;
mod probing;
mod row;
mod serving;
mod stage;
mod tools;

use row::Row;

/// A group of rows that share a stage.
type Group = (&'static str, fn() -> Vec<Row>);

const GROUPS: [Group; 7] = [
    ("hashing", hashing::rows),
    ("serving", serving::rows),
    ("fetching", fetching::rows),
    ("probing", probing::rows),
    ("memory", memory::rows),
    ("api", api::rows),
    ("hosted", hosted::rows),
];

fn main() {
    let mut json = false;
    let mut only = Vec::new();
    for word in std::env::args().skip(1) {
        match word.as_str() {
            "--json" => json = true,
            memory::OPEN_STORE => return memory::open_store_and_report(),
            group if GROUPS.iter().any(|(name, _)| *name == group) => only.push(word),
            _ => {
                let groups: Vec<_> = GROUPS.iter().map(|(name, _)| *name).collect();
                eprintln!("usage: bench [--json] [{}]", groups.join("|"));
                std::process::exit(2);
            }
        }
    }
    let mut rows = Vec::new();
    for (name, measure) in GROUPS {
        if only.is_empty() || only.iter().any(|chosen| chosen == name) {
            eprintln!("measuring {name}");
            rows.extend(measure());
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&rows).expect("rows are plain data"));
    } else {
        print!("{}", row::table(&rows));
    }
}
