//! Content information of both versions (MS-PCCRC), and what of it travels in a SEGMENT_INFO_MESSAGE.

use super::super::{Check, Count, Enumeration, Extent, Field, Rule, Shown, Structure};

const DOCUMENT: &str = "MS-PCCRC";

/// dwHashAlgo (2.3).
pub static HASH_ALGO_1: Enumeration =
    Enumeration { name: "dwHashAlgo", values: &[(0x800C, "SHA-256"), (0x800D, "SHA-384"), (0x800E, "SHA-512")] };

/// bHashAlgo (2.4).
pub static HASH_ALGO_2: Enumeration = Enumeration { name: "bHashAlgo", values: &[(0x04, "truncated SHA-512")] };

static SEGMENT_DESCRIPTION_1: Structure = Structure::new(
    "SegmentDescription",
    DOCUMENT,
    "2.3.1.1",
    "a segment",
    &[
        Field::little("ullOffsetInContent", 8, "where the segment begins in the content"),
        Field::little("cbSegment", 4, "bytes of the segment").rules(&[Rule::Between(1, 33_554_432)]),
        Field::little("cbBlockSize", 4, "bytes of a block").rules(&[Rule::Is(65_536)]),
        Field::bytes("SegmentHashOfData", Extent::HashOf("dwHashAlgo"), "HoD: hash over all block hashes"),
        Field::bytes("SegmentSecret", Extent::HashOf("dwHashAlgo"), "Kp, the key of the blocks").secret(),
    ],
);
static SEGMENT_DESCRIPTION_1_ITEM: Field = Field::structure("SegmentDescription", &SEGMENT_DESCRIPTION_1);

static BLOCK_HASH_ITEM: Field = Field::bytes("BlockHash", Extent::HashOf("dwHashAlgo"), "hash of a block");

static SEGMENT_CONTENT_BLOCKS: Structure = Structure::new(
    "SegmentContentBlocks",
    DOCUMENT,
    "2.3.1.2",
    "the block hashes of a segment",
    &[
        Field::little("cBlocks", 4, "how many hashes"),
        Field::array("BlockHashes", &BLOCK_HASH_ITEM, Count::CountedBy("cBlocks"), "the hashes, in block order"),
    ],
);
static SEGMENT_CONTENT_BLOCKS_ITEM: Field = Field::structure("SegmentContentBlocks", &SEGMENT_CONTENT_BLOCKS);

/// The fields of version 1.0 for as many segments as the rules allow.
const fn fields_1(segments: &'static [Rule]) -> [Field; 7] {
    [
        Field::little("Version", 2, "0x0100").rules(&[Rule::Is(0x0100)]),
        Field::little("dwHashAlgo", 4, "hash of every value here")
            .shown(Shown::Named(&HASH_ALGO_1))
            .rules(&[Rule::Known]),
        Field::little("dwOffsetInFirstSegment", 4, "where the range begins in the first segment").defaulted(),
        Field::little("dwReadBytesInLastSegment", 4, "bytes of the range in the last segment, 0 for all").defaulted(),
        Field::little("cSegments", 4, "how many segments").rules(segments),
        Field::array("segments", &SEGMENT_DESCRIPTION_1_ITEM, Count::CountedBy("cSegments"), "the segments"),
        Field::array("blocks", &SEGMENT_CONTENT_BLOCKS_ITEM, Count::CountedBy("cSegments"), "their block hashes"),
    ]
}

const FIELDS_1: [Field; 7] = fields_1(&[Rule::Between(1, u32::MAX as u64)]);
const FIELDS_OFFERED: [Field; 7] = fields_1(&[Rule::Is(1)]);

/// The Content Information Data Structure Version 1.0.
pub static CONTENT_INFORMATION_1: Structure =
    Structure::new("CONTENT_INFORMATION_1.0", DOCUMENT, "2.3", "the segments of a content", &FIELDS_1).checks(&[
        Check::Segments1,
        Check::Range1,
        Check::BlockLists1,
    ]);

/// SegmentInformation of a SEGMENT_INFO_MESSAGE: version 1.0 with one segment, and other rules for the range.
pub static SEGMENT_INFORMATION: Structure =
    Structure::new("SegmentInformation", DOCUMENT, "2.3", "the one segment", &FIELDS_OFFERED)
        .checks(&[Check::OfferedSegment]);

static SEGMENT_DESCRIPTION_2: Structure = Structure::new(
    "SegmentDescription",
    DOCUMENT,
    "2.4.1.2",
    "a segment",
    &[
        Field::big("cbSegment", 4, "bytes of the segment").rules(&[Rule::Between(1, 131_072)]),
        Field::bytes("SegmentHashOfData", Extent::Fixed(32), "HoD: hash over the segment's bytes"),
        Field::bytes("SegmentSecret", Extent::Fixed(32), "Kp, the key of the block").secret(),
    ],
);
static SEGMENT_DESCRIPTION_2_ITEM: Field = Field::structure("SegmentDescription", &SEGMENT_DESCRIPTION_2);

static CHUNK: Structure = Structure::new(
    "CHUNK",
    DOCUMENT,
    "2.4.1.1",
    "some segments",
    &[
        Field::big("bChunkType", 1, "0").rules(&[Rule::Is(0)]),
        Field::big("dwChunkDataLength", 4, "bytes that follow").rules(&[Rule::Multiple(68)]),
        Field::array("segments", &SEGMENT_DESCRIPTION_2_ITEM, Count::Within("dwChunkDataLength"), "the segments"),
    ],
);
static CHUNK_ITEM: Field = Field::structure("CHUNK", &CHUNK);

/// The Content Information Data Structure Version 2.0.
pub static CONTENT_INFORMATION_2: Structure = Structure::new(
    "CONTENT_INFORMATION_2.0",
    DOCUMENT,
    "2.4",
    "the segments of a content",
    &[
        Field::big("bMinorVersion", 1, "0, which comes first").rules(&[Rule::Is(0)]),
        Field::big("bMajorVersion", 1, "2").rules(&[Rule::Is(2)]),
        Field::big("bHashAlgo", 1, "hash of every value here").shown(Shown::Named(&HASH_ALGO_2)).rules(&[Rule::Is(4)]),
        Field::big("ullStartInContent", 8, "where the first segment begins in the content").defaulted(),
        Field::big("ullIndexOfFirstSegment", 8, "which segment of the content the first one is").defaulted(),
        Field::big("dwOffsetInFirstSegment", 4, "where the range begins in the first segment").defaulted(),
        Field::big("ullLengthOfRange", 8, "bytes of the range, 0 for all").defaulted(),
        Field::array("chunks", &CHUNK_ITEM, Count::Rest, "the segments, in chunks")
            .rules(&[Rule::Items(1, usize::MAX)]),
    ],
)
.checks(&[Check::Segments2, Check::Range2]);
