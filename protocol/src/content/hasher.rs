//! From bytes to content information of both versions in one pass.
//!
//! [`Hasher`] does it on one core. [`Splitter`], [`Piece`] and [`Assembler`] are the same in three steps: a splitter
//! cuts the content into pieces in order, pieces are hashed anywhere and in any order, the assembler puts the hashes
//! together. The result depends on the content alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use thiserror::Error;

use super::chunker::{self, Chunker};
use super::segment::{Description, Segment};
use super::{
    BLOCK_SIZE_V1, ContentInformation, HashedServerSecret, MAX_BLOCKS_PER_SEGMENT, MAX_CONTENT_INFORMATION_SIZE,
    SegmentHashOfData, ServerSecret, v1, v2,
};
use crate::crypto::{HashAlgorithm, HashValue};

/// How many bytes a piece holds at most: enough blocks and segments to be hashed side by side without idle lanes, and
/// little is carried (less than 128 KiB) from one piece into the next.
const PIECE_SIZE: usize = 2 << 20;
const BLOCK_SIZE: usize = BLOCK_SIZE_V1 as usize;

/// Which content information to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashOptions {
    /// Version 1 with this hash: SHA-256 (the only one Windows retrieves by), SHA-384 or SHA-512.
    pub v1: Option<HashAlgorithm>,
    /// Version 2.
    pub v2: bool,
}

/// What a hasher made of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    /// Version 1, if it was asked for.
    pub v1: Option<ContentInformation>,
    /// Version 2, if it was asked for.
    pub v2: Option<ContentInformation>,
    /// How many bytes the content has.
    pub length: u64,
}

/// Why a content has no content information.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HashError {
    /// There is no content information of zero bytes ([MS-PCCRC] 2.3, 2.4).
    #[error("content information cannot describe an empty content")]
    Empty,
    /// It would be larger than what our own parser takes.
    #[error("the content information would exceed {MAX_CONTENT_INFORMATION_SIZE} bytes")]
    TooLarge,
    /// Truncated SHA-512 was asked for in version 1; the caller's fault.
    #[error("version 1 knows SHA-256, SHA-384 and SHA-512 only")]
    NotVersion1,
    /// A piece was not given to the assembler; the caller's fault.
    #[error("piece {sequence} of the content was not hashed")]
    MissingPiece {
        /// The first that is missing.
        sequence: u64,
    },
}

/// Makes content information of bytes that come in any portions. Holds a few mebibytes and the hashes.
#[derive(Debug)]
pub struct Hasher {
    splitter: Splitter,
    assembler: Assembler,
}

impl Hasher {
    /// A hasher at the start of a content.
    #[must_use]
    pub fn new(options: HashOptions, secret: &ServerSecret) -> Self {
        Self { splitter: Splitter::new(options), assembler: Assembler::new(options, secret) }
    }

    /// Takes the next bytes of the content.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.splitter.space();
            let (taken, left) = bytes.split_at(bytes.len().min(space.len()));
            space.split_at_mut(taken.len()).0.copy_from_slice(taken);
            if let Some(piece) = self.splitter.advance(taken.len()) {
                self.splitter.recycle(self.assembler.add(piece.hash()));
            }
            bytes = left;
        }
    }

    /// Ends the content.
    pub fn finish(mut self) -> Result<Hashed, HashError> {
        self.assembler.add(self.splitter.finish().hash());
        self.assembler.finish()
    }
}

/// Cuts a content into pieces. Bytes are written into [`Self::space`], so that they can be read into place; only the
/// block and the segment that do not end in a piece are copied, into the next.
#[derive(Debug)]
pub struct Splitter {
    options: HashOptions,
    chunker: Chunker,
    buffer: Vec<u8>,
    /// How many bytes of `buffer` are content, and how many of these came over from the piece before.
    filled: usize,
    carried: usize,
    /// Where the first block and the first segment that were in no piece yet begin in `buffer`.
    next_block: usize,
    next_segment: usize,
    sequence: u64,
    spare: Vec<Buffer>,
}

impl Splitter {
    /// A splitter at the start of a content.
    #[must_use]
    pub fn new(options: HashOptions) -> Self {
        Self {
            options,
            chunker: Chunker::new(),
            buffer: vec![0; PIECE_SIZE],
            filled: 0,
            carried: 0,
            next_block: 0,
            next_segment: 0,
            sequence: 0,
            spare: Vec::new(),
        }
    }

