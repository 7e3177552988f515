//! The command line as its users meet it: the real binaries, their words, their output and their exit status.
#![allow(clippy::unwrap_used)]

mod config;
mod hash;
mod run;
mod show;
