//! One small cursor for all binary codecs.
//!
//! A [`Reader`] borrows its input and never panics: every read meets the end of the buffer as [`Truncated`].
//! Writers append to a `Vec<u8>` through the [`Put`] helpers. MS-PCCRC version 1 is little-endian, everything
//! else is big-endian, so both byte orders are named in the methods.

use thiserror::Error;

/// The input ended before the field did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("truncated: {needed} bytes needed at offset {offset}, {left} left")]
pub struct Truncated {
    /// Where the field begins, in bytes from the start of the outermost buffer.
    pub offset: usize,
    /// How many bytes the field takes.
    pub needed: usize,
    /// How many bytes were left.
    pub left: usize,
}

/// Bytes were left over where the structure had to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{count} bytes left over at offset {offset}")]
pub struct TrailingBytes {
    /// Where the structure ended.
    pub offset: usize,
    /// How many bytes follow it.
    pub count: usize,
}

/// A borrowing cursor over a message.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    left: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes, offset: 0 }
    }

    /// How many bytes were taken so far.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// The bytes not yet taken.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.left
    }

    /// Takes the next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Truncated> {
        let Some((taken, left)) = self.left.split_at_checked(count) else {
            return Err(Truncated { offset: self.offset, needed: count, left: self.left.len() });
        };
        self.left = left;
        self.offset += count;
        Ok(taken)
    }

    /// Takes the next `N` bytes as an array.
    pub fn take_array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let error = Truncated { offset: self.offset, needed: N, left: self.left.len() };
        self.take(N)?.try_into().map_err(|_| error)
    }

    /// Takes the next `count` bytes as a cursor of their own, which keeps counting offsets from the outermost start.
    pub fn sub(&mut self, count: usize) -> Result<Reader<'a>, Truncated> {
        let offset = self.offset;
        Ok(Reader { left: self.take(count)?, offset })
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        Ok(u8::from_be_bytes(self.take_array()?))
    }

    /// Two bytes, big-endian.
    pub fn u16_be(&mut self) -> Result<u16, Truncated> {
        Ok(u16::from_be_bytes(self.take_array()?))
    }

    /// Four bytes, big-endian.
    pub fn u32_be(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_be_bytes(self.take_array()?))
    }

    /// Eight bytes, big-endian.
    pub fn u64_be(&mut self) -> Result<u64, Truncated> {
        Ok(u64::from_be_bytes(self.take_array()?))
    }

    /// Two bytes, little-endian.
    pub fn u16_le(&mut self) -> Result<u16, Truncated> {
        Ok(u16::from_le_bytes(self.take_array()?))
    }

    /// Four bytes, little-endian.
    pub fn u32_le(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_le_bytes(self.take_array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64_le(&mut self) -> Result<u64, Truncated> {
        Ok(u64::from_le_bytes(self.take_array()?))
    }

    /// Ends the structure: nothing may be left.
    pub fn finish(self) -> Result<(), TrailingBytes> {
        if self.left.is_empty() { Ok(()) } else { Err(TrailingBytes { offset: self.offset, count: self.left.len() }) }
    }
}

/// Appends integers in a named byte order.
pub trait Put {
    /// Appends `bytes` as they are.
    fn put(&mut self, bytes: &[u8]);

    /// Appends one byte.
    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }
    /// Appends two bytes, big-endian.
    fn put_u16_be(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }
    /// Appends four bytes, big-endian.
    fn put_u32_be(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }
    /// Appends eight bytes, big-endian.
    fn put_u64_be(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }
    /// Appends two bytes, little-endian.
    fn put_u16_le(&mut self, value: u16) {
        self.put(&value.to_le_bytes());
    }
    /// Appends four bytes, little-endian.
    fn put_u32_le(&mut self, value: u32) {
        self.put(&value.to_le_bytes());
    }
    /// Appends eight bytes, little-endian.
    fn put_u64_le(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_in_both_byte_orders() {
        let mut written = Vec::new();
        written.put_u8(1);
        written.put_u16_be(0x0203);
        written.put_u16_le(0x0203);
        written.put_u32_be(0x0405_0607);
        written.put_u32_le(0x0405_0607);
        written.put_u64_be(8);
        written.put_u64_le(8);
        let mut reader = Reader::new(&written);
        assert_eq!(reader.u8(), Ok(1));
        assert_eq!(reader.u16_be(), Ok(0x0203));
        assert_eq!(reader.u16_le(), Ok(0x0203));
        assert_eq!(reader.u32_be(), Ok(0x0405_0607));
        assert_eq!(reader.u32_le(), Ok(0x0405_0607));
        assert_eq!(reader.u64_be(), Ok(8));
        assert_eq!(reader.u64_le(), Ok(8));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn a_sub_reader_keeps_counting_offsets() {
        let mut reader = Reader::new(&[0, 1, 2, 3, 4]);
        reader.u8().unwrap();
        let mut sub = reader.sub(2).unwrap();
        assert_eq!(sub.u32_be(), Err(Truncated { offset: 1, needed: 4, left: 2 }));
        assert_eq!(sub.finish(), Err(TrailingBytes { offset: 1, count: 2 }));
        assert_eq!(reader.rest(), &[3, 4]);
    }
}
