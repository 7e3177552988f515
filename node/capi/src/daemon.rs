//! The one background thread: it speaks to the daemon, for all instances of the process.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use peerdist_node::control::client::Connection;
use tokio::runtime::Handle;

use crate::abi::{DWORD, ERROR_NO_SYSTEM_RESOURCES, PEERDIST_ERROR_SERVICE_UNAVAILABLE};
use crate::signals;

/// A synchronous function waits for the daemon at most so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// So long the thread stays awake for an answer.
const AWAKE: Duration = Duration::from_micros(100);

/// The thread's runtime and the connection that all instances share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Daemon {
    /// The process that has the thread: a forked child has none.
    process: u32,
    runtime: Handle,
    pub(crate) connection: Connection,
}

static DAEMON: Mutex<Option<Daemon>> = Mutex::new(None);

impl Daemon {
    /// The thread of this process, started when the first one asks.
    ///
    /// # Errors
    /// ERROR_NO_SYSTEM_RESOURCES.
    pub(crate) fn of_process() -> Result<Self, DWORD> {
        let mut known = DAEMON.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(daemon) = known.as_ref().filter(|daemon| daemon.is_of_this_process()) {
            return Ok(daemon.clone());
        }
        let runtime = start().map_err(|_| ERROR_NO_SYSTEM_RESOURCES)?;
        let daemon = Self { process: std::process::id(), runtime, connection: Connection::from_env() };
        // What a parent had is left alone: its thread does not run here.
        std::mem::forget(known.replace(daemon.clone()));
        Ok(daemon)
    }

    pub(crate) fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Does something on the thread, and waits for it.
    ///
    /// # Errors
    /// PEERDIST_ERROR_SERVICE_UNAVAILABLE where the daemon does not answer.
    pub(crate) fn wait_for<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, DWORD>> + Send + 'static,
    ) -> Result<T, DWORD> {
        let (sender, result) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let in_time = tokio::time::timeout(PATIENCE, task).await;
            let result = in_time.unwrap_or(Err(PEERDIST_ERROR_SERVICE_UNAVAILABLE));
            // The receiver waits.
            let _ = sender.send(result);
        });
        result.recv().unwrap_or(Err(PEERDIST_ERROR_SERVICE_UNAVAILABLE))
    }
}

/// Waits for an answer that comes at once, nearly always: stays awake for it a little, because falling asleep and being woken
/// takes longer than most answers from a cache do.
pub(crate) async fn at_once<T>(answer: impl Future<Output = T>) -> T {
    let mut answer = pin!(answer);
    let sleepy = Instant::now() + AWAKE;
    poll_fn(|context| {
        let polled = answer.as_mut().poll(context);
        if polled.is_pending() && Instant::now() < sleepy {
            context.waker().wake_by_ref();
        }
        polled
    })
    .await
}

/// Starts the thread with a runtime that lives as long as the process.
fn start() -> io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new().name("peerdist".to_owned()).spawn(move || {
        signals::keep_away();
        runtime.block_on(std::future::pending::<()>());
    })?;
    Ok(handle)
}
