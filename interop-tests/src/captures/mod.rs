//! The captures of `pcaps/`: made in the lab, each by one function, so that they can be made anew.

mod compare;
mod scenarios;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::programs;

pub use compare::{Difference, differences};

/// A capture and how it is made.
#[derive(Debug)]
pub struct Capture {
    /// The name of its file without the extension.
    pub name: &'static str,
    /// What is in it, for people.
    pub about: &'static str,
    /// Whether each message in it is as the documents demand.
    pub is_good: bool,
    make: fn(&Path),
}

/// All captures, in the order in which one would look at them.
pub const ALL: &[Capture] = &[
    Capture {
        name: "distributed-v1",
        about: "Two blocks in version 1: Probe and answer, MSG_GETBLKS over two connections; then MSG_GETBLKLIST",
        is_good: true,
        make: scenarios::distributed_v1,
    },
    Capture {
        name: "distributed-v2",
        about: "A download in version 2 with both families: content information from the origin, Probes and an answer, \
                MSG_GETBLKS",
        is_good: true,
        make: scenarios::distributed_v2,
    },
    Capture {
        name: "hosted-v1",
        about: "A hosted cache of version 1.0 is offered a segment (INITIAL_OFFER and SEGMENT_INFO over TLS, whose keys are \
                in the capture), fetches it from the client, and gives it to another client",
        is_good: true,
        make: scenarios::hosted_v1,
    },
    Capture {
        name: "hosted-v2",
        about: "The same in version 2.0: a batched offer over plain HTTP",
        is_good: true,
        make: scenarios::hosted_v2,
    },
    Capture {
        name: "range-requests",
        about: "A content server asked by curl for content information of both versions: all of it, ranges, ranges it cannot \
                serve, conditions, what is missing (MissingDataRequest), and without the protocol",
        is_good: true,
        make: scenarios::range_requests,
    },
    Capture {
        name: "version-negotiation",
        about: "MSG_NEGO_REQ of several ranges of versions, a request in a version that nobody has, and the versions of MS-PCCRTP",
        is_good: true,
        make: scenarios::version_negotiation,
    },
    Capture {
        name: "errors-discovery",
        about: "Probes that are dropped, Probes for what nobody has, and one that is answered",
        is_good: false,
        make: scenarios::errors_discovery,
    },
    Capture {
        name: "errors-retrieval",
        about: "Requests of MS-PCCRR that are wrong, each with what becomes of it; one that announces a gigabyte, and one to a node \
                that is busy, which gets the empty answer",
        is_good: false,
        make: scenarios::errors_retrieval,
    },
    Capture {
        name: "errors-hosted-cache",
        about: "Offers that are wrong, of both versions, each with what becomes of it; the keys of TLS are in the capture",
        is_good: false,
        make: scenarios::errors_hosted_cache,
    },
    Capture {
        name: "hostile-peer",
        about: "A peer that announces blocks and sends wrong bytes; the reader turns to the origin",
        is_good: true,
        make: scenarios::hostile_peer,
    },
];

/// Where the captures are kept.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps")
}

impl Capture {
    /// The capture's file in a folder.
    pub fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.pcapng", self.name))
    }

    /// The file beside it with what `peerdist decode --json` says of it.
    pub fn decode_file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.json", self.name))
    }

    /// Makes it in a lab of its own.
    ///
    /// # Panics
    /// Where something in the lab does not go as it should.
    pub fn make(&self, folder: &Path) {
        (self.make)(&self.file(folder));
    }
}

/// What `peerdist decode --json` says of a capture, one message a line.
///
/// # Panics
/// If it does not read it.
pub fn decode(capture: &Path) -> String {
    let output = Command::new(programs::peerdist()).args(["decode", "--json"]).arg(capture).output();
    let output = output.expect("peerdist starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("JSON is UTF-8")
}

/// The messages of a decode.
///
/// # Panics
/// If it is none.
pub fn messages(decode: &str) -> Vec<Value> {
    decode.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect()
}

/// The page of the folder: which captures there are.
pub fn page() -> String {
    let mut page = "\
# Captures

Made in the lab of `interop-tests`, in pcapng format: nothing here came from anybody's network. Beside each capture is what
`peerdist decode --json` says of it. `interop-tests/tests/captures.rs` reads all of them in every run, with our decoder and with
tshark, and makes them anew: only times, ports, random numbers and what is encrypted with them may differ.

`cargo xtask captures` makes all of them, `cargo xtask captures NAME` one. How to contribute a capture from a Windows
network is in [the book](../docs/captures.md). The Wireshark dissector is in `dissector/`; [its page](../docs/dissector.md) tells
how to install it.

| file | made by | what is in it |
|---|---|---|
"
    .to_owned();
    for Capture { name, about, .. } in ALL {
        page += &format!(
            "| [{name}.pcapng]({name}.pcapng), [decoded]({name}.json) | `cargo xtask captures {name}` | {about} |\n"
        );
    }
    page
}
