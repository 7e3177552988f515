//! SHA-2 of several independent messages side by side, one per lane of the processor's widest vectors.
//!
//! One message alone is a chain of dependent steps that leaves most of a core idle. The rounds are those of
//! FIPS 180-4, 6.2.2 and 6.4.2, with every word widened to a vector. What does not fill the lanes goes to the hash
//! crate, and so does everything on processors where that is faster.
#![allow(clippy::indexing_slicing, reason = "indexes are below the lengths of fixed arrays or the number of lanes")]

use std::cmp::Reverse;

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};

use super::MAX_HASH_SIZE;

/// The hash state of one message.
pub(super) type State<W> = [W; 8];

/// What SHA-256 and SHA-512 differ in (FIPS 180-4, section 4).
pub(super) trait Word: SimdIntElement + 'static {
    /// The widest vector of a processor.
    type Vector<S: Simd>: SimdInt<S, Element = Self>;
    /// Sixteen words in bytes.
    const BLOCK_SIZE: usize;
    /// With fewer lanes, the hash crate is faster: it uses the SHA extensions, where there are any.
    const MIN_LANES: usize;
    /// K.
    const CONSTANTS: &'static [Self];
    /// The rotations of the capital sigmas.
    const SUM0: [u32; 3];
    /// See [`Self::SUM0`].
    const SUM1: [u32; 3];
    /// Two rotations and a shift of the small sigmas.
    const SIGMA0: [u32; 3];
    /// See [`Self::SIGMA0`].
    const SIGMA1: [u32; 3];

    /// Fills `words` from big-endian `bytes`.
    fn read(words: &mut [Self], bytes: &[u8]);
    /// The state as big-endian bytes, and zeros behind it.
    fn write(state: State<Self>) -> [u8; MAX_HASH_SIZE];
}

const MAX_LANES: usize = 16;
const MAX_BLOCK_SIZE: usize = 128;

/// The hashes of `messages`, starting with state `start`, in the first bytes of each element. `compress` takes whole
/// blocks into the state of a single message. `None` on processors that are faster without this.
pub(super) fn hash_each<W: Word>(
    messages: &[&[u8]],
    start: State<W>,
    compress: impl Fn(&mut State<W>, &[u8]) + Copy,
) -> Option<Vec<[u8; MAX_HASH_SIZE]>> {
    let level = Level::new();
    let is_faster = dispatch!(level, simd => lanes::<_, W>(simd)) >= W::MIN_LANES;
    is_faster.then(|| hash_each_at(level, messages, start, compress))
}

fn hash_each_at<W: Word>(
    level: Level,
    messages: &[&[u8]],
    start: State<W>,
    compress: impl Fn(&mut State<W>, &[u8]) + Copy,
) -> Vec<[u8; MAX_HASH_SIZE]> {
    let (blocks, tails): (Vec<_>, Vec<_>) =
        messages.iter().map(|message| message.split_at(message.len() - message.len() % W::BLOCK_SIZE)).unzip();
    let mut states = vec![start; messages.len()];
    dispatch!(level, simd => compress_each(simd, &mut states, &blocks, compress));
    let finish = |((mut state, tail), message): ((State<W>, &[u8]), &&[u8])| {
        let (padded, size) = padded::<W>(tail, message.len());
        compress(&mut state, &padded[..size]);
        W::write(state)
    };
    states.into_iter().zip(tails).zip(messages).map(finish).collect()
}

/// What follows the whole blocks of a message: its tail, a one bit, zeros, and its length in bits (FIPS 180-4, 5.1).
/// One block or two; the size says which.
fn padded<W: Word>(tail: &[u8], length: usize) -> ([u8; 2 * MAX_BLOCK_SIZE], usize) {
    let mut padded = [0; 2 * MAX_BLOCK_SIZE];
    padded[..tail.len()].copy_from_slice(tail);
    padded[tail.len()] = 0x80;
    let size = (tail.len() + 1 + W::BLOCK_SIZE / 8).next_multiple_of(W::BLOCK_SIZE);
    let bits = 8 * length as u128;
    padded[size - W::BLOCK_SIZE / 8..size].copy_from_slice(&bits.to_be_bytes()[16 - W::BLOCK_SIZE / 8..]);
    (padded, size)
}

