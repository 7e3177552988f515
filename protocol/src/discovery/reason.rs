//! Why a datagram was dropped, as something to count.

use super::{ParseError, XmlError};

macro_rules! countable {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$inner])* $variant,)*
        }

        impl $name {
            /// Every variant, in the order of their discriminants: an array of counters is indexed by `as usize`.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// A short name in snake case, for counters and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use countable;

countable! {
    /// Why one of the two machines dropped a datagram. Nothing is ever answered to a datagram that was dropped.
    #[must_use]
    DropReason {
        /// Its source, or the whole of its XAddrs, is not on the local subnet ([MS-PCCRD] 3.1.4.1, 5).
        OffLink => "off_link",
        /// It came from this very peer.
        Own => "own",
        /// Its MessageID was answered, or left unanswered, before.
        Duplicate => "duplicate",
        /// It is longer than UDP carries.
        TooLarge => "too_large",
        /// It is not UTF-8.
        NotUtf8 => "not_utf8",
        /// It is not well-formed XML, or its prefixes are not declared.
        NotWellFormed => "not_well_formed",
        /// It has a document type declaration or a processing instruction.
        Doctype => "doctype",
        /// It refers to an entity that XML does not predefine.
        Entity => "entity",
        /// It exceeds a limit on depth, elements or attributes.
        XmlLimit => "xml_limit",
        /// It is no SOAP 1.2 envelope.
        NotAnEnvelope => "not_an_envelope",
        /// It is another message than the machine reads.
        OtherAction => "other_action",
        /// It is about another kind of service.
        OtherType => "other_type",
        /// Its matching rule is not the one of its Types.
        OtherMatchBy => "other_match_by",
        /// An element is missing, stands there twice or has no usable value.
        BadElement => "bad_element",
        /// Its Scopes are empty, badly formed or too many (3.2.4.1).
        BadScopes => "bad_scopes",
        /// It answers no Probe that is outstanding (3.1.4.1).
        Unsolicited => "unsolicited",
        /// It answers in the other form than the Probe's.
        OtherForm => "other_form",
        /// None of its XAddrs is an address.
        NoAddress => "no_address",
        /// It holds none of the ids of the Probe (3.1.4.1).
        NoSegment => "no_segment",
        /// The same host said the same before.
        Repeated => "repeated",
        /// Enough hosts have answered this Probe.
        TooManyHosts => "too_many_hosts",
    }
}

impl From<ParseError> for DropReason {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::TooLarge { .. } => Self::TooLarge,
            ParseError::Xml(XmlError::NotUtf8) => Self::NotUtf8,
            ParseError::Xml(XmlError::NotWellFormed { .. } | XmlError::Prefix | XmlError::ElementInText) => {
                Self::NotWellFormed
            }
            ParseError::Xml(XmlError::Doctype | XmlError::ProcessingInstruction) => Self::Doctype,
            ParseError::Xml(XmlError::Entity) => Self::Entity,
            ParseError::Xml(XmlError::TooDeep | XmlError::TooManyElements | XmlError::TooManyAttributes) => {
                Self::XmlLimit
            }
            ParseError::NotAnEnvelope => Self::NotAnEnvelope,
            ParseError::OtherAction => Self::OtherAction,
            ParseError::OtherType => Self::OtherType,
            ParseError::OtherMatchBy => Self::OtherMatchBy,
            ParseError::Missing(_) | ParseError::Repeated(_) | ParseError::BadIdentity(_) => Self::BadElement,
            ParseError::BadScopes | ParseError::TooManyIds => Self::BadScopes,
        }
    }
}
