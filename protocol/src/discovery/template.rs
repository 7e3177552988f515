//! The short way through a Probe that is written byte for byte like our own, as iPXE's are too.
//!
//! Nearly all Probes of a busy LAN are, and the XML parser would take most of the time they cost. Whatever differs in
//! a single byte of markup takes the long way; what the short way accepts, the long way reads the same.

use super::emit::{PROBE_HEAD, PROBE_TAIL, PROBE_V1, PROBE_V2};
use super::parse::{v1_scopes, v2_scopes};
use super::{Form, MessageId, Probe};

/// The Probe, or `None` where it is not in the form of the template.
pub(super) fn parse(payload: &[u8]) -> Option<Probe> {
    let inner = payload.strip_prefix(PROBE_HEAD.as_bytes())?.strip_suffix(PROBE_TAIL.as_bytes())?;
    let inner = std::str::from_utf8(inner).ok()?;
    let (message_id, rest) = inner.split_at_checked(inner.find('<')?)?;
    let (form, scopes) = match (rest.strip_prefix(PROBE_V1), rest.strip_prefix(PROBE_V2)) {
        (Some(scopes), _) => (Form::V1, v1_scopes(scopes).ok()?),
        (_, Some(scopes)) => (Form::V2, v2_scopes(scopes).ok()?),
        (None, None) => return None,
    };
    // Neither references nor white space: a MessageID with them has to be resolved and trimmed.
    if !message_id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'&') {
        return None;
    }
    Probe::from_scopes(MessageId::new(message_id)?, form, scopes).ok()
}
