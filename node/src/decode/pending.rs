//! Which request an answer belongs to.
//!
//! HTTP says so by the order alone. After a request was dropped or lost, answers of that connection are not paired until
//! both sides are level again: no request is outstanding, and who asks has had all that was answered.

use std::collections::VecDeque;

use super::message::Answered;

/// The most requests of one connection that wait for their answers.
pub(super) const MAX_ASKED: usize = 64;

/// A request whose answer has not come.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Which of the connection's requests it is.
    pub(super) id: u64,
    pub(super) is_head: bool,
    /// The path of a POST to one of the protocols' paths, which are short.
    pub(super) path: Option<Box<str>>,
    /// What was handed on of it.
    pub(super) shown: Option<Answered>,
    /// The packet in which it began, where that is known.
    packet: Option<Packet>,
}

/// What a packet says of the order of messages.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) side: usize,
    /// Whether who says it has had all that was seen of the other side, which has said nothing since it had this.
    pub(super) is_fresh: bool,
    /// Whether it was acknowledged before anything of its side was seen.
    pub(super) is_late: bool,
    /// Whether the messages that end with it are in it and in no other.
    pub(super) is_alone: bool,
    /// Itself, where not all packets were seen in order: in others the order says it all, whatever they acknowledge.
    pub(super) packet: Option<Packet>,
}

/// The sequence numbers of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    pub(super) start: u32,
    /// Behind its last byte.
    pub(super) end: u32,
    pub(super) acknowledged: u32,
}

/// The requests of a connection that wait for their answers.
#[derive(Debug)]
pub(super) struct Pending {
    asked: VecDeque<Asked>,
    requests: u64,
    /// Which side asks, once it has.
    side: Option<usize>,
    /// Requests that are outstanding and cannot be paired; none where all can.
    astray: Option<u64>,
    /// What was said last; none where there are no packets.
    said: Option<Said>,
    /// The packet in which the head of each side began, where that is known.
    heads: [Option<Packet>; 2],
    /// The side that the other one has answered inside a head.
    interrupted: Option<usize>,
    /// Answers that came before anything was asked.
    unasked: u64,
    /// The size of the smallest request.
    smallest: u64,
    /// Bytes that were lost, or not understood, before the first request.
    lost: u64,
    /// A request whose answer began before it was whole: which one, and what was handed on of it since.
    overtaken: Option<(u64, Option<Answered>)>,
    /// What was handed on of requests that cannot be paired, until somebody is told.
    unpaired: Vec<Answered>,
}

impl Pending {
    pub(super) fn new() -> Self {
        Self {
            asked: VecDeque::new(),
            requests: 0,
            side: None,
            astray: None,
            said: None,
            heads: [None; 2],
            interrupted: None,
            unasked: 0,
            smallest: u64::MAX,
            lost: 0,
            overtaken: None,
            unpaired: Vec::new(),
        }
    }

    /// A side says something.
    pub(super) fn says(&mut self, said: Said) {
        self.said = Some(said);
    }

    /// A side begins a head with what comes next.
    pub(super) fn begin(&mut self, side: usize) {
        let packet = self.packet(side);
        if let Some(place) = self.heads.get_mut(side) {
            *place = packet;
        }
    }

    /// The other side speaks while a head of this one is not whole yet: it may be answered already.
    pub(super) fn interrupt(&mut self, side: usize) {
        self.interrupted = Some(side);
    }

    /// The packet that a message of this side came in, where that is known.
    fn packet(&self, side: usize) -> Option<Packet> {
        self.said.as_ref().filter(|said| said.side == side && said.is_alone)?.packet
    }

    /// A side asks, with head and body of this size. Returns the number of the request in this connection.
    pub(super) fn request(&mut self, side: usize, size: u64, is_head: bool, path: Option<&str>) -> u64 {
        self.requests += 1;
        self.side = Some(side);
        self.smallest = self.smallest.min(size).max(1);
        if let Some(outstanding) = &mut self.astray {
            // One was counted when they were lost.
            let more = self.lost.div_ceil(self.smallest).saturating_sub(1);
            *outstanding = outstanding.saturating_add(more);
        }
        self.lost = 0;
        // Nothing is outstanding, and no answer overtakes it.
        let is_interrupted = self.interrupted.take_if(|interrupted| *interrupted == side).is_some();
        let is_fresh = |said: &Said| said.side == side && said.is_fresh && said.is_alone;
        if self.said.as_ref().is_none_or(is_fresh) && !is_interrupted {
            self.astray.take_if(|outstanding| *outstanding == 0);
        }
        if self.astray.is_none() && self.asked.len() >= MAX_ASKED {
            self.go_astray();
        }
        let is_late = self.said.as_ref().is_some_and(|said| said.is_late);
        match &mut self.astray {
            Some(_) if is_late && self.unasked > 0 => self.unasked -= 1,
            Some(outstanding) => *outstanding += 1,
            None => {
                let (id, path) = (self.requests, path.map(Box::from));
                let packet = self.heads.get(side).copied().flatten();
                self.asked.push_back(Asked { id, is_head, path, shown: None, packet });
            }
        }
        self.requests
    }

