//! The parameters of both headers ([MS-PCCRTP] 2.2).

use std::fmt;

use super::headers::{TooLong, digits, elements, parameter};
use super::{PEERDIST, PEERDIST_EX};
use crate::content::ContentVersion;

/// The version of this HTTP extension, not of content information ([MS-PCCRTP] 2.2). 1.23 is above 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerDistVersion {
    /// Before the dot.
    pub major: u32,
    /// After the dot.
    pub minor: u32,
}

impl PeerDistVersion {
    /// Windows 7 and Server 2008 R2: content information of version 1 and no [`PEERDIST_EX`].
    pub const V1_0: Self = Self { major: 1, minor: 0 };
    /// Everything later: adds [`PEERDIST_EX`]. The newest there is, and our own.
    pub const V1_1: Self = Self { major: 1, minor: 1 };

    /// `1*DIGIT "." 1*DIGIT` without blanks; numbers beyond 32 bits are no version.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let number = |text| digits(text).and_then(|number| u32::try_from(number).ok());
        Some(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl fmt::Display for PeerDistVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The versions of content information that a client takes: `MinContentInformation` to `MaxContentInformation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentVersions {
    /// 1.0 to 1.0.
    V1,
    /// 2.0 to 2.0. Outside the letter of [MS-PCCRTP] 2.2, yet Windows answers it.
    V2,
    /// 1.0 to 2.0.
    V1AndV2,
}

impl ContentVersions {
    /// Whether content information of this version may be sent.
    #[must_use]
    pub fn contains(self, version: ContentVersion) -> bool {
        match version {
            ContentVersion::V1 => self != Self::V2,
            ContentVersion::V2 => self != Self::V1,
        }
    }

    /// The versions, the newest first: a server sends the first one that it has.
    pub fn preferred(self) -> impl Iterator<Item = ContentVersion> {
        [ContentVersion::V2, ContentVersion::V1].into_iter().filter(move |version| self.contains(*version))
    }

    /// `MinContentInformation=…, MaxContentInformation=…`, exactly as the document spells it.
    pub(super) fn header_value(self) -> &'static str {
        match self {
            Self::V1 => "MinContentInformation=1.0, MaxContentInformation=1.0",
            Self::V2 => "MinContentInformation=2.0, MaxContentInformation=2.0",
            Self::V1AndV2 => "MinContentInformation=1.0, MaxContentInformation=2.0",
        }
    }
}

/// A parameter as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Found<T> {
    /// It is not there.
    #[default]
    Absent,
    /// It is there and has a value of its type.
    Valid(T),
    /// It is there with another value, or twice with different values.
    Invalid,
}

impl<T: PartialEq> Found<T> {
    fn add(&mut self, value: Option<T>) {
        *self = match (std::mem::take(self), value) {
            (Self::Absent, Some(new)) => Self::Valid(new),
            (Self::Valid(old), Some(new)) if old == new => Self::Valid(old),
            _ => Self::Invalid,
        };
    }
}

/// [`PEERDIST`], read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PeerDistParams {
    pub(super) version: Found<PeerDistVersion>,
    pub(super) content_length: Found<u64>,
    pub(super) missing_data_request: Found<bool>,
}

impl PeerDistParams {
    pub(super) fn read(headers: &[(&str, &str)]) -> Result<Self, TooLong> {
        let mut params = Self::default();
        for element in elements(headers, PEERDIST)? {
            // An element without "=" has no value; a known name then is invalid and any other is ignored.
            let (name, value) = parameter(element).unwrap_or((element, ""));
            if name.eq_ignore_ascii_case("Version") {
                params.version.add(PeerDistVersion::parse(value));
            } else if name.eq_ignore_ascii_case("ContentLength") {
                params.content_length.add(digits(value));
            } else if name.eq_ignore_ascii_case("MissingDataRequest") {
                params.missing_data_request.add(boolean(value));
            }
        }
        Ok(params)
    }
}

/// [`PEERDIST_EX`], read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct PeerDistExParams {
    pub(super) min_content_information: Found<PeerDistVersion>,
    pub(super) max_content_information: Found<PeerDistVersion>,
    pub(super) make_hash_request: Found<bool>,
    pub(super) hash_request: Found<bool>,
}

impl PeerDistExParams {
    pub(super) fn read(headers: &[(&str, &str)]) -> Result<Self, TooLong> {
        let mut params = Self::default();
        for element in elements(headers, PEERDIST_EX)? {
            let (name, value) = parameter(element).unwrap_or((element, ""));
            if name.eq_ignore_ascii_case("MinContentInformation") {
                params.min_content_information.add(PeerDistVersion::parse(value));
            } else if name.eq_ignore_ascii_case("MaxContentInformation") {
                params.max_content_information.add(PeerDistVersion::parse(value));
            } else if name.eq_ignore_ascii_case("MakeHashRequest") {
                params.make_hash_request.add(boolean(value));
            } else if name.eq_ignore_ascii_case("HashRequest") {
                params.hash_request.add(boolean(value));
            }
        }
        Ok(params)
    }
}

fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_number_by_number() {
        let version = |text| PeerDistVersion::parse(text);
        assert!(version("1.23") > version("1.3"));
        assert!(version("2.0") > version("1.9"));
        assert_eq!(version("01.01"), Some(PeerDistVersion::V1_1));
        for bad in ["", "1", "1.", ".1", "1 .1", "1. 1", "+1.0", "1.0.0", "4294967296.0", "1.4294967296", "a.b"] {
            assert_eq!(version(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn parameters_come_in_any_order_case_and_spacing() {
        let read = |value| PeerDistParams::read(&[(PEERDIST, value)]).unwrap();
        let expected = PeerDistParams {
            version: Found::Valid(PeerDistVersion::V1_1),
            content_length: Found::Absent,
            missing_data_request: Found::Valid(true),
        };
        for same in [
            "Version=1.1,MissingDataRequest=true",
            "MissingDataRequest = TRUE , version = 1.1",
            ",, Version=1.1,,MissingDataRequest=true,Future=1, unknown ,=,",
            "Version=1.1, Version=1.1, MissingDataRequest=true",
        ] {
            assert_eq!(read(same), expected, "{same:?}");
        }
        assert_eq!(read("Version=1.1, Version=1.0").version, Found::Invalid);
        assert_eq!(read("Version").version, Found::Invalid);
        assert_eq!(read("Version=1 .1").version, Found::Invalid);
        assert_eq!(read("ContentLength=-1").content_length, Found::Invalid);
        assert_eq!(read("MissingDataRequest=yes").missing_data_request, Found::Invalid);
    }

    #[test]
    fn versions_are_offered_newest_first() {
        let preferred = |versions: ContentVersions| versions.preferred().collect::<Vec<_>>();
        assert_eq!(preferred(ContentVersions::V1), [ContentVersion::V1]);
        assert_eq!(preferred(ContentVersions::V2), [ContentVersion::V2]);
        assert_eq!(preferred(ContentVersions::V1AndV2), [ContentVersion::V2, ContentVersion::V1]);
    }
}
