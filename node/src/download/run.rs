//! One download from the first request to the last byte.

use std::io;
use std::ops::Range;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use peerdist_protocol::content::{ContentInformation, ContentVersion};
use peerdist_protocol::http::{Asked, ContentVersions, MissingData, MissingDataFault, Validators};
use peerdist_transport::origin::Url;
use peerdist_transport::origin::{Answer, Body, Identity, Origin, OriginError};
use thiserror::Error;
use tokio::task::JoinHandle;

use super::backend::{Backend, BackendError, Handle};
use super::report::DownloadReport;
use super::sink::{Destination, Sink};
use crate::fetch::{Explanation, Read, Source, Sources};

/// Content information is asked for this many bytes of content at a time ([MS-PCCRC] segments of version 1 are half
/// as long, so that a window never cuts one).
const WINDOW: u64 = 64 << 20;
/// Blocks from the origin go to the node together until they are this many bytes.
const MAX_RUN: usize = 1 << 20;
/// How often a transfer that broke off is taken up again before the download fails.
const RETRIES: u32 = 3;

/// What to download.
#[derive(Debug, Clone)]
pub struct Request {
    /// An http or https URL.
    pub url: Url,
    /// Where to.
    pub destination: Destination,
    /// Which versions of content information are taken.
    pub versions: ContentVersions,
}

/// How far a download is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The length of the content in bytes, once known.
    pub total: Option<u64>,
    /// Bytes so far.
    pub sources: &'a Sources,
}

/// Why a download failed.
#[derive(Debug, Error)]
pub enum DownloadError {
    /// The origin: unreachable, refusing, or inconsistent.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// The content changed on the origin more than once while it was fetched.
    #[error("the content kept changing on the origin while it was fetched")]
    Changing,
    /// The bytes contradict the content information and can no longer be taken back from standard output.
    #[error("the content changed on the origin after part of it was written to standard output")]
    CannotStartOver,
    /// The origin ended before the content did.
    #[error("the origin sent {got} of {expected} bytes")]
    Short {
        /// Bytes that came.
        got: u64,
        /// Bytes announced.
        expected: u64,
    },
}