    /// Where the next bytes of the content go; never empty.
    pub fn space(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// Says that the first `count` bytes of [`Self::space`] are content now. Yields a piece whenever one is full.
    #[must_use]
    pub fn advance(&mut self, count: usize) -> Option<Piece> {
        self.filled = self.buffer.len().min(self.filled + count);
        (self.filled == self.buffer.len()).then(|| self.cut(false))
    }

    /// Ends the content with its last piece, which may be empty and has to be hashed all the same.
    #[must_use]
    pub fn finish(mut self) -> Piece {
        self.cut(true)
    }

    /// Takes back memory that [`Assembler::add`] gave out. Without it every piece takes two mebibytes from the allocator.
    pub fn recycle(&mut self, buffer: Buffer) {
        self.spare.push(buffer);
    }

    fn cut(&mut self, is_last: bool) -> Piece {
        let blocks = self.options.v1.map(|algorithm| {
            let block_size = |window: &[u8]| window.len().min(BLOCK_SIZE);
            Units::cut(algorithm, self.content(), self.next_block, is_last, BLOCK_SIZE, block_size)
        });
        let segments = self.options.v2.then(|| {
            let chunker = self.chunker;
            let segment_size = |window: &[u8]| chunker.first_segment(window);
            let algorithm = HashAlgorithm::TruncatedSha512;
            Units::cut(algorithm, self.content(), self.next_segment, is_last, chunker::MAX, segment_size)
        });
        let next_block = blocks.as_ref().map_or(self.filled, Units::end);
        let next_segment = segments.as_ref().map_or(self.filled, Units::end);
        let kept_from = next_block.min(next_segment);

        let mut next = if is_last { Vec::new() } else { self.spare.pop().map_or(vec![0; PIECE_SIZE], |spare| spare.0) };
        let tail = self.content().get(kept_from..).unwrap_or_default();
        let carried = tail.len();
        next.get_mut(..carried).unwrap_or_default().copy_from_slice(tail);
        let piece = Piece {
            sequence: self.sequence,
            is_last,
            new_bytes: (self.filled - self.carried) as u64,
            blocks,
            segments,
            buffer: std::mem::replace(&mut self.buffer, next),
        };
        self.filled = carried;
        self.carried = carried;
        self.next_block = next_block - kept_from;
        self.next_segment = next_segment - kept_from;
        self.sequence += 1;
        piece
    }

    fn content(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }
}

/// Memory of a piece that was hashed, to be used again.
#[derive(Debug)]
pub struct Buffer(Vec<u8>);

/// Blocks or segments that lie one after the other in a piece's buffer.
#[derive(Debug)]
struct Units {
    algorithm: HashAlgorithm,
    start: usize,
    lengths: Vec<usize>,
}

impl Units {
    /// Cuts `content` from `start` on. `length_of` tells the length of the unit that a window begins with; it needs to
    /// see `needed` bytes, or what is left where the content ends here.
    fn cut(
        algorithm: HashAlgorithm,
        content: &[u8],
        start: usize,
        ends_here: bool,
        needed: usize,
        length_of: impl Fn(&[u8]) -> usize,
    ) -> Self {
        let mut lengths = Vec::with_capacity(content.len() / BLOCK_SIZE + 1);
        let mut window = content.get(start..).unwrap_or_default();
        while window.len() >= needed || (ends_here && !window.is_empty()) {
            let length = length_of(window);
            lengths.push(length);
            window = window.get(length..).unwrap_or_default();
        }
        Self { algorithm, start, lengths }
    }

    fn end(&self) -> usize {
        self.start + self.lengths.iter().sum::<usize>()
    }

    fn hash(&self, buffer: &[u8]) -> Vec<(u32, HashValue)> {
        let mut left = buffer.get(self.start..).unwrap_or_default();
        let units: Vec<&[u8]> = self.lengths.iter().map_while(|&length| left.split_off(..length)).collect();
        let hashes = self.algorithm.hash_each(&units);
        units.iter().map(|unit| unit.len() as u32).zip(hashes).collect()
    }
}

/// A part of the content, about two mebibytes, whose blocks and segments can be hashed on any thread.
#[derive(Debug)]
pub struct Piece {
    sequence: u64,
    is_last: bool,
    new_bytes: u64,
    blocks: Option<Units>,
    segments: Option<Units>,
    buffer: Vec<u8>,
}

impl Piece {
    /// Hashes the piece. This is where the time goes.
    #[must_use]
    pub fn hash(self) -> PieceHashes {
        PieceHashes {
            sequence: self.sequence,
            is_last: self.is_last,
            new_bytes: self.new_bytes,
            blocks: self.blocks.map_or_else(Vec::new, |blocks| blocks.hash(&self.buffer)),
            segments: self.segments.map_or_else(Vec::new, |segments| segments.hash(&self.buffer)),
            buffer: self.buffer,
        }
    }
}

/// The hashes of a piece, for [`Assembler::add`].
#[derive(Debug)]
pub struct PieceHashes {
    sequence: u64,
    is_last: bool,
    new_bytes: u64,
    blocks: Vec<(u32, HashValue)>,
    segments: Vec<(u32, HashValue)>,
    buffer: Vec<u8>,
}

/// Puts the hashes of pieces together, which may come in any order.
#[derive(Debug)]
pub struct Assembler {
    v1: Option<BlockHashes>,
    v2: Option<Segments>,
    length: u64,
    /// The piece that comes next, and whether the last one was there.
    next: u64,
    is_complete: bool,
    early: BTreeMap<u64, PieceHashes>,
}

impl Assembler {
    /// An assembler for the pieces of a splitter with the same options.
    #[must_use]
    pub fn new(options: HashOptions, secret: &ServerSecret) -> Self {
        Self {
            v1: options.v1.map(|algorithm| BlockHashes::new(algorithm, secret)),
            v2: options.v2.then(|| Segments::new(secret)),
            length: 0,
            next: 0,
            is_complete: false,
            early: BTreeMap::new(),
        }
    }

