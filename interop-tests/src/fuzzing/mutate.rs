//! Spoiling bytes.

use peerdist_protocol::wire::{Reader, Truncated};
use rand::rngs::SmallRng;
use rand::{Rng as _, RngExt as _};

/// Numbers at which lengths and counts go wrong.
const NUMBERS: [u32; 12] = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff];

/// A few changes to `bytes`, or to a mixture of them and `other`.
pub fn mutate(random: &mut SmallRng, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = if bytes.is_empty() { 0 } else { random.random_range(0..bytes.len()) };
        let size = random.random_range(1..=16).min(bytes.len() - at);
        match random.random_range(0..8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + size)),
            2 => {
                let part = bytes[at..at + size].to_vec();
                drop(bytes.splice(at..at, part));
            }
            3 => {
                let mut part = [0; 8];
                random.fill_bytes(&mut part);
                drop(bytes.splice(at..at, part));
            }
            4 if !other.is_empty() => {
                let from = random.random_range(0..other.len());
                drop(bytes.splice(at.., other[from..].iter().copied()));
            }
            5 => {
                let number = NUMBERS[random.random_range(0..NUMBERS.len())];
                let number = if random.random() { number.to_be_bytes() } else { number.to_le_bytes() };
                let size = [1, 2, 4][random.random_range(0..3)].min(bytes.len() - at);
                bytes[at..at + size].copy_from_slice(&number[..size]);
            }
            _ if size > 0 => bytes[at] = random.random(),
            _ => {}
        }
    }
    bytes
}

/// Changes so many bytes of a datagram that a script sends: for each a place and a value.
pub(super) fn spoil(payload: &mut [u8], changes: u8, script: &mut Reader<'_>) -> Result<(), Truncated> {
    for _ in 0..changes {
        let (at, value) = (usize::from(script.u16_le()?), script.u8()?);
        if let Some(place) = payload.get_mut(at) {
            *place = value;
        }
    }
    Ok(())
}
