//! Entity tags and modification dates (RFC 9110 8.8), and the conditions made of them (RFC 9110 13).

use std::fmt;

use super::headers::{single, trim};

/// An entity tag (RFC 9110 8.8.3), opaque text in quotes. Displays as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EntityTag {
    weak: bool,
    quoted: String,
}

impl EntityTag {
    /// A strong tag, `None` if `opaque` holds a quote, a blank or anything else that a tag cannot.
    #[must_use]
    pub fn strong(opaque: &str) -> Option<Self> {
        Self::parse(&format!("\"{opaque}\""))
    }

    /// Reads `"…"` or `W/"…"`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (weak, quoted) = match text.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, text),
        };
        let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let allowed = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80;
        opaque.bytes().all(allowed).then(|| Self { weak, quoted: quoted.to_owned() })
    }

    /// Whether the tag promises less than equality of bytes.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Strong comparison (RFC 9110 8.8.3.2): the same tag and neither is weak.
    #[must_use]
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.quoted == other.quoted
    }

    /// Weak comparison (RFC 9110 8.8.3.2): the same opaque text.
    #[must_use]
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.quoted == other.quoted
    }

    /// The tags of an `If-Match` or `If-None-Match` list; what is no tag ends the list. `*` is not a tag.
    pub fn list(header: &str) -> impl Iterator<Item = Self> + '_ {
        let mut rest = header;
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let open = rest.find('"')?;
            let after = rest.get(open + 1..)?;
            let end = open + 1 + after.find('"')? + 1;
            let (tag, left) = rest.split_at_checked(end)?;
            rest = left;
            Self::parse(tag)
        })
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.weak { "W/" } else { "" })?;
        f.write_str(&self.quoted)
    }
}

/// What tells one state of a resource from another: `ETag` and `Last-Modified` as they were sent.
///
/// A response without either is never encoded ([MS-PCCRTP] 3.2). They are the same on identity and `peerdist`
/// responses, because the client needs the identity tag for the missing data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<EntityTag>,
    /// `Last-Modified`, an HTTP date, verbatim.
    pub last_modified: Option<String>,
}

impl Validators {
    /// Reads both headers; a malformed `ETag` is as good as none.
    #[must_use]
    pub fn read(headers: &[(&str, &str)]) -> Self {
        Self {
            etag: single(headers, "ETag").and_then(EntityTag::parse),
            last_modified: single(headers, "Last-Modified").filter(|date| !date.is_empty()).map(str::to_owned),
        }
    }

    /// Whether there is one that content information may rest upon: a strong tag, or a date. A weak tag alone does
    /// not promise the same bytes.
    #[must_use]
    pub fn identify_bytes(&self) -> bool {
        self.etag.as_ref().is_some_and(|tag| !tag.is_weak()) || self.last_modified.is_some()
    }

    /// The request header that lets a follow-up request fail (412) if the resource changed: `If-Match` on a strong
    /// tag, else `If-Unmodified-Since`.
    ///
    /// Not `If-Range`: that one answers a change with the whole new content.
    #[must_use]
    pub fn guard(&self) -> Option<(&'static str, String)> {
        match (&self.etag, &self.last_modified) {
            (Some(tag), _) if !tag.is_weak() => Some(("If-Match", tag.to_string())),
            (_, Some(date)) => Some(("If-Unmodified-Since", date.clone())),
            _ => None,
        }
    }

    /// Whether a later response is of another state: a validator that both carry differs.
    #[must_use]
    pub fn contradict(&self, later: &Self) -> bool {
        let tags = self.etag.as_ref().zip(later.etag.as_ref());
        let dates = self.last_modified.as_ref().zip(later.last_modified.as_ref());
        match (tags, dates) {
            (Some((one, other)), _) => !one.weak_eq(other),
            (None, Some((one, other))) => one != other,
            (None, None) => false,
        }
    }

    /// Whether an `If-Range` header names this state (RFC 9110 13.1.5), so that `Range` applies: the same strong tag,
    /// or exactly the same date.
    #[must_use]
    pub fn if_range(&self, header: &str) -> bool {
        let header = trim(header);
        match EntityTag::parse(header) {
            Some(tag) => self.etag.as_ref().is_some_and(|own| own.strong_eq(&tag)),
            None => self.last_modified.as_deref() == Some(header),
        }
    }

