//! The eight messages of MS-PCCRR, their headers and the extensible blob.

use super::super::{Check, Constant, Count, Enumeration, Extent, Field, Kind, Region, Rule, Shown, Structure};
use crate::retrieval::{MAX_REQUEST_SIZE, MAX_RESPONSE_SIZE, MAX_SEGMENT_IDS, TRANSPORT_HEADER_SIZE};

const DOCUMENT: &str = "MS-PCCRR";

/// MsgType (2.2.3).
pub static MSG_TYPE: Enumeration = Enumeration {
    name: "MsgType",
    values: &[
        (0, "MSG_NEGO_REQ"),
        (1, "MSG_NEGO_RESP"),
        (2, "MSG_GETBLKLIST"),
        (3, "MSG_GETBLKS"),
        (4, "MSG_BLKLIST"),
        (5, "MSG_BLK"),
        (6, "MSG_GETSEGLIST"),
        (7, "MSG_SEGLIST"),
    ],
};

/// CryptoAlgoId (2.2.3).
pub static CRYPTO_ALGO_ID: Enumeration = Enumeration {
    name: "CryptoAlgoId",
    values: &[(0, "No_Encryption"), (1, "AES_128"), (2, "AES_192"), (3, "AES_256")],
};

/// SegmentAgeUnits (2.2.6.1).
static SEGMENT_AGE_UNITS: Enumeration = Enumeration {
    name: "SegmentAgeUnits",
    values: &[(1, "seconds"), (2, "tenths of seconds"), (3, "hundredths of seconds"), (4, "milliseconds")],
};

/// TRANSPORT_RESPONSE_HEADER.
static TRANSPORT_RESPONSE_HEADER: Structure = Structure::new(
    "TRANSPORT_RESPONSE_HEADER",
    DOCUMENT,
    "2.2.2",
    "stands before every response",
    &[Field::big("Size", 4, "bytes that follow").rules(&[Rule::SizeOfRest])],
);

/// MESSAGE_HEADER.
static MESSAGE_HEADER: Structure = Structure::new(
    "MESSAGE_HEADER",
    DOCUMENT,
    "2.2.3",
    "begins every message",
    &[
        Field::big("ProtVer", 4, "protocol version of the message's type").shown(Shown::Version).defaulted(),
        Field::big("MsgType", 4, "type of the message").shown(Shown::Named(&MSG_TYPE)).rules(&[Rule::Known]),
        Field::big("MsgSize", 4, "bytes of the message with this header").rules(&[Rule::SizeOfMessage]),
        Field::big("CryptoAlgoId", 4, "cipher of the block")
            .shown(Shown::Named(&CRYPTO_ALGO_ID))
            .rules(&[Rule::Known])
            .defaulted(),
    ],
);

static BLOCK_RANGE: Structure = Structure::new(
    "BLOCK_RANGE",
    DOCUMENT,
    "2.2.1.1",
    "consecutive blocks of a segment",
    &[Field::big("Index", 4, "first block"), Field::big("Count", 4, "how many blocks")],
);
static BLOCK_RANGE_ITEM: Field = Field::structure("BLOCK_RANGE", &BLOCK_RANGE);

static SEGMENT_RANGE: Structure = Structure::new(
    "SEGMENT_RANGE",
    DOCUMENT,
    "2.2.1.2",
    "consecutive positions in the request's list of segments",
    &[Field::big("Index", 4, "first position"), Field::big("Count", 4, "how many positions")],
);
static SEGMENT_RANGE_ITEM: Field = Field::structure("SEGMENT_RANGE", &SEGMENT_RANGE);

static ENCODED_SEGMENT_AGE: Structure = Structure::new(
    "ENCODED_SEGMENT_AGE",
    DOCUMENT,
    "2.2.1.5",
    "how long a segment has been in the cache",
    &[
        Field::big("SegmentIndex", 1, "position from the first segment of the message on"),
        Field::little("SegmentAge", 3, "age in SegmentAgeUnits, the low byte first"),
    ],
);
static ENCODED_SEGMENT_AGE_ITEM: Field = Field::structure("ENCODED_SEGMENT_AGE", &ENCODED_SEGMENT_AGE);

