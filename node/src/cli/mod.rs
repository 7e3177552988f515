//! The verbs of `peerdist`.
//!
//! | verb | module |
//! |---|---|
//! | `demo` | [`demo`] |
//! | `serve` | [`serve`] |
//! | `get` | [`get`] |
//! | `hash` | [`hash`] |
//! | `show` | [`show`] |
//! | `decode` | [`decode`] |
//! | `capture` | [`capture`] |
//! | `craft` | [`craft`] |
//! | `replay` | [`replay`] |
//! | `probe` | [`probe`] |
//! | `cache stats`, `list`, `verify`, `clear`, `add` | [`cache`] |
//! | `feature list`, `enable`, `disable` | [`feature`] |
//! | `publish`, `unpublish`, `publications` | [`publish`] |
//! | `watch` | [`watch`] |
//! | `status` | [`status`] |
//! | `hosted-cache status` | [`hosted_cache`] |
//! | `check-config` | [`check_config`] |
//!
//! Results go to standard output, with `--json` as exactly one object (`watch`, `decode`, `craft` and `replay`: one a
//! line); everything else goes to standard error. Colour and progress bars appear on terminals alone. Exit statuses are [`ExitStatus`].

mod args;
pub mod cache;
pub mod capture;
pub mod check_config;
pub mod craft;
pub mod decode;
pub mod demo;
mod exit;
pub mod feature;
pub mod get;
pub mod hash;
pub mod hosted_cache;
mod output;
mod printable;
pub mod probe;
mod process;
mod progress;
pub mod publish;
mod refused;
pub mod replay;
pub mod scrub;
pub mod serve;
pub mod show;
pub mod status;
pub mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use args::{
    Arguments, ByteRange, CacheAddArguments, CacheArguments, CacheVerb, CaptureArguments, CapturedProtocol,
    CheckConfigArguments, ContentInfoVersion, CraftArguments, DaemonArguments, DecodeArguments, DecodedForm,
    DemoArguments, FeatureArguments, FeatureEnableArguments, FeatureVerb, GetArguments, HashArguments, HashName,
    HostArgument, HostedCacheArguments, HostedCacheVerb, IdentifierArguments, ProbeArguments, PublicationsArguments,
    PublishArguments, ReplayArguments, ScrubArguments, SecretArgumentError, SecretArguments, SegmentSecretArgument,
    SendTarget, ServeArguments, ShowArguments, ShownArguments, StatusArguments, UnpublishArguments, Verb,
    WatchArguments,
};
pub use exit::{ExitStatus, Failure};
pub use output::Output;
pub use progress::{BytesFrom, Progress};

/// Runs `peerdist` with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    run(std::env::args_os()).into()
}

/// Runs `peerdistd` with the process's arguments.
#[must_use]
pub fn daemon_main() -> ExitCode {
    match DaemonArguments::try_parse() {
        Ok(arguments) => finish(daemon(&arguments)),
        Err(error) => usage(&error),
    }
    .into()
}

fn daemon(arguments: &DaemonArguments) -> Result<(), Failure> {
    process::follow_parent(arguments.with_parent)?;
    crate::daemon::run(&arguments.config)
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitStatus {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    finish(match arguments.verb {
        Verb::Demo(arguments) => block_on(demo::run(arguments)),
        Verb::Serve(arguments) => block_on(serve::run(arguments)),
        Verb::Get(arguments) => block_on(get::run(arguments)),
        Verb::CheckConfig(arguments) => check_config::run(&arguments),
        Verb::Hash(arguments) => hash::run(&arguments),
        Verb::Show(arguments) => show::run(&arguments),
        Verb::Decode(arguments) => decode::run(&arguments),
        Verb::Capture(arguments) => block_on(capture::run(arguments)),
        Verb::Craft(arguments) => craft::run(&arguments),
        Verb::Replay(arguments) => replay::run(&arguments),
        Verb::Scrub(arguments) => scrub::run(&arguments),
        Verb::Probe(arguments) => block_on(probe::run(arguments)),
        Verb::Cache(arguments) => block_on(cache::run(arguments)),
        Verb::Feature(arguments) => block_on(feature::run(arguments)),
        Verb::Publish(arguments) => block_on(publish::run(arguments)),
        Verb::Unpublish(arguments) => block_on(publish::unpublish(arguments)),
        Verb::Publications(arguments) => block_on(publish::list(arguments)),
        Verb::Watch(arguments) => block_on(watch::run(arguments)),
        Verb::HostedCache(arguments) => block_on(hosted_cache::run(arguments)),
        Verb::Status(arguments) => block_on(status::run(arguments)),
        Verb::Daemon(arguments) => daemon(&arguments),
    })
}

fn block_on(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitStatus::Failure, error))?;
    let result = runtime.block_on(verb);
    // A verb that was interrupted leaves file operations on the blocking threads; they are not worth waiting for.
    runtime.shutdown_background();
    result
}

fn usage(error: &clap::Error) -> ExitStatus {
    // Nothing is left to do where the terminal is gone.
    let _ = error.print();
    if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Success }
}

fn finish(result: Result<(), Failure>) -> ExitStatus {
    match result {
        Ok(()) => ExitStatus::Success,
        Err(failure) => {
            failure.print();
            failure.status()
        }
    }
}
