//! What the cases of the PeerDist API need: a process of their own, a daemon, and the exported functions without
//! pointers.
//!
//! The library connects a process to one daemon, so every case runs in a process of its own: its test starts this binary
//! again for that test alone.
#![allow(dead_code, reason = "each suite uses its part")]

mod calls;
mod content;
pub(crate) mod programs;
mod registration;
mod world;

pub(crate) use calls::*;
pub(crate) use content::*;
pub(crate) use registration::*;
pub(crate) use world::*;