    /// A request was handed on.
    pub(super) fn shown(&mut self, id: u64, shown: Answered) {
        match (self.asked.iter_mut().find(|asked| asked.id == id), &mut self.overtaken) {
            (Some(asked), _) => asked.shown = Some(shown),
            (None, Some((overtaken, place))) if *overtaken == id => *place = Some(shown),
            _ => self.unpaired.push(shown),
        }
    }

    /// What was handed on of a request since its answer began.
    pub(super) fn shown_since(&mut self, id: u64) -> Option<Answered> {
        self.overtaken.take_if(|(overtaken, shown)| *overtaken == id && shown.is_some())?.1
    }

    /// The answer to a request is given up.
    pub(super) fn give_up(&mut self, asked: Asked) {
        let shown = asked.shown.or_else(|| self.shown_since(asked.id));
        self.unpaired.extend(shown);
    }

    /// What came for a request does not answer it: something was lost that was not seen.
    pub(super) fn reject(&mut self, asked: Asked) {
        self.give_up(asked);
        self.go_astray();
    }

    /// A side answers: the request that it belongs to, where that is certain.
    pub(super) fn answer(&mut self, side: usize) -> Option<Asked> {
        if self.said.as_ref().is_some_and(|said| said.is_late) && self.requests > 0 {
            // Its request came before those that were seen: the first of them acknowledges it.
            self.go_astray();
            return None;
        }
        self.unasked += u64::from(self.requests == 0);
        if let Some(outstanding) = &mut self.astray {
            *outstanding = outstanding.saturating_sub(1);
            return None;
        }
        let answer = self.packet(side);
        let Some(asked) = self.asked.pop_front_if(|asked| asked.may_have(answer)) else {
            // Its request may be behind it, or was not seen.
            self.go_astray();
            return None;
        };
        if asked.shown.is_none() {
            self.overtaken = Some((asked.id, None));
        }
        Some(asked)
    }

    /// The place in what a side says was lost, with so many bytes: requests or answers may be missing.
    pub(super) fn lose(&mut self, side: usize, bytes: u64) {
        self.go_astray();
        let Some(outstanding) = &mut self.astray else { return };
        if self.side.is_none_or(|asks| asks == side) {
            // As many requests as may have been in it.
            *outstanding = outstanding.saturating_add(bytes.div_ceil(self.smallest).max(1));
            self.lost = if self.requests == 0 { self.lost.saturating_add(bytes) } else { 0 };
        } else if *outstanding == 1 {
            // An answer that alone was due will not come.
            *outstanding = 0;
        }
    }

    /// A side has said so many bytes of which nobody knows what they are: there may be requests among them.
    pub(super) fn skip(&mut self, side: usize, bytes: u64) {
        if self.side.is_none_or(|asks| asks == side) {
            self.lose(side, bytes);
        }
    }

    /// Whether answers are not paired now.
    pub(super) fn is_astray(&self) -> bool {
        self.astray.is_some()
    }

    /// Whether anything was asked.
    pub(super) fn has_begun(&self) -> bool {
        self.requests > 0
    }

    /// No request that waits now can be paired.
    pub(super) fn go_astray(&mut self) {
        let outstanding = self.astray.get_or_insert_default();
        *outstanding += self.asked.len() as u64;
        self.unpaired.extend(self.asked.drain(..).filter_map(|asked| asked.shown));
    }

    /// Requests that turned out not to be paired since the last call.
    pub(super) fn unpaired(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.unpaired)
    }

    /// The requests that got no answer.
    pub(super) fn unanswered(self) -> impl Iterator<Item = Answered> {
        self.asked.into_iter().filter_map(|asked| asked.shown)
    }

    /// The memory that it takes.
    pub(super) fn held(&self) -> usize {
        let overtaken = self.overtaken.iter().filter_map(|(_, shown)| shown.as_ref());
        self.asked.iter().map(Asked::held).sum::<usize>() + overtaken.map(Answered::held).sum::<usize>()
    }
}

impl Asked {
    /// Whether an answer in this packet can be to it: who answers has had it, and who asked had not had the answer.
    fn may_have(&self, answer: Option<Packet>) -> bool {
        let Some((asked, answer)) = self.packet.zip(answer) else { return true };
        let is_behind = |one: u32, other: u32| (one.wrapping_sub(other) as i32).is_positive();
        is_behind(answer.acknowledged, asked.start) && is_behind(answer.end, asked.acknowledged)
    }

    fn held(&self) -> usize {
        let text = self.path.as_ref().map_or(0, |path| path.len());
        size_of::<Self>() + text + self.shown.as_ref().map_or(0, Answered::held)
    }
}
