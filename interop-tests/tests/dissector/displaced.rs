//! Connections of which packets are missing or changed places: an answer may have no request, but never a wrong one.

use std::collections::HashMap;

use peerdist_interop_tests::dissector;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::capture::Capture;
use crate::{PATH, ok, post, read};

const CONNECTIONS: u32 = 25;
const EXCHANGES: u32 = 12;

/// A request for a block, and the answer that nobody has it.
pub(crate) fn exchange(index: u32) -> [Vec<u8>; 2] {
    let (mut request, mut answer) = (read("pccrr/getblks_block0.bin"), read("pccrr/blk_missing.bin"));
    // The first range begins 12 bytes before the end; BlockIndex stands behind the segment.
    let range = request.len() - 12;
    request[range..range + 4].copy_from_slice(&index.to_be_bytes());
    answer[56..60].copy_from_slice(&index.to_be_bytes());
    [post(PATH, &request), ok("", &answer)]
}

/// The same with a second range, of all blocks: any answer fits, and the order alone tells them apart.
fn alike(index: u32) -> [Vec<u8>; 2] {
    let [request, answer] = exchange(index);
    let mut request = request[request.len() - 68..].to_vec();
    request[8..12].copy_from_slice(&(68u32 + 8).to_be_bytes());
    request[52..56].copy_from_slice(&2u32.to_be_bytes());
    request.splice(64..64, [0, 0, 0, 0, 255, 255, 255, 255]);
    [post(PATH, &request), answer]
}

/// How a connection is spoilt.
#[derive(Debug, Clone, Copy)]
struct Spoilt {
    /// Whether any answer fits any request.
    alike: bool,
    begins_in_the_middle: bool,
    /// How many requests are sent at once, at most.
    at_once: u32,
    lost: f64,
    displaced: f64,
}

/// Adds a connection; the blocks that it asks for begin at `first`.
fn add(capture: &mut Capture, random: &mut StdRng, spoilt: Spoilt, first: u32) {
    let mut connection = if spoilt.begins_in_the_middle { capture.begun() } else { capture.connect() };
    let exchange = if spoilt.alike { alike } else { exchange };
    let mut next = first;
    capture.hold();
    while next < first + EXCHANGES {
        let count = random.random_range(1..=spoilt.at_once);
        let count = count.min(first + EXCHANGES - next);
        let exchanges: Vec<_> = (next..next + count).map(exchange).collect();
        exchanges.iter().for_each(|[request, _]| capture.ask(&mut connection, request));
        exchanges.iter().for_each(|[_, answer]| capture.answer(&mut connection, answer));
        capture.acknowledge(&mut connection);
        next += count;
    }
    let mut packets = capture.held();
    packets.retain(|_| !random.random_bool(spoilt.lost));
    for at in 1..packets.len() {
        let back = random.random_range(1..4).min(at);
        if random.random_bool(spoilt.displaced) {
            packets[at - back..=at].rotate_right(1);
        }
    }
    packets.iter().for_each(|packet| capture.frame(packet));
}

/// Asserts of the dissector and of the decoder that no answer has the wrong request. How many have one, of how many.
#[track_caller]
fn assert_no_wrong_pair(spoilt: Spoilt) -> [(usize, usize); 2] {
    let mut random = StdRng::seed_from_u64(7);
    let mut capture = Capture::new();
    (0..CONNECTIONS).for_each(|number| add(&mut capture, &mut random, spoilt, 1 + number * 100));
    let shown = dissector::messages(capture.file());
    let messages = shown.iter().map(|shown| {
        let block =
            |field: &str| shown.fields.iter().find(|(name, _)| name == field).and_then(|(_, at)| at.parse().ok());
        let index = block("pccrr.index").or_else(|| block("pccrr.blockindex"));
        (shown.message.as_str(), shown.frame, index, shown.request_in)
    });
    let decoded = dissector::decoded(capture.file());
    let others = decoded.iter().map(|message| {
        let index = message.integer("Index").or_else(|| message.integer("BlockIndex"));
        (message.message.as_str(), message.number, index, message.answers)
    });
    [count(messages.collect()), count(others.collect())]
}

/// The name of a message, its number or frame, its block, and the number or frame of what it answers.
type Message<'a> = (&'a str, u64, Option<u64>, Option<u64>);

#[track_caller]
fn count(messages: Vec<Message<'_>>) -> (usize, usize) {
    let asked: HashMap<_, _> = messages.iter().filter(|one| one.0 == "MSG_GETBLKS").map(|one| (one.1, one.2)).collect();
    let answers: Vec<_> = messages.iter().filter(|one| one.0 == "MSG_BLK" && one.2.is_some()).collect();
    let paired: Vec<_> = answers.iter().filter_map(|one| Some((one, one.3?))).collect();
    for ((_, number, block, _), request) in &paired {
        assert_eq!(*block, asked[request], "{number} answers {request}");
    }
    (paired.len(), answers.len())
}

const WHOLE: Spoilt = Spoilt { alike: false, begins_in_the_middle: false, at_once: 1, lost: 0.0, displaced: 0.0 };

#[test]
fn whole_connections_have_all_pairs() {
    let all = (CONNECTIONS * EXCHANGES) as usize;
    assert_eq!(assert_no_wrong_pair(WHOLE), [(all, all); 2]);
    let middle = Spoilt { begins_in_the_middle: true, ..WHOLE };
    assert_eq!(assert_no_wrong_pair(middle), [(all, all); 2]);
}

#[test]
fn spoilt_connections_have_no_wrong_pair_and_some_right_ones() {
    for (alike, begins_in_the_middle, at_once) in [
        (false, false, 1),
        (false, false, 3),
        (false, true, 1),
        (false, true, 3),
        (true, false, 1),
        (true, false, 3),
        (true, true, 1),
        // Nothing tells answers from others where several requests were under way before the capture.
    ] {
        for (lost, displaced) in [(0.1, 0.0), (0.0, 0.1), (0.1, 0.1)] {
            let spoilt = Spoilt { alike, begins_in_the_middle, at_once, lost, displaced };
            let found = assert_no_wrong_pair(spoilt);
            assert!(found.iter().all(|(paired, answers)| 10 * paired > *answers), "{spoilt:?}: {found:?}");
        }
    }
}
