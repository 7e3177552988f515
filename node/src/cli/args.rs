//! The command line as clap sees it. These words are a contract; more may be added.

mod packets;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use peerdist_protocol::content::{ContentVersion, SegmentId};
use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_transport::content_server::DEFAULT_MINIMUM_SIZE;

pub use packets::{
    CaptureArguments, CapturedProtocol, CraftArguments, DecodeArguments, DecodedForm, HostArgument, ReplayArguments,
    ScrubArguments, SecretArgumentError, SegmentSecretArgument, SendTarget, ShownArguments,
};

use super::ExitStatus;
use crate::config::DEFAULT_PATH;

/// BranchCache for Linux: fetch content from the hosts of your LAN, and serve them.
#[derive(Debug, Parser)]
#[command(name = "peerdist", version, after_help = ExitStatus::HELP, max_term_width = 120, propagate_version = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The arguments of `peerdistd`.
#[derive(Debug, Parser)]
#[command(name = "peerdistd", version, about = "The BranchCache node of this host", after_help = ExitStatus::HELP)]
pub struct DaemonArguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub config: PathBuf,
    /// End when the process that started this one ends.
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show it at work: a content server and several peers on this host, one file
    Demo(DemoArguments),
    /// Serve a folder, or stand before a web server, and hand out content information
    Serve(ServeArguments),
    /// Download a URL, from peers where they have it
    Get(GetArguments),
    /// Make content information of a file
    Hash(HashArguments),
    /// Show content information, every field, with segment ids derived
    Show(ShowArguments),
    /// Take captures and messages apart, decrypt and verify the blocks in them
    Decode(DecodeArguments),
    /// Capture what the daemon sends and receives, with what it decided
    ///
    /// Needs no rights beyond those on the daemon's admin socket. Goes on until SIGINT or SIGTERM ends it, unless it is
    /// given an end.
    Capture(CaptureArguments),
    /// Make messages of JSON, and send them
    ///
    /// The objects that `peerdist decode --json` prints are valid input, and make the bytes that they were read from.
    Craft(CraftArguments),
    /// Send the requests of a capture to a host, and compare the answers
    Replay(ReplayArguments),
    /// Write a capture anew without what others must not know.
    Scrub(ScrubArguments),
    /// Ask the LAN who holds segments
    Probe(ProbeArguments),
    /// Look into the cache, check it, empty it, add to it
    Cache(CacheArguments),
    /// Turn BranchCache on and off
    Feature(FeatureArguments),
    /// Publish a file: the daemon hands its content information to your programs
    ///
    /// A publication lives as long as the session that made it: this command publishes, says so, and goes on until
    /// SIGINT or SIGTERM ends it and the publication with it. The daemon keeps content information, not the content.
    Publish(PublishArguments),
    /// Take back what you published
    ///
    /// Any session of yours may take back what another one published. A `peerdist publish` that did so goes on all the
    /// same, with nothing published.
    Unpublish(UnpublishArguments),
    /// List what you have published
    Publications(PublicationsArguments),
    /// Print the status of the service, and every change of it
    ///
    /// Each line is `disabled`, `unavailable` or `available`. A daemon that does not run is unavailable, and noticed
    /// when it comes. SIGINT or SIGTERM ends this.
    Watch(WatchArguments),
    /// Show what the daemon does
    Status(StatusArguments),
    /// What this host does as a hosted cache, or with the hosted caches of the branch
    HostedCache(HostedCacheArguments),
    /// Check a configuration file
    CheckConfig(CheckConfigArguments),
    /// Run the daemon in the foreground, as peerdistd does
    #[command(hide = true)]
    Daemon(DaemonArguments),
}

/// The arguments of `peerdist hosted-cache`.
#[derive(Debug, Args)]
pub struct HostedCacheArguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: HostedCacheVerb,
}

/// What to do with hosted mode.
#[derive(Debug, Subcommand)]
pub enum HostedCacheVerb {
    /// Show the offers, what came of them, and what waits
    Status(StatusArguments),
}

