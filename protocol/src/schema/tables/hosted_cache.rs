//! The three requests of MS-PCHC and the response.

use super::super::{Check, Constant, Count, Enumeration, Extent, Field, Kind, Region, Rule, Shown, Structure};
use super::content;
use crate::hosted_cache::{MAX_MESSAGE_SIZE, MAX_SEGMENT_DESCRIPTORS};

const DOCUMENT: &str = "MS-PCHC";

/// Type (2.2.1.1).
static TYPE: Enumeration = Enumeration {
    name: "Type",
    values: &[(1, "INITIAL_OFFER_MESSAGE"), (2, "SEGMENT_INFO_MESSAGE"), (3, "BATCHED_OFFER_MESSAGE")],
};

/// HashAlgorithm (2.2.1.5).
static HASH_ALGORITHM: Enumeration =
    Enumeration { name: "HashAlgorithm", values: &[(1, "SHA-256"), (4, "truncated SHA-512")] };

/// ResponseCode (2.2.2.2).
static RESPONSE_CODE: Enumeration = Enumeration { name: "ResponseCode", values: &[(0, "OK"), (1, "INTERESTED")] };

/// MESSAGE_HEADER.
static MESSAGE_HEADER: Structure = Structure::new(
    "MESSAGE_HEADER",
    DOCUMENT,
    "2.2.1.1",
    "begins every request",
    &[
        Field::big("MinorVersion", 1, "minor version, which comes first"),
        Field::big("MajorVersion", 1, "major version"),
        Field::big("Type", 2, "type of the message").shown(Shown::Named(&TYPE)).rules(&[Rule::Known]),
        Field::bytes("Padding", Extent::Fixed(4), "without a meaning").defaulted(),
    ],
);

/// CONNECTION_INFORMATION.
static CONNECTION_INFORMATION: Structure = Structure::new(
    "CONNECTION_INFORMATION",
    DOCUMENT,
    "2.2.1.2",
    "where the client serves blocks",
    &[
        Field::big("Port", 2, "TCP port of the client's retrieval server"),
        Field::bytes("Padding", Extent::Fixed(6), "without a meaning").defaulted(),
    ],
);

const HEADER: Field = Field::structure("MESSAGE_HEADER", &MESSAGE_HEADER);
const CONNECTION: Field = Field::structure("CONNECTION_INFORMATION", &CONNECTION_INFORMATION);

const MINOR: Constant = Constant { field: "MinorVersion", value: 0, tolerated: false };
const V1: Constant = Constant { field: "MajorVersion", value: 1, tolerated: false };
const V2: Constant = Constant { field: "MajorVersion", value: 2, tolerated: false };

const fn message_type(value: u64) -> Constant {
    Constant { field: "Type", value, tolerated: false }
}

/// INITIAL_OFFER_MESSAGE.
pub static INITIAL_OFFER_MESSAGE: Structure = Structure::new(
    "INITIAL_OFFER_MESSAGE",
    DOCUMENT,
    "2.2.1.3",
    "a segment is there",
    &[
        HEADER,
        CONNECTION,
        Field::bytes("Hash", Extent::Rest, "HoHoDk of the segment").rules(&[Rule::Sizes(&[32, 48, 64])]),
    ],
)
.constants(&[MINOR, V1, message_type(1)])
.at_most(MAX_MESSAGE_SIZE);

/// SEGMENT_INFO_MESSAGE.
pub static SEGMENT_INFO_MESSAGE: Structure = Structure::new(
    "SEGMENT_INFO_MESSAGE",
    DOCUMENT,
    "2.2.1.4",
    "what one needs to fetch and verify the segment",
    &[
        HEADER,
        CONNECTION,
        Field::bytes("ContentTag", Extent::Fixed(16), "whose content it is"),
        Field::new(
            "SegmentInformation",
            Kind::Structure(&content::SEGMENT_INFORMATION, Region::Rest),
            "content information of the one segment",
        ),
    ],
)
.constants(&[MINOR, V1, message_type(2)])
.at_most(MAX_MESSAGE_SIZE);

static SEGMENT_DESCRIPTOR: Structure = Structure::new(
    "SegmentDescriptor",
    DOCUMENT,
    "2.2.1.5",
    "a segment that is there",
    &[
        Field::big("BlockSize", 4, "bytes of a block"),
        Field::big("SegmentSize", 4, "bytes of the segment").rules(&[Rule::Between(1, 33_554_432)]),
        Field::big("SizeOfContentTag", 2, "bytes of ContentTag").rules(&[Rule::Is(16)]),
        Field::bytes("ContentTag", Extent::SizedBy("SizeOfContentTag"), "whose content it is"),
        Field::big("HashAlgorithm", 1, "hash that made the id")
            .shown(Shown::Named(&HASH_ALGORITHM))
            .rules(&[Rule::Known]),
        Field::bytes("SegmentHoHoDk", Extent::Fixed(32), "HoHoDk of the segment"),
    ],
)
.checks(&[Check::Descriptor]);
static SEGMENT_DESCRIPTOR_ITEM: Field = Field::structure("SegmentDescriptor", &SEGMENT_DESCRIPTOR);

/// BATCHED_OFFER_MESSAGE.
pub static BATCHED_OFFER_MESSAGE: Structure = Structure::new(
    "BATCHED_OFFER_MESSAGE",
    DOCUMENT,
    "2.2.1.5",
    "several segments are there",
    &[
        HEADER,
        CONNECTION,
        Field::array("SegmentDescriptors", &SEGMENT_DESCRIPTOR_ITEM, Count::Rest, "the segments")
            .rules(&[Rule::Items(1, MAX_SEGMENT_DESCRIPTORS)]),
    ],
)
.constants(&[MINOR, V2, message_type(3)])
.at_most(MAX_MESSAGE_SIZE);

static TRANSPORT_HEADER: Structure = Structure::new(
    "TRANSPORT_HEADER",
    DOCUMENT,
    "2.2.2.1",
    "stands before the response",
    &[Field::big("Size", 4, "bytes that follow").rules(&[Rule::SizeOfRest])],
);

/// RESPONSE_MESSAGE with its TRANSPORT_HEADER.
pub static RESPONSE_MESSAGE: Structure = Structure::new(
    "RESPONSE_MESSAGE",
    DOCUMENT,
    "2.2.2",
    "what the hosted cache answers",
    &[
        Field::structure("TRANSPORT_HEADER", &TRANSPORT_HEADER),
        Field::big("ResponseCode", 1, "whether it wants more")
            .shown(Shown::Named(&RESPONSE_CODE))
            .rules(&[Rule::Known]),
    ],
)
.at_most(MAX_MESSAGE_SIZE);
