//! What of the Windows kernel a program for PeerDist needs: events, completion ports, waiting, the last error.
//!
//! [`Event`], [`Port`] and [`wait`] are plain Rust; [`calls`] exports them under the prefix `peerdist_`, which the macros
//! of windows.h hide.

pub mod calls;
mod event;
pub mod last_error;
pub mod message;
mod port;
pub mod wait;

pub use event::Event;
pub use port::{Packet, Port, Taken};
