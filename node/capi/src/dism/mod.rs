//! The DISM subset: dismapi.h's lifecycle and feature functions.
//!
//! The online image is the daemon behind the admin socket; any other image is the root directory of a system that does
//! not run, whose state file is changed. Features and their meaning are [`peerdist_node::feature`]'s.
//!
//! | module | what it does |
//! |---|---|
//! | [`types`] | structures, enumerations and results, laid out as in DismApi.h |
//! | [`lifecycle`] | DismInitialize, DismShutdown, sessions, DismDelete, DismGetLastErrorMessage |
//! | [`features`] | the feature functions |
//! | `process` | what of it is open, and which operations run |
//! | `image` | a running or an offline system |
//! | `memory` | what the caller has to give back |

mod cancel;
mod elevation;
mod failure;
pub mod features;
mod image;
pub mod lifecycle;
mod memory;
mod process;
mod text;
pub mod types;
