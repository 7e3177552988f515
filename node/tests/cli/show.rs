//! `peerdist show`.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::run::{Ran, peerdist};

/// Content information of version 1 as a Windows server made it: 99,710 bytes in two blocks.
const WINDOWS_V1: &str = "\
    00010c80000000000000000000000100000000000000000000007e85010000000100d8d976354a4872e925761803f458d9daaa67f8e31c63\
    0fb74e6a312ef8a25aba11afc0d7949243f94f9c1fab35d9fd1e331fcf7811a2e01d3587b38d770a29e20200000073c18ab8549110f8e90e\
    71bbc3ab2aa8c44d13f4929499255b660f24ec77800b974bdd65567fdeeccdafe457a9503b4548f66ed3b188dcfda0ac382b09711acc";
const ID_V1: &str = "491B217DBEE2B5F12CA79B015E06F4BBE64F9745BAD7867AEF17DE59927EDCE9";
const SECRET_V1: &str = "11AFC0D7949243F94F9C1FAB35D9FD1E331FCF7811A2E01D3587B38D770A29E2";

/// The same content in version 2: two segments of 39,390 and 60,320 bytes.
const WINDOWS_V2: &str = "\
    000204000000000000000000000000000000000000000000000000000000000000000088000099dee0d0c358e2684b62330d32b5f1978724\
    a0d0a52bdc5e781fae71ff57a8be3dd458037ed404116bb616d9b14116088520c47cdc50abcea3fae188a98ea22df3c00000eba03381d0d0\
    cb74f4b613d8210f37f002a06f3910586096a130d34398c08e66d7bcb8b6eb7783e4f807647b63f146b52f4ac89ccc7abf5fa11acafc2acf\
    5028586c";
const IDS_V2: [&str; 2] = [
    "3371BBEADDB62353ADCEF970A06FDF65001E0421F4C7108276B0C37A9F9EC10F",
    "D7E924425E8F4F88F01DC6A9BB1BC37BE113EC7917C745D4965C2B55FA163A6E",
];

struct Fixture {
    _dir: TempDir,
    file: PathBuf,
}

impl Fixture {
    fn new(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ci");
        fs::write(&file, bytes).unwrap();
        Self { _dir: dir, file }
    }

    fn show(&self, words: &[&str]) -> Ran {
        let fixed = ["show".as_ref(), self.file.as_os_str()];
        peerdist(fixed.into_iter().chain(words.iter().map(std::convert::AsRef::as_ref)))
    }
}

#[test]
fn version_1_has_its_fields_under_their_names() {
    let shown = Fixture::new(&hex::decode(WINDOWS_V1).unwrap()).show(&["--json"]).json();
    assert_eq!(shown["version"], "v1");
    assert_eq!((&shown["size"], &shown["first"], &shown["length"]), (&166.into(), &0.into(), &99_710.into()));
    let header = serde_json::json!({
        "Version": 0x0100, "dwHashAlgo": 0x800C, "dwOffsetInFirstSegment": 0, "dwReadBytesInLastSegment": 0, "cSegments": 1
    });
    assert_eq!(shown["header"], header);
    assert_eq!(shown["chunks"], serde_json::Value::Null);
    let segment = serde_json::json!({
        "SegmentId": ID_V1,
        "ullOffsetInContent": 0,
        "cbSegment": 99_710,
        "cbBlockSize": 65_536,
        "SegmentHashOfData": "D8D976354A4872E925761803F458D9DAAA67F8E31C630FB74E6A312EF8A25ABA",
        "SegmentSecret": "hidden",
        "blocks": {
            "cBlocks": 2,
            "first_block": 0,
            "BlockHashes": [
                "73C18AB8549110F8E90E71BBC3AB2AA8C44D13F4929499255B660F24EC77800B",
                "974BDD65567FDEECCDAFE457A9503B4548F66ED3B188DCFDA0AC382B09711ACC",
            ],
        },
        "bound": true,
    });
    assert_eq!(shown["segments"], serde_json::json!([segment]));
}

#[test]
fn version_2_has_its_fields_under_their_names() {
    let shown = Fixture::new(&hex::decode(WINDOWS_V2).unwrap()).show(&["--json"]).json();
    assert_eq!(shown["version"], "v2");
    let header = serde_json::json!({
        "bMinorVersion": 0, "bMajorVersion": 2, "bHashAlgo": 4, "ullStartInContent": 0, "ullIndexOfFirstSegment": 0,
        "dwOffsetInFirstSegment": 0, "ullLengthOfRange": 0
    });
    assert_eq!(shown["header"], header);
    assert_eq!(shown["chunks"], serde_json::json!([{"bChunkType": 0, "dwChunkDataLength": 136, "segments": 2}]));
    assert_eq!(shown["warnings"], serde_json::json!([]));
    let segments = shown["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 2);
    assert_eq!(IDS_V2, [0, 1].map(|index| segments[index]["SegmentId"].as_str().unwrap()));
    assert_eq!([&segments[1]["ullOffsetInContent"], &segments[1]["cbSegment"]], [39_390, 60_320]);
    assert_eq!(segments[0].get("blocks"), None);
}

#[test]
fn secrets_are_shown_on_demand_only() {
    let fixture = Fixture::new(&hex::decode(WINDOWS_V1).unwrap());
    for words in [&[][..], &["--json"]] {
        let hidden = fixture.show(words).stdout();
        assert!(hidden.contains("hidden") && !hidden.to_uppercase().contains(SECRET_V1));
        let shown = fixture.show(&[words, &["--secrets"]].concat()).stdout();
        assert!(shown.contains(SECRET_V1) && !shown.contains("hidden"));
    }
}

#[test]
fn the_text_names_every_field() {
    let text = Fixture::new(&hex::decode(WINDOWS_V1).unwrap()).show(&[]).stdout();
    for name in [
        "Version",
        "dwHashAlgo",
        "0x0000800C",
        "dwOffsetInFirstSegment",
        "dwReadBytesInLastSegment",
        "cSegments",
        "HoHoDk",
        ID_V1,
        "ullOffsetInContent",
        "cbSegment",
        "cbBlockSize",
        "SegmentHashOfData",
        "SegmentSecret",
        "cBlocks",
        "block 1",
    ] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
    let text = Fixture::new(&hex::decode(WINDOWS_V2).unwrap()).show(&[]).stdout();
    for name in
        ["bHashAlgo", "ullStartInContent", "ullIndexOfFirstSegment", "ullLengthOfRange", "bChunkType", IDS_V2[1]]
    {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
}

#[test]
fn other_bytes_are_refused_with_a_reason() {
    let mut long = hex::decode(WINDOWS_V1).unwrap();
    long.push(0);
    for bytes in [&b""[..], b"PK", &long, &long[..100]] {
        let error = Fixture::new(bytes).show(&["--json"]).error(8);
        assert!(error.contains("no content information") && error.contains("help:"), "{error}");
    }
    assert!(peerdist(["show", "/nonexistent"]).error(1).contains("/nonexistent"));
}