/// The arguments of `peerdist demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// The file that travels; the Rust toolchain's compiler library unless named.
    pub file: Option<PathBuf>,
    /// How many peers, or clients of the hosted cache.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=32))]
    pub peers: u8,
    /// The version of content information they use.
    #[arg(long, value_enum, default_value_t)]
    pub content_info: ContentInfoVersion,
    /// Show hosted mode: one more host is a hosted cache, and the others take from it instead of from each other.
    #[arg(long)]
    pub hosted: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `peerdist serve`.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// A folder, or the URL of a web server to stand before.
    #[arg(value_name = "DIR|URL")]
    pub what: String,
    /// Where to listen; port 0 takes any free one.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// The server secret, raw bytes; servers with the same one share peers. Without it one is made and kept in the
    /// state directory.
    #[arg(long, value_name = "FILE")]
    pub secret_key: Option<PathBuf>,
    /// Where content information is kept across restarts; $STATE_DIRECTORY or ~/.local/state/peerdist unless named.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Hash a folder's files when they are asked for, not from the start.
    #[arg(long)]
    pub no_hash_ahead: bool,
    /// Content of fewer bytes is served as it is.
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MINIMUM_SIZE)]
    pub min_size: u64,
    /// End when the process that started this one ends.
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// The arguments of `peerdist get`.
#[derive(Debug, Args)]
pub struct GetArguments {
    /// What to download.
    pub url: String,
    /// Where to write it; `-` is standard output. The last part of the URL's path unless named.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Say for every segment who was asked, who answered, and why bytes came from the origin.
    #[arg(long)]
    pub explain: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `peerdist hash`.
#[derive(Debug, Args)]
pub struct HashArguments {
    /// The content.
    pub file: PathBuf,
    /// The version of content information: v2 unless --hash asks for v1.
    #[arg(long, value_enum)]
    pub content_info: Option<ContentInfoVersion>,
    /// The hash of version 1; version 2 has only one.
    #[arg(long, value_enum)]
    pub hash: Option<HashName>,
    /// Describe these bytes only: the first and the last, counted from 0, as in HTTP; the last may be left out.
    #[arg(long, value_name = "FIRST-LAST", value_parser = parse_range)]
    pub range: Option<ByteRange>,
    /// The server secret.
    #[command(flatten)]
    pub secret: SecretArguments,
    /// Where to write the content information; `-` is standard output.
    #[arg(short, long, value_name = "OUT")]
    pub output: PathBuf,
    /// Print one JSON object about it.
    #[arg(long)]
    pub json: bool,
}

/// The server secret, in one of its forms.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("secret").required(true))]
pub struct SecretArguments {
    /// A file whose bytes are the server secret.
    #[arg(long, group = "secret", value_name = "FILE")]
    pub secret_key: Option<PathBuf>,
    /// The server secret as hexadecimal digits. Other users see it in the list of processes.
    #[arg(long, group = "secret", value_name = "HEX")]
    pub secret_key_hex: Option<String>,
    /// The text given to `netsh branchcache set key` or `Set-BCSecretKey`. Other users see it in the list of processes.
    #[arg(long, group = "secret", value_name = "TEXT")]
    pub passphrase: Option<String>,
}

/// The arguments of `peerdist show`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// A file with content information.
    pub content_information: PathBuf,
    /// Show segment secrets. Whoever has them can read the content.
    #[arg(long)]
    pub secrets: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `peerdist probe`.
#[derive(Debug, Args)]
pub struct ProbeArguments {
    /// Segment ids, hexadecimal.
    #[arg(required = true, value_name = "SEGMENT_ID")]
    pub segment_ids: Vec<SegmentId>,
    /// Send a version 2 Probe.
    #[arg(long)]
    pub v2: bool,
    /// Ask on this interface only; all that are up and can do multicast unless named. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub interface: Vec<String>,
    /// The UDP port of discovery.
    #[arg(long, default_value_t = 3702, hide = true)]
    pub port: u16,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `peerdist cache`.
#[derive(Debug, Args)]
pub struct CacheArguments {
    /// What to do with the cache.
    #[command(subcommand)]
    pub verb: CacheVerb,
    /// Print one JSON object.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with the cache: the daemon's, or your own where none runs.
#[derive(Debug, Subcommand)]
pub enum CacheVerb {
    /// Show how full it is
    Stats,
    /// List its segments
    List,
    /// Read every block and check it; damaged ones are dropped
    Verify,
    /// Drop everything
    Clear,
    /// Put a verified file into it
    Add(CacheAddArguments),
}

/// The arguments of `peerdist cache add`.
#[derive(Debug, Args)]
pub struct CacheAddArguments {
    /// The content.
    pub file: PathBuf,
    /// A file with the content information that it is checked against.
    #[arg(long, value_name = "CI")]
    pub content_information: PathBuf,
}

/// The arguments of `peerdist feature`.
#[derive(Debug, Args)]
pub struct FeatureArguments {
    /// What to do with the features.
    #[command(subcommand)]
    pub verb: FeatureVerb,
    /// The root directory of a system that does not run: its features, not the daemon's.
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with the features: PeerDist, which is also called BranchCache, and SMBHashGeneration.
#[derive(Debug, Subcommand)]
pub enum FeatureVerb {
    /// List them and their states
    List,
    /// Turn features on: all of them or, where that fails, none
    Enable(FeatureEnableArguments),
    /// Turn features off, and with them those that need them
    Disable {
        /// Which; in any case of letters.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

/// The arguments of `peerdist feature enable`.
#[derive(Debug, Args)]
pub struct FeatureEnableArguments {
    /// Which; in any case of letters.
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    /// Turn on what these need as well.
    #[arg(long)]
    pub all: bool,
}

/// The arguments of `peerdist publish`.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct PublishArguments {
    /// The content.
    pub file: PathBuf,
    /// Under which name.
    #[command(flatten)]
    pub identifier: IdentifierArguments,
    /// The version of the publication options: 1 makes content information of version 1 alone, 2 of both versions.
    #[arg(long, value_name = "1|2", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=2))]
    pub version: u32,
    /// Write the content information there, too; `-` is standard output.
    #[arg(short, long, value_name = "CI")]
    pub out: Option<PathBuf>,
    /// The version of content information that --out writes; v1 is what every client can process.
    #[arg(long, value_enum, requires = "out", default_value = "v1")]
    pub content_info: ContentInfoVersion,
    /// Print one JSON object about it.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `peerdist unpublish`.
#[derive(Debug, Args)]
pub struct UnpublishArguments {
    /// Under which name it was published.
    #[command(flatten)]
    pub identifier: IdentifierArguments,
}

/// The arguments of `peerdist publications`.
#[derive(Debug, Args)]
pub struct PublicationsArguments {
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The identifier of a publication, in one of its forms.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("identifier").required(true))]
pub struct IdentifierArguments {
    /// The identifier: 1 to 4096 bytes of your choice, unique among your own publications.
    #[arg(long, group = "identifier", value_name = "TEXT")]
    pub id: Option<String>,
    /// The identifier as hexadecimal digits.
    #[arg(long, group = "identifier", value_name = "HEX")]
    pub id_hex: Option<String>,
}

/// The arguments of `peerdist watch`.
#[derive(Debug, Args)]
pub struct WatchArguments {
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `peerdist status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `peerdist check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArguments {
    /// The configuration file.
    #[arg(required_unless_present = "print_default", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print a configuration with every key, its default and what it means.
    #[arg(long, conflicts_with = "file")]
    pub print_default: bool,
}

/// `v1` or `v2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ContentInfoVersion {
    /// Version 1: segments of 32 MiB in blocks of 64 KiB.
    V1,
    /// Version 2: segments of at most 128 KiB with content-defined borders.
    #[default]
    V2,
}

impl From<ContentInfoVersion> for ContentVersion {
    fn from(version: ContentInfoVersion) -> Self {
        match version {
            ContentInfoVersion::V1 => Self::V1,
            ContentInfoVersion::V2 => Self::V2,
        }
    }
}

/// The hashes of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum HashName {
    /// The only one that Windows retrieves.
    #[default]
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl From<HashName> for HashAlgorithm {
    fn from(name: HashName) -> Self {
        match name {
            HashName::Sha256 => Self::Sha256,
            HashName::Sha384 => Self::Sha384,
            HashName::Sha512 => Self::Sha512,
        }
    }
}

/// A range as HTTP writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte, counted from 0.
    pub first: u64,
    /// The last byte, which belongs to the range; `None` is the content's last.
    pub last: Option<u64>,
}

fn parse_range(text: &str) -> Result<ByteRange, RangeArgumentError> {
    let (first, last) = text.split_once('-').ok_or(RangeArgumentError)?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let first = number(first).ok_or(RangeArgumentError)?;
    let last = if last.is_empty() { None } else { Some(number(last).ok_or(RangeArgumentError)?) };
    if last.is_some_and(|last| last < first) {
        return Err(RangeArgumentError);
    }
    Ok(ByteRange { first, last })
}

/// The text is no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a range is FIRST-LAST or FIRST-, as in 0-65535")]
struct RangeArgumentError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
        DaemonArguments::command().debug_assert();
    }

