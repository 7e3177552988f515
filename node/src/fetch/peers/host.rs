//! One host: how many of our requests it has, how fast it answers, and whether it can take another.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::outages::{OutCause, Outages, STRIKES};
use crate::fetch::Moment;

/// Requests that a host which has not delivered yet gets at once.
const FIRST_LIMIT: u32 = 2;
/// Requests that a peer gets at once: an exchange carries one block, so this is what keeps the line full.
const MAX_LIMIT: u32 = 16;
/// Requests that a hosted cache gets at once, at least and at most, as soon as it delivered anything. It is there for
/// nothing else.
const HOSTED_LIMIT: RangeInclusive<u32> = 32..=128;
/// Answers quicker than this make the limit grow.
const QUICK: Duration = Duration::from_millis(500);
/// Answers slower than this make it shrink: more requests would only queue.
const SLOW: Duration = Duration::from_secs(1);
/// How soon a busy host is asked again; it doubles with every busy answer in a row.
const FIRST_BUSY: Duration = Duration::from_millis(30);
const MAX_BUSY_DOUBLINGS: u32 = 5;
const MAX_ADDRESSES: usize = 4;

/// How a request to a host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A verified block, after this long.
    Delivered {
        /// From the request to the verified bytes.
        took: Duration,
    },
    /// A list of what it holds, after this long. That it says so brings no byte nearer.
    Listed {
        /// From the request to the list.
        took: Duration,
    },
    /// An empty answer for something it never claimed: no fault.
    NotHeld,
    /// An empty answer for something it claims to hold, after this long.
    Busy {
        /// From the request to the answer.
        took: Duration,
    },
    /// No progress, or no end, in time.
    TimedOut,
    /// No connection, or one that broke.
    Unreachable,
    /// An answer that is no answer to the request.
    Refused,
    /// A block with the wrong hash, by a hash list that proves itself.
    BadHash,
    /// We ended it ourselves; also a wrong hash by a list that proves nothing.
    Cancelled,
}

/// Whether a host can take a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can.
    Ready,
    /// It has as many of our requests as it may have.
    Full,
    /// It said that it is busy.
    Busy {
        /// When to come back.
        until: Moment,
    },
    /// It is not to be asked.
    Out {
        /// Until when.
        until: Moment,
        /// Why.
        cause: OutCause,
    },
}

/// What a host is to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It answered a Probe.
    Peer,
    /// A hosted cache of the configuration. Its blocks of version 2 are blind, so that a wrong one may be somebody else's
    /// fault: it stays in use for all other segments unless that happens again and again.
    HostedCache,
}

/// What is known of one host. One host on two address families is one host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) kind: Kind,
    pub(super) addresses: Vec<SocketAddr>,
    preferred: usize,
    pub(super) seen: Moment,
    in_flight: u32,
    limit: u32,
    latency: Option<Duration>,
    delivered: u64,
    busy_until: Moment,
    busy_in_a_row: u32,
    outages: Outages,
}

impl Host {
    pub(super) fn new(kind: Kind, seen: Moment) -> Self {
        Self {
            kind,
            addresses: Vec::new(),
            preferred: 0,
            seen,
            in_flight: 0,
            limit: FIRST_LIMIT,
            latency: None,
            delivered: 0,
            busy_until: Moment::ZERO,
            busy_in_a_row: 0,
            outages: Outages::new(kind),
        }
    }

    /// Where it is from now on.
    pub(super) fn set_addresses(&mut self, mut addresses: Vec<SocketAddr>) {
        addresses.truncate(MAX_ADDRESSES);
        if self.addresses != addresses {
            self.addresses = addresses;
            self.preferred = 0;
        }
    }

    /// Whether it was out and has not delivered anything since: a block, where it was out for want of blocks.
    pub(super) fn is_on_probation(&self) -> bool {
        self.outages.is_on_probation()
    }

    /// Whether it was out because it failed, and has not answered since.
    pub(super) fn has_yet_to_answer(&self) -> bool {
        self.outages.has_yet_to_answer()
    }