/// Downloads, and says where the bytes came from and why.
///
/// `progress` is called after every piece.
pub async fn download(
    origin: &Origin,
    backend: &Backend,
    request: &Request,
    mut progress: impl FnMut(Progress<'_>),
) -> Result<(DownloadReport, Option<Explanation>), DownloadError> {
    let began = Instant::now();
    let mut trust_content_information = true;
    for _ in 0..=RETRIES {
        let mut run = Run::new(origin, backend, request, &mut progress)?;
        match run.all(trust_content_information).await {
            Ok(()) => {
                let explanation = run.explanation().await;
                let written = run.sink.finish().await?;
                let report = DownloadReport {
                    url: request.url.to_string(),
                    file: match &request.destination {
                        Destination::File(path) => Some(path.clone()),
                        Destination::StandardOutput => None,
                    },
                    bytes: written.bytes,
                    sha256: written.sha256,
                    seconds: began.elapsed().as_secs_f64(),
                    content_information: run.version.map(|version| version.to_string()),
                    sources: run.sources,
                    node_failure: run.node_failure,
                };
                return Ok((report, explanation));
            }
            Err(Stop::StartOver { without_content_information }) => {
                if request.destination == Destination::StandardOutput && run.position > 0 {
                    return Err(DownloadError::CannotStartOver);
                }
                tracing::info!(url = %request.url, "the content changed on the origin: starting over");
                trust_content_information &= !without_content_information;
            }
            Err(Stop::Output) => {
                run.sink.finish().await?;
                return Err(DownloadError::Output(io::ErrorKind::BrokenPipe.into()));
            }
            Err(Stop::Node(_)) => unreachable!("the origin stands in for the node"),
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
    Err(DownloadError::Changing)
}

/// Why a run ended before the content did.
enum Stop {
    /// The bytes so far belong to another state of the content than those to come.
    StartOver {
        without_content_information: bool,
    },
    /// Writing failed; the sink has the reason.
    Output,
    /// The node cannot help, or not any more.
    Node(BackendError),
    Failed(DownloadError),
}

impl<E: Into<DownloadError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<BackendError> for Stop {
    fn from(error: BackendError) -> Self {
        Self::Node(error)
    }
}

/// Which state of the content a run is about, known from the first answer on.
#[derive(Clone)]
struct State {
    url: Url,
    validators: Validators,
    total: Option<u64>,
}

struct Run<'a, P> {
    origin: &'a Origin,
    backend: &'a Backend,
    request: &'a Request,
    progress: &'a mut P,
    sink: Sink,
    sources: Sources,
    position: u64,
    state: Option<State>,
    handle: Option<Handle>,
    node_failure: Option<String>,
    version: Option<ContentVersion>,
}

impl<'a, P: FnMut(Progress<'_>)> Run<'a, P> {
    fn new(origin: &'a Origin, backend: &'a Backend, request: &'a Request, progress: &'a mut P) -> io::Result<Self> {
        Ok(Self {
            origin,
            backend,
            request,
            progress,
            sink: Sink::open(&request.destination)?,
            sources: Sources::default(),
            position: 0,
            state: None,
            handle: None,
            node_failure: None,
            version: None,
        })
    }

    /// Everything, with the node's help as long as there is any.
    async fn all(&mut self, trust_content_information: bool) -> Result<(), Stop> {
        if !trust_content_information {
            return self.rest_as_it_is().await;
        }
        match self.windows().await {
            Err(Stop::Node(error)) => {
                tracing::warn!(url = %self.request.url, position = self.position, %error, "fetching the rest as it is");
                self.handle = None;
                self.node_failure = Some(error.to_string());
                self.rest_as_it_is().await
            }
            result => result,
        }
    }

    /// Window after window until the content ends.
    async fn windows(&mut self) -> Result<(), Stop> {
        let mut next = Some(self.ask_ahead(0));
        while let Some(asked) = next.take() {
            match asked.wait().await {
                Ok(Answer::ContentInformation { content_information, total, validators, url }) => {
                    self.same_state(State { url, validators, total })?;
                    next = self.window(content_information).await?;
                }
                Ok(Answer::Identity(identity)) => {
                    next = self.copy_window(identity).await?;
                }
                Err(error) if error.is_about_content_information() => {
                    tracing::warn!(url = %self.request.url, %error, "content information is of no use: fetching the content as it is");
                    self.rest_as_it_is().await?;
                }
                // 416: a range of an empty content; other refusals fail the same way without a range.
                Err(OriginError::Status(_)) if self.position == 0 => self.rest_as_it_is().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Asks for the content information of the window that begins at `start`, in the background.
    fn ask_ahead(&self, start: u64) -> Ahead {
        let origin = self.origin.clone();
        let url = self.url();
        let asked =
            Asked { content: self.request.versions, range: Some(start..start + WINDOW), is_hash_request: false };
        Ahead(tokio::spawn(async move {
            let mut tries = 0;
            loop {
                match origin.ask(&url, &asked).await {
                    Err(error) if error.is_passing() && tries < RETRIES => tries += 1,
                    result => return result,
                }
            }
        }))
    }

    /// Reads one window whose content information has come; asks for the next one meanwhile.
    async fn window(&mut self, content_information: ContentInformation) -> Result<Option<Ahead>, Stop> {
        self.version = Some(content_information.version());
        let end = readable_end(&content_information, self.total());
        let more = self.total().is_none_or(|total| end < total);
        if end <= self.position {
            return Err(Stop::StartOver { without_content_information: true });
        }
        let next = more.then(|| self.ask_ahead(end));
        let blocks = content_information.clone();
        let handle = match self.handle.take() {
            Some(mut handle) => {
                handle.add_content_information(content_information).await?;
                handle
            }
            None => self.backend.open(content_information).await?,
        };
        let result = self.read_until(&handle, &blocks, end).await;
        self.handle = Some(handle);
        result.map(|()| next)
    }

    async fn read_until(&mut self, handle: &Handle, blocks: &ContentInformation, end: u64) -> Result<(), Stop> {
        while self.position < end {
            match handle.next(self.position).await? {
                Read::Data { pieces, source, .. } => {
                    for mut piece in pieces {
                        piece.truncate((end - self.position).min(piece.len() as u64) as usize);
                        self.sources.add(source, piece.len() as u64);
                        self.put(piece).await?;
                    }
                }
                Read::Missing { range, .. } => {
                    self.fetch_missing(handle, blocks, range.start..range.end.min(end)).await?;
                }
            }
        }
        Ok(())
    }

    /// Fetches what nobody has and gives it to the node, block by block: each is verified before it is written.
    async fn fetch_missing(
        &mut self,
        handle: &Handle,
        blocks: &ContentInformation,
        range: Range<u64>,
    ) -> Result<(), Stop> {
        let mut tries = 0;
        while self.position < range.end {
            let before = self.position;
            match self.missing_run(handle, blocks, self.position..range.end).await {
                Ok(()) => {}
                Err(Stop::Failed(DownloadError::Origin(error))) if error.is_passing() => {
                    tries = if self.position > before { 0 } else { tries + 1 };
                    if tries > RETRIES {
                        return Err(error.into());
                    }
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    async fn missing_run(
        &mut self,
        handle: &Handle,
        blocks: &ContentInformation,
        range: Range<u64>,
    ) -> Result<(), Stop> {
        let state = self.state.clone().ok_or(Stop::StartOver { without_content_information: true })?;
        let (kind, mut body) = match self.origin.missing(&state.url, &range, &state.validators).await {
            Err(OriginError::MissingData(MissingDataFault::Changed)) => {
                return Err(Stop::StartOver { without_content_information: false });
            }
            Err(OriginError::MissingData(_)) => return Err(Stop::StartOver { without_content_information: true }),
            answer => answer?,
        };
        let mut skip = if kind == MissingData::Whole { range.start } else { 0 };
        let mut waiting = BytesMut::new();
        while self.position < range.end {
            let received = receive(&mut body, &mut waiting, &mut skip).await;
            while let Some(run) = take_blocks(&mut waiting, blocks, self.position, range.end) {
                if !handle.add_data(self.position, run.clone()).await? {
                    return Err(Stop::StartOver { without_content_information: true });
                }
                self.sources.add(Source::Origin, run.len() as u64);
                self.put(run).await?;
            }
            if !received? && self.position < range.end {
                let got = self.position + waiting.len() as u64;
                return Err(DownloadError::Short { got, expected: range.end }.into());
            }
        }
        Ok(())
    }

    /// Copies one window that came as it is.
    async fn copy_window(&mut self, identity: Identity) -> Result<Option<Ahead>, Stop> {
        let whole = identity.start == 0 && identity.end == identity.total;
        self.copy(identity).await?;
        let more = !whole && self.total().is_some_and(|total| self.position < total);
        Ok(more.then(|| self.ask_ahead(self.position)))
    }

    /// Copies everything from the current position on without content information.
    async fn rest_as_it_is(&mut self) -> Result<(), Stop> {
        let range = (self.position > 0).then(|| self.position..self.total().unwrap_or(u64::MAX));
        let identity = self.origin.plain(&self.url(), range.as_ref()).await?;
        self.copy(identity).await
    }

    /// Copies a response that holds the content itself, and takes it up again where it breaks off.
    async fn copy(&mut self, identity: Identity) -> Result<(), Stop> {
        let end = identity.end;
        let mut skip =
            self.position.checked_sub(identity.start).ok_or(Stop::StartOver { without_content_information: false })?;
        self.same_state(State { url: identity.url, validators: identity.validators, total: identity.total })?;
        let mut body = identity.body;
        let mut tries = 0;
        loop {
            match body.next().await {
                Ok(Some(mut piece)) => {
                    tries = 0;
                    let skipped = skip.min(piece.len() as u64);
                    skip -= skipped;
                    let piece = piece.split_off(skipped as usize);
                    self.sources.add(Source::Origin, piece.len() as u64);
                    self.put(piece).await?;
                }
                Ok(None) => break,
                Err(error) if error.is_passing() && tries < RETRIES && self.can_resume() => {
                    tries += 1;
                    tracing::info!(url = %self.request.url, position = self.position, %error, "taking up a broken transfer again");
                    if let Ok((kind, resumed)) = self.resume(end).await {
                        body = resumed;
                        skip = if kind == MissingData::Whole { self.position } else { 0 };
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        match end {
            Some(expected) if self.position < expected => {
                Err(DownloadError::Short { got: self.position, expected }.into())
            }
            _ => Ok(()),
        }
    }

    fn can_resume(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.validators.identify_bytes() && state.total.is_some())
    }

    async fn resume(&self, end: Option<u64>) -> Result<(MissingData, Body), Stop> {
        let state = self.state.clone().ok_or(Stop::StartOver { without_content_information: true })?;
        let range = self.position..end.or(state.total).unwrap_or(u64::MAX);
        Ok(self.origin.missing(&state.url, &range, &state.validators).await?)
    }

    /// Holds every later answer to what the first one said.
    fn same_state(&mut self, later: State) -> Result<(), Stop> {
        match &mut self.state {
            None => self.state = Some(later),
            Some(first) => {
                let other_total = first.total.zip(later.total).is_some_and(|(first, later)| first != later);
                if other_total || first.validators.contradict(&later.validators) {
                    return Err(Stop::StartOver { without_content_information: false });
                }
                first.total = first.total.or(later.total);
            }
        }
        Ok(())
    }

    async fn explanation(&mut self) -> Option<Explanation> {
        match self.handle.as_ref()?.explanation().await {
            Ok(explanation) => Some(explanation),
            Err(error) => {
                self.node_failure = Some(error.to_string());
                None
            }
        }
    }

    fn url(&self) -> Url {
        self.state.as_ref().map_or_else(|| self.request.url.clone(), |state| state.url.clone())
    }

    fn total(&self) -> Option<u64> {
        self.state.as_ref().and_then(|state| state.total)
    }

    async fn put(&mut self, bytes: Bytes) -> Result<(), Stop> {
        self.position += bytes.len() as u64;
        if !self.sink.write(bytes).await {
            return Err(Stop::Output);
        }
        let total = self.total();
        (self.progress)(Progress { total, sources: &self.sources });
        Ok(())
    }
}

/// An answer asked for ahead of its use; dropping it ends the request.
struct Ahead(JoinHandle<Result<Answer, OriginError>>);

impl Ahead {
    async fn wait(mut self) -> Result<Answer, OriginError> {
        match (&mut self.0).await {
            Ok(answer) => answer,
            Err(join) => std::panic::resume_unwind(join.into_panic()),
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Up to where a window can be verified: a segment that the window cuts waits for the next one, unless it is all
/// there is.
fn readable_end(content_information: &ContentInformation, total: Option<u64>) -> u64 {
    let end = content_information.range().end;
    match content_information.segments() {
        [.., last]
            if last.range().end > end && total != Some(end) && last.offset() > content_information.range().start =>
        {
            last.offset()
        }
        _ => end,
    }
}

/// Appends what comes next, and with it what has come already: a fast origin is not held up by a request to the node for
/// each block. Leaves out the first `skip` bytes. Returns `false` at the end of the body.
async fn receive(body: &mut Body, waiting: &mut BytesMut, skip: &mut u64) -> Result<bool, OriginError> {
    let mut next = body.next().await;
    loop {
        let Some(mut piece) = next? else { return Ok(false) };
        let skipped = (*skip).min(piece.len() as u64);
        *skip -= skipped;
        waiting.extend_from_slice(&piece.split_off(skipped as usize));
        if waiting.len() >= MAX_RUN {
            return Ok(true);
        }
        match body.next().now_or_never() {
            Some(more) => next = more,
            None => return Ok(true),
        }
    }
}

/// Takes the blocks from `position` on that are whole off the front of `waiting`.
fn take_blocks(waiting: &mut BytesMut, blocks: &ContentInformation, position: u64, end: u64) -> Option<Bytes> {
    let there = position + waiting.len() as u64;
    let mut run = position;
    while run - position < MAX_RUN as u64 {
        let next = block_end(blocks, run).unwrap_or(end).min(end);
        if next > there || next == run {
            break;
        }
        run = next;
    }
    (run > position).then(|| waiting.split_to((run - position) as usize).freeze())
}

fn block_end(blocks: &ContentInformation, position: u64) -> Option<u64> {
    let segments = blocks.segments();
    let at = segments.partition_point(|segment| segment.range().end <= position);
    let segment = segments.get(at)?;
    let index = position.checked_sub(segment.offset())? / u64::from(segment.block_size());
    Some(segment.block_range(u32::try_from(index).ok()?)?.end)
}
