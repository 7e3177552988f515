//! The DISM functions as a C program calls them, with a real daemon and with systems that do not run.
//!
//! What is initialised and open belongs to a process, so every case runs in one of its own: its test starts this binary
//! again for that test alone.
#![allow(unsafe_code, reason = "calls the exported functions")]
#![allow(clippy::unwrap_used)]

mod c_programs;
mod cancel;
mod daemon;
mod features;
mod image;
mod lifecycle;
mod threads;
mod windows;
