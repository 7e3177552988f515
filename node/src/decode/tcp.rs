//! One direction of a TCP connection, put in order: segments that come twice, late or never.

use std::collections::BTreeMap;

use super::packet::Segment;

/// The most memory of one direction that waits for the bytes before it.
const MAX_WAITING: usize = 1 << 20;
/// The most segments of one direction that wait.
const MAX_WAITING_SEGMENTS: usize = 4096;

/// What a segment that waits takes beside its bytes.
const PER_SEGMENT: usize = 96;

/// The most bytes that one acknowledgement may say were not captured.
const MAX_LOST: i32 = 1 << 26;

/// The bytes that all connections together may hold. What does not fit is given up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(bytes)
    }

    /// Takes so many bytes if there are as many.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }

    pub(super) fn give_back(&mut self, bytes: usize) {
        self.0 += bytes;
    }

    pub(super) fn left(&self) -> usize {
        self.0
    }
}

/// What comes out, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Data(&'a [u8]),
    /// So many bytes were not captured.
    Gap(u64),
    /// The sender has ended.
    End,
}

/// A direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// What the other side acknowledged first, before anything of this one was seen.
    acknowledged_first: Option<u32>,
    /// The sequence number of the first byte.
    first: Option<u32>,
    /// The highest sequence number behind what was seen or acknowledged.
    highest: Option<u32>,
    /// The position of the byte that is due. Its lower half is the sequence number.
    next: Option<u64>,
    waiting: BTreeMap<u64, Box<[u8]>>,
    waiting_bytes: usize,
    /// Where the sender ends.
    end: Option<u64>,
    ended: bool,
}

impl Direction {
    /// Whether the sender has said where it ends.
    pub(super) fn has_end(&self) -> bool {
        self.ended || self.end.is_some()
    }

    /// Whether a SYN with this sequence number is not the one that this direction began with.
    pub(super) fn is_begun_by_another(&self, sequence: u32) -> bool {
        self.first.is_some_and(|first| first != sequence.wrapping_add(1))
    }

    /// Whether a segment begins where bytes are due, or before, and the beginning of this direction was seen.
    pub(super) fn is_due(&self, segment: &Segment<'_>) -> bool {
        let sequence = segment.sequence.wrapping_add(u32::from(segment.syn));
        let is_ahead = |next: u64| sequence.wrapping_sub(next as u32) as i32 > 0;
        segment.syn || self.next.is_some_and(|next| !is_ahead(next))
    }

    /// Whether a segment has bytes that have not been there yet: who says something again says nothing of the order.
    pub(super) fn is_new(&self, segment: &Segment<'_>) -> bool {
        let end = segment.sequence.wrapping_add((segment.payload.len() + segment.missing) as u32);
        let is_behind = |next: u64| (end.wrapping_sub(next as u32) as i32).is_positive();
        !segment.payload.is_empty() && self.next.is_none_or(is_behind)
    }

