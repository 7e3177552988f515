//! One connection: its bytes, gathered into turns. A turn is what one end says before the other does, a request or an
//! answer as a rule, so that a decision stands with the message that it is about.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::BytesMut;

use crate::{Carrier, Direction, MAX_SNAP_LENGTH, Place, Protocol, Record, Tap};

/// The most bytes of one turn; what goes on beyond it is another.
const MAX_TURN: usize = 1 << 20;
/// The most turns of a connection that wait for a verdict.
const MAX_TURNS: usize = 16;
/// The most bytes of a comment.
const MAX_COMMENT: usize = 1024;

/// A connection. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Line(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tap: Tap,
    local: SocketAddr,
    remote: SocketAddr,
    asks: Direction,
    is_tls: bool,
    /// Which way the last bytes went, known also while nobody captures: a request begins where they change.
    last: AtomicU8,
    /// Whether the state may have bytes of a capture.
    holds: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// That of the tap when this was begun.
    epoch: u64,
    protocol: Protocol,
    /// Whether a request was seen from its beginning.
    has_begun: bool,
    /// Bytes received and sent.
    offsets: [u64; 2],
    /// The last one grows until it is complete.
    turns: VecDeque<Turn>,
    turn_number: u64,
    /// Why the connection will end.
    end: String,
}

#[derive(Debug)]
struct Turn {
    number: u64,
    at: SystemTime,
    direction: Direction,
    offset: u64,
    acknowledged: u64,
    kept: BytesMut,
    size: usize,
    comment: String,
    is_complete: bool,
    /// Whether a [`Verdict`] will say more.
    waits: bool,
    is_end: bool,
}

const NOTHING: u8 = 0;

fn mark(direction: Direction) -> u8 {
    1 + direction as u8
}

impl Line {
    /// A connection that this node opened (it asks) or accepted.
    #[must_use]
    pub fn new(tap: &Tap, protocol: Protocol, local: SocketAddr, remote: SocketAddr, is_tls: bool, asks: bool) -> Self {
        Self(Arc::new(Inner {
            tap: tap.clone(),
            local,
            remote,
            asks: if asks { Direction::Sent } else { Direction::Received },
            is_tls,
            last: AtomicU8::new(NOTHING),
            holds: AtomicBool::new(false),
            state: Mutex::new(State::new(0, protocol, 0)),
        }))
    }

    /// What is said from now on is of this protocol, and what was received last.
    pub fn set_protocol(&self, protocol: Protocol) {
        if self.0.tap.is_on() {
            self.lock().protocol = protocol;
        }
    }

    /// Says what was decided about what was received last.
    pub fn decided(&self, comment: impl FnOnce() -> String) {
        let Some(mut state) = self.captured() else { return };
        if let Some(turn) = state.received() {
            turn.say(&comment());
        }
    }

    /// Says why the connection ends: with what is being received, or else with its end.
    pub fn failed(&self, comment: impl FnOnce() -> String) {
        let Some(mut state) = self.captured() else { return };
        let is_open = |turn: &&mut Turn| turn.direction == Direction::Received && !turn.is_complete && !turn.waits;
        match state.turns.back_mut().filter(is_open) {
            Some(turn) => turn.say(&comment()),
            None => state.end = comment(),
        }
    }

