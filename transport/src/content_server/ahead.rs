//! Hashing a folder before anybody asks.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Shared;
use super::folder::{Folder, is_hidden};
use super::folder_answer::{hash, key_of};
use super::jobs::blocking;

/// Hashes every file of the folder that has no content information yet, one after the other.
pub(super) async fn hash_folder(shared: Arc<Shared>, folder: Arc<Folder>) {
    let (found, mut paths) = mpsc::channel(16);
    let root = folder.root().to_owned();
    let walking = tokio::task::spawn_blocking(move || walk(&root, &found));
    while let Some(path) = paths.recv().await {
        let (looking, with) = (folder.clone(), shared.clone());
        let looked = blocking(move || {
            let opened = looking.open_relative(&path).ok().filter(|opened| with.describes(opened.state.length))?;
            let key = key_of(&opened);
            with.kept.get(&key).is_none().then_some((opened.path, key))
        });
        let Ok(Some((path, key))) = looked.await else { continue };
        let resource = key.resource.clone();
        if shared.jobs.start(key.clone(), hash(shared.clone(), folder.clone(), path, key)) {
            shared.jobs.wait_for(&resource).await;
        }
    }
    // It ended when its channel did, and a panic there has been reported.
    let _ = walking.await;
}

/// Sends the paths of all files below the folder, relative to it. Links to folders are not followed: what they lead to
/// is found elsewhere, or not inside.
fn walk(root: &Path, found: &mpsc::Sender<PathBuf>) {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(root.join(&folder)) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "cannot read a folder");
                continue;
            }
        };
        for entry in entries.flatten() {
            let (name, Ok(kind)) = (entry.file_name(), entry.file_type()) else { continue };
            if is_hidden(&name) {
                continue;
            }
            let path = folder.join(name);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && found.blocking_send(path).is_err() {
                return;
            }
        }
    }
}
