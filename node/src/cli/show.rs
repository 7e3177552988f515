//! `peerdist show CONTENT_INFORMATION`: every field under its name in [MS-PCCRC], and what follows from them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use peerdist_protocol::content::{ContentInformation, MAX_CONTENT_INFORMATION_SIZE, ParseError, Segment, v1, v2};
use peerdist_protocol::crypto::HashAlgorithm;
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::args::ShowArguments;
use super::{ExitStatus, Failure, Output};

/// What stands in the place of a secret.
const HIDDEN: &str = "hidden";
/// The size of a segment description of version 2 ([MS-PCCRC] 2.4.1.2).
const DESCRIPTION_SIZE_V2: u64 = 68;

/// Prints a file's content information.
pub fn run(arguments: &ShowArguments) -> Result<(), Failure> {
    let (information, size) = read(&arguments.content_information)?;
    let shown = Shown::new(&information, size, arguments.secrets);
    Output::new(arguments.json).print(&shown, Shown::write)
}

/// Reads content information from a file, and says how many bytes it has.
pub(super) fn read(path: &Path) -> Result<(ContentInformation, usize), Failure> {
    let mut bytes = Vec::new();
    let mut limited = File::open(path)
        .map_err(|error| Failure::file("read", path, error))?
        .take(MAX_CONTENT_INFORMATION_SIZE as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(|error| Failure::file("read", path, error))?;
    let size = bytes.len();
    let information = ContentInformation::parse(Bytes::from(bytes)).map_err(|source| {
        let status = ExitStatus::NotContentInformation;
        Failure::new(status, Unreadable { path: path.to_owned(), source })
            .help("content information comes from `peerdist hash`, or from a server as Content-Encoding: peerdist")
    })?;
    Ok((information, size))
}

#[derive(Debug, thiserror::Error)]
#[error("{} is no content information: {source}", path.display())]
struct Unreadable {
    path: std::path::PathBuf,
    source: ParseError,
}

/// Content information as `show` prints it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    version: String,
    /// The size of the content information in bytes.
    size: usize,
    /// The first byte of the content that is described, and how many there are.
    first: u64,
    length: u64,
    header: Header,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<Vec<Chunk>>,
    segments: Segments<'a>,
    warnings: Vec<String>,
}

/// The fixed fields of [MS-PCCRC] 2.3 and 2.4.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[allow(non_snake_case)]
enum Header {
    V1 {
        Version: u16,
        dwHashAlgo: u32,
        dwOffsetInFirstSegment: u32,
        dwReadBytesInLastSegment: u32,
        cSegments: usize,
    },
    V2 {
        bMinorVersion: u8,
        bMajorVersion: u8,
        bHashAlgo: u8,
        ullStartInContent: u64,
        ullIndexOfFirstSegment: u64,
        dwOffsetInFirstSegment: u32,
        ullLengthOfRange: u64,
    },
}

/// A chunk of [MS-PCCRC] 2.4.1.1.
#[derive(Debug, Serialize)]
#[allow(non_snake_case)]
struct Chunk {
    bChunkType: u8,
    dwChunkDataLength: u64,
    segments: u32,
}

#[derive(Debug)]
struct Segments<'a> {
    segments: &'a [Segment],
    secrets: bool,
}

/// A description of [MS-PCCRC] 2.3.1.1 with the block list of 2.3.1.2, or one of 2.4.1.2.
#[derive(Debug, Serialize)]
#[allow(non_snake_case)]
struct ShownSegment {
    /// HoHoDk, which does not travel in content information but follows from it.
    SegmentId: String,
    ullOffsetInContent: u64,
    cbSegment: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cbBlockSize: Option<u32>,
    SegmentHashOfData: String,
    SegmentSecret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocks: Option<BlockList>,
    /// Whether the hashes prove the segment to others, too.
    bound: bool,
}

#[derive(Debug, Serialize)]
#[allow(non_snake_case)]
struct BlockList {
    cBlocks: u32,
    /// The index of the block that the first hash belongs to.
    first_block: u32,
    BlockHashes: Vec<String>,
}

impl<'a> Shown<'a> {
    fn new(information: &'a ContentInformation, size: usize, secrets: bool) -> Self {
        let range = information.range();
        let (header, chunks, warnings) = match information {
            ContentInformation::V1(information) => (header_v1(information), None, Vec::new()),
            ContentInformation::V2(information) => {
                let warnings = information.warnings().iter().map(ToString::to_string).collect();
                (header_v2(information), Some(chunks(information)), warnings)
            }
        };
        let segments = Segments { segments: information.segments(), secrets };
        let version = information.version().to_string();
        Self { version, size, first: range.start, length: range.end - range.start, header, chunks, segments, warnings }
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "content information {}, {} bytes", self.version, self.size)?;
        writeln!(to, "describes {} bytes from byte {} on", self.length, self.first)?;
        self.header.write(to)?;
        for warning in &self.warnings {
            writeln!(to, "warning: {warning}")?;
        }
        for (index, chunk) in self.chunks.iter().flatten().enumerate() {
            writeln!(to, "chunk {index}")?;
            writeln!(to, "  bChunkType                {}", chunk.bChunkType)?;
            writeln!(to, "  dwChunkDataLength         {} ({} segments)", chunk.dwChunkDataLength, chunk.segments)?;
        }
        for (index, segment) in self.segments.iter().enumerate() {
            writeln!(to, "segment {index}")?;
            segment.write(to)?;
        }
        Ok(())
    }
}