    /// Keeps what was received last until it is known what to say about it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let number = self.captured().and_then(|mut state| {
            let turn = state.received()?;
            turn.waits = true;
            Some(turn.number)
        });
        Verdict(number.map(|number| (self.clone(), number)))
    }

    /// Takes bytes that passed.
    pub(crate) fn passed<'b>(&self, direction: Direction, pieces: impl Iterator<Item = &'b [u8]>) {
        let Inner { tap, last, holds, asks, .. } = &*self.0;
        let before = last.load(Ordering::Relaxed);
        last.store(mark(direction), Ordering::Relaxed);
        let epoch = tap.epoch();
        if epoch == 0 {
            if holds.load(Ordering::Relaxed) {
                // Of a capture that has ended.
                self.lock().turns.clear();
                holds.store(false, Ordering::Relaxed);
            }
            return;
        }
        let mut state = self.lock();
        holds.store(true, Ordering::Relaxed);
        if state.epoch != epoch {
            *state = State::new(epoch, state.protocol, state.turn_number);
        }
        // The capture may have begun in the middle of a message.
        state.has_begun |= direction == *asks && before != mark(direction);
        if state.has_begun {
            for piece in pieces {
                state.take(direction, piece);
            }
            self.release(&mut state);
        }
    }

    /// Everything that was to be sent has left.
    pub(crate) fn flushed(&self) {
        let Some(mut state) = self.captured() else { return };
        if let Some(turn) = state.turns.back_mut().filter(|turn| turn.direction == Direction::Sent) {
            turn.is_complete = true;
            self.release(&mut state);
        }
    }

    /// The connection has ended.
    pub(crate) fn ended(&self) {
        let Some(mut state) = self.captured() else { return };
        if state.has_begun {
            let reason = std::mem::take(&mut state.end);
            let end = state.push(Direction::Sent);
            (end.is_end, end.is_complete) = (true, true);
            end.say(&reason);
            self.release(&mut state);
        }
    }

    /// The state, if it is that of a capture.
    fn captured(&self) -> Option<MutexGuard<'_, State>> {
        let epoch = self.0.tap.epoch();
        if epoch == 0 {
            return None;
        }
        Some(self.lock()).filter(|state| state.epoch == epoch)
    }

    /// Hands on the turns to which nothing is added any more.
    fn release(&self, state: &mut State) {
        while let Some(turn) = state.turns.front()
            && (turn.is_complete && !turn.waits || state.turns.len() > MAX_TURNS)
            && let Some(turn) = state.turns.pop_front()
        {
            self.hand_on(turn, state.protocol);
        }
    }

    fn hand_on(&self, turn: Turn, protocol: Protocol) {
        let Inner { tap, local, remote, asks, is_tls, .. } = &*self.0;
        let (from, to) = match turn.direction {
            Direction::Received => (*remote, *local),
            Direction::Sent => (*local, *remote),
        };
        let place = Place {
            offset: turn.offset,
            acknowledged: turn.acknowledged,
            is_request: turn.direction == *asks,
            is_tls: *is_tls,
        };
        tap.record(&Record {
            at: turn.at,
            protocol,
            direction: turn.direction,
            from,
            to,
            payload: turn.kept.freeze(),
            size: turn.size,
            comment: turn.comment,
            carrier: if turn.is_end { Carrier::End(place) } else { Carrier::Stream(place) },
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Turns are numbered on, since a [`Verdict`] may outlive a capture.
    fn new(epoch: u64, protocol: Protocol, turn_number: u64) -> Self {
        Self {
            epoch,
            protocol,
            has_begun: false,
            offsets: [0; 2],
            turns: VecDeque::new(),
            turn_number,
            end: String::new(),
        }
    }

    fn take(&mut self, direction: Direction, bytes: &[u8]) {
        let grows = |turn: &Turn| turn.direction == direction && !turn.is_complete && turn.size < MAX_TURN;
        if !self.turns.back().is_some_and(grows) {
            self.push(direction);
        }
        if let Some(turn) = self.turns.back_mut() {
            let room = MAX_SNAP_LENGTH.saturating_sub(turn.kept.len());
            turn.kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            turn.size += bytes.len();
        }
        let [received, sent] = &mut self.offsets;
        *(if direction == Direction::Received { received } else { sent }) += bytes.len() as u64;
    }

    /// Begins a turn, which completes the one before it.
    fn push(&mut self, direction: Direction) -> &mut Turn {
        if let Some(turn) = self.turns.back_mut() {
            turn.is_complete = true;
        }
        self.turn_number += 1;
        let [received, sent] = self.offsets;
        let (offset, acknowledged) = if direction == Direction::Received { (received, sent) } else { (sent, received) };
        let turn = Turn {
            number: self.turn_number,
            at: SystemTime::now(),
            direction,
            offset,
            acknowledged,
            kept: BytesMut::new(),
            size: 0,
            comment: String::new(),
            is_complete: false,
            waits: false,
            is_end: false,
        };
        self.turns.push_back_mut(turn)
    }

    /// What was received last, while it is here.
    fn received(&mut self) -> Option<&mut Turn> {
        self.turns.iter_mut().rev().find(|turn| turn.direction == Direction::Received)
    }
}

impl Turn {
    fn say(&mut self, text: &str) {
        if !self.comment.is_empty() && !text.is_empty() {
            self.comment.push_str("; ");
        }
        self.comment.push_str(text);
        let end = self.comment.floor_char_boundary(MAX_COMMENT);
        self.comment.truncate(end);
    }
}

/// The right to say what came of a message that was received. It goes to the captures when this was used or dropped.
#[derive(Debug, Default)]
pub struct Verdict(Option<(Line, u64)>);

impl Verdict {
    /// Says what came of it.
    pub fn say(mut self, comment: impl FnOnce() -> String) {
        self.give(Some(comment));
    }

    fn give(&mut self, comment: Option<impl FnOnce() -> String>) {
        let Some((line, number)) = self.0.take() else { return };
        let Some(mut state) = line.captured() else { return };
        if let Some(turn) = state.turns.iter_mut().find(|turn| turn.number == number) {
            turn.waits = false;
            turn.is_complete = true;
            if let Some(comment) = comment {
                turn.say(&comment());
            }
        }
        line.release(&mut state);
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        self.give(None::<fn() -> String>);
    }
}
