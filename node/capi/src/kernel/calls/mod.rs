//! The exported functions, named as in Windows with the prefix `peerdist_`.

mod events;
mod message;
mod ports;
mod system;
mod waits;

pub use events::*;
pub use message::*;
pub use ports::*;
pub use system::*;
pub use waits::*;
