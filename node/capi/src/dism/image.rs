//! What a session is about: the daemon of the running system, or a system that does not run.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;

use peerdist_node::control::client::{AdminClient, ClientError};
use peerdist_node::control::features::{FeatureList, FeatureNames};
use peerdist_node::feature::{FeatureFile, FeatureInfo};

use super::failure::Failure;
use super::types::{DISM_ONLINE_IMAGE, DISMAPI_E_MUST_SPECIFY_ONLINE_IMAGE, E_FAIL};
use crate::signals;

/// One thread of this process at a time changes an offline system.
static CHANGING: Mutex<()> = Mutex::new(());

/// A system whose features are asked for and changed.
#[derive(Debug)]
pub(super) enum Image {
    /// The daemon behind this admin socket.
    Online(PathBuf),
    /// The system with this file.
    Offline(FeatureFile),
}

impl Image {
    /// The image of a path. The running system has to be named as such, and its daemon has to answer.
    pub(super) fn open(path: &str) -> Result<Self, Failure> {
        if is_online(path) {
            let image = Self::Online(AdminClient::from_env().path().to_owned());
            image.features()?;
            return Ok(image);
        }
        if Path::new(path).canonicalize().is_ok_and(|path| path == Path::new("/")) {
            return Err(Failure::new(
                DISMAPI_E_MUST_SPECIFY_ONLINE_IMAGE,
                format!("{path} is the running system, which is called {DISM_ONLINE_IMAGE}"),
            ));
        }
        Ok(Self::Offline(FeatureFile::of_system(Path::new(path))?))
    }

    /// Every feature.
    pub(super) fn features(&self) -> Result<Vec<FeatureInfo>, Failure> {
        match self {
            Self::Online(socket) => ask(async || AdminClient::new(socket.clone()).features().await),
            Self::Offline(file) => Ok(file.load()?.list()),
        }
    }

    /// Enables all of these features or none.
    pub(super) fn enable(&self, names: &[&str], with_parents: bool) -> Result<(), Failure> {
        match self {
            Self::Online(socket) => {
                let names = wire(names, with_parents);
                ask(async || AdminClient::new(socket.clone()).enable_features(&names).await)?;
            }
            Self::Offline(file) => {
                let _alone = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
                file.change(|set| set.enable(names, with_parents))?;
            }
        }
        Ok(())
    }

    /// Disables all of these features or none.
    pub(super) fn disable(&self, names: &[&str]) -> Result<(), Failure> {
        match self {
            Self::Online(socket) => {
                let names = wire(names, false);
                ask(async || AdminClient::new(socket.clone()).disable_features(&names).await)?;
            }
            Self::Offline(file) => {
                let _alone = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
                file.change(|set| set.disable(names))?;
            }
        }
        Ok(())
    }
}

/// Whether a path of an image stands for the running system.
pub(super) fn is_online(path: &str) -> bool {
    path.eq_ignore_ascii_case(DISM_ONLINE_IMAGE)
}

fn wire(names: &[&str], all: bool) -> FeatureNames {
    FeatureNames { names: names.iter().map(|name| (*name).to_owned()).collect(), all }
}

/// Asks the daemon, on a thread of its own: the caller's may belong to a runtime, in which another one must not block.
fn ask(call: impl AsyncFnOnce() -> Result<FeatureList, ClientError> + Send) -> Result<Vec<FeatureInfo>, Failure> {
    let asked = thread::scope(|scope| {
        let thread = thread::Builder::new().name("dism".to_owned()).spawn_scoped(scope, || {
            signals::keep_away();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(call()))
        });
        thread?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    let answer: Result<_, ClientError> = asked.map_err(|error: std::io::Error| Failure::new(E_FAIL, error))?;
    Ok(answer?.features)
}
