//! Encrypted blocks served to peers, against nginx serving as many files of the same size: a single file would stay in
//! the processor's own cache.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use peerdist_protocol::content::{ContentInformation, CryptoAlgoId};
use peerdist_protocol::retrieval::{Exchange, PATH};

use crate::row::{Row, in_turns};
use crate::stage::{Nginx, Node, hash, write_content};
use crate::tools::wrk;

/// The content's length: one full segment of version 1, a few hundred of version 2.
const LENGTH: u64 = 32 << 20;

pub(crate) fn rows() -> Vec<Row> {
    ["v1", "v2"].map(row).into()
}

fn row(version: &str) -> Row {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let node = Node::start("0");
    let content = fill(&node, folder.path(), version);
    against_nginx(&format!("serving encrypted blocks {version}"), &node, &content)
}

/// Puts a content into a node's cache, by way of files in a folder.
pub(crate) fn fill(node: &Node, folder: &Path, version: &str) -> ContentInformation {
    let (file, information) = (folder.join("content"), folder.join("information"));
    write_content(&file, LENGTH);
    hash(&file, version, &information);
    node.fill(&file, &information);
    let bytes = std::fs::read(&information).expect("it was just written");
    ContentInformation::parse(Bytes::from(bytes)).expect("our own content information")
}

/// What a node on core 0 serves of a content, against nginx there.
pub(crate) fn against_nginx(work: &str, node: &Node, content: &ContentInformation) -> Row {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("blocks.lua");
    let (count, body_size) = write_script(&script, content);
    let url = format!("http://{}{PATH}", node.retrieval());

    let root = folder.path().join("root");
    std::fs::create_dir(&root).expect("a new folder");
    (0..count).for_each(|number| write_content(&root.join(number.to_string()), body_size));
    let files = folder.path().join("files.lua");
    write_file_script(&files, count);
    let (with, without) = (Nginx::start("0", &root, "on"), Nginx::start("0", &root, "off"));
    let yardstick = || wrk(&with.url(""), &files).max(wrk(&without.url(""), &files));
    let (ours, its) = in_turns(|| wrk(&url, &script), yardstick);
    let work = format!("{work} of {body_size} bytes, one core");
    Row::against(&work, ours, "nginx, the better of sendfile on and off", its, "requests/s", 0.9, 1.2)
}

/// A script for `wrk` that asks for every block in turn. Returns how many there are, and the mean size of an answer's
/// body in bytes.
fn write_script(script: &Path, content: &ContentInformation) -> (u64, u64) {
    let (mut bodies, mut sizes, mut count) = (String::new(), 0, 0);
    for segment in content.segments() {
        for index in 0..segment.block_count() {
            let exchange = Exchange::get_block(segment.id(), index, CryptoAlgoId::Aes128);
            let body: String = exchange.body().iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "\\{byte:03}");
                text
            });
            let _ = writeln!(bodies, "bodies[#bodies + 1] = \"{body}\"");
            let plain = segment.block_range(index).map_or(0, |range| range.end - range.start);
            // Transport header, MSG_BLK with a 32-byte id, PKCS#7 padding, IV.
            sizes += 4 + 88 + 16 * (plain / 16 + 1);
            count += 1;
        }
    }
    let text = format!(
        "local bodies = {{}}\n{bodies}\nlocal at = 0\nfunction request()\n  at = at % #bodies + 1\n  \
         return wrk.format(\"POST\", nil, nil, bodies[at])\nend\n"
    );
    std::fs::write(script, text).expect("a file in an empty folder");
    (count, sizes / count)
}

/// The same for files that are named by their numbers.
fn write_file_script(script: &Path, count: u64) {
    let text = format!(
        "local at = 0\nfunction request()\n  at = (at + 1) % {count}\n  return wrk.format(\"GET\", \"/\" .. at)\nend\n"
    );
    std::fs::write(script, text).expect("a file in an empty folder");
}
