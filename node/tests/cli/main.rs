//! The command line, the daemon and its control sockets as their users meet them: the real binaries, their words, their
//! output and their exit status.
#![allow(clippy::unwrap_used)]

mod api;
mod cache;
mod canned;
mod capture;
mod config;
mod control;
mod craft;
mod craft_tls;
mod daemon;
mod decode;
mod demo;
mod feature;
mod fixture;
mod hash;
mod hosted_cache;
mod lifecycle;
mod openapi;
mod probe;
mod publish;
mod replay;
mod run;
mod schema;
mod scrub;
mod scrub_pairs;
mod scrub_private;
mod show;
mod watch;
