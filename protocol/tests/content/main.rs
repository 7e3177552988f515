//! Content information against the vectors in `tests/vectors/pccrc`, against malformed bytes, and as the hasher makes it.
#![allow(clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "a failed test shows the vector it stopped at")]

mod hasher;
mod malformed;
mod slices;
mod support;
mod vectors;
