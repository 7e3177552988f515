//! `peerdist demo`: the main job on one host, with real processes and real multicast over the loopback interface.
//!
//! A content server and N peers are started as processes of their own. The first peer downloads the file, which has to
//! come from the origin; then all others download it at once, and nearly all of it has to come from each other. In
//! hosted mode they are clients of a hosted cache: the first one offers the file to it, and the others take it from there.

mod host;
mod processes;
mod report;

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use indicatif::HumanBytes;
use peerdist_protocol::content::ContentVersion;
use peerdist_protocol::crypto::Sha256Stream;
use peerdist_protocol::http::{Asked, ContentVersions};
use peerdist_transport::content_server::DEFAULT_MINIMUM_SIZE;
use peerdist_transport::origin::{Answer, Origin, OriginLimits, Url};
use tempfile::TempDir;

use super::get::DownloadBar;
use super::process::interrupted;
use super::{DemoArguments, ExitStatus, Failure, Output};
use crate::download::{Destination, DownloadReport, Request, download};
use host::{Host, Part};
use processes::Process;
use report::{DemoReport, Verdict, Words};

/// How long the processes may take until they answer, and the content server until it has hashed the file.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How often it is looked whether they do.
const POLL: Duration = Duration::from_millis(25);

/// Runs `peerdist demo`.
pub async fn run(arguments: DemoArguments) -> Result<(), Failure> {
    let file = match arguments.file.clone() {
        Some(file) => file,
        None => compiler_library()?,
    };
    let stage = Stage::build(&file)?;
    let mut cast = Vec::new();
    let result = tokio::select! {
        result = play(&arguments, &stage, &mut cast) => result,
        () = interrupted() => Err(Failure::new(ExitStatus::Failure, "interrupted")),
    };
    // Whatever happened, nothing is left behind: neither processes nor files.
    for process in cast {
        process.stop().await;
    }
    stage.strike()?;
    let report = result?;
    let host = words(&arguments).host;
    Output::new(arguments.json).print(&report, |report, to| to.write_all(report.render().as_bytes()))?;
    match report.verdict {
        Verdict::Passed => Ok(()),
        Verdict::WrongHash => Err(Failure::new(ExitStatus::Verification, format!("a {host} ended with wrong bytes"))),
        Verdict::TooLittleFromPeers if arguments.hosted => {
            Err(Failure::new(ExitStatus::Failure, "the hosted cache gave less than it could"))
        }
        Verdict::TooLittleFromPeers => Err(Failure::new(ExitStatus::Failure, "peers gave less than they could")
            .help("is multicast over the loopback interface filtered? see the book's page on firewalls")),
    }
}

async fn play(arguments: &DemoArguments, stage: &Stage, cast: &mut Vec<Process>) -> Result<DemoReport, Failure> {
    let versions = match arguments.content_info.into() {
        ContentVersion::V1 => ContentVersions::V1,
        ContentVersion::V2 => ContentVersions::V1AndV2,
    };
    say(format_args!("{} ({})", stage.file.display(), indicatif::HumanBytes(stage.length)));
    let origin = Origin::new(OriginLimits::default())?;
    cast.push(stage.start_server()?);
    let url = stage.url(cast).await?;
    let hosted_cache = arguments.hosted.then(|| Host::hosted_cache(stage.home("hosted-cache"))).transpose()?;
    let part = hosted_cache.as_ref().map_or(Part::Peer, Host::client_part);
    let peers: Vec<_> =
        (1..=arguments.peers).map(|number| Host { home: stage.home(&format!("peer-{number}")), part }).collect();
    for host in hosted_cache.iter().chain(&peers) {
        cast.push(host.start()?);
    }
    let words = words(arguments);
    let (host, count) = (words.host, peers.len());
    let besides = if arguments.hosted { ", a hosted cache" } else { "" };
    say(format_args!("started a content server{besides} and {count} {host}s; waiting until the file is hashed"));
    until_hashed(&origin, &url, versions, cast).await?;
    let mut backends = Vec::new();
    for peer in &peers {
        backends.push(peer.connect(cast).await?);
    }

    let began = Instant::now();
    let fetch = |number: usize| {
        let (origin, backend, peer) = (&origin, &backends[number], &peers[number]);
        let request =
            Request { url: url.clone(), destination: Destination::File(peer.home.join("received")), versions };
        async move {
            let bar = DownloadBar::new(host);
            let (report, _) = download(origin, backend, &request, |progress| bar.show(&progress)).await?;
            // The caches keep the blocks; the copies would only take space.
            let _ = std::fs::remove_file(peer.home.join("received"));
            Ok::<DownloadReport, Failure>(report)
        }
    };
    say(format_args!("{host} 1 downloads from the origin"));
    let mut reports = vec![fetch(0).await?];
    if let Some(hosted_cache) = &hosted_cache {
        say(format_args!("the hosted cache fetches what {host} 1 offers"));
        hosted_cache.until_it_holds_what(&peers[0], cast).await?;
    }
    match count {
        2 => say(format_args!("{host} 2 downloads")),
        _ => say(format_args!("{host}s 2 to {count} download at once")),
    }
    reports.extend(try_join_all((1..peers.len()).map(fetch)).await?);
    Ok(DemoReport::new(reports, stage.length, stage.sha256.clone(), began.elapsed().as_secs_f64(), words))
}