    /// Whether an `If-Match` header lets the request pass (RFC 9110 13.1.1): `*` or one of its tags, compared strongly.
    #[must_use]
    pub fn if_match(&self, header: &str) -> bool {
        trim(header) == "*"
            || self.etag.as_ref().is_some_and(|own| EntityTag::list(header).any(|tag| own.strong_eq(&tag)))
    }

    /// Whether an `If-None-Match` header lets the request pass (RFC 9110 13.1.2): none of its tags, compared weakly.
    #[must_use]
    pub fn if_none_match(&self, header: &str) -> bool {
        trim(header) != "*"
            && !self.etag.as_ref().is_some_and(|own| EntityTag::list(header).any(|tag| own.weak_eq(&tag)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> EntityTag {
        EntityTag::parse(text).unwrap()
    }

    #[test]
    fn tags() {
        assert_eq!(tag("\"a,b\"").to_string(), "\"a,b\"");
        assert_eq!(tag("W/\"a\"").to_string(), "W/\"a\"");
        assert!(tag("W/\"a\"").is_weak());
        for bad in ["", "a", "\"a", "a\"", "w/\"a\"", "\"a\"b\"", "\"a b\"", "\"\u{1}\""] {
            assert_eq!(EntityTag::parse(bad), None, "{bad:?}");
        }
        assert_eq!(EntityTag::strong("x y"), None);
        assert!(tag("\"a\"").strong_eq(&tag("\"a\"")) && tag("\"a\"").weak_eq(&tag("W/\"a\"")));
        assert!(!tag("W/\"a\"").strong_eq(&tag("W/\"a\"")) && !tag("\"a\"").weak_eq(&tag("\"b\"")));
        let list: Vec<_> = EntityTag::list(" \"a,b\", W/\"c\",,\"\" , x\"y\"").map(|tag| tag.to_string()).collect();
        assert_eq!(list, ["\"a,b\"", "W/\"c\"", "\"\""]);
    }

    #[test]
    fn conditions() {
        let validators =
            Validators { etag: Some(tag("\"a\"")), last_modified: Some("Mon, 01 Jan 2024 00:00:00 GMT".into()) };
        let weak = Validators { etag: Some(tag("W/\"a\"")), last_modified: None };
        assert!(validators.if_match("*") && validators.if_match("\"b\", \"a\"") && !validators.if_match("W/\"a\""));
        assert!(!weak.if_match("W/\"a\"") && !weak.if_none_match("\"a\""));
        assert!(!validators.if_none_match("*") && validators.if_none_match("\"b\""));
        assert!(validators.if_range("\"a\"") && !validators.if_range("\"b\"") && !weak.if_range("W/\"a\""));
        assert!(validators.if_range("Mon, 01 Jan 2024 00:00:00 GMT"));
        assert!(!validators.if_range("Mon, 01 Jan 2024 00:00:01 GMT") && !weak.if_range("garbage"));
        assert!(validators.identify_bytes() && !weak.identify_bytes() && !Validators::default().identify_bytes());
    }

    #[test]
    fn guards() {
        let date = || Some("Mon, 01 Jan 2024 00:00:00 GMT".to_owned());
        let guard = |etag: Option<&str>, last_modified| {
            Validators { etag: etag.map(tag), last_modified }.guard().map(|(name, _)| name)
        };
        assert_eq!(guard(Some("\"a\""), date()), Some("If-Match"));
        assert_eq!(guard(Some("W/\"a\""), date()), Some("If-Unmodified-Since"));
        assert_eq!(guard(None, date()), Some("If-Unmodified-Since"));
        assert_eq!(guard(Some("W/\"a\""), None), None);
    }

    #[test]
    fn contradictions() {
        let both = |etag: Option<&str>, date: Option<&str>| Validators {
            etag: etag.map(tag),
            last_modified: date.map(str::to_owned),
        };
        let first = both(Some("\"a\""), Some("Mon"));
        assert!(!first.contradict(&first));
        assert!(first.contradict(&both(Some("\"b\""), Some("Mon"))));
        assert!(!first.contradict(&both(Some("\"a\""), Some("Tue"))));
        assert!(first.contradict(&both(None, Some("Tue"))));
        assert!(!first.contradict(&both(None, None)));
    }
}
