//! What the tests that need several hosts, real processes or other people's programs stand on.
//!
//! | module | what it gives |
//! |---|---|
//! | [`isolated`] | the right to make network namespaces, as root or as an ordinary user |
//! | [`lab`] | hosts on a LAN, a router, a thin WAN link and an origin, each in a network namespace |
//! | [`switch`] | a LAN of TAP devices that loses, delays, doubles and reorders frames, and is partitioned |
//! | [`nginx`] | a web server that others wrote, on a host |
//! | [`nodes`] | our own programs on hosts: content servers, nodes, downloads |
//! | [`hosted`] | hosted caches and their clients, with certificates |
//! | [`captures`] | the captures of `pcaps/`, and what of them must stay the same |
//! | [`hostile`] | a peer that sends wrong bytes, or none |
//! | [`fuzzing`] | functions that take any bytes, for fuzzers and for an ordinary test |
//! | [`process`] | programs that run on a host: readiness, output, end |
//! | [`installed`] | `libpeerdist` as it is installed, and programs compiled against it |
//! | [`dissector`] | what our own dissector says of a capture, and whether `peerdist decode` says the same |
//! | [`tshark`] | what somebody else's dissectors say of a capture |
//! | [`programs`] | where our binaries and other people's programs are |
//!
//! Failing to make what a test needs is a failure of the test, so most functions here panic instead of returning
//! errors, with everything in the message that tells why.
#![allow(clippy::print_stderr, reason = "what failed is printed beside the output of the test")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod captures;
pub mod dissector;
pub mod fuzzing;
pub mod hosted;
pub mod hostile;
pub mod installed;
pub mod isolated;
pub mod lab;
mod netns;
pub mod nginx;
pub mod nodes;
pub mod process;
pub mod programs;
pub mod switch;
pub mod tshark;
