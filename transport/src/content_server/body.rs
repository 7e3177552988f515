//! Response bodies: a few bytes, parts of a file, or what comes from upstream. Memory is bounded whatever the length.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use thiserror::Error;
use tokio::task::JoinHandle;

use super::counters::{Counter, LiveCounters};
use crate::content_server::idle::IdleTimer;

/// How much of a file is read at once. Two such pieces are in memory per response: one on its way, one read ahead.
const READ_SIZE: u64 = 256 << 10;

/// Why a body ends early. The connection is closed then, which the other side takes for the error it is.
#[derive(Debug, Error)]
pub(super) enum BodyError {
    #[error("reading the file failed")]
    File(#[from] io::Error),
    #[error("the upstream server broke off")]
    Upstream(#[from] reqwest::Error),
    #[error("the upstream server made no progress within the time limit")]
    UpstreamStalled,
}

/// Under which counter a body's bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meter {
    Identity,
    MissingData,
    ContentInformation,
}

/// A response body that counts what it yields.
pub(super) struct Body {
    source: Source,
    meter: Meter,
    counters: Arc<LiveCounters>,
}

enum Source {
    Bytes(Bytes),
    File(FileParts),
    Upstream { body: reqwest::Body, idle: IdleTimer },
}

impl Body {
    pub(super) fn bytes(bytes: impl Into<Bytes>, meter: Meter, counters: &Arc<LiveCounters>) -> Self {
        Self { source: Source::Bytes(bytes.into()), meter, counters: counters.clone() }
    }

    pub(super) fn file(parts: FileParts, meter: Meter, counters: &Arc<LiveCounters>) -> Self {
        Self { source: Source::File(parts), meter, counters: counters.clone() }
    }

    /// A body from upstream that may stand still for `no_progress` at most.
    pub(super) fn upstream(
        body: reqwest::Body,
        no_progress: Duration,
        meter: Meter,
        counters: &Arc<LiveCounters>,
    ) -> Self {
        Self { source: Source::Upstream { body, idle: IdleTimer::new(no_progress) }, meter, counters: counters.clone() }
    }

    fn counter(&self) -> &Counter {
        match self.meter {
            Meter::Identity => &self.counters.identity_bytes,
            Meter::MissingData => &self.counters.missing_data_bytes,
            Meter::ContentInformation => &self.counters.content_information_bytes,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match &mut self.source {
            Source::Bytes(bytes) if bytes.is_empty() => None,
            Source::Bytes(bytes) => Some(Ok(std::mem::take(bytes))),
            Source::File(parts) => ready!(parts.poll_next(cx)).map(|result| result.map_err(BodyError::File)),
            Source::Upstream { body, idle } => ready!(poll_upstream(body, idle, cx)),
        };
        if let Some(Ok(bytes)) = &next {
            self.counter().add(bytes.len() as u64);
        }
        Poll::Ready(next.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Bytes(bytes) => bytes.is_empty(),
            Source::File(parts) => parts.left == 0,
            Source::Upstream { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::File(parts) => SizeHint::with_exact(parts.left),
            Source::Upstream { body, .. } => body.size_hint(),
        }
    }
}

fn poll_upstream(
    body: &mut reqwest::Body,
    idle: &mut IdleTimer,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, BodyError>>> {
    loop {
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                idle.progress();
                // Trailers are between us and the upstream server.
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => {
                ready!(idle.poll_expired(cx));
                return Poll::Ready(Some(Err(BodyError::UpstreamStalled)));
            }
        }
    }
}

/// Ranges of a file, with text between them where they make a multipart body.
#[derive(Debug)]
pub(super) struct FileParts {
    file: Arc<File>,
    parts: VecDeque<Part>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    left: u64,
}

#[derive(Debug)]
enum Part {
    Text(Bytes),
    Range(Range<u64>),
}

impl FileParts {
    pub(super) fn new(file: Arc<File>) -> Self {
        Self { file, parts: VecDeque::new(), reading: None, left: 0 }
    }

    pub(super) fn text(mut self, text: String) -> Self {
        self.left += text.len() as u64;
        self.parts.push_back(Part::Text(text.into()));
        self
    }

    pub(super) fn range(mut self, range: Range<u64>) -> Self {
        self.left += range.end - range.start;
        self.parts.push_back(Part::Range(range));
        self
    }

    /// How many bytes are still to come.
    pub(super) fn length(&self) -> u64 {
        self.left
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.reading.is_none() {
            match self.parts.pop_front() {
                None => return Poll::Ready(None),
                Some(Part::Text(text)) => {
                    self.left -= text.len() as u64;
                    return Poll::Ready(Some(Ok(text)));
                }
                Some(Part::Range(range)) => self.read(range),
            }
        }
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).flatten();
        self.reading = None;
        if let Ok(bytes) = &read {
            self.left -= bytes.len() as u64;
            if let Some(Part::Range(next)) = self.parts.pop_front_if(|part| matches!(part, Part::Range(_))) {
                self.read(next);
            }
        }
        Poll::Ready(Some(read))
    }

    /// Begins to read the first piece of a range and leaves the rest for later.
    fn read(&mut self, range: Range<u64>) {
        let end = range.end.min(range.start + READ_SIZE);
        if end < range.end {
            self.parts.push_front(Part::Range(end..range.end));
        }
        let file = self.file.clone();
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; (end - range.start) as usize];
            file.read_exact_at(&mut piece, range.start)?;
            Ok(piece.into())
        }));
    }
}
