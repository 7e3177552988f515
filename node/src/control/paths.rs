//! Every URL path of the two control sockets. No other file spells one.

use super::wire::{HandleId, Identifier};

/// `GET`: what the node does; the admin socket tells more than the api socket.
pub const STATUS: &str = "/v1/status";

/// `GET`, admin: how full the cache is.
pub const CACHE: &str = "/v1/cache";
/// `GET`, admin: the segments of the cache, a page at a time (`after`, `limit`).
pub const CACHE_SEGMENTS: &str = "/v1/cache/segments";
/// `POST`, admin: reads and checks every block.
pub const CACHE_VERIFY: &str = "/v1/cache/verify";
/// `POST`, admin: drops everything.
pub const CACHE_CLEAR: &str = "/v1/cache/clear";
/// `GET`, admin: where the bytes of recent contents came from, and why.
pub const WHY: &str = "/v1/why";
/// `GET`, admin: what the node sends and receives, as pcapng (`protocol`, `snaplen`, `seconds`, `count`).
pub const CAPTURE: &str = "/v1/capture";
/// `GET`, admin: the features and their states.
pub const FEATURES: &str = "/v1/features";
/// `POST`, admin: enables features, all that are named or none.
pub const FEATURES_ENABLE: &str = "/v1/features/enable";
/// `POST`, admin: disables features, all that are named or none.
pub const FEATURES_DISABLE: &str = "/v1/features/disable";
/// `GET`, admin: counters for Prometheus.
pub const METRICS: &str = "/metrics";
/// `POST`, admin: reads the configuration again.
pub const RELOAD: &str = "/v1/reload";

/// `GET`: this interface, described as OpenAPI.
pub const OPENAPI: &str = "/v1/openapi.json";

/// `POST`, api: a session, which lives as long as the answer stays open. `DELETE`: ends the one that the request names.
pub const SESSIONS: &str = "/v1/sessions";
/// `POST`, api: opens a content (`tag`), with its content information in the body or none yet.
pub const CONTENTS: &str = "/v1/contents";
/// `GET`, `DELETE`, api: what is known of a content; closes it.
pub const CONTENT: &str = "/v1/contents/{id}";
/// `POST`, api: content information for an open content, whole or in pieces (`more`).
pub const CONTENT_INFORMATION: &str = "/v1/contents/{id}/content-information";
/// `GET`, api: the bytes at a position (`position`, `max`, `timeout`, `stream`), or which are missing. `PUT`: bytes of
/// the content that came from elsewhere (`offset`).
pub const CONTENT_DATA: &str = "/v1/contents/{id}/data";
/// `GET`, api: how many bytes are in the cache from a position on (`position`).
pub const CONTENT_AVAILABLE: &str = "/v1/contents/{id}/available";
/// `GET`, api: where the content's bytes came from, and why.
pub const CONTENT_WHY: &str = "/v1/contents/{id}/why";
/// `DELETE`, api: flushes what was added to the cache under a tag.
pub const TAG: &str = "/v1/tags/{tag}";

/// `POST`, api: a stream of bytes to publish.
pub const STREAMS: &str = "/v1/streams";
/// `DELETE`, api: closes a stream.
pub const STREAM: &str = "/v1/streams/{id}";
/// `PUT`, api: the next bytes of a stream (`position`).
pub const STREAM_DATA: &str = "/v1/streams/{id}/data";
/// `POST`, api: publishes what a stream holds.
pub const STREAM_COMPLETE: &str = "/v1/streams/{id}/complete";
/// `GET`, api: the user's publications.
pub const PUBLICATIONS: &str = "/v1/publications";
/// `DELETE`, api: takes a publication back.
pub const PUBLICATION: &str = "/v1/publications/{identifier}";
/// `POST`, api: opens content information of a publication.
pub const INFORMATION: &str = "/v1/content-information";
/// `GET`, `DELETE`, api: the next bytes of content information (`offset`, `max`); closes it.
pub const INFORMATION_HANDLE: &str = "/v1/content-information/{id}";

/// A path for one handle.
pub(super) fn of_handle(template: &str, id: HandleId) -> String {
    template.replace("{id}", &id.to_string())
}

/// [`TAG`] for one tag.
pub(super) fn of_tag(tag: &[u8; 16]) -> String {
    TAG.replace("{tag}", &hex::encode(tag))
}

/// [`PUBLICATION`] for one identifier.
pub(super) fn of_publication(identifier: &Identifier) -> String {
    PUBLICATION.replace("{identifier}", &identifier.to_string())
}

/// [`CACHE_SEGMENTS`] with its query.
pub(super) fn cache_segments(after: Option<&str>, limit: u32) -> String {
    let after = after.map(|id| format!("&after={id}")).unwrap_or_default();
    format!("{CACHE_SEGMENTS}?limit={limit}{after}")
}
