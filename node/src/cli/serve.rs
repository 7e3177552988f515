//! `peerdist serve`: a content server in the foreground, for a folder or before another web server.

use std::io::ErrorKind;
use std::path::PathBuf;

use peerdist_transport::content_server::secret::{self, SecretFileError};
use peerdist_transport::content_server::{ContentServer, ContentServerConfig, Source, StartError};
use peerdist_transport::origin::Url;
use tokio::net::TcpListener;

use super::process::{follow_parent, interrupted};
use super::{ExitStatus, Failure, ServeArguments, output};

/// Runs `peerdist serve` until SIGINT or SIGTERM.
///
/// Prints one line to standard output, the URL it listens on: with port 0 that is how one learns the port.
pub async fn run(arguments: ServeArguments) -> Result<(), Failure> {
    follow_parent(arguments.with_parent)?;
    let state = match &arguments.state {
        Some(directory) => directory.clone(),
        None => default_state_directory()?,
    };
    std::fs::create_dir_all(&state)
        .map_err(|error| Failure::file("create", &state, error).help("name another place with --state DIR"))?;
    let key = arguments.secret_key.clone().unwrap_or_else(|| state.join("secret.key"));
    let secret = match arguments.secret_key {
        // A key that was named has to be there: another one would make content that nobody shares.
        Some(_) => secret::load(&key),
        None => secret::load_or_create(&key),
    }?;
    let mut config = ContentServerConfig::new(source(&arguments.what)?);
    config.state_directory = Some(state.join("content-information"));
    config.hash_ahead = !arguments.no_hash_ahead && matches!(config.source, Source::Folder(_));
    config.minimum_size = arguments.min_size;
    let server = ContentServer::new(config, secret)?;
    let listener = TcpListener::bind(arguments.listen).await.map_err(|error| {
        Failure::new(ExitStatus::Failure, format!("cannot listen on {}: {error}", arguments.listen))
            .help("name another address or port with --listen")
    })?;
    let address = listener.local_addr().map_err(|error| Failure::new(ExitStatus::Failure, error))?;
    output::write(|to| writeln!(to, "http://{address}/"))?;
    server.serve(listener, interrupted()).await;
    server.stop_hashing().await;
    Ok(())
}

fn source(what: &str) -> Result<Source, Failure> {
    if what.starts_with("http://") || what.starts_with("https://") {
        let url = what
            .parse::<Url>()
            .map_err(|error| Failure::new(ExitStatus::Usage, error).help("an upstream is http://HOST[:PORT][/PATH]"))?;
        return Ok(Source::Upstream(url));
    }
    Ok(Source::Folder(PathBuf::from(what)))
}

/// `$STATE_DIRECTORY` as systemd sets it, else `$XDG_STATE_HOME/peerdist`, else `~/.local/state/peerdist`.
fn default_state_directory() -> Result<PathBuf, Failure> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("STATE_DIRECTORY")
        .or_else(|| absolute("XDG_STATE_HOME").map(|home| home.join("peerdist")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state/peerdist")))
        .ok_or_else(|| {
            Failure::new(ExitStatus::Usage, "there is no place to keep content information")
                .help("name one with --state DIR")
        })
}

impl From<SecretFileError> for Failure {
    fn from(error: SecretFileError) -> Self {
        let is_forbidden = match &error {
            SecretFileError::Read { source, .. } | SecretFileError::Create { source, .. } => {
                source.kind() == ErrorKind::PermissionDenied
            }
            SecretFileError::Readable { .. } => true,
            SecretFileError::Random(_) | SecretFileError::Size { .. } => false,
        };
        Self::new(if is_forbidden { ExitStatus::NotPermitted } else { ExitStatus::Failure }, error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let status = match error {
            StartError::UpstreamUrl { .. } => ExitStatus::Usage,
            _ => ExitStatus::Failure,
        };
        Self::new(status, error)
    }
}