fn header_v1(information: &v1::ContentInformation) -> Header {
    Header::V1 {
        Version: 0x0100,
        dwHashAlgo: hash_algorithm_v1(information.algorithm()),
        dwOffsetInFirstSegment: information.offset_in_first_segment(),
        dwReadBytesInLastSegment: information.read_bytes_in_last_segment(),
        cSegments: information.segments().len(),
    }
}

/// The values of `dwHashAlgo` ([MS-PCCRC] 2.3).
fn hash_algorithm_v1(algorithm: HashAlgorithm) -> u32 {
    match algorithm {
        HashAlgorithm::Sha256 => 0x800C,
        HashAlgorithm::Sha384 => 0x800D,
        HashAlgorithm::Sha512 | HashAlgorithm::TruncatedSha512 => 0x800E,
    }
}

fn header_v2(information: &v2::ContentInformation) -> Header {
    Header::V2 {
        bMinorVersion: 0,
        bMajorVersion: 2,
        bHashAlgo: 4,
        ullStartInContent: information.start_in_content(),
        ullIndexOfFirstSegment: information.index_of_first_segment(),
        dwOffsetInFirstSegment: information.offset_in_first_segment(),
        ullLengthOfRange: information.length_of_range(),
    }
}

fn chunks(information: &v2::ContentInformation) -> Vec<Chunk> {
    let chunk = |&segments: &u32| Chunk {
        bChunkType: 0,
        dwChunkDataLength: u64::from(segments) * DESCRIPTION_SIZE_V2,
        segments,
    };
    information.segments_per_chunk().iter().map(chunk).collect()
}

impl Header {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::V1 { Version, dwHashAlgo, dwOffsetInFirstSegment, dwReadBytesInLastSegment, cSegments } => {
                writeln!(to, "Version                     {Version:#06X}")?;
                writeln!(to, "dwHashAlgo                  {dwHashAlgo:#010X}")?;
                writeln!(to, "dwOffsetInFirstSegment      {dwOffsetInFirstSegment}")?;
                writeln!(
                    to,
                    "dwReadBytesInLastSegment    {dwReadBytesInLastSegment}{}",
                    whole(*dwReadBytesInLastSegment == 0)
                )?;
                writeln!(to, "cSegments                   {cSegments}")
            }
            Self::V2 {
                bMinorVersion,
                bMajorVersion,
                bHashAlgo,
                ullStartInContent,
                ullIndexOfFirstSegment,
                dwOffsetInFirstSegment,
                ullLengthOfRange,
            } => {
                writeln!(to, "bMinorVersion               {bMinorVersion}")?;
                writeln!(to, "bMajorVersion               {bMajorVersion}")?;
                writeln!(to, "bHashAlgo                   {bHashAlgo:#04X}")?;
                writeln!(to, "ullStartInContent           {ullStartInContent}")?;
                writeln!(to, "ullIndexOfFirstSegment      {ullIndexOfFirstSegment}")?;
                writeln!(to, "dwOffsetInFirstSegment      {dwOffsetInFirstSegment}")?;
                writeln!(to, "ullLengthOfRange            {ullLengthOfRange}{}", whole(*ullLengthOfRange == 0))
            }
        }
    }
}

fn whole(is_zero: bool) -> &'static str {
    if is_zero { " (to the end)" } else { "" }
}

impl Segments<'_> {
    fn iter(&self) -> impl ExactSizeIterator<Item = ShownSegment> {
        self.segments.iter().map(|segment| ShownSegment::new(segment, self.secrets))
    }
}

/// One at a time: large contents have a million segments.
impl Serialize for Segments<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(self.segments.len()))?;
        self.iter().try_for_each(|segment| list.serialize_element(&segment))?;
        list.end()
    }
}

impl ShownSegment {
    fn new(segment: &Segment, secrets: bool) -> Self {
        let has_blocks = segment.algorithm() != HashAlgorithm::TruncatedSha512;
        let listed = segment.listed_blocks();
        Self {
            SegmentId: segment.id().to_string(),
            ullOffsetInContent: segment.offset(),
            cbSegment: segment.length(),
            cbBlockSize: has_blocks.then(|| segment.block_size()),
            SegmentHashOfData: hex::encode_upper(segment.hash_of_data().as_bytes()),
            SegmentSecret: if secrets { hex::encode_upper(segment.secret().as_bytes()) } else { HIDDEN.to_owned() },
            blocks: has_blocks.then(|| BlockList {
                cBlocks: listed.end - listed.start,
                first_block: listed.start,
                BlockHashes: listed
                    .filter_map(|index| segment.block_check(index))
                    .map(|check| hex::encode_upper(check.hash.as_bytes()))
                    .collect(),
            }),
            bound: segment.is_bound(),
        }
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "  segment id (HoHoDk)       {}", self.SegmentId)?;
        writeln!(to, "  ullOffsetInContent        {}", self.ullOffsetInContent)?;
        writeln!(to, "  cbSegment                 {}", self.cbSegment)?;
        if let Some(size) = self.cbBlockSize {
            writeln!(to, "  cbBlockSize               {size}")?;
        }
        writeln!(to, "  SegmentHashOfData         {}", self.SegmentHashOfData)?;
        writeln!(to, "  SegmentSecret             {}", self.SegmentSecret)?;
        if let Some(blocks) = &self.blocks {
            writeln!(to, "  cBlocks                   {}", blocks.cBlocks)?;
            for (index, hash) in (blocks.first_block..).zip(&blocks.BlockHashes) {
                writeln!(to, "    block {index:<3}               {hash}")?;
            }
        }
        let bound = if self.bound { "yes" } else { "no: the list is partial and proves nothing to others" };
        writeln!(to, "  bound                     {bound}")
    }
}
