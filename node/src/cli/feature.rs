//! `peerdist feature`: the daemon's features, or those of a system that does not run.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use super::{ExitStatus, Failure, FeatureArguments, FeatureEnableArguments, FeatureVerb, Output};
use crate::control::client::{AdminClient, ClientError};
use crate::control::features::{FeatureList, FeatureNames};
use crate::control::wire::ErrorCode;
use crate::feature::{FeatureError, FeatureFile, FeatureFileError, FeatureState};

/// Does what the verb says, and prints what is then.
pub async fn run(arguments: FeatureArguments) -> Result<(), Failure> {
    let list = match &arguments.root {
        None => online(arguments.verb).await.map_err(refused)?,
        Some(root) => offline(root, &arguments.verb)?,
    };
    Output::new(arguments.json).print(&list, write_list)
}

async fn online(verb: FeatureVerb) -> Result<FeatureList, ClientError> {
    let daemon = AdminClient::from_env();
    match verb {
        FeatureVerb::List => daemon.features().await,
        FeatureVerb::Enable(FeatureEnableArguments { names, all }) => {
            daemon.enable_features(&FeatureNames { names, all }).await
        }
        FeatureVerb::Disable { names } => daemon.disable_features(&FeatureNames { names, all: false }).await,
    }
}

fn offline(root: &Path, verb: &FeatureVerb) -> Result<FeatureList, FeatureError> {
    let file = FeatureFile::of_system(root)?;
    let set = match verb {
        FeatureVerb::List => file.load()?,
        FeatureVerb::Enable(FeatureEnableArguments { names, all }) => file.change(|set| set.enable(names, *all))?,
        FeatureVerb::Disable { names } => file.change(|set| set.disable(names))?,
    };
    Ok(FeatureList { features: set.list() })
}

fn write_list(list: &FeatureList, to: &mut dyn Write) -> io::Result<()> {
    for info in &list.features {
        let state = match info.state {
            FeatureState::Staged => "disabled",
            FeatureState::Installed => "enabled",
        };
        writeln!(to, "{:<17}  {state:<8}  {}", info.name, info.description)?;
    }
    Ok(())
}

const NEEDS_PARENT: &str = "`--all` enables what it needs as well";

fn refused(error: ClientError) -> Failure {
    match &error {
        ClientError::Refused { error: ErrorCode::ParentDisabled, .. } => {
            Failure::new(ExitStatus::Failure, error).help(NEEDS_PARENT)
        }
        ClientError::NoDaemon { .. } => Failure::new(ExitStatus::NoDaemon, error).help(
            "start peerdistd, or name its socket in PEERDIST_ADMIN_SOCKET; `--root /` changes what the next start finds",
        ),
        ClientError::Refused { error: ErrorCode::Internal, .. } => Failure::new(ExitStatus::Failure, error).help(
            "let the daemon's user write there, or name another file in `[control] feature_file` of its configuration",
        ),
        _ => error.into(),
    }
}

impl From<FeatureError> for Failure {
    fn from(error: FeatureError) -> Self {
        match error {
            FeatureError::File(error) => error.into(),
            FeatureError::ParentDisabled { .. } => Self::new(ExitStatus::Failure, error).help(NEEDS_PARENT),
            FeatureError::UnknownFeature { .. } | FeatureError::NoneNamed => Self::new(ExitStatus::Failure, error),
        }
    }
}

impl From<FeatureFileError> for Failure {
    fn from(error: FeatureFileError) -> Self {
        match &error {
            FeatureFileError::Io { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Self::new(ExitStatus::NotPermitted, error).help("try again as the owner of that system, or with sudo")
            }
            FeatureFileError::Garbage { .. } => Self::new(ExitStatus::Failure, error)
                .help("mend it, or remove it: without it PeerDist is on and SMBHashGeneration off"),
            FeatureFileError::Io { .. } | FeatureFileError::Root { .. } | FeatureFileError::OutsideRoot { .. } => {
                Self::new(ExitStatus::Failure, error)
            }
        }
    }
}
