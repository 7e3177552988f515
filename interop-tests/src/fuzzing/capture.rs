//! A whole capture, pcap or pcapng, to messages, their summary and their blocks.

use std::convert::Infallible;

use peerdist_node::decode::{Captured, Decoder, Event, KeyRing, Summary, derived_ids, is_capture, packets, what};

pub(super) fn run(bytes: &[u8]) {
    let mut decoder = Decoder::new();
    let mut watch = Watch::default();
    let mut count = 0;
    let each = |captured: Captured<'_>| {
        match captured {
            Captured::Packet(packet) => {
                count += 1;
                decoder.packet(&packet, &mut |event| watch.event(&event));
            }
            Captured::TlsKeys(log) => decoder.tls_keys(log),
        }
        Ok::<_, Infallible>(())
    };
    let Ok(end) = packets(bytes, each);
    assert!(end.packets >= count && (end.damage.is_some() || is_capture(bytes) || bytes.is_empty()));
    decoder.finish(&mut |event| watch.event(&event));
    watch.finish();
}

/// What is done with messages once they are found.
#[derive(Default)]
pub(super) struct Watch {
    keys: KeyRing,
    summary: Summary,
    messages: u64,
}

impl Watch {
    pub(super) fn event(&mut self, event: &Event<'_>) {
        let mut verdict = None;
        match event {
            Event::Message(message) => {
                self.messages += 1;
                assert_eq!(message.number, self.messages, "messages are counted");
                assert!(message.answers.as_ref().is_none_or(|asked| asked.number < message.number));
                let tree = &message.tree;
                assert!(tree.faults.iter().all(|fault| !fault.rule.is_empty()));
                self.keys.learn(tree);
                verdict = self.keys.open(tree).map(|opened| opened.verdict);
                let _ = (what(tree), derived_ids(tree).count());
            }
            Event::Unanswered(asked) | Event::Unpaired(asked) => assert!(asked.number <= self.messages),
        }
        let _ = self.summary.event(event, verdict);
    }

    pub(super) fn finish(&self) {
        let malformed: u64 = self.summary.hosts().map(|(_, host)| host.malformed).sum();
        assert!(malformed <= self.messages);
    }
}
