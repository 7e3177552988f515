//! What the cases of the PeerDist API need: a process of their own, a daemon, and the exported functions without
//! pointers.
//!
//! The library connects a process to one daemon, so every case runs in a process of its own: its test starts this binary
//! again for that test alone.
#![allow(dead_code, reason = "each suite uses its part")]

mod calls;
mod content;
mod described;
mod lan;
mod others;
mod pieces;
pub(crate) mod programs;
mod publishing;
mod registration;
mod users;
mod world;

pub(crate) use calls::*;
pub(crate) use content::*;
pub(crate) use described::*;
pub(crate) use lan::*;
pub(crate) use others::*;
pub(crate) use pieces::*;
pub(crate) use publishing::*;
pub(crate) use registration::*;
pub(crate) use users::*;
pub(crate) use world::*;
