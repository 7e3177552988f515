//! `peerdist cache`: the daemon's cache, or the user's own where no daemon runs.

mod add;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use indicatif::{HumanBytes, HumanCount, HumanDuration};
use serde::Serialize;
use thiserror::Error;

use super::refused::going_on_without;
use super::{BytesFrom, CacheArguments, CacheVerb, ExitStatus, Failure, Output, Progress, output};
use crate::config::Config;
use crate::control::client::{ADMIN_SOCKET_VARIABLE, AdminClient, ClientError, named_socket};
use crate::control::wire::{Cleared, MAX_PAGE, SegmentLine, SegmentPage};
use crate::store::{FileError, Store, StoreConfig, StoreError, StoreStats, Trust, VerifyProgress};

/// Does what the verb says.
pub async fn run(arguments: CacheArguments) -> Result<(), Failure> {
    let output = Output::new(arguments.json);
    match arguments.verb {
        CacheVerb::Add(arguments) => add::run(&arguments, output).await,
        CacheVerb::Stats => output.print(&Cache::find().await?.stats().await?, Stats::write),
        CacheVerb::List => list(&Cache::find().await?, arguments.json).await,
        CacheVerb::Verify => {
            let verified = Cache::find().await?.verify().await?;
            output.print(&verified, write_verified)?;
            match verified.corrupt {
                0 => Ok(()),
                blocks => Err(Failure::new(ExitStatus::Verification, DamagedBlocks { blocks })
                    .help("they were dropped and will be fetched again when needed; is the disk all right?")),
            }
        }
        CacheVerb::Clear => output.print(&Cache::find_to_clear().await?.clear().await?, |cleared, to| {
            let Cleared { segments, blocks, bytes } = cleared;
            writeln!(to, "dropped {blocks} blocks of {segments} segments, {}", HumanBytes(*bytes))
        }),
    }
}

/// The cache that the verbs are about.
enum Cache {
    /// The daemon's.
    Daemon(AdminClient),
    /// The user's own.
    Own(Store),
}

impl Cache {
    async fn find() -> Result<Self, Failure> {
        match Self::of_daemon().await {
            Err(error @ ClientError::NoDaemon { .. }) => {
                going_on_without(ADMIN_SOCKET_VARIABLE, &error);
                Ok(Self::Own(open_own()?))
            }
            found => Ok(found?),
        }
    }

    /// To drop what is in it: never the user's own in place of that of a daemon that was named.
    async fn find_to_clear() -> Result<Self, Failure> {
        match Self::of_daemon().await {
            Err(ClientError::NoDaemon { .. }) if named_socket(ADMIN_SOCKET_VARIABLE).is_none() => {
                Ok(Self::Own(open_own()?))
            }
            found => Ok(found?),
        }
    }

    async fn of_daemon() -> Result<Self, ClientError> {
        let daemon = AdminClient::from_env();
        daemon.cache_stats().await?;
        Ok(Self::Daemon(daemon))
    }

    async fn stats(&self) -> Result<Stats, Failure> {
        Ok(match self {
            Self::Daemon(daemon) => Stats { dir: None, cache: daemon.cache_stats().await? },
            Self::Own(store) => Stats { dir: Some(store.dir().to_owned()), cache: store.stats() },
        })
    }

    async fn page(&self, after: Option<String>) -> Result<SegmentPage, Failure> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.cache_segments(after.as_deref(), MAX_PAGE).await?),
            // Ids that are pages' ends parse.
            Self::Own(store) => Ok(SegmentPage::of(store, after.and_then(|id| id.parse().ok()), MAX_PAGE as usize)),
        }
    }

    async fn verify(&self) -> Result<VerifyProgress, Failure> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.cache_verify().await?),
            Self::Own(store) => {
                let bar = Progress::new("verifying", Some(store.stats().live_bytes));
                let mut shown = 0;
                Ok(store.verify(|progress| {
                    bar.add(BytesFrom::File, progress.bytes - shown);
                    shown = progress.bytes;
                    ControlFlow::Continue(())
                })?)
            }
        }
    }

    async fn clear(&self) -> Result<Cleared, Failure> {
        match self {
            Self::Daemon(daemon) => Ok(daemon.cache_clear().await?),
            Self::Own(store) => {
                let before = store.stats();
                store.clear()?;
                Ok(Cleared::of(&before))
            }
        }
    }
}