/// The extensible blob, version 1. A bad one is ignored, and the message that carries it stays valid.
pub static EXTENSIBLE_BLOB: Structure = Structure::new(
    "EXTENSIBLE_BLOB",
    DOCUMENT,
    "2.2.6.1",
    "ages of segments",
    &[
        Field::big("ExtensibleBlobVersion", 2, "version of the blob").rules(&[Rule::Is(1)]),
        Field::big("SegmentAgeUnits", 1, "unit of the ages")
            .shown(Shown::Named(&SEGMENT_AGE_UNITS))
            .rules(&[Rule::Known]),
        Field::big("SegmentAgeCount", 1, "how many ages"),
        Field::array("SegmentAges", &ENCODED_SEGMENT_AGE_ITEM, Count::CountedBy("SegmentAgeCount"), "the ages"),
    ],
)
.open();

const TRANSPORT: Field = Field::structure("TRANSPORT_RESPONSE_HEADER", &TRANSPORT_RESPONSE_HEADER);
const HEADER: Field = Field::structure("MESSAGE_HEADER", &MESSAGE_HEADER);
const BLOB_SIZE: Field = Field::big("SizeOfExtensibleBlob", 4, "bytes of ExtensibleBlob");
const BLOB: Field = Field::new(
    "ExtensibleBlob",
    Kind::Structure(&EXTENSIBLE_BLOB, Region::SizedBy("SizeOfExtensibleBlob")),
    "ages of segments",
);
const MIN_VERSION: Field = Field::big("MinSupportedProtocolVersion", 4, "lowest version").shown(Shown::Version);
const MAX_VERSION: Field = Field::big("MaxSupportedProtocolVersion", 4, "highest version").shown(Shown::Version);

const fn id_size(name: &'static str) -> Field {
    Field::big(name, 4, "bytes of the segment id").rules(&[Rule::Between(1, 64)])
}

const fn id(name: &'static str, size: &'static str) -> Field {
    Field::bytes(name, Extent::SizedBy(size), "HoHoDk of the segment")
}

const fn ranges(name: &'static str, count: &'static str) -> Field {
    Field::array(name, &BLOCK_RANGE_ITEM, Count::CountedBy(count), "the ranges of blocks")
}

static SEGMENT_ID: Structure = Structure::new(
    "SegmentID",
    DOCUMENT,
    "2.2.4.4",
    "a segment",
    &[id_size("SizeOfSegmentID"), id("SegmentID", "SizeOfSegmentID"), Field::zero_pad("ZeroPad")],
);
static SEGMENT_ID_ITEM: Field = Field::structure("SegmentID", &SEGMENT_ID);

const fn request(name: &'static str, section: &'static str, note: &'static str, fields: &'static [Field]) -> Structure {
    Structure::new(name, DOCUMENT, section, note, fields).at_most(MAX_REQUEST_SIZE).padded(3)
}

const fn response(
    name: &'static str,
    section: &'static str,
    note: &'static str,
    fields: &'static [Field],
) -> Structure {
    Structure::new(name, DOCUMENT, section, note, fields).at_most(TRANSPORT_HEADER_SIZE + MAX_RESPONSE_SIZE).padded(3)
}

const fn message_type(value: u64) -> Constant {
    Constant { field: "MsgType", value, tolerated: false }
}

const V1: Constant = Constant { field: "ProtVer", value: 1, tolerated: true };
const V2: Constant = Constant { field: "ProtVer", value: 2, tolerated: true };

/// MSG_NEGO_REQ.
pub static MSG_NEGO_REQ: Structure =
    request("MSG_NEGO_REQ", "2.2.4.1", "the versions that the client speaks", &[HEADER, MIN_VERSION, MAX_VERSION])
        .constants(&[message_type(0), V1]);

/// MSG_NEGO_RESP.
pub static MSG_NEGO_RESP: Structure = response(
    "MSG_NEGO_RESP",
    "2.2.5.1",
    "the versions that the server speaks",
    &[TRANSPORT, HEADER, MIN_VERSION, MAX_VERSION],
)
.constants(&[message_type(1), V1]);

/// MSG_GETBLKLIST.
pub static MSG_GETBLKLIST: Structure = request(
    "MSG_GETBLKLIST",
    "2.2.4.2",
    "which of these blocks do you hold?",
    &[
        HEADER,
        id_size("SizeOfSegmentID"),
        id("SegmentID", "SizeOfSegmentID"),
        Field::zero_pad("ZeroPad"),
        Field::big("NeededBlocksRangeCount", 4, "how many ranges").rules(&[Rule::Between(0, 256)]),
        ranges("NeededBlockRanges", "NeededBlocksRangeCount"),
    ],
)
.constants(&[message_type(2), V1])
.checks(&[Check::RequestedRanges]);

