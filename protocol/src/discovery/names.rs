//! Namespaces and literal values ([MS-PCCRD] 2.2.1).

pub(crate) const SOAP: &str = "http://www.w3.org/2003/05/soap-envelope";
pub(crate) const WSA: &str = "http://schemas.xmlsoap.org/ws/2004/08/addressing";
pub(crate) const WSD: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery";
pub(crate) const PEERDIST: &str = "http://schemas.microsoft.com/p2p/2007/09/PeerDistributionDiscovery";

pub(crate) const ACTION_PROBE: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe";
pub(crate) const ACTION_PROBE_MATCHES: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches";

pub(crate) const MATCH_BY_STRCMP0: &str = "http://schemas.xmlsoap.org/ws/2005/04/discovery/strcmp0";
pub(crate) const MATCH_BY_V2: &str = "http://schemas.microsoft.com/p2p/2010/05/PeerDistV2MatchingRule";

pub(crate) const TYPE_V1: &str = "PeerDistData";
pub(crate) const TYPE_V2: &str = "PeerDistDataV2";
/// The Types texts that known clients compare without looking at prefixes (MS-PCCRD 2.2.3.1).
pub(crate) const LITERAL_TYPE_V1: &str = "PeerDist:PeerDistData";
pub(crate) const LITERAL_TYPE_V2: &str = "PeerDist:PeerDistDataV2";

/// A namespace as far as these messages know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Namespace {
    Soap,
    Wsa,
    Wsd,
    PeerDist,
    Other,
    None,
}

impl Namespace {
    pub(super) fn of(uri: &str) -> Self {
        match uri {
            SOAP => Self::Soap,
            WSA => Self::Wsa,
            WSD => Self::Wsd,
            PEERDIST => Self::PeerDist,
            "" => Self::None,
            _ => Self::Other,
        }
    }
}
