//! Writing both messages, byte for byte in the form that known clients search for: these prefixes, no attributes on
//! Scopes, XAddrs and BlockCount of an answer, no white space, no empty-element tags (MS-PCCRD 2.2.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quick_xml::escape::escape;

use super::hexadecimal::push_upper;
use super::message::{Probe, ProbeMatches, Scope, Segments};
use super::{Form, names, xaddrs};

macro_rules! envelope {
    () => {
        concat!(
            r#"<?xml version="1.0" encoding="utf-8"?>"#,
            r#"<soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope""#,
            r#" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing""#,
            r#" xmlns:wsd="http://schemas.xmlsoap.org/ws/2005/04/discovery""#,
            r#" xmlns:PeerDist="http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery">"#,
            "<soap:Header><wsa:To>",
        )
    };
}
/// Every message up to the text of `wsa:To`.
pub(crate) const ENVELOPE: &str = envelope!();
/// A Probe up to its MessageID.
pub(super) const PROBE_HEAD: &str = concat!(
    envelope!(),
    "urn:schemas-xmlsoap-org:ws:2005:04:discovery</wsa:To>",
    "<wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</wsa:Action><wsa:MessageID>",
);
/// A version 1 Probe between its MessageID and its Scopes.
pub(super) const PROBE_V1: &str = concat!(
    "</wsa:MessageID></soap:Header><soap:Body><wsd:Probe><wsd:Types>PeerDist:PeerDistData</wsd:Types>",
    r#"<wsd:Scopes MatchBy="http://schemas.xmlsoap.org/ws/2005/04/discovery/strcmp0">"#,
);
/// A version 2 Probe between its MessageID and its Scopes.
pub(super) const PROBE_V2: &str = concat!(
    "</wsa:MessageID></soap:Header><soap:Body><wsd:Probe><wsd:Types>PeerDist:PeerDistDataV2</wsd:Types>",
    r#"<wsd:Scopes MatchBy="http://schemas.microsoft.com/p2p/2010/05/PeerDistV2MatchingRule">"#,
);
/// A Probe behind its Scopes.
pub(super) const PROBE_TAIL: &str = "</wsd:Scopes></wsd:Probe></soap:Body></soap:Envelope>";
/// A ProbeMatches up to its MessageID.
const PROBE_MATCHES_HEAD: &str = concat!(
    envelope!(),
    "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</wsa:To>",
    "<wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</wsa:Action><wsa:MessageID>",
);

impl Probe {
    /// The datagram.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut out = String::with_capacity(800 + self.scopes().len() * 65);
        out.push_str(PROBE_HEAD);
        push_escaped(&mut out, self.message_id().as_str());
        match self.form() {
            Form::V1 => {
                out.push_str(PROBE_V1);
                push_scopes(&mut out, self.scopes());
            }
            Form::V2 => {
                out.push_str(PROBE_V2);
                STANDARD.encode_string(v2_scopes(self.scopes()), &mut out);
            }
        }
        out.push_str(PROBE_TAIL);
        out.into_bytes()
    }
}

