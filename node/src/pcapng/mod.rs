//! Captures in the pcapng format (draft-ietf-opsawg-pcapng), as Wireshark reads them: one section, Ethernet interfaces,
//! nanoseconds.

mod frame;
mod wire;

pub use wire::Wire;

pub(crate) use frame::{Flags, SEGMENT, datagram, segment};

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Block types, section 11.1 of the draft.
mod block {
    pub(super) const INTERFACE_DESCRIPTION: u32 = 0x0000_0001;
    pub(super) const INTERFACE_STATISTICS: u32 = 0x0000_0005;
    pub(super) const ENHANCED_PACKET: u32 = 0x0000_0006;
    pub(super) const SECTION_HEADER: u32 = 0x0A0D_0D0A;
}

/// Option codes of the blocks above; their meaning depends on the block.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const SHB_USERAPPL: u16 = 4;
    pub(super) const IF_NAME: u16 = 2;
    pub(super) const IF_TSRESOL: u16 = 9;
    pub(super) const EPB_FLAGS: u16 = 2;
    pub(super) const ISB_IFRECV: u16 = 4;
    pub(super) const ISB_IFDROP: u16 = 5;
}

/// `LINKTYPE_ETHERNET`.
const ETHERNET: u16 = 1;

/// Whole frames are kept.
const NO_SNAP_LENGTH: u32 = 0;

/// 10^-9 seconds, for `if_tsresol`.
const NANOSECONDS: u8 = 9;

/// Which way a frame went, seen from the host behind the port (`epb_flags`, bits 0 and 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The host received it.
    Inbound = 1,
    /// The host sent it.
    Outbound = 2,
}

/// An interface of a [`Writer`], numbered in the order in which they were added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceId(u32);

/// Writes one capture.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    interfaces: u32,
}

impl<W: Write> Writer<W> {
    /// Starts a section; `application` is named as its author.
    ///
    /// # Errors
    /// What `to` says.
    pub fn new(to: W, application: &str) -> io::Result<Self> {
        let mut writer = Self { to, interfaces: 0 };
        let mut body = Vec::new();
        body.extend_from_slice(&0x1A2B_3C4D_u32.to_le_bytes()); // tells the byte order
        body.extend_from_slice(&1_u16.to_le_bytes());
        body.extend_from_slice(&0_u16.to_le_bytes());
        body.extend_from_slice(&u64::MAX.to_le_bytes()); // the section's length is not known
        put_option(&mut body, option::SHB_USERAPPL, application.as_bytes());
        put_option(&mut body, option::END, &[]);
        writer.block(block::SECTION_HEADER, &body)?;
        Ok(writer)
    }

    /// Adds an Ethernet interface.
    ///
    /// # Errors
    /// What the writer below says.
    pub fn interface(&mut self, name: &str) -> io::Result<InterfaceId> {
        let mut body = Vec::new();
        body.extend_from_slice(&ETHERNET.to_le_bytes());
        body.extend_from_slice(&0_u16.to_le_bytes());
        body.extend_from_slice(&NO_SNAP_LENGTH.to_le_bytes());
        put_option(&mut body, option::IF_NAME, name.as_bytes());
        put_option(&mut body, option::IF_TSRESOL, &[NANOSECONDS]);
        put_option(&mut body, option::END, &[]);
        self.block(block::INTERFACE_DESCRIPTION, &body)?;
        let id = InterfaceId(self.interfaces);
        self.interfaces += 1;
        Ok(id)
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// What the writer below says.
    pub fn packet(&mut self, on: InterfaceId, at: SystemTime, direction: Direction, frame: &[u8]) -> io::Result<()> {
        self.commented(on, at, direction, frame, frame.len(), "")
    }

    /// Adds a frame of `size` bytes, of which `frame` has the first ones, with a comment unless it is empty.
    ///
    /// # Errors
    /// What the writer below says.
    pub fn commented(
        &mut self,
        on: InterfaceId,
        at: SystemTime,
        direction: Direction,
        frame: &[u8],
        size: usize,
        comment: &str,
    ) -> io::Result<()> {
        let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
        let size = u32::try_from(size).map_err(io::Error::other)?;
        let mut body = Vec::with_capacity(frame.len() + comment.len() + 48);
        body.extend_from_slice(&on.0.to_le_bytes());
        put_time(&mut body, at);
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&size.to_le_bytes());
        body.extend_from_slice(frame);
        pad(&mut body);
        if !comment.is_empty() {
            put_option(&mut body, option::COMMENT, comment.as_bytes());
        }
        put_option(&mut body, option::EPB_FLAGS, &(direction as u32).to_le_bytes());
        put_option(&mut body, option::END, &[]);
        self.block(block::ENHANCED_PACKET, &body)
    }

