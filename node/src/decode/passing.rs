//! The way of a segment through a connection: what it acknowledges, its bytes in order, the readers of HTTP.

use super::Counters;
use super::connection::{Around, Connection, Found};
use super::packet::Segment;
use super::tcp::Piece;

/// What happens to a direction of a connection.
enum Step<'a> {
    Segment(&'a Segment<'a>),
    Acknowledged(u32),
    End,
}

/// Takes the packets that wait no longer now that this segment of a side is there, or is next; all where there is none.
pub(super) fn release(
    connection: &mut Connection,
    next: Option<(usize, &Segment<'_>)>,
    around: &mut Around<'_>,
    counters: &mut Counters,
    hand_on: &mut impl FnMut(Found<'_>, &str) -> u64,
) {
    let now = around.now;
    while let Some((side, held)) = connection.held(next, now, around.budget) {
        around.now = held.time;
        take(connection, side, &held.segment(), &held.comment, around, counters, hand_on);
    }
    around.now = now;
}

/// Takes a segment of a side. Who sends on has had what it acknowledges.
pub(super) fn take(
    connection: &mut Connection,
    side: usize,
    segment: &Segment<'_>,
    comment: &str,
    around: &mut Around<'_>,
    counters: &mut Counters,
    hand_on: &mut impl FnMut(Found<'_>, &str) -> u64,
) {
    connection.note(side, segment);
    if let Some(acknowledged) = segment.acknowledged.filter(|_| connection.is_new(side, segment)) {
        let step = Step::Acknowledged(acknowledged);
        reassemble(connection, 1 - side, &step, around, counters, &mut |found| hand_on(found, ""));
    }
    reassemble(connection, side, &Step::Segment(segment), around, counters, &mut |found| hand_on(found, comment));
}

/// Ends what a side says.
pub(super) fn end(
    connection: &mut Connection,
    side: usize,
    around: &mut Around<'_>,
    counters: &mut Counters,
    hand_on: &mut impl FnMut(Found<'_>, &str) -> u64,
) {
    reassemble(connection, side, &Step::End, around, counters, &mut |found| hand_on(found, ""));
}

/// Hands a step through the reassembly to the readers of HTTP.
fn reassemble(
    connection: &mut Connection,
    side: usize,
    step: &Step<'_>,
    around: &mut Around<'_>,
    counters: &mut Counters,
    hand_on: &mut impl FnMut(Found<'_>) -> u64,
) {
    let Some(direction) = connection.direction(side) else { return };
    let mut direction = std::mem::take(direction);
    // The reader needs the budget for bodies while the reassembly has it for what waits.
    let mut ready = Vec::new();
    let mut collect = |piece: Piece<'_>| {
        ready.push(match piece {
            Piece::Data(data) => Ready::Data(data.to_vec()),
            Piece::Gap(size) => Ready::Gap(size),
            Piece::End => Ready::End,
        });
    };
    match step {
        Step::Segment(segment) => direction.segment(segment, around.budget, &mut collect),
        Step::Acknowledged(sequence) => direction.acknowledged(*sequence, around.budget, &mut collect),
        Step::End => direction.finish(around.budget, &mut collect),
    }
    if let Some(place) = connection.direction(side) {
        *place = direction;
    }
    for piece in &ready {
        let piece = match piece {
            Ready::Data(data) => Piece::Data(data),
            Ready::Gap(size) => {
                counters.lost_bytes = counters.lost_bytes.saturating_add(*size);
                Piece::Gap(*size)
            }
            Ready::End => Piece::End,
        };
        connection.piece(side, &piece, around, hand_on);
    }
}

/// A [`Piece`] with bytes of its own.
enum Ready {
    Data(Vec<u8>),
    Gap(u64),
    End,
}
