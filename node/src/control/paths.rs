//! Every URL path of the two control sockets. No other file spells one.

use super::wire::ContentId;

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

/// `POST`, api: a session, which lives as long as the answer stays open.
pub const SESSIONS: &str = "/v1/sessions";
/// `POST`, api: opens a content by its content information.
pub const CONTENTS: &str = "/v1/contents";
/// `DELETE`, api: closes a content.
pub const CONTENT: &str = "/v1/contents/{id}";
/// `POST`, api: more content information for an open content.
pub const CONTENT_INFORMATION: &str = "/v1/contents/{id}/content-information";
/// `GET`, api: the bytes at a position (`position`), or which are missing.
pub const CONTENT_NEXT: &str = "/v1/contents/{id}/next";
/// `PUT`, api: bytes of the content that came from elsewhere (`offset`).
pub const CONTENT_DATA: &str = "/v1/contents/{id}/data";
/// `GET`, api: where the content's bytes came from, and why.
pub const CONTENT_WHY: &str = "/v1/contents/{id}/why";

/// A path of [`CONTENT`] and below for one content.
pub(super) fn of_content(template: &str, id: ContentId) -> String {
    template.replace("{id}", &id.to_string())
}

/// [`CACHE_SEGMENTS`] with its query.
pub(super) fn cache_segments(after: Option<&str>, limit: u32) -> String {
    let after = after.map(|id| format!("&after={id}")).unwrap_or_default();
    format!("{CACHE_SEGMENTS}?limit={limit}{after}")
}

/// [`CONTENT_NEXT`] with its query.
pub(super) fn content_next(id: ContentId, position: u64) -> String {
    format!("{}?position={position}", of_content(CONTENT_NEXT, id))
}

/// [`CONTENT_DATA`] with its query.
pub(super) fn content_data(id: ContentId, offset: u64) -> String {
    format!("{}?offset={offset}", of_content(CONTENT_DATA, id))
}
