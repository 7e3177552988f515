//! Text of strangers, on a terminal and in JSON, without what a terminal obeys or nobody sees.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

/// Whether a letter moves the cursor, turns the direction of the text around it, or takes no place.
fn is_hidden(letter: char) -> bool {
    // The line separators, the marks of annotations, and all that Unicode calls Default_Ignorable_Code_Point.
    let is_format = matches!(
        letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    );
    letter.is_control() || is_format
}

/// One line of text.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_hidden(letter) {
            safe.extend(letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Text that may have several lines.
pub(super) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Writes a value as JSON in one line, without the line's end.
pub(super) fn json(to: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(to, Escaping))?;
    Ok(())
}

/// JSON has to escape the controls of ASCII alone; this does so with the others.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        // The other controls of ASCII are escaped already.
        if fragment.is_ascii() && !fragment.contains('\u{7f}') {
            return writer.write_all(fragment.as_bytes());
        }
        let mut safe = String::with_capacity(fragment.len());
        for letter in fragment.chars() {
            if is_hidden(letter) {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    // Writing to memory does not fail.
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            } else {
                safe.push(letter);
            }
        }
        CompactFormatter.write_string_fragment(writer, &safe)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HIDDEN: &str = "a\u{1b}[2J\u{7f}\u{85}\u{9b}31m\u{2028}\u{202e}\u{200b}\u{feff}\u{e0041}\u{3164}\u{fe0f}b";

    fn json_of(text: &str) -> String {
        let mut bytes = Vec::new();
        json(&mut bytes, &[text]).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_a_terminal_obeys_or_nobody_sees_is_escaped() {
        let expected =
            "a\\u{1b}[2J\\u{7f}\\u{85}\\u{9b}31m\\u{2028}\\u{202e}\\u{200b}\\u{feff}\\u{e0041}\\u{3164}\\u{fe0f}b";
        assert_eq!(printable(HIDDEN), expected);
        let expected =
            "[\"a\\u001b[2J\\u007f\\u0085\\u009b31m\\u2028\\u202e\\u200b\\ufeff\\udb40\\udc41\\u3164\\ufe0fb\"]";
        assert_eq!(json_of(HIDDEN), expected);
        let others = "Überraschung, 日本語, e\u{301}, 🦀";
        assert_eq!((printable(others), json_of(others)), (others.to_owned(), format!("[\"{others}\"]")));
        assert_eq!(printable_lines("a\x1b\nb\r"), "a\\u{1b}\nb\\u{d}");
    }

    proptest! {
        #[test]
        fn the_json_means_the_same_text(text in any::<String>()) {
            let json = json_of(&text);
            prop_assert!(json.chars().all(|letter| !is_hidden(letter)));
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [text]);
        }
    }
}