    #[test]
    fn ranges_are_those_of_http() {
        assert_eq!(parse_range("0-0"), Ok(ByteRange { first: 0, last: Some(0) }));
        assert_eq!(parse_range("5-"), Ok(ByteRange { first: 5, last: None }));
        for bad in ["", "5", "-5", "5-4", "+1-2", "1-+2", "a-b", "1-2-3", "99999999999999999999-"] {
            assert_eq!(parse_range(bad), Err(RangeArgumentError), "{bad}");
        }
    }

    #[test]
    fn the_words_of_the_contract_parse() {
        for line in [
            "hash FILE --content-info v1 --hash sha384 --range 0-9 --secret-key K -o OUT",
            "hash FILE --secret-key-hex 00ff -o OUT",
            "hash FILE --passphrase TEXT -o OUT",
            "show CI --json",
            "probe 00ff 11ee --v2 --interface eth0 --json",
            "cache stats --json",
            "cache list",
            "cache verify",
            "cache clear",
            "cache add FILE --content-information CI",
            "feature list --json",
            "feature enable PeerDist SMBHashGeneration --all",
            "feature disable BranchCache --root DIR",
            "publish FILE --id TEXT --version 1 --out CI --content-info v1 --json",
            "publish FILE --id-hex 00ff",
            "unpublish --id TEXT",
            "publications --json",
            "watch --json",
            "capture -o FILE --force --seconds 5 --count 9 --protocol discovery --protocol hosted-cache --snaplen 96",
            "status --json",
            "check-config FILE",
        ] {
            let words = std::iter::once("peerdist").chain(line.split(' '));
            Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        for bad in ["hash FILE -o OUT", "hash FILE --passphrase A --secret-key B -o OUT", "show", "publish FILE"] {
            let words = std::iter::once("peerdist").chain(bad.split(' '));
            assert!(Arguments::try_parse_from(words).is_err(), "{bad}");
        }
    }
}