/// MSG_GETBLKS.
pub static MSG_GETBLKS: Structure = request(
    "MSG_GETBLKS",
    "2.2.4.3",
    "send this block",
    &[
        HEADER,
        id_size("SizeOfSegmentID"),
        id("SegmentID", "SizeOfSegmentID"),
        Field::zero_pad("ZeroPad"),
        Field::big("ReqBlockRangeCount", 4, "how many ranges").rules(&[Rule::Between(0, 256)]),
        ranges("ReqBlockRanges", "ReqBlockRangeCount"),
        Field::big("SizeOfDataForVrfBlock", 4, "bytes of DataForVrfBlock").rules(&[Rule::ShouldBe(0)]),
        Field::bytes("DataForVrfBlock", Extent::SizedBy("SizeOfDataForVrfBlock"), "not used").defaulted(),
    ],
)
.constants(&[message_type(3), V1])
.checks(&[Check::RequestedRanges, Check::OneBlock]);

/// MSG_BLKLIST.
pub static MSG_BLKLIST: Structure = response(
    "MSG_BLKLIST",
    "2.2.5.2",
    "the blocks that the server holds",
    &[
        TRANSPORT,
        HEADER,
        id_size("SizeOfSegmentId"),
        id("SegmentId", "SizeOfSegmentId"),
        Field::zero_pad("ZeroPad"),
        Field::big("BlockRangeCount", 4, "how many ranges").rules(&[Rule::Between(0, 512)]),
        ranges("BlockRanges", "BlockRangeCount"),
        Field::big("NextBlockIndex", 4, "without an agreed meaning").defaulted(),
    ],
)
.constants(&[message_type(4), V1])
.checks(&[Check::BlockRanges]);

/// MSG_BLK.
pub static MSG_BLK: Structure = response(
    "MSG_BLK",
    "2.2.5.3",
    "a block, or none",
    &[
        TRANSPORT,
        HEADER,
        id_size("SizeOfSegmentId"),
        id("SegmentId", "SizeOfSegmentId"),
        Field::zero_pad("ZeroPad"),
        Field::big("BlockIndex", 4, "which block"),
        Field::big("NextBlockIndex", 4, "the next block that the server holds, 0 for none").defaulted(),
        Field::big("SizeOfBlock", 4, "bytes of Block; 0 where the server does not hold it"),
        Field::bytes("Block", Extent::SizedBy("SizeOfBlock"), "the block, encrypted as CryptoAlgoId says").defaulted(),
        Field::zero_pad("ZeroPad_2"),
        Field::big("SizeOfVrfBlock", 4, "bytes of VrfBlock").rules(&[Rule::ShouldBe(0)]),
        Field::bytes("VrfBlock", Extent::SizedBy("SizeOfVrfBlock"), "not used").defaulted(),
        Field::zero_pad("ZeroPad_3"),
        Field::big("SizeOfIVBlock", 4, "bytes of IVBlock"),
        Field::bytes("IVBlock", Extent::SizedBy("SizeOfIVBlock"), "initialisation vector").defaulted(),
    ],
)
.constants(&[message_type(5), V1])
.checks(&[Check::InitialisationVector]);

/// MSG_GETSEGLIST.
pub static MSG_GETSEGLIST: Structure = request(
    "MSG_GETSEGLIST",
    "2.2.4.4",
    "which of these segments do you hold?",
    &[
        HEADER,
        Field::bytes("RequestID", Extent::Fixed(16), "chosen by the client, echoed by the server"),
        Field::big("CountOfSegmentIDs", 4, "how many segments").rules(&[Rule::Between(1, MAX_SEGMENT_IDS as u64)]),
        Field::array("SegmentIDs", &SEGMENT_ID_ITEM, Count::CountedBy("CountOfSegmentIDs"), "the segments"),
        BLOB_SIZE,
        BLOB.defaulted(),
    ],
)
.constants(&[message_type(6), V2]);

/// MSG_SEGLIST. The 2012 edition of the document has no blob here.
pub static MSG_SEGLIST: Structure = response(
    "MSG_SEGLIST",
    "2.2.5.4",
    "the segments that the server holds",
    &[
        TRANSPORT,
        HEADER,
        Field::bytes("RequestID", Extent::Fixed(16), "the request's"),
        Field::big("SegmentRangeCount", 4, "how many ranges").rules(&[Rule::Between(0, MAX_SEGMENT_IDS as u64)]),
        Field::array("SegmentRanges", &SEGMENT_RANGE_ITEM, Count::CountedBy("SegmentRangeCount"), "the positions"),
        BLOB_SIZE.may_end(),
        BLOB.defaulted(),
    ],
)
.constants(&[message_type(7), V2])
.checks(&[Check::SegmentRanges]);
