//! ProtVer and the choice of a common version ([MS-PCCRR] 2.2.3, 3.1.5.1).

use std::fmt;

/// ProtVer ([MS-PCCRR] 2.2.3). On the wire the minor half comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    /// Compatibility: only equal majors understand each other.
    pub major: u16,
    /// Additions within a major; never decides anything.
    pub minor: u16,
}

impl ProtocolVersion {
    /// 1.0: blocks and block lists.
    pub const V1: Self = Self { major: 1, minor: 0 };
    /// 2.0: 1.0 and segment lists.
    pub const V2: Self = Self { major: 2, minor: 0 };

    /// The version of a ProtVer double word.
    #[must_use]
    pub fn from_wire(value: u32) -> Self {
        let [minor_high, minor_low, major_high, major_low] = value.to_be_bytes();
        Self { major: u16::from_be_bytes([major_high, major_low]), minor: u16::from_be_bytes([minor_high, minor_low]) }
    }

    /// The ProtVer double word.
    #[must_use]
    pub fn to_wire(self) -> u32 {
        u32::from(self.minor) << 16 | u32::from(self.major)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The versions that one side speaks, both ends included ([MS-PCCRR] 2.2.4.1, 2.2.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VersionRange {
    /// The lowest version.
    pub min: ProtocolVersion,
    /// The highest version.
    pub max: ProtocolVersion,
}

impl VersionRange {
    /// 1.0 to 2.0: what this crate speaks, as Windows 8 and later do.
    pub const ALL: Self = Self { min: ProtocolVersion::V1, max: ProtocolVersion::V2 };

    /// Whether messages of this version are understood: its major lies in the range, its minor does not matter.
    #[must_use]
    pub fn contains(self, version: ProtocolVersion) -> bool {
        (self.min.major..=self.max.major).contains(&version.major)
    }

    /// The version to speak with a host that speaks `theirs`, or `None` where no major is common
    /// ([MS-PCCRR] 3.1.5.1): the highest common major, with our own highest minor known for it.
    #[must_use]
    pub fn negotiate(self, theirs: Self) -> Option<ProtocolVersion> {
        let major = self.max.major.min(theirs.max.major);
        if major < self.min.major.max(theirs.min.major) {
            return None;
        }
        let minor_at = |end: ProtocolVersion| if end.major == major { end.minor } else { 0 };
        Some(ProtocolVersion { major, minor: minor_at(self.max).max(minor_at(self.min)) })
    }
}

impl Default for VersionRange {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: (u16, u16), max: (u16, u16)) -> VersionRange {
        let version = |(major, minor)| ProtocolVersion { major, minor };
        VersionRange { min: version(min), max: version(max) }
    }

    #[test]
    fn the_minor_half_comes_first() {
        let version = ProtocolVersion { major: 4, minor: 3 };
        assert_eq!(version.to_wire(), 0x0003_0004);
        assert_eq!(ProtocolVersion::from_wire(0x0003_0004), version);
        assert_eq!(ProtocolVersion::V2.to_wire(), 2);
    }

    #[test]
    fn the_examples_of_the_document() {
        let chosen = range((3, 2), (5, 0)).negotiate(range((2, 0), (4, 3))).unwrap();
        assert_eq!(chosen.major, 4);
        let chosen = range((2, 0), (4, 3)).negotiate(range((3, 2), (5, 0))).unwrap();
        assert_eq!(chosen, ProtocolVersion { major: 4, minor: 3 });
        let client = range((1, 0), (2, 1));
        let server = range((2, 5), (2, 9));
        assert_eq!(client.negotiate(server), Some(ProtocolVersion { major: 2, minor: 1 }));
        assert_eq!(server.negotiate(client), Some(ProtocolVersion { major: 2, minor: 9 }));
    }

    #[test]
    fn no_common_major_is_incompatible() {
        assert_eq!(VersionRange::ALL.negotiate(range((3, 0), (9, 0))), None);
        assert_eq!(range((3, 0), (9, 0)).negotiate(VersionRange::ALL), None);
        assert_eq!(VersionRange::ALL.negotiate(range((2, 0), (1, 0))), None);
        assert!(VersionRange::ALL.contains(ProtocolVersion { major: 2, minor: 77 }));
        assert!(!VersionRange::ALL.contains(ProtocolVersion { major: 0, minor: 1 }));
        assert!(!VersionRange::ALL.contains(ProtocolVersion { major: 3, minor: 0 }));
    }
}