    /// Takes the hashes of a piece and gives its memory back, for [`Splitter::recycle`].
    pub fn add(&mut self, mut piece: PieceHashes) -> Buffer {
        let buffer = std::mem::take(&mut piece.buffer);
        self.early.insert(piece.sequence, piece);
        while let Some(piece) = self.early.remove(&self.next) {
            self.next += 1;
            self.is_complete = piece.is_last;
            self.length += piece.new_bytes;
            if let Some(v1) = &mut self.v1 {
                v1.add(&piece.blocks);
            }
            if let Some(v2) = &mut self.v2 {
                v2.add(&piece.segments);
            }
        }
        Buffer(buffer)
    }

    /// Ends the content: all pieces were added, the splitter's last one too.
    pub fn finish(self) -> Result<Hashed, HashError> {
        if !self.is_complete {
            return Err(HashError::MissingPiece { sequence: self.next });
        }
        if self.length == 0 {
            return Err(HashError::Empty);
        }
        let v1 = self.v1.map(|v1| v1.finish(self.length)).transpose()?;
        let v2 = self.v2.map(Segments::finish).transpose()?;
        Ok(Hashed { v1: v1.map(ContentInformation::V1), v2: v2.map(ContentInformation::V2), length: self.length })
    }
}

/// The block hashes of all version 1 segments, one after the other.
#[derive(Debug)]
struct BlockHashes {
    secret: HashedServerSecret,
    algorithm: HashAlgorithm,
    hashes: Vec<u8>,
}

impl BlockHashes {
    fn new(algorithm: HashAlgorithm, secret: &ServerSecret) -> Self {
        Self { secret: secret.hashed(algorithm), algorithm, hashes: Vec::new() }
    }

    fn add(&mut self, blocks: &[(u32, HashValue)]) {
        // One too many is enough to know.
        if self.hashes.len() <= MAX_CONTENT_INFORMATION_SIZE {
            blocks.iter().for_each(|(_, hash)| self.hashes.extend_from_slice(hash.as_bytes()));
        }
    }

    fn finish(self, length: u64) -> Result<v1::ContentInformation, HashError> {
        let Self { secret, algorithm, hashes } = self;
        let segment_size = u64::from(v1::SEGMENT_SIZE);
        let count = usize::try_from(length.div_ceil(segment_size)).map_err(|_| HashError::TooLarge)?;
        if v1::ContentInformation::size(algorithm, count, hashes.len()) > MAX_CONTENT_INFORMATION_SIZE {
            return Err(HashError::TooLarge);
        }
        let hashes = Bytes::from(hashes);
        let list_size = MAX_BLOCKS_PER_SEGMENT as usize * algorithm.size();
        let segments = (0..count).map(|index| {
            let list = hashes.slice(index * list_size..hashes.len().min((index + 1) * list_size));
            let offset = index as u64 * segment_size;
            let hash_of_data = SegmentHashOfData::of(algorithm, &list);
            let secret = secret.segment_secret(&hash_of_data);
            let length = (length - offset).min(segment_size) as u32;
            Segment::listed(Description { algorithm, offset, length, hash_of_data, secret }, 0, list)
        });
        v1::ContentInformation::whole(algorithm, segments.collect())
    }
}

/// The version 2 segments.
#[derive(Debug)]
struct Segments {
    secret: HashedServerSecret,
    segments: Vec<Segment>,
    end: u64,
}

impl Segments {
    const ALGORITHM: HashAlgorithm = HashAlgorithm::TruncatedSha512;

    fn new(secret: &ServerSecret) -> Self {
        Self { secret: secret.hashed(Self::ALGORITHM), segments: Vec::new(), end: 0 }
    }

    fn add(&mut self, segments: &[(u32, HashValue)]) {
        if v2::ContentInformation::size(1, self.segments.len()) > MAX_CONTENT_INFORMATION_SIZE {
            return;
        }
        for &(length, hash) in segments {
            let hash_of_data = SegmentHashOfData::from(hash);
            let secret = self.secret.segment_secret(&hash_of_data);
            let (algorithm, offset) = (Self::ALGORITHM, self.end);
            self.segments.push(Segment::whole(Description { algorithm, offset, length, hash_of_data, secret }));
            self.end += u64::from(length);
        }
    }

    fn finish(self) -> Result<v2::ContentInformation, HashError> {
        if v2::ContentInformation::size(1, self.segments.len()) > MAX_CONTENT_INFORMATION_SIZE {
            return Err(HashError::TooLarge);
        }
        v2::ContentInformation::whole(self.segments)
    }
}
