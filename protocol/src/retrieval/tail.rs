//! MSG_BLK in two parts: a head made for each answer, and the tail as the store keeps it on disk
//! ([MS-PCCRR] 2.2.5.3).

use bytes::Bytes;
use thiserror::Error;

use super::header::{self, MESSAGE_HEADER_SIZE, MessageType, TRANSPORT_HEADER_SIZE};
use crate::content::{AES_IV_SIZE, BlockIndex, CryptoAlgoId, EncryptedBlock, SegmentId};
use crate::wire::{Put, Reader};

/// What follows SizeOfBlock in MSG_BLK: Block, ZeroPad_2, SizeOfVrfBlock 0, SizeOfIVBlock, IVBlock.
///
/// The record of the store. [`blk_head`] and `bytes` together are a whole response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlkTail {
    /// The cipher that the head has to name.
    pub algorithm: CryptoAlgoId,
    /// SizeOfBlock: the ciphertext's length in bytes.
    pub size_of_block: u32,
    /// The fields, [`tail_size`] bytes of them.
    pub bytes: Bytes,
}

/// The bytes of a record are no tail of MSG_BLK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{size} bytes are no record of a block of {size_of_block} bytes")]
pub struct TailError {
    /// Bytes of the record.
    pub size: usize,
    /// The ciphertext's length that came with it.
    pub size_of_block: u32,
}

/// The size in bytes of the tail of a block of `size_of_block` bytes.
#[must_use]
pub fn tail_size(size_of_block: u32, algorithm: CryptoAlgoId) -> usize {
    let size = size_of_block as usize;
    size + header::pad(size) + 4 + 4 + iv_size(algorithm)
}

fn iv_size(algorithm: CryptoAlgoId) -> usize {
    if algorithm == CryptoAlgoId::None { 0 } else { AES_IV_SIZE }
}

impl From<&EncryptedBlock> for BlkTail {
    fn from(block: &EncryptedBlock) -> Self {
        let size_of_block = block.data.len() as u32;
        let mut bytes = Vec::with_capacity(tail_size(size_of_block, block.algorithm));
        bytes.put(&block.data);
        header::put_pad(&mut bytes, block.data.len());
        bytes.put_u32_be(0);
        bytes.put_u32_be(iv_size(block.algorithm) as u32);
        if block.algorithm != CryptoAlgoId::None {
            bytes.put(&block.iv);
        }
        Self { algorithm: block.algorithm, size_of_block, bytes: bytes.into() }
    }
}

impl BlkTail {
    /// The block in the tail, sharing its bytes.
    pub fn to_encrypted_block(&self) -> Result<EncryptedBlock, TailError> {
        let error = TailError { size: self.bytes.len(), size_of_block: self.size_of_block };
        if self.bytes.len() != tail_size(self.size_of_block, self.algorithm) {
            return Err(error);
        }
        self.read_fields().ok().flatten().ok_or(error)
    }

    fn read_fields(&self) -> Result<Option<EncryptedBlock>, crate::wire::Truncated> {
        let mut reader = Reader::new(&self.bytes);
        let block = reader.take(self.size_of_block as usize)?;
        header::skip_pad(&mut reader, block.len())?;
        if reader.u32_be()? != 0 || reader.u32_be()? as usize != iv_size(self.algorithm) {
            return Ok(None);
        }
        let iv = if self.algorithm == CryptoAlgoId::None { [0; AES_IV_SIZE] } else { reader.take_array()? };
        Ok(Some(EncryptedBlock { algorithm: self.algorithm, iv, data: self.bytes.slice_ref(block) }))
    }
}

/// TRANSPORT_RESPONSE_HEADER to SizeOfBlock: the part of a MSG_BLK that is made for each answer. `next` is the first
/// block held after `index`, 0 for none. Followed by the tail's bytes it is the whole body of the HTTP answer.
#[must_use]
pub fn blk_head(segment_id: &SegmentId, index: BlockIndex, next: BlockIndex, tail: &BlkTail) -> Vec<u8> {
    head(segment_id, index, next, tail.algorithm, tail.size_of_block, tail.bytes.len())
}

/// A whole MSG_BLK that says: not held, or too busy ([MS-PCCRR] 3.2.5.3). It is plaintext of no bytes, without an IV.
#[must_use]
pub fn empty_blk(segment_id: &SegmentId, index: BlockIndex, next: BlockIndex) -> Vec<u8> {
    let tail = tail_size(0, CryptoAlgoId::None);
    let mut message = head(segment_id, index, next, CryptoAlgoId::None, 0, tail);
    message.put_u32_be(0);
    message.put_u32_be(0);
    message
}

fn head(
    segment_id: &SegmentId,
    index: BlockIndex,
    next: BlockIndex,
    algorithm: CryptoAlgoId,
    size_of_block: u32,
    tail: usize,
) -> Vec<u8> {
    let fields = header::segment_id_field_size(segment_id) + 12;
    // Room for the tail of an empty block, which is appended.
    let mut out = Vec::with_capacity(TRANSPORT_HEADER_SIZE + MESSAGE_HEADER_SIZE + fields + 8);
    out.put_u32_be((MESSAGE_HEADER_SIZE + fields + tail) as u32);
    header::put_header(&mut out, MessageType::Blk.version(), MessageType::Blk, fields + tail, algorithm);
    header::put_segment_id(&mut out, segment_id);
    out.put_u32_be(index);
    out.put_u32_be(next);
    out.put_u32_be(size_of_block);
    out
}
