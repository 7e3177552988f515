//! One connection: hyper between its socket and the service, with a clock beside it.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use peerdist_tap::Line;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::limits::{CROWDED_IDLE_TIME, Slot, Slots};
use super::listener::Visit;
use super::{BlockSource, ServerLimits, Shared, service};

/// The most bytes of headers, and of a body, that wait unread in memory.
const READ_BUFFER: usize = 16_384;
/// How long a refused client may go on sending after its answer. Closing before it has sent everything would destroy
/// the answer on its way.
const LINGER: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub(super) async fn serve<S: BlockSource>(
    shared: Arc<Shared<S>>,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    line: Line,
    visit: Visit,
    stop: CancellationToken,
) {
    let slots = if visit.paths.has_retrieval() { &shared.slots } else { &shared.offer_slots };
    let progress = Arc::new(Progress::new(&shared.limits, Arc::clone(slots), line));
    let io = TokioIo::new(Observed { stream, progress: Arc::clone(&progress) });
    let service = service_fn(|request| service::answer(Arc::clone(&shared), Arc::clone(&progress), visit, request));
    let connection = http1::Builder::new()
        .half_close(true)
        .title_case_headers(true)
        .auto_date_header(false)
        .header_read_timeout(None)
        .max_buf_size(READ_BUFFER)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let stopped = tokio::select! {
        () = within_limits(connection.as_mut(), &progress, &shared) => false,
        () = stop.cancelled() => true,
    };
    if stopped {
        connection.as_mut().graceful_shutdown();
        within_limits(connection, &progress, &shared).await;
    }
}

/// Drives a connection until it ends or a phase of it has taken too long. Each change of phase happens while the
/// connection is polled, so the deadline is looked at after that.
async fn within_limits<S>(
    mut connection: Pin<&mut impl Future<Output = hyper::Result<()>>>,
    progress: &Progress,
    shared: &Shared<S>,
) {
    let mut alarm = pin!(sleep_until(progress.deadline()));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            if let Err(error) = ended {
                progress.line().failed(|| format!("the connection ends: {error}"));
                shared.counters.broken(&error);
            }
            return Poll::Ready(());
        }
        let deadline = progress.deadline();
        if alarm.deadline() != deadline {
            alarm.as_mut().reset(deadline);
        }
        ready!(alarm.as_mut().poll(cx));
        let phase = progress.phase();
        if let Some(name) = phase.name() {
            progress.line().failed(|| format!("the connection ends: its time is up ({name})"));
        }
        shared.counters.timed_out(phase);
        Poll::Ready(())
    })
    .await;
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The next request.
    Idle,
    /// The end of a request's headers.
    Header,
    /// The end of a request's body.
    Body,
    /// The answer, from our side.
    Answer,
    /// The client, to take the answer.
    Sending,
    /// The client, to close after a refusal.
    Linger,
}

impl Phase {
    /// The name for counters, `None` for phases that may well end by time.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Idle | Self::Linger => None,
            Self::Header => Some("header"),
            Self::Body => Some("body"),
            Self::Answer | Self::Sending => Some("upload"),
        }
    }
}

/// The phase of a connection, known to its socket and its service, with the upload that it carries.
#[derive(Debug)]
pub(super) struct Progress {
    header_time: Duration,
    body_time: Duration,
    upload_time: Duration,
    idle_time: Duration,
    /// What the connection has one of.
    slots: Arc<Slots>,
    /// Where it is told what is decided.
    line: Line,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    deadline: Instant,
    refused: bool,
    upload: Option<Slot>,
}

impl Progress {
    fn new(limits: &ServerLimits, slots: Arc<Slots>, line: Line) -> Self {
        let ServerLimits { header_time, body_time, upload_time, idle_time, .. } = *limits;
        let deadline = Instant::now() + header_time;
        let state = State { phase: Phase::Header, deadline, refused: false, upload: None };
        Self { header_time, body_time, upload_time, idle_time, slots, line, state: Mutex::new(state) }
    }

    /// The connection, as captures see it.
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// The headers are there, the body is awaited.
    pub(super) fn headers_read(&self) {
        self.lock().enter(Phase::Body, self.body_time);
    }

    /// The request is there, the answer is being made. The Upload Timer starts.
    pub(super) fn request_read(&self) {
        self.lock().enter(Phase::Answer, self.upload_time);
    }

    /// The answer carries something, and counts as an upload until it is written.
    pub(super) fn uploads(&self, slot: Slot) {
        self.lock().upload = Some(slot);
    }

    /// The answer is a refusal: the connection closes after it.
    pub(super) fn refuses(&self) {
        self.lock().refused = true;
    }

    /// The whole answer was given to hyper; when the socket is flushed next, it is written.
    pub(super) fn answer_handed_over(&self) {
        self.lock().phase = Phase::Sending;
    }

    fn bytes_received(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Idle {
            state.enter(Phase::Header, self.header_time);
        }
    }

    fn flushed(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Sending {
            state.upload = None;
            let most = if self.slots.are_scarce() { CROWDED_IDLE_TIME } else { Duration::MAX };
            state.enter(Phase::Idle, self.idle_time.min(most));
        }
    }

    /// Whether the client may send on for a while before the socket closes. The first call starts that while.
    fn lingers(&self) -> bool {
        let mut state = self.lock();
        if state.refused && state.phase != Phase::Linger {
            state.enter(Phase::Linger, LINGER);
        }
        state.refused
    }

    fn deadline(&self) -> Instant {
        self.lock().deadline
    }

    fn phase(&self) -> Phase {
        self.lock().phase
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase, time: Duration) {
        self.phase = phase;
        self.deadline = Instant::now() + time;
    }
}

/// A socket that tells what hyper does not: that something came, and that everything left.
struct Observed<T> {
    stream: T,
    progress: Arc<Progress>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Observed<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.progress.bytes_received();
        }
        result
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Observed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes once it has written everything it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.progress.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        let mut discarded = [0; 4096];
        while self.progress.lingers() {
            let mut buf = ReadBuf::new(&mut discarded);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
