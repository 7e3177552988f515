//! Who asked whom for what, when, and how long it took.

use std::collections::BTreeMap;
use std::net::IpAddr;

use peerdist_protocol::http::CONTENT_CODING;
use peerdist_protocol::schema::Node;
use serde::Serialize;

use super::file::Nanoseconds;
use super::keys::Verdict;
use super::message::{Answered, Event, Seen, what};

/// The most hosts that are told apart; the others are counted together.
const MAX_HOSTS: usize = 65_536;

/// A request and its answer.
#[derive(Debug, Clone, Serialize)]
pub struct Asking {
    /// The number of the request among all messages; none where it was not seen.
    pub request_number: Option<u64>,
    /// When the request began, or the answer to one that was not seen.
    #[serde(skip)]
    pub began: Option<Nanoseconds>,
    /// The same in seconds since 1970.
    pub time: Option<String>,
    /// Who asked.
    pub client: Option<String>,
    /// Who was asked, or has answered where many were.
    pub server: Option<String>,
    /// The document's name for the request.
    pub request: Option<&'static str>,
    /// What it asks for.
    pub what: String,
    /// The document's name for the answer; none where there was none.
    pub answer: Option<&'static str>,
    /// What the answer says.
    pub result: String,
    /// Seconds from the first byte of the request to the last of the answer.
    pub took: Option<String>,
}

/// What a host did.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Host {
    /// Requests and Probes that it sent.
    pub asked: u64,
    /// Those to it that it answered.
    pub answered: u64,
    /// Its requests that got no answer.
    pub unanswered: u64,
    /// Blocks that it sent.
    pub blocks_sent: u64,
    /// Bytes of them, encrypted as they were.
    pub block_bytes_sent: u64,
    /// Blocks that it did not have when it was asked.
    pub blocks_not_held: u64,
    /// Blocks that it sent and that are right.
    pub blocks_right: u64,
    /// Blocks that it sent and that are wrong.
    pub blocks_wrong: u64,
    /// Messages that it sent whole and that break a rule.
    pub malformed: u64,
    /// Messages that it sent and of which bytes are missing.
    pub cut_off: u64,
}

/// Keeps count.
#[derive(Debug, Default)]
pub struct Summary {
    hosts: BTreeMap<IpAddr, Host>,
    others: Host,
}

impl Summary {
    /// Counts an event, and says what exchange has ended with it.
    pub fn event(&mut self, event: &Event<'_>, verdict: Option<Verdict>) -> Option<Asking> {
        match event {
            Event::Message(message) => {
                let tree = &message.tree;
                let is_answer = message.answers.is_some() || is_answer(tree.name);
                if let Some(seen) = message.seen {
                    // What is not whole is nothing but cut off.
                    let block = (tree.name == "MSG_BLK" && !message.is_cut).then(|| tree.bytes("Block")).flatten();
                    let size = block.map(|block| block.len() as u64);
                    let host = self.host(seen.source.ip());
                    host.malformed += u64::from(!message.is_cut && !tree.is_whole());
                    host.cut_off += u64::from(message.is_cut);
                    host.blocks_sent += u64::from(size.is_some_and(|size| size > 0));
                    host.blocks_not_held += u64::from(size == Some(0));
                    host.block_bytes_sent = host.block_bytes_sent.saturating_add(size.unwrap_or(0));
                    host.blocks_right += u64::from(verdict == Some(Verdict::Right));
                    host.blocks_wrong += u64::from(verdict == Some(Verdict::Wrong));
                    // Content information comes with the head that is the answer.
                    host.answered += u64::from(is_answer && tree.protocol != "MS-PCCRC");
                    host.asked += u64::from(!is_answer);
                }
                // Content information follows its head, and is the answer.
                let coding = tree.find("Content-Encoding").and_then(Node::text).unwrap_or_default();
                if is_answer && !coding.contains(CONTENT_CODING) {
                    let state = match message.is_cut {
                        true => Some("cut off"),
                        false => (!tree.is_whole()).then_some("malformed"),
                    };
                    let words =
                        [what(tree), verdict.map_or("", Verdict::as_str).to_owned(), state.unwrap_or("").to_owned()];
                    let words = words.into_iter().filter(|word| !word.is_empty());
                    let result = Vec::from_iter(words).join(", ");
                    return Some(asking(message.answers.as_ref(), message.seen, Some(tree.name), result));
                }
                // A request that came alone: nothing will follow it.
                let is_alone = message.seen.is_none() && REQUESTS.contains(&tree.name);
                is_alone.then(|| asking(Some(&Answered::new(message.number, tree, None)), None, None, no_answer()))
            }
            Event::Unanswered(asked) => {
                // That it came alone was said of one that nobody sent.
                self.host(asked.seen?.source.ip()).unanswered += 1;
                Some(asking(Some(asked), None, None, no_answer()))
            }
            Event::Unpaired(asked) => Some(asking(Some(asked), None, None, "answer not known".to_owned())),
        }
    }

    /// The hosts in the order of their addresses; those beyond the limit are one without an address.
    pub fn hosts(&self) -> impl Iterator<Item = (Option<IpAddr>, &Host)> {
        let others = (self.hosts.len() == MAX_HOSTS).then_some((None, &self.others));
        self.hosts.iter().map(|(address, host)| (Some(*address), host)).chain(others)
    }

    fn host(&mut self, address: IpAddr) -> &mut Host {
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&address) {
            return &mut self.others;
        }
        self.hosts.entry(address).or_default()
    }
}

const REQUESTS: [&str; 9] = [
    "MSG_NEGO_REQ",
    "MSG_GETBLKLIST",
    "MSG_GETBLKS",
    "MSG_GETSEGLIST",
    "INITIAL_OFFER_MESSAGE",
    "SEGMENT_INFO_MESSAGE",
    "BATCHED_OFFER_MESSAGE",
    "Probe",
    "request",
];

fn is_answer(name: &str) -> bool {
    const ANSWERS: [&str; 8] = [
        "MSG_NEGO_RESP",
        "MSG_BLKLIST",
        "MSG_BLK",
        "MSG_SEGLIST",
        "RESPONSE_MESSAGE",
        "HTTP_RESPONSE",
        "ProbeMatches",
        "response",
    ];
    ANSWERS.contains(&name) || name.starts_with("CONTENT_INFORMATION")
}

fn no_answer() -> String {
    "no answer seen".to_owned()
}

fn asking(asked: Option<&Answered>, answered: Option<Seen>, answer: Option<&'static str>, result: String) -> Asking {
    let request = asked.and_then(|asked| asked.seen);
    let address = |address: std::net::SocketAddr| Some(address.to_string());
    let took = request.zip(answered).map(|(request, answer)| seconds(answer.ended.saturating_sub(request.began)));
    let began = request.or(answered).map(|seen| seen.began);
    Asking {
        request_number: asked.map(|asked| asked.number),
        began,
        time: began.map(seconds),
        client: request.map(|seen| seen.source).or(answered.map(|seen| seen.destination)).and_then(address),
        server: answered.map(|seen| seen.source).or(request.map(|seen| seen.destination)).and_then(address),
        request: asked.map(|asked| asked.name),
        what: asked.map_or_else(String::new, |asked| asked.what.clone()),
        answer,
        result,
        took,
    }
}

/// Nanoseconds as seconds, with all digits.
pub fn seconds(nanoseconds: Nanoseconds) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}
