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
    /// When the request began, in seconds since 1970.
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
                if let Some(seen) = message.seen {
                    let is_block = tree.name == "MSG_BLK";
                    let size = tree.integer("SizeOfBlock").unwrap_or(0);
                    let is_answer = message.answers.is_some() || is_answer(tree.name);
                    let host = self.host(seen.source.ip());
                    host.malformed += u64::from(!message.is_cut && !tree.is_whole());
                    host.cut_off += u64::from(message.is_cut);
                    host.blocks_sent += u64::from(is_block && size > 0);
                    host.blocks_not_held += u64::from(is_block && size == 0);
                    host.block_bytes_sent = host.block_bytes_sent.saturating_add(if is_block { size } else { 0 });
                    host.blocks_right += u64::from(verdict == Some(Verdict::Right));
                    host.blocks_wrong += u64::from(verdict == Some(Verdict::Wrong));
                    // Content information comes with the head that is the answer.
                    host.answered += u64::from(is_answer && tree.protocol != "MS-PCCRC");
                    host.asked += u64::from(!is_answer);
                }
                let is_answer = message.answers.is_some() || is_answer(tree.name);
                // Content information follows its head, and is the answer.
                let coding = tree.find("Content-Encoding").and_then(Node::text).unwrap_or_default();
                (is_answer && !coding.contains(CONTENT_CODING)).then(|| {
                    let mut result = what(tree);
                    if let Some(verdict) = verdict {
                        result = format!("{result}, {}", verdict.as_str());
                    }
                    if message.is_cut {
                        result.push_str(", cut off");
                    } else if !tree.is_whole() {
                        result.push_str(", malformed");
                    }
                    asking(message.answers.as_ref(), message.seen, Some(tree.name), result)
                })
            }
            Event::Unanswered(asked) => {
                if let Some(seen) = asked.seen {
                    self.host(seen.source.ip()).unanswered += 1;
                }
                Some(asking(Some(asked), None, None, "no answer".to_owned()))
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

fn asking(asked: Option<&Answered>, answered: Option<Seen>, answer: Option<&'static str>, result: String) -> Asking {
    let request = asked.and_then(|asked| asked.seen);
    let address = |address: std::net::SocketAddr| Some(address.to_string());
    let took = request.zip(answered).map(|(request, answer)| seconds(answer.ended.saturating_sub(request.began)));
    Asking {
        request_number: asked.map(|asked| asked.number),
        time: request.or(answered).map(|seen| seconds(seen.began)),
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
