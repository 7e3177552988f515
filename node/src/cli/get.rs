//! `peerdist get`: a URL's bytes from the cache, from peers, and from the origin what nobody has.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use peerdist_transport::origin::{Origin, OriginError, OriginLimits, Url};
use serde::Serialize;

use super::refused::going_on_without;
use super::{BytesFrom, ExitStatus, Failure, GetArguments, Output, Progress};
use crate::control::client::API_SOCKET_VARIABLE;
use crate::download::{self, Backend, Destination, DownloadError, DownloadReport, Request, download};
use crate::fetch::{Explanation, Sources};

/// What `get --json` prints: the report, and with `--explain` the reasons.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    report: &'a DownloadReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<&'a Explanation>,
}

/// Runs `peerdist get`.
pub async fn run(arguments: GetArguments) -> Result<(), Failure> {
    let url: Url = arguments.url.parse().map_err(|error| {
        Failure::new(ExitStatus::Usage, error).help("a URL is http://HOST/PATH or https://HOST/PATH")
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(
            Failure::new(ExitStatus::Usage, format!("{} cannot be fetched", url.scheme())).help("http and https can")
        );
    }
    let destination = destination(arguments.output.as_deref(), &url)?;
    if destination == Destination::StandardOutput && arguments.json {
        return Err(Failure::new(ExitStatus::Usage, "standard output cannot hold both the content and the report")
            .help("leave out --json, or name a file with -o"));
    }
    let (backend, no_daemon) = Backend::find().await;
    if let Some(error) = no_daemon {
        going_on_without(API_SOCKET_VARIABLE, &error);
    }
    let origin = Origin::new(OriginLimits::default())?;
    let request = Request { url, destination, versions: backend.content_versions().await };
    let bar = DownloadBar::new("get");
    let result = download(&origin, &backend, &request, |progress| bar.show(&progress)).await;
    drop(bar);
    let (report, explanation) = match result {
        Ok(result) => result,
        Err(error) => {
            backend.close().await;
            return Err(error.into());
        }
    };
    backend.close().await;
    let hosted = explanation.as_ref().filter(|explanation| explanation.is_hosted());
    let hosted = hosted.map(|explanation| explanation.hosted_caches.clone());
    let explanation = explanation.filter(|_| arguments.explain);
    if request.destination == Destination::StandardOutput {
        if let Some(explanation) = explanation {
            let _ = write!(std::io::stderr().lock(), "{explanation}");
        }
        return Ok(());
    }
    let printed = Printed { report: &report, explanation: explanation.as_ref() };
    Output::new(arguments.json).print(&printed, |printed, to| {
        writeln!(to, "{}", summary(printed.report, hosted.as_ref()))?;
        match printed.explanation {
            Some(explanation) => write!(to, "{explanation}"),
            // The summary says why.
            None if printed.report.node_failure.is_some() => Ok(()),
            None if arguments.explain => {
                writeln!(to, "The origin gave no content information, so nobody else could be asked.")
            }
            None => Ok(()),
        }
    })
}

fn destination(output: Option<&Path>, url: &Url) -> Result<Destination, Failure> {
    match output {
        Some(output) if output == Path::new("-") => Ok(Destination::StandardOutput),
        Some(output) => Ok(Destination::File(output.to_owned())),
        None => url
            .path_segments()
            .and_then(|mut segments| segments.next_back())
            .filter(|name| !matches!(*name, "" | "." | ".."))
            .map(|name| Destination::File(PathBuf::from(name)))
            .ok_or_else(|| {
                Failure::new(ExitStatus::Usage, "the URL ends in no file name").help("name the output with -o FILE")
            }),
    }
}

/// `hosted_caches`: those of the peers that are; `None` where no hosted cache was asked.
fn summary(report: &DownloadReport, hosted_caches: Option<&BTreeSet<SocketAddr>>) -> String {
    let size = |bytes: u64| indicatif::HumanBytes(bytes).to_string();
    let name = report.file.as_deref().map(|file| file.display().to_string()).unwrap_or_default();
    let failure =
        report.node_failure.as_deref().map(|error| format!("\nthe rest came from the origin as it is: {error}"));
    let sources = &report.sources;
    let hosted: Vec<u64> =
        hosted_caches.into_iter().flatten().filter_map(|address| sources.peers.get(address)).copied().collect();
    let from_hosted: u64 = hosted.iter().sum();
    let (peers, from_peers) = (sources.peers.len() - hosted.len(), sources.all_peers() - from_hosted);
    let near = match (hosted_caches.is_none(), from_peers) {
        (true, _) => format!("{} from {peers} peers", size(from_peers)),
        (false, 0) => format!("{} from hosted caches", size(from_hosted)),
        (false, _) => {
            format!("{} from hosted caches, {} from {peers} peers", size(from_hosted), size(from_peers))
        }
    };
    format!(
        "{name}: {} in {:.2} s, {} from the origin, {near}, {} from the cache\nsha256 {}{}",
        size(report.bytes),
        report.seconds,
        size(sources.origin),
        size(sources.cache),
        report.sha256,
        failure.unwrap_or_default(),
    )
}

/// The bar of one download.
#[derive(Debug)]
pub(super) struct DownloadBar {
    bar: Progress,
    shown: Cell<[u64; 3]>,
    length_known: Cell<bool>,
}

impl DownloadBar {
    pub(super) fn new(doing: &'static str) -> Self {
        Self { bar: Progress::new(doing, None), shown: Cell::default(), length_known: Cell::default() }
    }

    /// Moves the bar to where the download is.
    pub(super) fn show(&self, progress: &download::Progress<'_>) {
        if let Some(total) = progress.total.filter(|_| !self.length_known.replace(true)) {
            self.bar.set_length(total);
        }
        let now = by_source(progress.sources);
        let shown = self.shown.replace(now);
        for ((from, now), shown) in
            [BytesFrom::Cache, BytesFrom::Peers, BytesFrom::Origin].into_iter().zip(now).zip(shown)
        {
            // A download that starts over goes back.
            if let Some(new) = now.checked_sub(shown).filter(|new| *new > 0) {
                self.bar.add(from, new);
            }
        }
    }
}

fn by_source(sources: &Sources) -> [u64; 3] {
    [sources.cache, sources.all_peers(), sources.origin]
}

impl From<OriginError> for Failure {
    fn from(error: OriginError) -> Self {
        let help = match &error {
            OriginError::Url { .. } => "check the URL",
            OriginError::Connect { .. } => "is the name right, and does a server listen there?",
            OriginError::TimedOut | OriginError::Broken(_) => "try again; nothing of what peers gave is lost",
            OriginError::Status(404) => "the origin has nothing at this URL",
            OriginError::Status(401 | 403) => "the origin wants credentials, or refuses this host",
            _ => "the origin's log may say more",
        };
        Self::new(ExitStatus::Origin, error).help(help)
    }
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::Origin(error) => error.into(),
            DownloadError::Changing | DownloadError::Short { .. } => Self::new(ExitStatus::Origin, error),
            DownloadError::CannotStartOver => Self::new(ExitStatus::Origin, error).help("write to a file with -o FILE"),
            DownloadError::Output(_) => {
                Self::new(ExitStatus::Failure, error).help("is the disk full, or the directory not writable?")
            }
        }
    }
}
