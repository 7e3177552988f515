//! Where version 2 segments end. [MS-PCCRC] leaves it to the server: any cut into 1 to 131,072 bytes is valid.

use fastcdc::v2020::{Normalization, cut, select_masks};

use super::v2::MAX_SEGMENT_SIZE;

/// The chunker and its parameters. Content information that is kept across restarts is only valid with the chunker
/// that cut it, so this belongs into its key.
pub const CHUNKER: &str = "fastcdc-2020 min=65536 center=81920 max=131072 level=2 seed=0";

const MIN: usize = 64 << 10;
/// Where cuts become likely. With [`LEVEL`] the average over random and executable bytes is 96 KiB.
const CENTER: usize = 80 << 10;
/// Level 1 meets the maximum, where a cut no longer depends on content, three times as often; level 3 takes four
/// times as many segments until two contents that differ by an insertion have boundaries in common again.
const LEVEL: Normalization = Normalization::Level2;

/// The longest segment.
pub(super) const MAX: usize = MAX_SEGMENT_SIZE as usize;

/// Finds segment ends. Every segment depends on its own bytes alone, not on what came before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunker {
    strict: u64,
    relaxed: u64,
}

impl Chunker {
    pub(super) fn new() -> Self {
        let (strict, relaxed) = select_masks(CENTER, LEVEL);
        Self { strict, relaxed }
    }

    /// How many bytes the segment at the start of `window` has. The window holds at least [`MAX`] bytes, or all that
    /// is left of the content; it is not empty.
    pub(super) fn first_segment(self, window: &[u8]) -> usize {
        let Self { strict, relaxed } = self;
        let (_, length) = cut(window, MIN, CENTER, MAX, strict, relaxed, strict << 1, relaxed << 1);
        length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment_ends(mut content: &[u8]) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut end = 0;
        while !content.is_empty() {
            let length = Chunker::new().first_segment(content);
            content = &content[length..];
            end += length;
            ends.push(end);
        }
        ends
    }

    fn random(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn segments_average_96_kib() {
        let content = random(64 << 20);
        let ends = segment_ends(&content);
        let average = content.len() / ends.len();
        assert!((94 << 10..98 << 10).contains(&average), "{average}");
    }

    #[test]
    fn the_name_states_the_parameters() {
        let name = format!("fastcdc-2020 min={MIN} center={CENTER} max={MAX} level={LEVEL} seed=0");
        assert_eq!(name, CHUNKER);
    }

    /// Fails when the library cuts differently: then [`CHUNKER`] has to change too.
    #[test]
    fn boundaries_stay_where_they_are() {
        let ends = segment_ends(&random(512 << 10));
        assert_eq!(ends, [85_966, 195_315, 277_887, 404_704, 524_288]);
    }

    #[test]
    fn uniform_bytes_are_cut_at_the_maximum() {
        assert_eq!(segment_ends(&vec![0; 300_001]), [131_072, 262_144, 300_001]);
    }

    #[test]
    fn an_insertion_moves_few_boundaries() {
        let content = random(8 << 20);
        let shifted = [&[0x55], content.as_slice()].concat();
        let ends = segment_ends(&content);
        let common = segment_ends(&shifted).iter().filter(|end| ends.contains(&(**end - 1))).count();
        assert!(common * 2 > ends.len(), "{common} of {}", ends.len());
    }
}
