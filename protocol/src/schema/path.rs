//! Where in a message a field stands, as in `segments[1].cbSegment`.

use std::fmt::Write as _;

/// A step into a structure or an array.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Name(&'static str),
    Index(usize),
}

/// The steps as text.
pub(super) fn text(parts: &[Part]) -> String {
    let mut text = String::new();
    for part in parts {
        // Writing to a string does not fail.
        let _ = match part {
            Part::Name(name) if text.is_empty() => write!(text, "{name}"),
            Part::Name(name) => write!(text, ".{name}"),
            Part::Index(index) => write!(text, "[{index}]"),
        };
    }
    text
}