    /// Takes a segment; what can be handed on goes to `out`. Without a SYN, the first segment that is seen is taken
    /// for the first one.
    pub(super) fn segment(&mut self, segment: &Segment<'_>, budget: &mut Budget, out: &mut impl FnMut(Piece<'_>)) {
        if self.ended {
            return;
        }
        let sequence = segment.sequence.wrapping_add(u32::from(segment.syn));
        self.first.get_or_insert(sequence);
        // Where the other side has said more precisely where bytes are due, those before the segment are missing.
        let due = self.due().filter(|_| !segment.syn && self.lacks(sequence));
        let next = *self.next.get_or_insert(due.unwrap_or(1 << 32 | u64::from(sequence)));
        // Which of the two readings of a sequence number is meant, the nearer one says.
        let distance = sequence.wrapping_sub(next as u32) as i32;
        let start = next.saturating_add_signed(distance.into());
        let captured = start + segment.payload.len() as u64;
        let end = captured + segment.missing as u64;
        if segment.fin {
            self.end = Some(end);
        }
        if start > next && !segment.payload.is_empty() {
            self.wait(start, segment.payload, budget, out);
        } else {
            self.hand_on(start, segment.payload, out);
            self.drain(budget, out);
        }
        // Who captures packets without their ends does so with all of them: nothing more will come.
        if self.next == Some(captured) {
            self.jump(end, out);
            self.drain(budget, out);
        }
        self.end_if_due(out);
    }

    /// Whether bytes before `sequence` have not been there yet.
    pub(super) fn lacks(&self, sequence: u32) -> bool {
        let distance = |next: u64| sequence.wrapping_sub(next as u32) as i32;
        self.due().is_some_and(|next| !self.ended && (1..MAX_LOST).contains(&distance(next)))
    }

    /// The position of the byte that is due: before anything was seen, the one behind what had been acknowledged.
    fn due(&self) -> Option<u64> {
        self.next.or(self.acknowledged_first.map(|sequence| 1 << 32 | u64::from(sequence)))
    }

    /// Takes note of what the other side acknowledges, as long as nothing of this one was seen.
    pub(super) fn note_acknowledged(&mut self, sequence: u32) {
        if self.next.is_none() {
            self.acknowledged_first.get_or_insert(sequence);
        }
    }

    /// Whether a segment was acknowledged before anything of this direction was seen.
    pub(super) fn is_late(&self, segment: &Segment<'_>) -> bool {
        let end = segment.sequence.wrapping_add(segment.payload.len() as u32);
        self.acknowledged_first.is_some_and(|first| !(first.wrapping_sub(end) as i32).is_negative())
    }

    /// Takes note of how far a segment goes, whether it can be handed on or not.
    pub(super) fn see(&mut self, segment: &Segment<'_>) {
        self.reach(segment.sequence.wrapping_add((segment.payload.len() + segment.missing) as u32));
    }

    fn reach(&mut self, sequence: u32) {
        if self.is_before(sequence) {
            self.highest = Some(sequence);
        }
    }

    /// Whether no byte from `sequence` on was seen or acknowledged.
    pub(super) fn is_before(&self, sequence: u32) -> bool {
        self.highest.is_none_or(|highest| sequence.wrapping_sub(highest) as i32 >= 0)
    }

    /// Whether segments wait for those before them.
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The receiver has had every byte before `sequence`: what is not there by now was not captured.
    pub(super) fn acknowledged(&mut self, sequence: u32, budget: &mut Budget, out: &mut impl FnMut(Piece<'_>)) {
        let Some(next) = self.due().filter(|_| self.lacks(sequence)) else { return };
        self.next = Some(next);
        self.reach(sequence);
        let distance = sequence.wrapping_sub(next as u32) as i32;
        let due = next.saturating_add_signed(distance.into());
        while self.waiting.first_key_value().is_some_and(|(start, _)| *start < due) {
            self.skip(budget, out);
        }
        self.jump(due, out);
        self.drain(budget, out);
        self.end_if_due(out);
    }

    /// No more segments will come.
    pub(super) fn finish(&mut self, budget: &mut Budget, out: &mut impl FnMut(Piece<'_>)) {
        while !self.ended && !self.waiting.is_empty() {
            self.skip(budget, out);
        }
        // Behind the end there is nothing.
        for payload in std::mem::take(&mut self.waiting).into_values() {
            self.release(&payload, budget);
        }
        if !self.ended {
            self.ended = true;
            out(Piece::End);
        }
    }

    fn wait(&mut self, start: u64, payload: &[u8], budget: &mut Budget, out: &mut impl FnMut(Piece<'_>)) {
        if self.waiting.get(&start).is_some_and(|known| known.len() >= payload.len()) {
            return;
        }
        let cost = payload.len() + PER_SEGMENT;
        while self.waiting_bytes + cost > MAX_WAITING
            || self.waiting.len() >= MAX_WAITING_SEGMENTS
            || !budget.take(cost)
        {
            if self.waiting.is_empty() {
                self.jump(start, out);
                return self.hand_on(start, payload, out);
            }
            self.skip(budget, out);
        }
        if self.next.is_some_and(|next| start <= next) {
            budget.give_back(cost);
            self.hand_on(start, payload, out);
            return self.drain(budget, out);
        }
        self.waiting_bytes += cost;
        if let Some(replaced) = self.waiting.insert(start, payload.into()) {
            self.release(&replaced, budget);
        }
    }

    /// Gives up the bytes before the first segment that waits.
    fn skip(&mut self, budget: &mut Budget, out: &mut impl FnMut(Piece<'_>)) {
        if let Some((start, _)) = self.waiting.first_key_value() {
            self.jump(*start, out);
        }
        self.drain(budget, out);
    }

    fn jump(&mut self, to: u64, out: &mut impl FnMut(Piece<'_>)) {
        let next = self.next.get_or_insert(to);
        if to > *next {
            out(Piece::Gap(to - *next));
            *next = to;
        }
    }

    fn drain(&mut self, budget: &mut Budget, out: &mut impl FnMut(Piece<'_>)) {
        while let Some(entry) = self.waiting.first_entry()
            && self.next.is_some_and(|next| *entry.key() <= next)
        {
            let (start, payload) = entry.remove_entry();
            self.release(&payload, budget);
            self.hand_on(start, &payload, out);
        }
    }

    fn release(&mut self, payload: &[u8], budget: &mut Budget) {
        let cost = payload.len() + PER_SEGMENT;
        self.waiting_bytes -= cost;
        budget.give_back(cost);
    }

    /// Hands on what of a segment has not been there yet; it begins where bytes are due, or before.
    fn hand_on(&mut self, start: u64, payload: &[u8], out: &mut impl FnMut(Piece<'_>)) {
        let Some(next) = &mut self.next else { return };
        let known = usize::try_from(next.saturating_sub(start)).unwrap_or(usize::MAX);
        if let Some(fresh) = payload.get(known..)
            && !fresh.is_empty()
        {
            *next += fresh.len() as u64;
            out(Piece::Data(fresh));
        }
    }

    fn end_if_due(&mut self, out: &mut impl FnMut(Piece<'_>)) {
        if !self.ended && self.end.is_some() && self.end <= self.next {
            self.ended = true;
            out(Piece::End);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stream {
        direction: Direction,
        budget: Budget,
        out: Vec<String>,
    }

    impl Stream {
        fn new() -> Self {
            Self { direction: Direction::default(), budget: Budget::new(1 << 22), out: Vec::new() }
        }

        fn flags(&mut self, sequence: u32, payload: &[u8], syn: bool, fin: bool) -> &mut Self {
            let segment = Segment { syn, fin, ..segment(sequence, payload) };
            let out = &mut self.out;
            self.direction.segment(&segment, &mut self.budget, &mut |piece| note(out, &piece));
            self
        }

        fn data(&mut self, sequence: u32, payload: &[u8]) -> &mut Self {
            self.flags(sequence, payload, false, false)
        }

        fn finish(&mut self) -> &[String] {
            let out = &mut self.out;
            self.direction.finish(&mut self.budget, &mut |piece| note(out, &piece));
            assert_eq!(self.budget.0, 1 << 22, "everything was given back");
            &self.out
        }
    }

    fn segment(sequence: u32, payload: &[u8]) -> Segment<'_> {
        Segment { sequence, acknowledged: None, syn: false, fin: false, rst: false, payload, missing: 0 }
    }

    fn note(out: &mut Vec<String>, piece: &Piece<'_>) {
        out.push(match piece {
            Piece::Data(data) if data.len() > 9 => format!("{} bytes", data.len()),
            Piece::Data(data) => String::from_utf8_lossy(data).into_owned(),
            Piece::Gap(size) => format!("gap {size}"),
            Piece::End => "end".to_owned(),
        });
    }

    #[test]
    fn segments_in_any_order_come_out_once_and_in_order() {
        let mut stream = Stream::new();
        stream.flags(99, b"", true, false).data(103, b"d").data(101, b"bc").data(100, b"a").data(100, b"ab");
        stream.data(102, b"cde").flags(105, b"f", false, true);
        assert_eq!(stream.finish(), ["a", "bc", "d", "e", "f", "end"]);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut stream = Stream::new();
        stream.data(u32::MAX - 1, b"ab").data(1, b"d").data(0, b"c").data(u32::MAX, b"bc");
        assert_eq!(stream.finish(), ["ab", "c", "d", "end"]);
    }

    #[test]
    fn what_is_never_captured_is_a_gap() {
        let mut stream = Stream::new();
        stream.data(100, b"a").data(110, b"b").flags(111, b"", false, true);
        assert_eq!(stream.out, ["a"]);
        assert_eq!(stream.finish(), ["a", "gap 9", "b", "end"]);
    }

    #[test]
    fn what_was_acknowledged_will_not_come() {
        let mut stream = Stream::new();
        stream.data(100, b"a").data(110, b"b");
        for sequence in [100, 112, 90, 111, 100 + (1 << 30)] {
            let out = &mut stream.out;
            stream.direction.acknowledged(sequence, &mut stream.budget, &mut |piece| note(out, &piece));
        }
        assert_eq!(stream.out, ["a", "gap 9", "b", "gap 1"]);
        stream.data(112, b"c");
        assert_eq!(stream.finish(), ["a", "gap 9", "b", "gap 1", "c", "end"]);
    }

    #[test]
    fn what_a_packet_lacks_at_its_end_is_a_gap_and_its_sender_ends_behind_it() {
        let mut stream = Stream::new();
        let cut = Segment { missing: 3, fin: true, ..segment(101, b"b") };
        stream.data(100, b"a");
        let out = &mut stream.out;
        stream.direction.segment(&cut, &mut stream.budget, &mut |piece| note(out, &piece));
        assert_eq!(stream.out, ["a", "b", "gap 3", "end"]);
    }

    #[test]
    fn nothing_follows_the_end() {
        let mut stream = Stream::new();
        stream.data(100, b"a").data(110, b"b").flags(101, b"", false, true).data(101, b"c");
        assert_eq!(stream.finish(), ["a", "end"]);
    }

    #[test]
    fn waiting_has_a_limit() {
        let mut stream = Stream::new();
        stream.data(0, b"a");
        for index in 0..40 {
            stream.data(100 + index * 60_000, &[0; 60_000]);
        }
        assert!(stream.out.contains(&"gap 99".to_owned()));
        assert!(stream.direction.waiting_bytes <= MAX_WAITING);
        let got = stream.finish().iter().filter(|piece| *piece == "60000 bytes").count();
        assert_eq!(got, 40);
    }

    #[test]
    fn without_a_budget_nothing_waits() {
        let mut stream = Stream { budget: Budget::new(PER_SEGMENT + 7), ..Stream::new() };
        stream.data(0, b"a").data(2, &[0; 8]).data(20, b"abc");
        assert_eq!(stream.out, ["a", "gap 1", "\0\0\0\0\0\0\0\0"]);
        assert_eq!(stream.budget.0, 4);
    }
}