    /// Returns whether there was room for another address.
    pub(super) fn add_address(&mut self, address: SocketAddr) -> bool {
        let room = self.addresses.len() < MAX_ADDRESSES;
        if room {
            self.addresses.push(address);
        }
        room
    }

    /// The address to ask at.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.addresses.get(self.preferred).or(self.addresses.first()).copied()
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The expected time of one more request, for choosing among hosts: lower is better.
    pub(super) fn load(&self, typical: Duration) -> Duration {
        let base = self.latency.unwrap_or(typical);
        base * (self.in_flight + 1) * (1 + 8 * self.outages.faults())
    }

    pub(super) fn standing(&self, now: Moment) -> Standing {
        match self.outages.out(now) {
            Some((until, cause)) => Standing::Out { until, cause },
            _ if self.busy_until > now => Standing::Busy { until: self.busy_until },
            _ if self.in_flight >= self.limit => Standing::Full,
            _ => Standing::Ready,
        }
    }

    pub(super) fn begin(&mut self, now: Moment) {
        self.in_flight += 1;
        self.seen = now;
    }

    pub(super) fn finish(&mut self, now: Moment, outcome: Outcome) {
        let was_full = self.in_flight >= self.limit;
        self.in_flight = self.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Delivered { took } => {
                self.busy_in_a_row = 0;
                self.outages.block_came(now);
                self.answered_in(took, was_full);
            }
            Outcome::Listed { took } => self.answered_in(took, was_full),
            Outcome::NotHeld => {
                self.outages.answered();
                self.busy_in_a_row = 0;
            }
            Outcome::Busy { took } => self.is_busy(now, took),
            Outcome::TimedOut | Outcome::Refused => self.strike(now, STRIKES),
            Outcome::Unreachable => {
                // The other family may still work; the strikes count all the same.
                self.preferred = (self.preferred + 1) % self.addresses.len().max(1);
                let strikes = match self.kind {
                    Kind::Peer => STRIKES,
                    // Others wait to take its place, and it is looked after again soon.
                    Kind::HostedCache => u32::try_from(self.addresses.len().max(1)).unwrap_or(STRIKES).min(STRIKES),
                };
                self.strike(now, strikes);
            }
            Outcome::BadHash => self.outages.sent_wrong_bytes(now),
            Outcome::Cancelled => {}
        }
    }

    /// A reader waited since then for a block that the host says it holds: in vain, and it was the host's turn.
    pub(super) fn kept_waiting(&mut self, now: Moment, since: Moment) {
        self.outages.kept_waiting(now, since);
    }

    /// A reader waited since then for what the host was asked for, in vain or not.
    pub(super) fn was_waited_for(&mut self, now: Moment, since: Moment) {
        self.outages.was_waited_for(now, since);
    }

    fn answered_in(&mut self, took: Duration, was_full: bool) {
        self.delivered += 1;
        self.limit = self.limit.max(self.least());
        self.outages.works();
        self.latency = Some(self.latency.map_or(took, |smoothed| (smoothed * 7 + took) / 8));
        if took < QUICK && was_full {
            let most = if self.kind == Kind::Peer { MAX_LIMIT } else { *HOSTED_LIMIT.end() };
            self.limit = (self.limit + 1).min(most);
        } else if took > SLOW {
            self.limit = (self.limit - 1).max(self.least());
        }
    }

    /// Requests that it has at once however badly it goes.
    fn least(&self) -> u32 {
        if self.kind == Kind::HostedCache && self.delivered > 0 { *HOSTED_LIMIT.start() } else { 1 }
    }

    fn is_busy(&mut self, now: Moment, took: Duration) {
        // Requests that were under way together get their busy answers together: that is one time, not many.
        if self.busy_until > now {
            return;
        }
        let pause = FIRST_BUSY * (1 << self.busy_in_a_row.min(MAX_BUSY_DOUBLINGS));
        self.busy_until = now + pause;
        self.busy_in_a_row += 1;
        self.limit = (self.limit / 2).max(self.least());
        self.outages.was_busy(now, took + pause);
    }

    fn strike(&mut self, now: Moment, allowed: u32) {
        self.limit = (self.limit / 2).max(self.least());
        self.outages.strike(now, allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::outages::LEAST_WAIT;
    use super::*;

    const fn s(seconds: u64) -> Moment {
        Moment::from_secs(seconds)
    }

    /// At once.
    const BUSY: Outcome = Outcome::Busy { took: Duration::ZERO };

    fn host() -> Host {
        host_of(Kind::Peer)
    }

    fn hosted_cache() -> Host {
        host_of(Kind::HostedCache)
    }

    fn host_of(kind: Kind) -> Host {
        let mut host = Host::new(kind, s(0));
        host.add_address("10.0.0.1:80".parse().unwrap());
        host.add_address("[fe80::1]:80".parse().unwrap());
        host
    }

    fn end(host: &mut Host, now: Moment, outcome: Outcome) {
        host.begin(now);
        host.finish(now, outcome);
    }

    #[test]
    fn the_limit_grows_with_success_and_is_halved_by_failure() {
        let mut host = host();
        let quick = Outcome::Delivered { took: Duration::from_millis(2) };
        for _ in 0..100 {
            while host.standing(s(1)) == Standing::Ready {
                host.begin(s(1));
            }
            host.finish(s(1), quick);
        }
        assert_eq!(host.limit(), MAX_LIMIT);
        host.finish(s(1), Outcome::TimedOut);
        assert_eq!(host.limit(), MAX_LIMIT / 2);
        host.finish(s(1), Outcome::Delivered { took: s(2) });
        assert_eq!(host.limit(), MAX_LIMIT / 2 - 1);
    }

    #[test]
    fn three_failures_put_it_out_for_longer_every_time() {
        let mut host = host();
        let mut now = s(0);
        let mut periods = Vec::new();
        for _ in 0..8 {
            while !matches!(host.standing(now), Standing::Out { .. }) {
                end(&mut host, now, Outcome::TimedOut);
            }
            let Standing::Out { until, cause: OutCause::Failures } = host.standing(now) else { panic!("not out") };
            periods.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(periods, [10, 20, 40, 80, 160, 320, 600, 600]);
        end(&mut host, now, Outcome::Delivered { took: s(0) });
        for _ in 0..2 {
            end(&mut host, now, Outcome::TimedOut);
            assert_eq!(host.standing(now), Standing::Ready);
        }
        end(&mut host, now, Outcome::TimedOut);
        assert_eq!(host.standing(now), Standing::Out { until: now + s(10), cause: OutCause::Failures });
    }

    #[test]
    fn a_bad_hash_is_ten_minutes() {
        let mut host = host();
        end(&mut host, s(5), Outcome::BadHash);
        assert_eq!(host.standing(s(5)), Standing::Out { until: s(605), cause: OutCause::BadHash });
        // Failures of requests that were still under way do not shorten it.
        for _ in 0..5 {
            end(&mut host, s(6), Outcome::TimedOut);
        }
        assert_eq!(host.standing(s(604)), Standing::Out { until: s(605), cause: OutCause::BadHash });
        assert_eq!(host.standing(s(605)), Standing::Ready);
    }

    #[test]
    fn a_hosted_cache_is_out_once_no_address_of_it_answers_and_soon_asked_again() {
        let mut cache = hosted_cache();
        end(&mut cache, s(1), Outcome::Unreachable);
        assert_eq!(cache.standing(s(1)), Standing::Ready, "it has another address");
        end(&mut cache, s(1), Outcome::Unreachable);
        assert_eq!(cache.standing(s(1)), Standing::Out { until: s(6), cause: OutCause::Failures });
        assert!(cache.is_on_probation());
        let mut periods = Vec::new();
        let mut now = s(6);
        for _ in 0..5 {
            end(&mut cache, now, Outcome::Unreachable);
            let Standing::Out { until, .. } = cache.standing(now) else { panic!("not out") };
            periods.push((until - now).as_secs());
            now = until;
        }
        assert_eq!(periods, [10, 20, 40, 60, 60]);
        end(&mut cache, now, Outcome::Delivered { took: s(0) });
        assert!(!cache.is_on_probation());
        for _ in 0..2 {
            end(&mut cache, now, Outcome::TimedOut);
            assert_eq!(cache.standing(now), Standing::Ready, "being slow once is no reason");
        }
    }

    #[test]
    fn a_hosted_cache_that_delivers_gets_many_requests_at_once() {
        let mut cache = hosted_cache();
        assert_eq!(cache.limit(), FIRST_LIMIT);
        end(&mut cache, s(1), Outcome::Delivered { took: Duration::from_millis(1) });
        assert_eq!(cache.limit(), 32);
        for outcome in [BUSY, Outcome::TimedOut, Outcome::Delivered { took: s(2) }, BUSY] {
            end(&mut cache, s(9), outcome);
            assert_eq!(cache.limit(), 32);
        }
    }

    #[test]
    fn single_wrong_blocks_do_not_put_a_hosted_cache_out() {
        let mut cache = hosted_cache();
        for _ in 0..8 {
            end(&mut cache, s(1), Outcome::BadHash);
        }
        assert_eq!(cache.standing(s(1)), Standing::Ready);
        end(&mut cache, s(1), Outcome::BadHash);
        assert_eq!(cache.standing(s(1)), Standing::Out { until: s(61), cause: OutCause::BadHash });
        assert!(cache.is_on_probation());
        let mut mixed = hosted_cache();
        for _ in 0..100 {
            end(&mut mixed, s(1), Outcome::BadHash);
            for _ in 0..8 {
                end(&mut mixed, s(1), Outcome::Delivered { took: s(0) });
            }
        }
        assert_eq!(mixed.standing(s(1)), Standing::Ready, "one in nine is somebody else's poison");
    }

    #[test]
    fn who_keeps_readers_waiting_is_out_for_longer_every_time_until_a_block_comes() {
        for (kind, expected) in
            [(Kind::Peer, [10, 20, 40, 80, 160, 320, 600, 600]), (Kind::HostedCache, [5, 10, 20, 40, 60, 60, 60, 60])]
        {
            let mut host = host_of(kind);
            let mut now = s(10);
            host.kept_waiting(now, s(5));
            assert_eq!(host.standing(now), Standing::Ready, "once is no reason");
            for seconds in expected {
                // Lists are no blocks, and what is busy or not there is none either.
                for outcome in [Outcome::Listed { took: s(0) }, Outcome::NotHeld, Outcome::Cancelled] {
                    end(&mut host, now, outcome);
                }
                let since = now;
                now += s(5);
                host.kept_waiting(now, since);
                assert_eq!(host.standing(now), Standing::Out { until: now + s(seconds), cause: OutCause::KeptWaiting });
                assert!(host.is_on_probation());
                now += s(seconds);
            }
            end(&mut host, now, Outcome::Delivered { took: s(0) });
            assert!(!host.is_on_probation());
            host.kept_waiting(now + s(5), now);
            assert_eq!(host.standing(now + s(5)), Standing::Ready);
        }
    }

    #[test]
    fn waits_that_overlap_are_one_and_short_ones_and_those_with_a_block_are_none() {
        let mut host = host();
        for _ in 0..9 {
            host.kept_waiting(s(10), s(5));
            host.kept_waiting(s(11), s(6));
            host.kept_waiting(s(11), s(11) - LEAST_WAIT / 2);
        }
        assert_eq!(host.outages.faults(), 1);
        end(&mut host, s(12), Outcome::Delivered { took: s(0) });
        host.kept_waiting(s(20), s(11));
        assert_eq!(host.outages.faults(), 0);
    }

    #[test]
    fn busy_is_soon_over_and_counted_once_per_burst() {
        let mut host = host();
        for _ in 0..2 {
            host.begin(s(1));
        }
        host.finish(s(1), BUSY);
        host.finish(s(1), BUSY);
        assert_eq!(host.standing(s(1)), Standing::Busy { until: s(1) + FIRST_BUSY });
        end(&mut host, s(2), BUSY);
        assert_eq!(host.standing(s(2)), Standing::Busy { until: s(2) + FIRST_BUSY * 2 });
        for i in 3..20 {
            end(&mut host, s(i), BUSY);
        }
        assert_eq!(host.standing(s(19)), Standing::Busy { until: s(19) + FIRST_BUSY * 32 });
    }

    #[test]
    fn a_hosted_cache_that_is_busy_for_long_is_out_unless_it_delivers_much_between() {
        for (blocks, is_out) in [(0, true), (1, true), (40, false)] {
            let mut cache = hosted_cache();
            let mut was_out = false;
            for i in 0..1000 {
                end(&mut cache, s(i), BUSY);
                was_out |= matches!(cache.standing(s(i)), Standing::Out { cause: OutCause::KeptWaiting, .. });
                (0..blocks).for_each(|_| end(&mut cache, s(i), Outcome::Delivered { took: s(0) }));
            }
            assert_eq!(was_out, is_out, "{blocks} blocks between");
        }
    }

    #[test]
    fn the_time_until_a_hosted_cache_says_that_it_is_busy_counts() {
        let mut cache = hosted_cache();
        for i in 1..=3 {
            end(&mut cache, s(10 * i), Outcome::Busy { took: Duration::from_millis(1900) });
            (0..2).for_each(|_| end(&mut cache, s(10 * i), Outcome::Delivered { took: s(0) }));
            assert_eq!(matches!(cache.standing(s(10 * i)), Standing::Out { .. }), i == 3, "{i}");
        }
    }

    #[test]
    fn who_is_waited_for_too_long_in_all_is_out_for_a_minute() {
        let out = |until| Standing::Out { until, cause: OutCause::KeptWaiting };
        for kind in [Kind::Peer, Kind::HostedCache] {
            let mut host = host_of(kind);
            host.was_waited_for(s(15), s(10));
            assert_eq!(host.standing(s(15)), Standing::Ready, "one wait is no reason");
            host.was_waited_for(s(15), s(10));
            host.was_waited_for(s(15), s(12));
            assert_eq!(host.standing(s(15)), Standing::Ready, "the same time counts once");
            end(&mut host, s(17), Outcome::Delivered { took: s(2) });
            host.was_waited_for(s(17), s(14));
            assert_eq!(host.standing(s(17)), out(s(77)));
            host.was_waited_for(s(70), s(17));
            assert_eq!(host.standing(s(77)), Standing::Ready, "while it is out nothing counts");
            end(&mut host, s(77), Outcome::Listed { took: s(0) });
            assert!(host.is_on_probation(), "a list is no block");
            host.was_waited_for(s(81), s(77));
            assert_eq!(host.standing(s(81)), out(s(141)), "half of the time is left");
            end(&mut host, s(141), Outcome::Delivered { took: s(0) });
            assert!(!host.is_on_probation());
        }
    }

    #[test]
    fn blocks_make_good_the_time_that_readers_wait() {
        // So many blocks every second, for which readers wait all the time.
        for (kind, blocks, is_out) in [
            (Kind::Peer, 3, true),
            (Kind::Peer, 5, false),
            (Kind::HostedCache, 11, true),
            (Kind::HostedCache, 15, false),
        ] {
            let mut host = host_of(kind);
            let mut was_out = false;
            for i in 1..100 {
                host.was_waited_for(s(i), s(i - 1));
                was_out |= matches!(host.standing(s(i)), Standing::Out { .. });
                (0..blocks).for_each(|_| end(&mut host, s(i), Outcome::Delivered { took: s(1) }));
            }
            assert_eq!(was_out, is_out, "{kind:?}, {blocks} blocks a second");
        }
    }

    #[test]
    fn the_other_family_is_tried_when_a_connection_fails() {
        let mut host = host();
        assert!(host.address().unwrap().is_ipv4());
        end(&mut host, s(1), Outcome::Unreachable);
        assert!(host.address().unwrap().is_ipv6());
        end(&mut host, s(1), Outcome::TimedOut);
        assert!(host.address().unwrap().is_ipv6());
        end(&mut host, s(1), Outcome::Unreachable);
        assert!(host.address().unwrap().is_ipv4());
    }
}