impl ProbeMatches {
    /// The datagram.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut out = String::with_capacity(1400 + self.scope_count() * 73);
        out.push_str(PROBE_MATCHES_HEAD);
        push_escaped(&mut out, self.message_id.as_str());
        out.push_str("</wsa:MessageID><wsa:RelatesTo>");
        push_escaped(&mut out, self.relates_to.as_str());
        out.push_str("</wsa:RelatesTo>");
        if let Some(sequence) = self.app_sequence {
            out.push_str(r#"<wsd:AppSequence InstanceId=""#);
            out.push_str(&sequence.instance_id.to_string());
            out.push_str(r#"" MessageNumber=""#);
            out.push_str(&sequence.message_number.to_string());
            out.push_str(r#""></wsd:AppSequence>"#);
        }
        out.push_str("</soap:Header><soap:Body><wsd:ProbeMatches><wsd:ProbeMatch><wsa:EndpointReference><wsa:Address>");
        push_escaped(&mut out, self.address.as_str());
        out.push_str("</wsa:Address></wsa:EndpointReference><wsd:Types>");
        out.push_str(literal_type(self.form()));
        out.push_str("</wsd:Types><wsd:Scopes>");
        match &self.segments {
            Segments::V1(segments) => push_scopes(&mut out, segments.iter().map(|(scope, _)| scope)),
            Segments::V2 { bits, .. } => STANDARD.encode_string(bits.as_bytes(), &mut out),
        }
        out.push_str("</wsd:Scopes><wsd:XAddrs>");
        for (position, address) in self.xaddrs.iter().enumerate() {
            if position > 0 {
                out.push(' ');
            }
            xaddrs::emit(*address, &mut out);
        }
        out.push_str("</wsd:XAddrs>");
        if let Some(version) = self.metadata_version {
            out.push_str("<wsd:MetadataVersion>");
            out.push_str(&version.to_string());
            out.push_str("</wsd:MetadataVersion>");
        }
        self.push_custom_element(&mut out);
        out.push_str("</wsd:ProbeMatch></wsd:ProbeMatches></soap:Body></soap:Envelope>");
        out.into_bytes()
    }

    /// Counts of eight digits for version 1, left out where one is not known; ages for version 2.
    fn push_custom_element(&self, out: &mut String) {
        let start = out.len();
        out.push_str("<PeerDist:PeerDistData>");
        match &self.segments {
            Segments::V1(segments) => {
                out.push_str("<PeerDist:BlockCount>");
                for (_, blocks) in segments {
                    let Some(blocks) = blocks else {
                        out.truncate(start);
                        return;
                    };
                    push_upper(out, &blocks.to_be_bytes());
                }
                out.push_str("</PeerDist:BlockCount>");
            }
            Segments::V2 { ages: Some(ages), .. } => {
                out.push_str("<PeerDist:SegmentAges>");
                STANDARD.encode_string(ages.emit(), out);
                out.push_str("</PeerDist:SegmentAges>");
            }
            Segments::V2 { ages: None, .. } => {
                out.truncate(start);
                return;
            }
        }
        out.push_str("</PeerDist:PeerDistData>");
    }

    fn scope_count(&self) -> usize {
        match &self.segments {
            Segments::V1(segments) => segments.len(),
            Segments::V2 { .. } => 0,
        }
    }
}

fn literal_type(form: Form) -> &'static str {
    match form {
        Form::V1 => names::LITERAL_TYPE_V1,
        Form::V2 => names::LITERAL_TYPE_V2,
    }
}

fn push_scopes<'s>(out: &mut String, scopes: impl IntoIterator<Item = &'s Scope>) {
    for (position, scope) in scopes.into_iter().enumerate() {
        if position > 0 {
            out.push(' ');
        }
        match scope.as_received() {
            Some(token) => out.push_str(token),
            None => push_upper(out, scope.id().as_bytes()),
        }
    }
}

/// SegmentHashSize, Segment Hash Count, ids (2.2.3.3). A [`Probe`] has ids of one size and at most 255 of them.
fn v2_scopes(scopes: &[Scope]) -> Vec<u8> {
    let size = scopes.first().map_or(0, |scope| scope.id().as_bytes().len());
    let mut bytes = Vec::with_capacity(3 + size * scopes.len());
    bytes.extend_from_slice(&(size as u16).to_be_bytes());
    bytes.push(scopes.len() as u8);
    for scope in scopes {
        bytes.extend_from_slice(scope.id().as_bytes());
    }
    bytes
}

fn push_escaped(out: &mut String, text: &str) {
    // Nearly always a UUID. Without an early exit the search takes whole registers at a time.
    let special = |byte| matches!(byte, b'<' | b'>' | b'&' | b'\'' | b'"');
    if text.bytes().fold(false, |found, byte| found | special(byte)) {
        out.push_str(&escape(text));
    } else {
        out.push_str(text);
    }
}
