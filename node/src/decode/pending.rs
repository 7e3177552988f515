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
    /// Whether each side had had all that the other one has said when it last said something.
    has_had_all: [bool; 2],
    /// Answers that came before anything was asked.
    unasked: u64,
    /// Whether what is said now had been acknowledged by then.
    is_late: bool,
    /// The size of the smallest request.
    smallest: u64,
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
            has_had_all: [true; 2],
            unasked: 0,
            is_late: false,
            smallest: u64::MAX,
            overtaken: None,
            unpaired: Vec::new(),
        }
    }

    /// A side says something: whether it had had all of the other one by then, and whether that came before the first
    /// packets of the other one, which acknowledge it.
    pub(super) fn says(&mut self, side: usize, has_had_all: bool, is_late: bool) {
        self.is_late = is_late;
        self.has_had_all = std::array::from_fn(|of| of == side && has_had_all);
    }

    /// A side asks, with head and body of this size. Returns the number of the request in this connection.
    pub(super) fn request(&mut self, side: usize, size: u64, is_head: bool, path: Option<&str>) -> u64 {
        self.requests += 1;
        self.side = Some(side);
        self.smallest = self.smallest.min(size);
        // Nothing is outstanding, and no answer overtakes it.
        if self.has_had_all.get(side) == Some(&true) {
            self.astray.take_if(|outstanding| *outstanding == 0);
        }
        if self.astray.is_none() && self.asked.len() >= MAX_ASKED {
            self.go_astray();
        }
        match &mut self.astray {
            Some(_) if self.is_late && self.unasked > 0 => self.unasked -= 1,
            Some(outstanding) => *outstanding += 1,
            None => {
                let (id, path) = (self.requests, path.map(Box::from));
                self.asked.push_back(Asked { id, is_head, path, shown: None });
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

    /// An answer begins: the request that it belongs to, where that is certain.
    pub(super) fn answer(&mut self) -> Option<Asked> {
        if self.is_late && self.requests > 0 {
            // Its request came before those that were seen: the first of them acknowledges it.
            return None;
        }
        self.unasked += u64::from(self.requests == 0);
        if let Some(outstanding) = &mut self.astray {
            *outstanding = outstanding.saturating_sub(1);
            return None;
        }
        let Some(asked) = self.asked.pop_front() else {
            // Its request may be behind it.
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
        } else if *outstanding == 1 {
            // An answer that alone was due will not come.
            *outstanding = 0;
        }
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
    fn held(&self) -> usize {
        let text = self.path.as_ref().map_or(0, |path| path.len());
        size_of::<Self>() + text + self.shown.as_ref().map_or(0, Answered::held)
    }
}
