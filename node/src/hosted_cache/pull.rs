//! Fetching what was offered: straight MSG_GETBLKS to the host that made the offer ([MS-PCHC] 3.1.5, [MS-PCCRR] 3.1.4.3).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use peerdist_protocol::content::{BlockIndex, CryptoAlgoId, EncryptedBlock};
use peerdist_protocol::retrieval::{Answer, Exchange};
use peerdist_tap::Verdict;
use peerdist_transport::retrieval::client::ExchangeError;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant as Moment, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::offered::Kept;
use super::queue::{Fetching, Next, Run};
use super::sources::Host;
use super::turns::Standing;
use crate::store::AppendError;

/// After the cache took no block, none is fetched for so long.
const CACHE_PAUSE: Duration = Duration::from_secs(5);
/// After this host had no socket for a fetch.
const LOCAL_PAUSE: Duration = Duration::from_millis(100);
/// A busy host is asked again after so long.
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// A run ends after so many answers in a row without a block.
const MAX_EMPTY_IN_A_ROW: u32 = 2;
/// How long a run waits for its host, all in all: far more than its blocks take on any network, and no host holds a
/// place for longer.
pub(super) const RUN_TIME: Duration = Duration::from_secs(20);
/// The same for the first try, before what is left waits behind everything else. No host is so slow on a network of the
/// branch.
const FIRST_RUN_TIME: Duration = Duration::from_secs(5);
/// How long a run waits for the first block of a host of which none came yet.
const FIRST_BLOCK_TIME: Duration = Duration::from_secs(4);
/// How often records of segments that are gone are looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Fetches until `stop`, as many runs at once as are allowed.
pub(super) async fn pull(cache: Arc<Inner>, stop: CancellationToken) {
    let max_runs = cache.settings.max_pulls.get() as usize;
    let mut runs = JoinSet::new();
    let mut tidy_at = Moment::now() + TIDY_INTERVAL;
    loop {
        let resume_at = cache.paused_until();
        while runs.len() < max_runs && resume_at.is_none() && cache.on.load(Ordering::Relaxed) {
            let next = cache.desk().next(Instant::now());
            match next {
                Some(Next::Run(run)) => {
                    runs.spawn(Arc::clone(&cache).run(run));
                }
                Some(Next::Record { host, id }) => {
                    let cache = Arc::clone(&cache);
                    runs.spawn(async move {
                        let records = Arc::clone(&cache);
                        let read = tokio::task::spawn_blocking(move || records.records.read(&id)).await;
                        cache.desk().record_read(host, &id, read.ok().flatten(), Instant::now());
                    });
                }
                Some(Next::Skipped) => yield_now().await,
                None => break,
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = cache.wake.notified() => {}
            Some(_) = runs.join_next() => {}
            () = sleep_until(resume_at.unwrap_or(tidy_at)) => {}
        }
        if Moment::now() >= tidy_at {
            tidy_at = Moment::now() + TIDY_INTERVAL;
            let cache = Arc::clone(&cache);
            tokio::task::spawn_blocking(move || cache.tidy(TIDY_INTERVAL));
        }
    }
    runs.shutdown().await;
}

/// What came of a block.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Kept,
    /// Nothing that can be kept.
    Wrong,
    /// The host has not got it.
    Empty,
    /// Nothing, and the rest of the run is not worth a try.
    GiveUp,
    /// The run waited for its host too long.
    TooSlow,
}

impl Inner {
    async fn run(self: Arc<Self>, run: Run) {
        self.pulling.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let left = self.blocks(&run).await;
        self.pulling.fetch_sub(1, Ordering::Relaxed);
        let now = Instant::now();
        let mut desk = self.desk();
        desk.held(&run, now - began, now);
        match left {
            Some(left) => desk.run_too_slow(run, left, now),
            None => desk.run_ended(run.host, &run.segment, now),
        }
    }

    /// Fetches the blocks of a run. Returns those that are left where it took too long.
    async fn blocks(self: &Arc<Self>, run: &Run) -> Option<Range<BlockIndex>> {
        let Run { host, ref segment, ref blocks, .. } = *run;
        let mut is_fresh = self.desk().sources.standing(host.source, Instant::now()) == Standing::Fresh;
        let run_time = if run.again { self.run_time } else { FIRST_RUN_TIME.min(self.run_time) };
        let mut time = if is_fresh { FIRST_BLOCK_TIME.min(run_time) } else { run_time };
        let mut empty_in_a_row = 0;
        for index in segment.offered.wanted(&self.store, blocks.clone()) {
            if self.paused_until().is_some() {
                self.desk().fetch_again(&segment.offered.id);
                segment.fall_short();
                break;
            }
            let is_open = !segment.is_hopeless()
                && self.on.load(Ordering::Relaxed)
                && self.desk().sources.admit(host.source, Instant::now()).is_ok();
            let came = if is_open { self.block(host, segment, index, &mut time).await } else { Came::GiveUp };
            match came {
                Came::Kept => {
                    empty_in_a_row = 0;
                    if std::mem::take(&mut is_fresh) {
                        time = run_time;
                    }
                }
                Came::TooSlow => return Some(index..blocks.end),
                Came::Wrong => segment.fall_short(),
                Came::Empty => {
                    segment.miss();
                    empty_in_a_row += 1;
                    if empty_in_a_row == MAX_EMPTY_IN_A_ROW {
                        break;
                    }
                }
                Came::GiveUp => {
                    segment.fall_short();
                    break;
                }
            }
        }
        None
    }