fn words(arguments: &DemoArguments) -> &'static Words {
    if arguments.hosted { &Words::HOSTED } else { &Words::DISTRIBUTED }
}

/// Waits until the content server hands out content information for all of the file.
async fn until_hashed(
    origin: &Origin,
    url: &Url,
    versions: ContentVersions,
    cast: &mut [Process],
) -> Result<(), Failure> {
    let deadline = Instant::now() + START_LIMIT;
    let asked = Asked { content: versions, range: None, is_hash_request: false };
    loop {
        let answer = origin.ask(url, &asked).await;
        if matches!(answer, Ok(Answer::ContentInformation { .. })) {
            return Ok(());
        }
        still_there(cast, deadline)?;
        tokio::time::sleep(POLL).await;
    }
}

fn still_there(cast: &mut [Process], deadline: Instant) -> Result<(), Failure> {
    if let Some(ended) = cast.iter_mut().find_map(|process| process.has_ended().then(|| process.log_tail())) {
        return Err(Failure::new(ExitStatus::Failure, format!("a process of the demo ended early:\n{ended}")));
    }
    if Instant::now() > deadline {
        return Err(Failure::new(ExitStatus::Failure, "the processes of the demo did not become ready in time"));
    }
    Ok(())
}

/// The demo's directory and the file in it.
struct Stage {
    directory: TempDir,
    file: PathBuf,
    length: u64,
    sha256: String,
}

impl Stage {
    /// Puts the file where the content server can serve it alone: linked where the file system permits it, else copied.
    fn build(file: &Path) -> Result<Self, Failure> {
        let fail = |error| Failure::file("read", file, error);
        let length = file.metadata().map_err(fail)?.len();
        if length < DEFAULT_MINIMUM_SIZE {
            let least = HumanBytes(DEFAULT_MINIMUM_SIZE);
            let reason = format!("the file has less than {least}: content servers do not describe it");
            return Err(Failure::new(ExitStatus::Usage, reason).help("name a larger file"));
        }
        let sha256 = sha256_of(file).map_err(fail)?;
        let directory = TempDir::with_prefix("peerdist-demo-")
            .map_err(|error| Failure::file("create", &std::env::temp_dir(), error))?;
        let served = directory.path().join("origin");
        let copy = served.join("file");
        std::fs::create_dir(&served)
            .and_then(|()| std::fs::hard_link(file, &copy).or_else(|_| std::fs::copy(file, &copy).map(|_| ())))
            .map_err(|error| {
                Failure::file("copy to", &served, error).help("TMPDIR names another place for temporary files")
            })?;
        Ok(Self { directory, file: file.to_owned(), length, sha256 })
    }

    fn home(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start_server(&self) -> Result<Process, Failure> {
        let root = self.directory.path();
        let (served, state) = (root.join("origin"), root.join("state"));
        let words = [
            OsStr::new("serve"),
            served.as_os_str(),
            OsStr::new("--listen"),
            OsStr::new("127.0.0.1:0"),
            OsStr::new("--min-size"),
            OsStr::new("1"),
            OsStr::new("--state"),
            state.as_os_str(),
            OsStr::new("--with-parent"),
        ];
        Process::start(words, &self.server_log()).map_err(|error| Failure::file("start the server in", root, error))
    }

    fn server_log(&self) -> PathBuf {
        self.directory.path().join("server-log")
    }

    /// The file's URL, once the server has said where it listens.
    async fn url(&self, cast: &mut [Process]) -> Result<Url, Failure> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let log = std::fs::read_to_string(self.server_log()).unwrap_or_default();
            if let Some(base) =
                log.split_inclusive('\n').find(|line| line.starts_with("http://") && line.ends_with('\n'))
            {
                let url = base.parse().and_then(|base: Url| base.join("file"));
                return url.map_err(|error| Failure::new(ExitStatus::Failure, error));
            }
            still_there(cast, deadline)?;
            tokio::time::sleep(POLL).await;
        }
    }

    fn strike(self) -> Result<(), Failure> {
        let path = self.directory.path().to_owned();
        self.directory.close().map_err(|error| Failure::file("remove", &path, error))
    }
}

/// The largest library of the Rust toolchain: a real file that every machine with Rust has.
fn compiler_library() -> Result<PathBuf, Failure> {
    let none = || {
        Failure::new(ExitStatus::Usage, "no file was named, and no Rust toolchain was found to take one from")
            .help("peerdist demo FILE")
    };
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(compiler).args(["--print", "sysroot"]).output().map_err(|_| none())?;
    let root = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    let libraries = root.join("lib").read_dir().map_err(|_| none())?;
    libraries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("librustc_driver"))
        .map(|entry| entry.path())
        .next()
        .ok_or_else(none)
}

fn sha256_of(file: &Path) -> io::Result<String> {
    let mut file = std::fs::File::open(file)?;
    let mut hash = Sha256Stream::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut file, &mut piece)? {
            0 => return Ok(hash.finish_hex()),
            count => hash.update(piece.get(..count).unwrap_or_default()),
        }
    }
}

/// Tells a person what happens, on standard error: standard output belongs to the result.
fn say(what: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{what}");
}
