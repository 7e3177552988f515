//! How a message is composed, by its name: along a table, or as text.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::tree::REST;
use super::{ComposeError, Field, Kind, Node, Structure, by_name, compose, datagram, headers, tables};

/// What a message is written as.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// The structure of a table.
    Structure(&'static Structure),
    /// A datagram of discovery: `Probe` or `ProbeMatches`. `Envelope` is one that is neither.
    Datagram(&'static str),
    /// The head of an HTTP message: `request` or `response`. `HTTP_RESPONSE` is a response that is none of the
    /// protocol's.
    Headers(&'static str),
}

const DATAGRAMS: [&str; 3] = ["Probe", "ProbeMatches", "Envelope"];
const HEADERS: [&str; 3] = ["request", "response", "HTTP_RESPONSE"];

impl Form {
    /// The form of the message of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        let known = |names: [&'static str; 3]| names.into_iter().find(|known| *known == name);
        known(DATAGRAMS)
            .map(Self::Datagram)
            .or_else(|| known(HEADERS).map(Self::Headers))
            .or_else(|| by_name(name).map(Self::Structure))
    }

    /// The name of the message.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Structure(structure) => structure.name,
            Self::Datagram(name) | Self::Headers(name) => name,
        }
    }

    /// The names of all messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        tables::ALL.iter().map(|structure| structure.name).chain(DATAGRAMS).chain(HEADERS)
    }

    /// Writes the message. Text is written as we write it.
    pub fn compose(self, values: &[Node<'_>]) -> Result<Vec<u8>, ComposeError> {
        match self {
            Self::Structure(structure) => compose(structure, values),
            Self::Datagram(name) => datagram::compose(name, values),
            Self::Headers(name) => headers::compose(name, values),
        }
    }
}

/// The name of a field of any message, for a [`Node`] whose name came as text.
#[must_use]
pub fn known_name(name: &str) -> Option<&'static str> {
    static NAMES: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let mut names = BTreeSet::from([REST]);
        tables::ALL.iter().for_each(|structure| add(&mut names, structure));
        names.extend(datagram::names().chain(headers::names()));
        names
    });
    names.get(name).copied()
}

fn add(names: &mut BTreeSet<&'static str>, structure: &'static Structure) {
    fn nested(field: &'static Field) -> Option<&'static Structure> {
        match field.kind {
            Kind::Structure(structure, _) => Some(structure),
            Kind::Array(item, _) => nested(item),
            _ => None,
        }
    }
    for field in structure.fields {
        names.insert(field.name);
        if let Some(inner) = nested(field) {
            add(names, inner);
        }
    }
}
