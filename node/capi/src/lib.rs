//! `libpeerdist`: the PeerDist API of peerdist.h, the DISM functions that turn its feature on and off, and what of
//! Windows a program for them needs: events, completion ports, overlapped results, the last error.
//!
//! A client of the daemon's sockets. Handles are numbers of a table, never pointers; every exported function checks its
//! arguments and lets no panic out.
//!
//! | module | what it does |
//! |---|---|
//! | [`abi`] | types and constants of 64-bit Windows, laid out as there |
//! | [`dism`] | the DISM functions, for sessions about the running system or another |
//! | [`handle`] | the table behind HANDLE |
//! | [`kernel`] | events, completion ports, waiting, the last error |
//! | [`operation`] | asynchronous operations, from OVERLAPPED to the one completion |
//! | [`peerdist`] | the functions of peerdist.h |
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod abi;
pub mod dism;
pub mod handle;
pub mod kernel;
pub mod operation;
pub mod peerdist;

mod boundary;
mod daemon;
mod signals;
