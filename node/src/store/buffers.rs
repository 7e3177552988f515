//! Buffers for records, used again and again: no record is read into memory that has to be zeroed or mapped first.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::entry::{ENTRY_SIZE, MAX_SIZE_OF_BLOCK};
use super::locks::lock;

/// The sizes of buffers: a record of a version 1 block, and one of the largest block. 64 bytes are more than the
/// fields after a block take.
const SIZES: [usize; 2] = [ENTRY_SIZE + 65_552 + 64, ENTRY_SIZE + MAX_SIZE_OF_BLOCK as usize + 64];
/// Buffers of one size that are kept while nobody uses them: 4 and 8 MiB.
const KEPT: usize = 64;

/// The buffers that nobody uses now.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<[Mutex<Kept>; SIZES.len()]>);

type Kept = Vec<Box<[u8]>>;

impl Buffers {
    /// A buffer of `size` bytes with unspecified content. `size` is at most that of the largest record.
    pub(super) fn take(&self, size: usize) -> Buffer {
        let class = SIZES.iter().position(|class| size <= *class).unwrap_or(SIZES.len() - 1);
        let kept = lock(&self.0[class]).pop();
        let bytes = kept.unwrap_or_else(|| vec![0; SIZES[class].max(size)].into_boxed_slice());
        Buffer { bytes, size, class, home: self.clone() }
    }

    /// Gives back half of the buffers that nobody uses.
    pub(super) fn trim(&self) {
        for kept in &*self.0 {
            let mut kept = lock(kept);
            let half = kept.len() / 2;
            kept.truncate(half);
        }
    }
}

/// A buffer in use; it goes back when the last [`Bytes`] of it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    size: usize,
    class: usize,
    home: Buffers,
}

impl Buffer {
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.size]
    }

    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.size]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut kept = lock(&self.home.0[self.class]);
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back() {
        let buffers = Buffers::default();
        let bytes = buffers.take(1000).freeze();
        assert_eq!(bytes.len(), 1000);
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert!(lock(&buffers.0[0]).is_empty());
        drop(slice);
        assert_eq!(lock(&buffers.0[0]).len(), 1);
        let many: Vec<_> = (0..KEPT + 5).map(|_| buffers.take(SIZES[1])).collect();
        drop(many);
        assert_eq!(lock(&buffers.0[1]).len(), KEPT);
        assert_eq!(lock(&buffers.0[0]).len(), 1);
        buffers.trim();
        assert_eq!((lock(&buffers.0[0]).len(), lock(&buffers.0[1]).len()), (0, KEPT / 2));
    }
}