#[inline(always)]
fn lanes<S: Simd, W: Word>(_: S) -> usize {
    <W::Vector<S> as SimdBase<S>>::LEN.min(MAX_LANES)
}

/// A message in work, and what is left of it.
struct Lane<'a> {
    message: usize,
    blocks: &'a [u8],
}

/// Runs every state over its blocks.
#[inline(always)]
fn compress_each<S: Simd, W: Word>(
    simd: S,
    states: &mut [State<W>],
    blocks: &[&[u8]],
    compress: impl Fn(&mut State<W>, &[u8]),
) {
    let lanes = lanes::<S, W>(simd);
    let mut waiting: Vec<_> = blocks.iter().enumerate().map(|(message, blocks)| Lane { message, blocks }).collect();
    // The longest are taken first, from the end, so that all lanes end at about the same time.
    waiting.sort_by_key(|lane| (lane.blocks.len(), Reverse(lane.message)));
    let mut running: Vec<Lane<'_>> = Vec::with_capacity(lanes);
    loop {
        let free = lanes - running.len();
        running.extend(waiting.drain(waiting.len().saturating_sub(free)..).rev());
        // Vectors that are mostly empty lose against one message after the other.
        if running.len() <= lanes / 4 {
            break;
        }
        let shortest = running.iter().map(|lane| lane.blocks.len()).min().unwrap_or(0);
        let mut inputs = [&running[0].blocks[..shortest]; MAX_LANES];
        let mut vectors = [[W::default(); MAX_LANES]; 8];
        for (index, lane) in running.iter_mut().enumerate() {
            (inputs[index], lane.blocks) = lane.blocks.split_at(shortest);
            for (vector, word) in vectors.iter_mut().zip(states[lane.message]) {
                vector[index] = word;
            }
        }
        run::<S, W, W::Vector<S>>(simd, &mut vectors, &inputs);
        for (index, lane) in running.iter().enumerate() {
            states[lane.message] = vectors.map(|vector| vector[index]);
        }
        running.retain(|lane| !lane.blocks.is_empty());
    }
    for lane in running {
        compress(&mut states[lane.message], lane.blocks);
    }
}

