//! The control plane: HTTP over two unix sockets.
//!
//! | socket | for whom | what for |
//! |---|---|---|
//! | `admin` | its owner | status, statistics, the cache, everybody's explanations, reload |
//! | `api` | every user | sessions: open a content by its content information, read it, add what came from the origin |
//!
//! Bodies are JSON, except for content and content information themselves. `curl --unix-socket` works. A session is as
//! long as the answer to `POST /v1/sessions` stays open; closing that connection closes the session's contents and
//! cancels what is under way. Every operation names its session in the header `Peerdist-Session`, and is cancelled by
//! closing its own connection.

pub mod client;
pub mod paths;
pub mod wire;
