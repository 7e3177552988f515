//! Small deterministic randomness: spreads timers and makes message ids that nobody has to guess wrong.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    pub(super) fn next_u128(&mut self) -> u128 {
        u128::from(self.next()) << 64 | u128::from(self.next())
    }

    /// A value of `low..=high`, or `low` where the range is empty. The bias of the modulo is far below what timers show.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low).saturating_add(1) {
            u64::MAX => self.next(),
            width => low + self.next() % width,
        }
    }
}

pub(super) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
