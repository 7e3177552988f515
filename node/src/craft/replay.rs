//! The requests of a capture in their order, each with the kind of the answer that it got there.

use std::collections::VecDeque;

use peerdist_protocol::schema::{Form, Tree};

use crate::decode::{Event, Message, Nanoseconds, Over};

/// The most requests that wait for their captured answers.
const MAX_WAITING: usize = 1024;
/// The most bytes of them.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// How long after a Probe its first answer may come, by the clock of the capture.
const PROBE_WAITS: Nanoseconds = 5_000_000_000;

/// A request of a capture.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its number in the capture.
    pub number: u64,
    /// The document.
    pub protocol: &'static str,
    /// What it is.
    pub form: Form,
    /// The message.
    pub bytes: Vec<u8>,
    /// Why it cannot be sent as it was.
    pub unsendable: Option<&'static str>,
    /// What answered it; none where nothing did.
    pub answer: Option<String>,
    /// What carried it.
    pub over: Over,
    began: Nanoseconds,
    resolved: bool,
}

/// Takes the events of a decoder and gives requests back when their answers are known.
#[derive(Debug, Default)]
pub struct Requests {
    waiting: VecDeque<Request>,
    bytes: usize,
}

impl Requests {
    /// Takes an event, and hands on the requests that need not wait any more.
    pub fn event(&mut self, event: &Event<'_>, ready: &mut impl FnMut(Request)) {
        match event {
            Event::Message(message) => {
                if let Some(asked) = self.asked(message.answers.as_ref().map(|answered| answered.number)) {
                    add_kind(&mut asked.answer, &message.tree);
                    asked.resolved = true;
                    // Content information follows its head, which is an answer, too.
                    return;
                }
                self.hand_on(message.seen.map(|seen| seen.began), ready);
                if message.is_request {
                    self.add(message, ready);
                }
            }
            Event::Unpaired(request) => {
                if let Some(asked) = self.asked(Some(request.number)) {
                    asked.unsendable = asked.unsendable.or(Some("its answer in the capture is not known"));
                    asked.resolved = true;
                }
                self.hand_on(None, ready);
            }
            Event::Unanswered(answered) => {
                if let Some(asked) = self.asked(Some(answered.number)) {
                    asked.resolved = true;
                }
                self.hand_on(None, ready);
            }
        }
    }

    /// The capture has ended.
    pub fn finish(&mut self, ready: &mut impl FnMut(Request)) {
        self.bytes = 0;
        self.waiting.drain(..).for_each(ready);
    }

    fn asked(&mut self, number: Option<u64>) -> Option<&mut Request> {
        let number = number?;
        self.waiting.iter_mut().find(|request| request.number == number)
    }

    fn add(&mut self, message: &Message<'_>, ready: &mut impl FnMut(Request)) {
        let tree = &message.tree;
        let Some(form) = Form::by_name(tree.name) else { return };
        let method = tree.fields.iter().find(|field| field.name == "Method").and_then(|method| method.text());
        let unsendable = match method {
            _ if message.is_cut => Some("bytes of it are missing in the capture, or more than are looked at"),
            Some(method) if !["GET", "HEAD"].contains(&method) => Some("its body is not looked at"),
            _ => None,
        };
        let alone = if matches!(form, Form::Datagram(_)) { Over::Udp } else { Over::Tcp };
        let bytes = tree.bytes.to_vec();
        self.bytes += bytes.len();
        self.waiting.push_back(Request {
            number: message.number,
            protocol: tree.protocol,
            form,
            bytes,
            unsendable,
            answer: None,
            began: message.seen.map_or(0, |seen| seen.began),
            over: message.seen.map_or(alone, |seen| seen.over),
            resolved: false,
        });
        while self.waiting.len() > MAX_WAITING || self.bytes > MAX_WAITING_BYTES {
            self.first(ready);
        }
    }

    /// Hands on from the front what waits for nothing.
    fn hand_on(&mut self, now: Option<Nanoseconds>, ready: &mut impl FnMut(Request)) {
        let is_over = |request: &Request| {
            request.over == Over::Udp && now.is_some_and(|now| now.saturating_sub(request.began) > PROBE_WAITS)
        };
        while self.waiting.front().is_some_and(|request| request.resolved || is_over(request)) {
            self.first(ready);
        }
    }

    fn first(&mut self, ready: &mut impl FnMut(Request)) {
        if let Some(request) = self.waiting.pop_front() {
            self.bytes -= request.bytes.len();
            ready(request);
        }
    }
}

/// Adds the kind of an answer to those of the same request before it.
pub fn add_kind(kinds: &mut Option<String>, tree: &Tree<'_>) {
    let kind = kind(tree);
    match kinds {
        None => *kinds = Some(kind),
        // Several hosts answer a Probe.
        Some(kinds) if kinds.split(", ").any(|known| known == kind) => {}
        Some(kinds) => *kinds = format!("{kinds}, {kind}"),
    }
}

/// What is the same about two answers that mean the same: the message, its status, and whether there is a block.
fn kind(tree: &Tree<'_>) -> String {
    let kind = match (tree.name, tree.integer("Status"), tree.integer("SizeOfBlock")) {
        ("response" | "HTTP_RESPONSE", Some(status), _) => format!("{} {status}", tree.name),
        ("MSG_BLK", _, Some(0)) => "MSG_BLK without a block".to_owned(),
        (name, ..) => name.to_owned(),
    };
    if tree.is_whole() { kind } else { format!("malformed {kind}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Conversation, Decoder};

    #[test]
    fn requests_that_wait_are_bounded_and_keep_their_order() {
        let one = b"GET /f HTTP/1.1\r\nAccept-Encoding: peerdist\r\n\r\n";
        let count = MAX_WAITING + 100;
        let (mut requests, mut ready) = (Requests::default(), Vec::new());
        let mut hand_on = |request: Request| ready.push((request.number, request.answer));
        Decoder::new().http(&one.repeat(count), &mut |event| requests.event(&event, &mut hand_on));
        assert_eq!(requests.waiting.len(), MAX_WAITING);
        assert_eq!(requests.bytes, MAX_WAITING * one.len());
        requests.finish(&mut hand_on);
        assert_eq!(ready, (1..=count as u64).map(|number| (number, None)).collect::<Vec<_>>());
    }

    #[test]
    fn a_request_whose_answer_cannot_be_told_is_not_sent() {
        let one = b"GET /f HTTP/1.1\r\nAccept-Encoding: peerdist\r\n\r\n";
        let (mut requests, mut ready) = (Requests::default(), Vec::new());
        let [client, server] = ["192.0.2.1:5000", "192.0.2.2:80"].map(|end| end.parse().unwrap());
        let mut hand_on = |request: Request| ready.push(request.unsendable.is_some());
        let mut out = |event: Event<'_>| requests.event(&event, &mut hand_on);
        Conversation::new(client, server).client(&one.repeat(100), 0, &mut out);
        assert_eq!(ready, [true; 100]);
    }
}
