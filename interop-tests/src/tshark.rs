//! What somebody else's dissectors say of a capture.

use std::path::Path;
use std::process::Command;

use crate::programs;

/// The values of `fields`, tab-separated, one line for each frame of `capture` that passes `filter`.
///
/// # Panics
/// If tshark cannot read the capture or does not know the filter.
#[track_caller]
pub fn fields(capture: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new(programs::find("tshark"));
    // Without asking the network for names, with checksums looked at, and with datagrams of XML recognised as such.
    command.args(["-n", "--enable-heuristic", "xml_udp"]);
    command.args(
        ["ip", "tcp", "udp"].iter().flat_map(|protocol| ["-o".to_owned(), format!("{protocol}.check_checksum:TRUE")]),
    );
    command.arg("-r").arg(capture).args(["-Y", filter, "-T", "fields"]);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    let output = command.output().expect("tshark starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// How many frames pass `filter`.
///
/// # Panics
/// As [`fields`] does.
#[track_caller]
pub fn count(capture: &Path, filter: &str) -> usize {
    fields(capture, filter, &["frame.number"]).len()
}

/// The frames that a dissector cannot make sense of, with their protocols.
///
/// # Panics
/// As [`fields`] does.
#[track_caller]
pub fn malformed(capture: &Path) -> Vec<String> {
    fields(capture, "_ws.malformed || _ws.unreassembled", &["frame.number", "frame.protocols", "_ws.expert.message"])
}
