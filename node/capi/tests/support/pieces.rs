//! Contents of which a part is here, or described; and operations on them that wait.

use std::mem::ManuallyDrop;
use std::ops::Range;
use std::ptr;

use peerdist::abi::*;

use super::calls::*;
use super::content::*;
use super::described::information_of;

/// Blocks of content information of version 1.
pub(crate) const BLOCK: usize = 65_536;
/// A timeout that nothing here waits for.
pub(crate) const HOUR: DWORD = 3_600_000;

/// A content that is published and described, none of whose bytes are here.
pub(crate) fn absent(instance: HANDLE, tag: u8, identifier: &[u8], content: &[u8], version: DWORD) -> HANDLE {
    publish(instance, identifier, content);
    readable(instance, tag, &information(instance, identifier, version))
}

/// Adds some ranges of a content.
pub(crate) fn add_ranges(instance: HANDLE, handle: HANDLE, content: &[u8], ranges: &[Range<usize>]) {
    for range in ranges {
        add_range(instance, handle, content, range.clone());
    }
}

/// Adds a range of a content.
pub(crate) fn add_range(instance: HANDLE, handle: HANDLE, content: &[u8], range: Range<usize>) {
    let ended = add(instance, handle, range.start as u64, &content[range.clone()]);
    assert_eq!((ended.error, ended.bytes), (ERROR_SUCCESS, range.len() as u32));
}

/// [`information_of`] what `content[range]` would be.
pub(crate) fn information_of_slice(
    instance: HANDLE,
    identifier: &[u8],
    range: Range<usize>,
    version: DWORD,
) -> Vec<u8> {
    information_of(instance, identifier, &(range.start as u64..range.end as u64), version)
}

/// A read that was started, and its buffer.
pub(crate) struct Reading {
    pub(crate) at: Overlapped,
    buffer: ManuallyDrop<Box<[u8]>>,
}

fn buffer(size: usize) -> ManuallyDrop<Box<[u8]>> {
    ManuallyDrop::new(vec![0xEE; size].into())
}

impl Reading {
    pub(crate) fn block(instance: HANDLE, content: HANDLE, offset: u64, max: usize, event: HANDLE) -> Self {
        let mut reading = Self { at: Overlapped::at(offset, event), buffer: buffer(max) };
        assert_eq!(block_read(instance, content, &mut reading.buffer, HOUR, &reading.at), ERROR_IO_PENDING);
        reading
    }

    pub(crate) fn stream(instance: HANDLE, content: HANDLE, max: usize, timeout: DWORD, event: HANDLE) -> Self {
        let mut reading = Self { at: Overlapped::new(event), buffer: buffer(max) };
        assert_eq!(stream_read(instance, content, &mut reading.buffer, timeout, &reading.at), ERROR_IO_PENDING);
        reading
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.at.is_pending()
    }

    /// It was cancelled, which is known already, and its buffer was left alone.
    pub(crate) fn assert_cancelled(&self) {
        let ended = self.at.result(false).expect("it has ended");
        assert_eq!(ended.error, ERROR_OPERATION_ABORTED);
        assert!(self.bytes().iter().all(|byte| *byte == 0xEE));
    }

    /// How it ended, and the bytes that it got.
    pub(crate) fn wait(&self) -> (Ended, Vec<u8>) {
        let ended = self.at.wait();
        let length = if ended.error == ERROR_SUCCESS { ended.bytes as usize } else { 0 };
        (ended, self.bytes()[..length].to_vec())
    }

    fn bytes(&self) -> Vec<u8> {
        // Read as memory that somebody else writes to.
        // SAFETY: the bytes are there.
        self.buffer.iter().map(|byte| unsafe { ptr::from_ref(byte).read_volatile() }).collect()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if !self.at.is_pending() {
            // SAFETY: once, and nothing is read of it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.buffer) }
        }
    }
}
