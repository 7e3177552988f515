//! What goes on in the background: forcing blocks to the disk, and dropping what is too old or too much.

use std::io::ErrorKind;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::core::Core;
use super::entry::Entry;
use super::locks::lock;
use super::types::{FileAction, FileError};

impl Core {
    /// Forces everything that was appended to the disk: records, then the entries about them, then the names.
    pub(super) fn sync(&self) -> Result<(), FileError> {
        let (packs, directory_changed) = {
            let mut writer = lock(&self.writer);
            let mut packs = std::mem::take(&mut writer.unsynced);
            packs.extend(writer.active.clone());
            (packs, std::mem::take(&mut writer.directory_changed))
        };
        let mut failed = None;
        for pack in packs {
            let synced = pack.sync_data(&self.open_files).and_then(|end| {
                let writer = lock(&self.writer);
                if let Some(end) = end
                    && writer.packs.contains_key(&pack.sequence)
                {
                    self.append_entry(&pack, &Entry::Synced { offset: end as u32 })?;
                }
                drop(writer);
                pack.sync_sidecar()
            });
            let mut writer = lock(&self.writer);
            let is_active = writer.active.as_ref().is_some_and(|active| active.sequence == pack.sequence);
            match synced {
                Ok(()) if is_active => {}
                Ok(()) => pack.close_sidecar(),
                // It was dropped meanwhile.
                Err(error) if error.source.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    failed = Some(error);
                    if !is_active {
                        writer.unsynced.push(pack);
                    }
                }
            }
        }
        if directory_changed && let Err(error) = self.sync_directory() {
            lock(&self.writer).directory_changed = true;
            failed = Some(error);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Ends appending and lets another process have the directory.
    fn close(&self) -> Result<(), FileError> {
        self.erase_damaged();
        let synced = self.sync();
        lock(&self.writer).closed = true;
        let unlocked = flock(&self.dir_file, FlockOperation::Unlock);
        synced.and(unlocked.map_err(|error| FileAction::Lock.at(&self.dir)(error.into())))
    }
}

/// An open store and the thread that maintains it. Ends with the last handle.
pub(super) struct Maintained {
    pub(super) core: Arc<Core>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Maintained {
    /// Maintains a store every `interval`, and whenever it is tight.
    pub(super) fn start(core: Core, interval: Duration) -> Result<Self, FileError> {
        let core = Arc::new(core);
        let thread = thread::Builder::new().name("store".to_owned()).spawn({
            let core = Arc::clone(&core);
            let interval = interval.max(Duration::from_millis(1));
            move || {
                while core.signal.wait(interval) == Wake::Maintain {
                    if let Err(error) = core.sync() {
                        tracing::warn!(%error, "the cache cannot be forced to the disk");
                    }
                    core.tidy();
                }
            }
        });
        let thread = thread.map_err(FileAction::Open.at(&core.dir))?;
        Ok(Self { core, thread: Mutex::new(Some(thread)) })
    }

    /// Ends the thread and closes the store. The second time it does nothing.
    pub(super) fn stop(&self) -> Result<(), FileError> {
        let Some(thread) = lock(&self.thread).take() else { return Ok(()) };
        self.core.signal.raise(Wake::Stop);
        // A panic of the thread was reported by itself, and there is nothing to hand on to.
        let _ = thread.join();
        self.core.close()
    }
}

impl Drop for Maintained {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "the cache was not closed in order");
        }
    }
}

/// Wakes the thread that maintains a store.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: Mutex<Option<Wake>>,
    changed: Condvar,
}

/// What the thread is woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    Maintain,
    Stop,
}

impl Signal {
    pub(super) fn raise(&self, wake: Wake) {
        let mut raised = lock(&self.raised);
        if *raised != Some(Wake::Stop) {
            *raised = Some(wake);
        }
        self.changed.notify_one();
    }

    /// Waits until the signal is raised, or for as long.
    fn wait(&self, interval: Duration) -> Wake {
        let raised = lock(&self.raised);
        let waited = self.changed.wait_timeout_while(raised, interval, |raised| raised.is_none());
        let (mut raised, _) = waited.unwrap_or_else(PoisonError::into_inner);
        raised.take().unwrap_or(Wake::Maintain)
    }
}
