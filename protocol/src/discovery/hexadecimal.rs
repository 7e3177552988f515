//! Hexadecimal digits without a detour through `fmt` or one character at a time: they are most of a datagram.

/// How many bytes are written at once; the widest segment id.
const CHUNK: usize = 64;

/// Appends `bytes` in upper case, as ids and counts are written.
pub(super) fn push_upper(out: &mut String, bytes: &[u8]) {
    push(out, bytes, b'A');
}

/// Appends `bytes` in lower case, as UUIDs are written.
pub(super) fn push_lower(out: &mut String, bytes: &[u8]) {
    push(out, bytes, b'a');
}

fn push(out: &mut String, bytes: &[u8], ten: u8) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { ten + (nibble - 10) };
    for chunk in bytes.chunks(CHUNK) {
        let mut digits = [0; 2 * CHUNK];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(chunk) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
        }
        let digits = digits.get(..2 * chunk.len()).and_then(|digits| std::str::from_utf8(digits).ok());
        out.push_str(digits.unwrap_or_default());
    }
}

/// Reads digits of either case into `bytes`, or nothing unless there are exactly two for each byte.
pub(super) fn decode(digits: &str, bytes: &mut [u8]) -> Option<()> {
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    // The values are added up so that the loop has no branch; 0xff marks what is no digit.
    let mut bad = 0;
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        let (high, low) = (value(high), value(low));
        bad |= high | low;
        *byte = high << 4 | low & 0xf;
    }
    (bad & 0xf0 == 0).then_some(())
}

fn value(digit: u8) -> u8 {
    let letter = (digit | 0x20).wrapping_sub(b'a');
    let decimal = digit.wrapping_sub(b'0');
    match (decimal < 10, letter < 6) {
        (true, _) => decimal,
        (_, true) => letter + 10,
        _ => 0xff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_in_both_cases() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (mut upper, mut lower) = (String::new(), String::new());
        push_upper(&mut upper, &bytes);
        push_lower(&mut lower, &bytes);
        assert_eq!(upper, hex::encode_upper(&bytes));
        assert_eq!(lower, hex::encode(&bytes));
        for digits in [upper, lower] {
            let mut read = [0; 256];
            assert_eq!(decode(&digits, &mut read), Some(()));
            assert_eq!(read[..], bytes);
        }
    }

    #[test]
    fn only_digits_are_digits() {
        for byte in 0..=127u8 {
            let text = format!("{}0", char::from(byte));
            assert_eq!(decode(&text, &mut [0]).is_some(), byte.is_ascii_hexdigit(), "{text:?}");
        }
        assert_eq!(decode("000", &mut [0]), None);
        assert_eq!(decode("", &mut [0]), None);
    }
}
