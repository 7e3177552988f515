//! `peerdist scrub`: what is left of a capture, and that nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::run::{Ran, command};

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcaps");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let captures: Vec<_> = files.filter(|path| path.extension().is_some_and(|is| is == "pcapng")).collect();
    assert!(captures.len() >= 10);
    captures
}

fn run(words: &[&str], files: &[&Path]) -> Ran {
    let mut peerdist = command(words);
    peerdist.args(files);
    Ran::of(peerdist)
}

fn messages(capture: &Path) -> Vec<Value> {
    let lines = run(&["decode", "--json", "--secrets"], &[capture]).stdout();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All values of a member, at any depth.
fn values<'a>(value: &'a Value, name: &str, out: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(member, value)| match value {
            Value::String(text) if member == name => drop(out.insert(text)),
            Value::Array(items) if member == name => out.extend(items.iter().filter_map(Value::as_str)),
            _ => values(value, name, out),
        }),
        Value::Array(items) => items.iter().for_each(|item| values(item, name, out)),
        _ => {}
    }
}

fn is_good(message: &Value) -> bool {
    message["faults"].as_array().unwrap().iter().all(|fault| fault["tolerated"] == true)
}

#[test]
fn every_good_message_is_kept_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let mut secrets = 0;
    for capture in captures() {
        let scrubbed = folder.path().join(capture.file_name().unwrap());
        run(&["scrub"], &[&capture, &scrubbed]).stdout();
        let (before, after) = (messages(&capture), messages(&scrubbed));
        let bytes = fs::read(&scrubbed).unwrap();
        assert!(after.iter().all(is_good), "{}", capture.display());
        if before.iter().all(is_good) {
            let names =
                |messages: &[Value]| messages.iter().map(|message| message["message"].clone()).collect::<Vec<_>>();
            assert_eq!(names(&before), names(&after), "{}", capture.display());
        }
        for message in &before {
            for secret in ["SegmentSecret", "BlockHashes", "SegmentHashOfData", "Block"] {
                let mut found = BTreeSet::new();
                values(&message["fields"], secret, &mut found);
                for digits in found {
                    let secret = hex::decode(digits).unwrap();
                    if secret.iter().any(|byte| *byte != 0) {
                        secrets += 1;
                        assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{}", capture.display());
                    }
                }
            }
            for text in ["Target", "Host", "ETag", "MessageID", "Address", "XAddrs"] {
                let mut found = BTreeSet::new();
                values(&message["fields"], text, &mut found);
                for text in found.into_iter().filter(|text| text.len() > 3) {
                    let part = bytes.windows(text.len()).find(|part| *part == text.as_bytes());
                    assert_eq!(part, None, "{}: {text}", capture.display());
                }
            }
        }
        // The laboratory's addresses, as bytes and as text.
        let own = |part: &[u8]| matches!(part, [10, 77, 0, 10..=12]);
        assert!(!bytes.windows(4).any(own), "{}", capture.display());
        assert!(!bytes.windows(6).any(|part| part == b"10.77."), "{}", capture.display());
    }
    assert!(secrets > 20, "{secrets}");
}

#[test]
fn what_belongs_together_still_does() {
    let folder = tempfile::tempdir().unwrap();
    let capture = captures().into_iter().find(|path| path.ends_with("hosted-v1.pcapng")).unwrap();
    let scrubbed = folder.path().join("scrubbed.pcapng");
    let said = run(&["scrub"], &[&capture, &scrubbed]).stdout();
    assert!(said.ends_with("10 messages; 0 left out\n"), "{said}");
    for (before, after) in messages(&capture).iter().zip(&messages(&scrubbed)) {
        for same in ["number", "message", "time", "size", "answers"] {
            assert_eq!(before[same], after[same], "{before} {after}");
        }
        for same in ["SegmentID", "SegmentId", "Hash", "ResponseCode", "BlockIndex", "SizeOfBlock"] {
            assert_eq!(before["fields"][same], after["fields"][same]);
        }
        assert_ne!(after["block"]["verdict"], "right");
    }
}

#[test]
fn malformed_messages_and_their_answers_are_counted_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let capture = captures().into_iter().find(|path| path.ends_with("errors-retrieval.pcapng")).unwrap();
    let scrubbed = folder.path().join("scrubbed.pcapng");
    let said = run(&["scrub"], &[&capture, &scrubbed]).stdout();
    let before = messages(&capture);
    let bad: Vec<_> = before.iter().filter(|message| !is_good(message)).map(|message| &message["number"]).collect();
    // One was answered before it was whole, so that nothing says what its answer answers.
    let is_early = |message: &Value| message["message"] == "HTTP_RESPONSE" && message["answers"].is_null();
    let is_left_out = |message: &&Value| !is_good(message) || bad.contains(&&message["answers"]) || is_early(message);
    let left_out = before.iter().filter(is_left_out).count();
    assert!(left_out > 0 && said.ends_with(&format!("{left_out} left out\n")), "{said}");
    assert_eq!(messages(&scrubbed).len(), before.len() - left_out);
}

#[test]
fn a_name_with_signs_for_the_terminal_is_told_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(&["scrub"], &[&captures()[0], &folder.path().join("a\x1b[31m\nb")]).stdout();
    assert!(said.contains("a\\u{1b}[31m\\u{a}b: ") && said.lines().count() == 1, "{said:?}");
}

#[test]
fn no_file_is_overwritten_and_none_is_left_where_there_is_no_capture() {
    let folder = tempfile::tempdir().unwrap();
    let [bare, output] = ["bare", "out.pcapng"].map(|name| folder.path().join(name));
    fs::write(&bare, "0000000101").unwrap();
    let error = run(&["scrub"], &[&bare, &output]).error(8);
    assert!(error.contains("no capture") && !output.exists(), "{error}");
    fs::write(&output, "mine").unwrap();
    let capture = &captures()[0];
    run(&["scrub"], &[capture, &output]).error(1);
    assert_eq!(fs::read_to_string(&output).unwrap(), "mine");
}

/// Exchanges: when the request began, what it is, what the answer is, and how long it took.
fn exchanges(capture: &Path) -> Vec<[Value; 4]> {
    let lines = run(&["decode", "--json", "--summary"], &[capture]).stdout();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let exchanges = lines.filter(|line| line["hosts"].is_null());
    exchanges
        .map(|line| {
            let answer = if line["answer"].is_null() { &line["result"] } else { &line["answer"] };
            [line["time"].clone(), line["request"].clone(), answer.clone(), line["took"].clone()]
        })
        .collect()
}

#[test]
fn answers_belong_to_the_requests_of_the_original_and_took_as_long() {
    let folder = tempfile::tempdir().unwrap();
    for capture in captures() {
        let scrubbed = folder.path().join(capture.file_name().unwrap());
        let said = run(&["scrub"], &[&capture, &scrubbed]).stdout();
        let (before, after) = (exchanges(&capture), exchanges(&scrubbed));
        if said.ends_with(" 0 left out\n") {
            assert_eq!(before, after, "{}", capture.display());
        }
        for exchange in &after {
            // One whose answer is left out has none, and the copy of a Probe that is left out stands for it.
            let is_known = exchange[1] == "Probe" || before.iter().any(|known| known[..2] == exchange[..2]);
            let has_lost = exchange[3].is_null() && is_known;
            assert!(has_lost || before.contains(exchange), "{}: {exchange:?}", capture.display());
        }
    }
}
