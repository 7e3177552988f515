//! The list syntax of both headers (RFC 2616 2.1, `#rule`), with caps.

/// All lines of one of the headers read here together have at most this many bytes; beyond, the header is invalid.
pub const MAX_HEADER_SIZE: usize = 8192;
/// The most elements of one of the lists read here; beyond, the header is invalid.
pub const MAX_HEADER_ELEMENTS: usize = 64;

/// The header was over [`MAX_HEADER_SIZE`] or [`MAX_HEADER_ELEMENTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// The values of all lines of a header, names compared without regard to case.
pub(super) fn lines<'a>(headers: &'a [(&'a str, &'a str)], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

/// The value of a header that may stand once only; `None` where it is absent or stands there twice with other words.
pub(super) fn single<'a>(headers: &'a [(&'a str, &'a str)], name: &'a str) -> Option<&'a str> {
    let mut values = lines(headers, name).map(trim);
    let first = values.next()?;
    values.all(|other| other == first).then_some(first)
}

/// The elements of a comma-separated header, trimmed, without the empty ones; repeated lines are one list.
pub(super) fn elements<'a>(headers: &'a [(&'a str, &'a str)], name: &'a str) -> Result<Vec<&'a str>, TooLong> {
    let mut size = 0;
    let mut elements = Vec::new();
    for line in lines(headers, name) {
        size += line.len();
        if size > MAX_HEADER_SIZE {
            return Err(TooLong);
        }
        for element in line.split(',').map(trim).filter(|element| !element.is_empty()) {
            if elements.len() == MAX_HEADER_ELEMENTS {
                return Err(TooLong);
            }
            elements.push(element);
        }
    }
    Ok(elements)
}

/// A `name=value` element, blanks around each side gone.
pub(super) fn parameter(element: &str) -> Option<(&str, &str)> {
    element.split_once('=').map(|(name, value)| (trim(name), trim(value)))
}

/// Without linear white space at both ends (RFC 2616 2.2; line folds are gone before a header reaches us).
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A decimal number of at most 19 digits: `1*DIGIT` and nothing else.
pub(super) fn digits(text: &str) -> Option<u64> {
    let valid = (1..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_spans_lines_and_skips_empty_elements() {
        let headers = [("X-A", " a ,, b\t"), ("other", "z"), ("x-a", ","), ("x-A", "c")];
        assert_eq!(elements(&headers, "X-a"), Ok(vec!["a", "b", "c"]));
        assert_eq!(elements(&headers, "X-B"), Ok(vec![]));
    }

    #[test]
    fn lists_are_capped() {
        let most = "a,".repeat(MAX_HEADER_ELEMENTS);
        assert!(elements(&[("a", &most)], "a").is_ok());
        assert_eq!(elements(&[("a", &most), ("a", "b")], "a"), Err(TooLong));
        let long = "a".repeat(MAX_HEADER_SIZE);
        assert!(elements(&[("a", &long)], "a").is_ok());
        assert_eq!(elements(&[("a", &long), ("a", "b")], "a"), Err(TooLong));
    }

    #[test]
    fn a_single_header_may_repeat_itself_only() {
        assert_eq!(single(&[("a", "1"), ("A", " 1")], "a"), Some("1"));
        assert_eq!(single(&[("a", "1"), ("A", "2")], "a"), None);
        assert_eq!(single(&[], "a"), None);
    }

    #[test]
    fn numbers_are_digits_only() {
        assert_eq!(digits("0010"), Some(10));
        assert_eq!(digits("9999999999999999999"), Some(9_999_999_999_999_999_999));
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "1.0", "00000000000000000001"] {
            assert_eq!(digits(bad), None, "{bad:?}");
        }
    }
}