/// Opens the cache that commands use where no daemon runs.
fn open_own() -> Result<Store, Failure> {
    let config = Config::embedded()?;
    Ok(Store::open(&StoreConfig::from(&config.cache))?)
}

/// What `cache stats --json` prints.
#[derive(Debug, Serialize)]
struct Stats {
    /// The user's own cache; none where it is the daemon's.
    dir: Option<PathBuf>,
    #[serde(flatten)]
    cache: StoreStats,
}

impl Stats {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        let stats = &self.cache;
        match &self.dir {
            None => writeln!(to, "the daemon's cache")?,
            Some(dir) => writeln!(to, "your own cache in {} (no daemon runs)", dir.display())?,
        }
        writeln!(to, "on disk    {} of {}", HumanBytes(stats.bytes_on_disk), HumanBytes(stats.limit_now))?;
        if stats.limit_now < stats.limit {
            writeln!(to, "           {} are configured, but the disk is to be kept free", HumanBytes(stats.limit))?;
        }
        writeln!(to, "readable   {}", HumanBytes(stats.live_bytes))?;
        writeln!(to, "segments   {}", HumanCount(stats.segments))?;
        writeln!(to, "blocks     {}", HumanCount(stats.blocks))?;
        writeln!(to, "read       {} hits, {} misses", HumanCount(stats.hits), HumanCount(stats.misses))?;
        writeln!(to, "appended   {}", HumanCount(stats.appended))?;
        writeln!(to, "dropped    {} for space, {} for age", HumanCount(stats.evicted), HumanCount(stats.expired))?;
        if stats.corrupt > 0 {
            writeln!(to, "damaged    {}", HumanCount(stats.corrupt))?;
        }
        if let Some(paused) = stats.paused {
            writeln!(to, "takes nothing now: {paused}")?;
        }
        Ok(())
    }
}

/// Prints page after page: a cache has a million segments and more.
async fn list(cache: &Cache, json: bool) -> Result<(), Failure> {
    let mut after = None;
    let mut first = true;
    if json {
        output::write(|to| write!(to, "{{\"segments\": ["))?;
    }
    loop {
        let page = cache.page(after).await?;
        output::write(|to| {
            page.segments.iter().try_for_each(|segment| {
                let separator = if std::mem::take(&mut first) { "\n" } else { ",\n" };
                if json {
                    write!(to, "{separator}")?;
                    serde_json::to_writer(&mut *to, segment)?;
                    Ok(())
                } else {
                    write_segment(segment, to)
                }
            })
        })?;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if json { output::write(|to| writeln!(to, "\n]}}")) } else { Ok(()) }
}

fn write_segment(segment: &SegmentLine, to: &mut dyn Write) -> io::Result<()> {
    writeln!(
        to,
        "{}  {:>3}/{:<3} blocks  {:>10}  {}  {} old",
        segment.id,
        segment.blocks,
        segment.block_count,
        HumanBytes(segment.bytes).to_string(),
        trust_word(segment.trust),
        HumanDuration(std::time::Duration::from_secs(segment.age_seconds)),
    )
}

fn trust_word(trust: Trust) -> &'static str {
    match trust {
        Trust::Blind => "blind  ",
        Trust::Claimed => "claimed",
        Trust::Bound => "bound  ",
    }
}

fn write_verified(verified: &VerifyProgress, to: &mut dyn Write) -> io::Result<()> {
    let VerifyProgress { blocks, bytes, corrupt, .. } = verified;
    writeln!(to, "read {blocks} blocks, {}: {corrupt} damaged", HumanBytes(*bytes))
}

#[derive(Debug, Error)]
#[error("{blocks} blocks of the cache were damaged")]
struct DamagedBlocks {
    blocks: u64,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InUse { .. } => Self::new(ExitStatus::CacheInUse, error)
                .help("wait for the other command, or start peerdistd, which serves many at once"),
            StoreError::File(error) => error.into(),
            _ => Self::new(ExitStatus::Failure, error),
        }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let status = match error.source.kind() {
            io::ErrorKind::PermissionDenied => ExitStatus::NotPermitted,
            _ => ExitStatus::Failure,
        };
        Self::new(status, error)
    }
}
