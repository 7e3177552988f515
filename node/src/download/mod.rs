//! The downloader ([MS-PCCRTP] client): a URL's bytes from the cache, from peers, and from the origin what nobody has.
//!
//! Content information is asked for window by window, one window ahead of the reader, so that large content costs
//! little memory. Whatever goes wrong with it, the content still comes, from the origin as it is.

mod backend;
mod report;
mod run;
mod sink;

pub use backend::{Backend, BackendError, Handle};
pub use report::DownloadReport;
pub use run::{DownloadError, Progress, Request, download};
pub use sink::Destination;
