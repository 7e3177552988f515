//! See the crate's module table.
