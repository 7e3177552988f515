//! The tags by which a hosted cache counts whose content it holds.

use std::fmt;

/// ContentTag ([MS-PCHC] 2.2.1.4, 2.2.1.5): 16 bytes that name the client's higher layer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ContentTag(pub [u8; 16]);

impl ContentTag {
    /// WinINet's ([MS-PCHC] note <8>; the document leaves the fill of short tags open, zeros are assumed).
    pub const WININET: Self = Self(filled(b"WinINet"));
    /// WinHTTP's.
    pub const WEBIO: Self = Self(filled(b"WebIO"));
    /// BITS's.
    pub const BITS: Self = Self(filled(b"BITS-4.0"));
    /// SMB's.
    pub const SMB: Self =
        Self([0x35, 0xdb, 0x04, 0x5d, 0x14, 0x23, 0x45, 0x53, 0xa0, 0x51, 0x0d, 0xc2, 0xe1, 0x5e, 0x6c, 0x4c]);
    /// Ours.
    pub const PEERDIST: Self = Self(filled(b"peerdist"));

    const NAMED: [(Self, &'static str); 5] = [
        (Self::WININET, "WinINet"),
        (Self::WEBIO, "WebIO"),
        (Self::BITS, "BITS-4.0"),
        (Self::SMB, "SMB"),
        (Self::PEERDIST, "peerdist"),
    ];

    /// The name of a tag that is known, whatever fills it behind a zero; `other` for the rest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let text = |tag: &Self| tag.0.iter().position(|byte| *byte == 0).unwrap_or(tag.0.len());
        let is_same =
            |known: &Self| self.0.get(..text(known)) == known.0.get(..text(known)) && text(self) == text(known);
        Self::NAMED.iter().find(|(known, _)| is_same(known)).map_or("other", |(_, name)| name)
    }
}

impl fmt::Debug for ContentTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

const fn filled(text: &[u8]) -> [u8; 16] {
    let mut tag = [0; 16];
    let (start, _) = tag.split_at_mut(text.len());
    start.copy_from_slice(text);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_names_whatever_fills_them() {
        for (tag, name) in ContentTag::NAMED {
            assert_eq!(tag.name(), name);
        }
        assert_eq!(ContentTag(*b"WinINet\0garbage!").name(), "WinINet");
        assert_eq!(ContentTag(*b"WinINetgarbage!!").name(), "other");
        assert_eq!(ContentTag([0; 16]).name(), "other");
        assert_eq!(format!("{:?}", ContentTag::SMB), "35db045d14234553a0510dc2e15e6c4c");
    }
}
