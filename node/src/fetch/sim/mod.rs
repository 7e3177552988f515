//! Many hosts in one process: plans and peer books on a simulated LAN with a simulated WAN behind it.
//!
//! A world is made of a seed and nothing else. `SIM_SEED=n` runs every scenario with that seed alone; a scenario that
//! fails prints the seed it failed with.

mod scenarios;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs a scenario with several seeds, or with the one of `SIM_SEED`.
fn with_seeds(count: u64, scenario: impl Fn(u64)) {
    let seeds = match std::env::var("SIM_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=count).collect(),
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scenario(seed))) {
            let message = format!("replay with SIM_SEED={seed}\n");
            std::io::Write::write_all(&mut std::io::stderr(), message.as_bytes()).unwrap();
            resume_unwind(panic);
        }
    }
}

/// splitmix64.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn chance(&mut self, per_cent: u64) -> bool {
        self.below(100) < per_cent
    }
}