    /// Fetches a block and takes the time that this took from `time`.
    async fn block(
        self: &Arc<Self>,
        host: Host,
        segment: &Arc<Fetching>,
        index: BlockIndex,
        time: &mut Duration,
    ) -> Came {
        let since = Moment::now();
        let asked = timeout(*time, self.ask(host, segment, index)).await;
        *time = time.saturating_sub(since.elapsed());
        let Ok(answer) = asked else { return Came::TooSlow };
        match answer {
            Ok((Answer::Block(block, _), verdict)) => {
                let came = self.keep(host, segment, index, block).await;
                verdict.say(|| match came {
                    Came::Kept => "taken: the block is right".to_owned(),
                    Came::Wrong => "refused: the block has another hash".to_owned(),
                    _ => "not kept".to_owned(),
                });
                came
            }
            Ok((Answer::Empty, verdict)) => {
                verdict.say(|| "no block: not held there, or busy".to_owned());
                self.desk().counted.pull_failed("empty");
                Came::Empty
            }
            Ok(_) => {
                let mut desk = self.desk();
                desk.counted.pull_failed("unexpected");
                desk.strike(host, Instant::now());
                Came::GiveUp
            }
            Err(error) => self.failed(host, &error).await,
        }
    }

    async fn ask(&self, host: Host, segment: &Fetching, index: BlockIndex) -> Result<(Answer, Verdict), ExchangeError> {
        let exchange = Exchange::get_block(segment.offered.id, index, CryptoAlgoId::Aes128);
        let time = self.client.limits().exchange_time;
        let answer = self.client.exchange_for_verdict(host.address, &exchange, time).await;
        if segment.offered.block_count > 1 || !matches!(answer, Ok((Answer::Empty, _))) {
            return answer;
        }
        // Who offers a segment of one block has it: the host was busy.
        sleep(BUSY_PAUSE).await;
        self.client.exchange_for_verdict(host.address, &exchange, time).await
    }

    async fn keep(
        self: &Arc<Self>,
        host: Host,
        segment: &Arc<Fetching>,
        index: BlockIndex,
        block: EncryptedBlock,
    ) -> Came {
        let size = block.data.len() as u64;
        let (cache, fetching) = (Arc::clone(self), Arc::clone(segment));
        let kept = tokio::task::spawn_blocking(move || fetching.offered.keep(&cache.store, index, &block)).await;
        let now = Instant::now();
        let mut desk = self.desk();
        desk.sources.sent(host.source, size, now);
        match kept {
            Ok(Kept::Yes) => {
                desk.counted.pulled(segment.offered.tag, size);
                if segment.keep() {
                    desk.first_kept(host.source, segment, now);
                }
                let can_begin = desk.delivered(host.source, now);
                let record = desk.remember(&segment.offered, host.source, now);
                drop(desk);
                if can_begin {
                    self.wake.notify_one();
                }
                if let Some(record) = record {
                    self.record(record);
                }
                Came::Kept
            }
            Ok(Kept::Wrong) => {
                desk.counted.pull_failed("wrong");
                if desk.strike(host, now) { Came::GiveUp } else { Came::Wrong }
            }
            Ok(Kept::Refused(AppendError::Malformed(error))) => {
                tracing::debug!(source = %host.address, segment = %segment.offered.id, %error, "an offered segment does not fit");
                desk.counted.pull_failed("contradiction");
                Came::GiveUp
            }
            Ok(Kept::Refused(AppendError::Refused(_))) => {
                desk.counted.pull_failed("cache");
                desk.fetch_again(&segment.offered.id);
                drop(desk);
                self.pause(CACHE_PAUSE);
                Came::GiveUp
            }
            // The runtime shuts down.
            Err(_) => Came::GiveUp,
        }
    }

    async fn failed(&self, host: Host, error: &ExchangeError) -> Came {
        tracing::debug!(source = %host.address, %error, "an offered block cannot be fetched");
        let now = Instant::now();
        {
            let mut desk = self.desk();
            desk.counted.pull_failed(error.as_str());
            match error {
                ExchangeError::Local(_) => {}
                ExchangeError::Rejected(_) | ExchangeError::TooLarge { .. } | ExchangeError::Incompatible { .. } => {
                    return if desk.strike(host, now) { Came::GiveUp } else { Came::Wrong };
                }
                ExchangeError::Connect(_)
                | ExchangeError::TimedOut(_)
                | ExchangeError::Http(_)
                | ExchangeError::Status(_) => desk.failed(host, "unreachable", now),
            }
        }
        if matches!(error, ExchangeError::Local(_)) {
            sleep(LOCAL_PAUSE).await;
        }
        Came::GiveUp
    }
}