    /// Says how many frames came to an interface until now, and how many of them are not here.
    ///
    /// # Errors
    /// What the writer below says.
    pub fn statistics(&mut self, on: InterfaceId, at: SystemTime, received: u64, dropped: u64) -> io::Result<()> {
        let mut body = Vec::new();
        body.extend_from_slice(&on.0.to_le_bytes());
        put_time(&mut body, at);
        put_option(&mut body, option::ISB_IFRECV, &received.to_le_bytes());
        put_option(&mut body, option::ISB_IFDROP, &dropped.to_le_bytes());
        put_option(&mut body, option::END, &[]);
        self.block(block::INTERFACE_STATISTICS, &body)
    }

    /// What is written to.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.to
    }

    /// Hands everything on to whoever reads.
    ///
    /// # Errors
    /// What the writer below says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?;
        self.to.write_all(&kind.to_le_bytes())?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(body)?;
        self.to.write_all(&length.to_le_bytes())
    }
}

/// A time stamp in nanoseconds.
fn put_time(body: &mut Vec<u8>, at: SystemTime) {
    let nanoseconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
    // The upper half comes first, whatever the byte order.
    body.extend_from_slice(&((nanoseconds >> 32) as u32).to_le_bytes());
    body.extend_from_slice(&(nanoseconds as u32).to_le_bytes());
}

fn put_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    // Longer ones do not fit in.
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    body.extend_from_slice(&code.to_le_bytes());
    body.extend_from_slice(&(value.len() as u16).to_le_bytes());
    body.extend_from_slice(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn blocks_are_laid_out_as_the_draft_says() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, "abc").unwrap();
        let port = writer.interface("p1").unwrap();
        let at = UNIX_EPOCH + Duration::from_nanos(0x0000_0001_0000_0002);
        writer.packet(port, at, Direction::Outbound, &[1, 2, 3, 4, 5]).unwrap();

        #[rustfmt::skip]
        let expected: &[u8] = &[
            0x0a, 0x0d, 0x0d, 0x0a, 40, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
            255, 255, 255, 255, 255, 255, 255, 255, 4, 0, 3, 0, b'a', b'b', b'c', 0, 0, 0, 0, 0, 40, 0, 0, 0,
            1, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 2, 0, b'p', b'1', 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0,
            6, 0, 0, 0, 52, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0,
            1, 2, 3, 4, 5, 0, 0, 0, 2, 0, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn comments_cut_frames_and_statistics_are_laid_out_as_the_draft_says() {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes, "").unwrap();
        let port = writer.interface("").unwrap();
        writer.get_mut().clear();
        writer.commented(port, UNIX_EPOCH, Direction::Inbound, &[1, 2], 9, "hello").unwrap();
        writer.statistics(port, UNIX_EPOCH, 7, 3).unwrap();

        #[rustfmt::skip]
        let expected: &[u8] = &[
            6, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1, 2, 0, 0,
            1, 0, 5, 0, b'h', b'e', b'l', b'l', b'o', 0, 0, 0, 2, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 60, 0, 0, 0,
            5, 0, 0, 0, 52, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0,
            5, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 52, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
    }
}