/// Takes the blocks of every lane, of which there are as many in each, into the state.
#[inline(always)]
fn run<S: Simd, W: Word, V: SimdInt<S, Element = W>>(
    simd: S,
    vectors: &mut [[W; MAX_LANES]; 8],
    inputs: &[&[u8]; MAX_LANES],
) {
    let lanes = V::LEN.min(MAX_LANES);
    let mut state = vectors.map(|vector| V::from_slice(simd, &vector[..lanes]));
    for block in (0..inputs[0].len()).step_by(W::BLOCK_SIZE) {
        let mut words = [V::splat(simd, W::default()); 16];
        let part_size = W::BLOCK_SIZE / 16 * lanes;
        for (part, words) in words.chunks_exact_mut(lanes).enumerate() {
            load::<S, W, V>(simd, words, inputs, block + part * part_size, part_size);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for (round, constants) in W::CONSTANTS.as_chunks::<16>().0.iter().enumerate() {
            for t in 0..16 {
                if round > 0 {
                    let sigma0 = sigma(words[(t + 1) % 16], W::SIGMA0);
                    let sigma1 = sigma(words[(t + 14) % 16], W::SIGMA1);
                    words[t] = words[t] + sigma0 + words[(t + 9) % 16] + sigma1;
                }
                let choice = (e & f) ^ (!e & g);
                let first = h + sum(e, W::SUM1) + choice + (words[t] + V::splat(simd, constants[t]));
                let majority = (a & b) ^ (a & c) ^ (b & c);
                let second = sum(a, W::SUM0) + majority;
                (h, g, f, e) = (g, f, e, d + first);
                (d, c, b, a) = (c, b, a, first + second);
            }
        }
        for (old, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *old += new;
        }
    }
    for (vector, state) in vectors.iter_mut().zip(state) {
        state.store_slice(&mut vector[..lanes]);
    }
}

/// Loads `size` bytes from `offset` on of every lane: as many words as there are lanes. That makes a square, which is
/// turned so that each vector has the same word of every lane.
#[inline(always)]
fn load<S: Simd, W: Word, V: SimdInt<S, Element = W>>(
    simd: S,
    words: &mut [V],
    inputs: &[&[u8]; MAX_LANES],
    offset: usize,
    size: usize,
) {
    let lanes = words.len();
    for (row, input) in words.iter_mut().zip(inputs) {
        let mut numbers = [W::default(); MAX_LANES];
        W::read(&mut numbers[..lanes], &input[offset..offset + size]);
        *row = V::from_slice(simd, &numbers[..lanes]);
    }
    // Interleaving the first half with the second, as often as it takes to reach every vector, turns the square.
    for _ in 0..lanes.ilog2() {
        let mut from = [words[0]; MAX_LANES];
        from[..lanes].copy_from_slice(words);
        for pair in 0..lanes / 2 {
            words[2 * pair] = from[pair].zip_low(from[pair + lanes / 2]);
            words[2 * pair + 1] = from[pair].zip_high(from[pair + lanes / 2]);
        }
    }
}

#[inline(always)]
fn sum<S: Simd, V: SimdInt<S>>(x: V, [r0, r1, r2]: [u32; 3]) -> V {
    rotate(x, r0) ^ rotate(x, r1) ^ rotate(x, r2)
}

#[inline(always)]
fn sigma<S: Simd, V: SimdInt<S>>(x: V, [r0, r1, shift]: [u32; 3]) -> V {
    rotate(x, r0) ^ rotate(x, r1) ^ (x >> shift)
}

#[inline(always)]
fn rotate<S: Simd, V: SimdInt<S>>(x: V, count: u32) -> V {
    (x >> count) | (x << (8 * size_of::<V::Element>() as u32 - count))
}

#[cfg(test)]
mod tests {
    use sha2::block_api::{compress256, compress512};
    use sha2::{Digest, Sha256, Sha512};

    use super::super::fips180::{SHA256_START, SHA512_START};
    use super::*;

    /// All kinds of vectors that this processor has, not only the widest.
    fn levels() -> Vec<Level> {
        let mut levels = vec![Level::baseline(), Level::new()];
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(Level::new().as_sse4_2().map(Level::Sse4_2));
            levels.extend(Level::new().as_avx2().map(Level::Avx2));
        }
        levels
    }

    #[test]
    fn every_kind_of_vector_gives_the_same_hashes() {
        let data: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(i) / 7) as u8).collect();
        let around = |length: usize| length - 1..length + 2;
        let lengths = (0..260).chain(around(1024)).chain(around(4096)).chain([65_536; 20]).chain([99_000, 80_000]);
        let messages: Vec<&[u8]> = lengths.enumerate().map(|(i, length)| &data[i..i + length]).collect();
        let sha256: Vec<[u8; 32]> = messages.iter().map(|message| Sha256::digest(message).into()).collect();
        let sha512: Vec<[u8; 64]> = messages.iter().map(|message| Sha512::digest(message).into()).collect();
        for level in levels() {
            for count in [0, 1, 2, 3, 5, 16, 17, messages.len()] {
                let messages = &messages[messages.len() - count..];
                let hashes = hash_each_at::<u32>(level, messages, SHA256_START, |state, blocks| {
                    compress256(state, blocks.as_chunks().0);
                });
                assert!(hashes.iter().map(|hash| &hash[..32]).eq(&sha256[sha256.len() - count..]), "{level:?} {count}");
                let hashes = hash_each_at::<u64>(level, messages, SHA512_START, |state, blocks| {
                    compress512(state, blocks.as_chunks().0);
                });
                assert_eq!(hashes, sha512[sha512.len() - count..], "{level:?} {count}");
            }
        }
    }
}
