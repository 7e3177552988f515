//! The two versions of the protocol, which differ in everything but the header ([MS-PCHC] 1.7, 2.1).

use std::fmt;

/// A version of the hosted cache protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// 1.0, over TLS: INITIAL_OFFER and SEGMENT_INFO.
    V1,
    /// 2.0, in the clear: BATCHED_OFFER.
    V2,
}

impl Version {
    /// The path of its URL, in the case that is sent and with the last slash of the field ([MS-PCHC] 2.1).
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::V1 => "/C574AC30-5794-4AEE-B1BB-6651C5315029/",
            Self::V2 => "/0131501b-d67f-491b-9a40-c4bf27bcb4d4/",
        }
    }

    /// The version whose path this is, in any case, with or without the last slash.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let is_own =
            |version: &Self| version.path().strip_suffix('/').is_some_and(|own| own.eq_ignore_ascii_case(path));
        [Self::V1, Self::V2].into_iter().find(is_own)
    }

    /// The TCP port unless it is administered otherwise ([MS-PCHC] 2.1).
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::V1 => 443,
            Self::V2 => 80,
        }
    }

    /// MinorVersion and MajorVersion in the order of the bytes ([MS-PCHC] 2.2.1.1).
    pub(super) fn to_wire(self) -> [u8; 2] {
        match self {
            Self::V1 => [0, 1],
            Self::V2 => [0, 2],
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "1.0",
            Self::V2 => "2.0",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_any_case_with_or_without_the_slash() {
        for version in [Version::V1, Version::V2] {
            let path = version.path();
            for path in [path, &path.to_lowercase(), &path.to_uppercase(), &path[..path.len() - 1]] {
                assert_eq!(Version::of_path(path), Some(version), "{path}");
            }
            for path in ["", "/", &path[1..], &format!("{path}/"), &path.replace('5', "6")] {
                assert_eq!(Version::of_path(path), None, "{path}");
            }
        }
    }
}
