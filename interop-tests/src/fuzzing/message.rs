//! Which messages the codecs take, for comparison with the dissector.

use bytes::Bytes;
use peerdist_protocol::content::ContentInformation;
use peerdist_protocol::hosted_cache::{self, Offer, Version};
use peerdist_protocol::retrieval::{ExtensibleBlob, RequestMessage, ResponseMessage};
use peerdist_protocol::schema::Structure;

/// Whether the codec takes the bytes as this structure, and all that follows from them.
pub(super) fn is_taken(structure: &Structure, bytes: &Bytes) -> bool {
    match structure.name {
        "CONTENT_INFORMATION_1.0" => matches!(ContentInformation::parse(bytes.clone()), Ok(ContentInformation::V1(_))),
        "CONTENT_INFORMATION_2.0" => matches!(ContentInformation::parse(bytes.clone()), Ok(ContentInformation::V2(_))),
        "EXTENSIBLE_BLOB" => ExtensibleBlob::parse(bytes).is_ok(),
        "INITIAL_OFFER_MESSAGE" => matches!(Offer::parse(Version::V1, bytes), Ok(Offer::Initial(_))),
        "SEGMENT_INFO_MESSAGE" => match Offer::parse(Version::V1, bytes) {
            Ok(Offer::SegmentInfo(offer)) => offer.segment().is_ok_and(|segment| segment.into_segment().is_ok()),
            _ => false,
        },
        "BATCHED_OFFER_MESSAGE" => match Offer::parse(Version::V2, bytes) {
            Ok(Offer::Batched(offer)) => offer.segments.iter().all(|segment| segment.block_count().is_ok()),
            _ => false,
        },
        "RESPONSE_MESSAGE" => hosted_cache::Response::parse(bytes).is_ok(),
        name => {
            let request = RequestMessage::parse(bytes).map(|message| message.request.message_type());
            let response = ResponseMessage::parse(bytes).map(|message| message.response.message_type());
            let is_named = |message_type| name_of(message_type) == name;
            request.is_ok_and(is_named) || response.is_ok_and(is_named)
        }
    }
}

fn name_of(message_type: peerdist_protocol::retrieval::MessageType) -> String {
    format!("MSG_{}", format!("{message_type:?}").to_ascii_uppercase().replace("NEGO", "NEGO_"))
}
