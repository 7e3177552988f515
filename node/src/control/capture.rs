//! A capture on the admin socket: pcapng that goes on until its end, or until its client goes.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use peerdist_tap::{Capture, MAX_SNAP_LENGTH, Protocol, Record, Wish};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::wire::{ErrorCode, Refusal};
use crate::capture::CaptureWriter;

/// As captures are called.
const PCAPNG: &str = "application/x-pcapng";
/// How many bytes are written before they are sent.
const PIECE: usize = 256 << 10;
/// How often losses are told while there are more and more.
const STATISTICS: Duration = Duration::from_secs(1);
/// The longest capture that has an end of its own: a year.
const MAX_SECONDS: u64 = 366 * 24 * 3600;

/// What is to be captured, and until when.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Names, with commas between them.
    protocol: Option<String>,
    snaplen: Option<usize>,
    seconds: Option<u64>,
    /// Messages.
    count: Option<u64>,
}

/// A capture under way.
struct Running {
    capture: Capture,
    writer: CaptureWriter,
    /// Messages that may still come.
    left: Option<u64>,
    until: Option<Instant>,
    stop: CancellationToken,
    told: Told,
}

/// The losses that were told, and when.
struct Told {
    lost: u64,
    at: Instant,
}

pub(super) async fn capture(
    State(context): State<Context>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(wanted) = wanted?;
    let protocols = match &wanted.protocol {
        Some(names) => names.split(',').map(protocol).collect::<Result<_, _>>()?,
        None => Protocol::ALL.to_vec(),
    };
    if let Some(snaplen) = wanted.snaplen
        && !(1..=MAX_SNAP_LENGTH).contains(&snaplen)
    {
        let why = format_args!("snaplen is a number of bytes from 1 to {MAX_SNAP_LENGTH}, not {snaplen}");
        return Err(Refusal::new(ErrorCode::BadRequest, why));
    }
    let wish = Wish { protocols, snap_length: wanted.snaplen.unwrap_or(MAX_SNAP_LENGTH) };
    let capture = context.node.tap().capture(wish).map_err(|error| Refusal::new(ErrorCode::Quota, error))?;
    let running = Running {
        capture,
        writer: CaptureWriter::new().map_err(|error| Refusal::new(ErrorCode::Internal, error))?,
        left: wanted.count,
        until: wanted.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds.min(MAX_SECONDS))),
        stop: context.stop,
        told: Told { lost: 0, at: Instant::now() },
    };
    let pieces = stream::unfold(Some(running), |running| async {
        let mut running = running?;
        match running.piece().await {
            Ok((piece, goes_on)) => Some((Ok(piece), goes_on.then_some(running))),
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(([(CONTENT_TYPE, PCAPNG)], Body::from_stream(pieces)).into_response())
}

fn protocol(name: &str) -> Result<Protocol, Refusal> {
    let known = Protocol::ALL.into_iter().find(|protocol| protocol.as_str() == name);
    known.ok_or_else(|| {
        let names = Protocol::ALL.map(Protocol::as_str).join(", ");
        Refusal::new(ErrorCode::BadRequest, format_args!("no protocol to capture is called {name:?}: {names}"))
    })
}

impl Running {
    /// The next bytes, and whether more will come. The first ones are there at once.
    async fn piece(&mut self) -> io::Result<(Bytes, bool)> {
        if self.writer.size() > 0 {
            return Ok((self.writer.take(), true));
        }
        while self.left != Some(0) {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => None,
                () = at(self.until) => None,
                record = self.capture.next() => record,
            };
            let Some(record) = next else { break };
            self.write(&record)?;
            while self.left != Some(0) && self.writer.size() < PIECE && !self.capture.is_empty() {
                let Some(record) = self.capture.next().await else { break };
                self.write(&record)?;
            }
            let lost = self.capture.lost();
            if lost > self.told.lost && (self.capture.is_empty() || self.told.at.elapsed() >= STATISTICS) {
                self.writer.statistics(lost)?;
                self.told = Told { lost, at: Instant::now() };
            }
            if self.left != Some(0) && self.writer.size() > 0 {
                return Ok((self.writer.take(), true));
            }
        }
        self.writer.statistics(self.capture.lost())?;
        Ok((self.writer.take(), false))
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        if self.writer.record(record)?
            && let Some(left) = &mut self.left
        {
            *left = left.saturating_sub(1);
        }
        Ok(())
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
