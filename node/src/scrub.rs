//! Captures without their secrets, to be shown to others: the messages of the protocols are written anew with what may
//! be known, and nothing else of the capture is kept.
//!
//! | what | becomes |
//! |---|---|
//! | segment secrets, block hashes, blocks, padding, bytes of no documented meaning | zeros; HoD of version 1 fits the hashes again |
//! | addresses | others of the blocks for documentation, the same one always for the same one; groups stay |
//! | URLs, names of hosts, entity tags, UUIDs, RequestIDs, content tags of no document | numbered ones |
//! | malformed messages, texts of another form than the documents give, and what answers them | nothing: who knows what is in them |
//! | an answer that is left out, or was not captured | a head without a status, so that no other answer is taken for it |
//!
//! Segment ids stay: without the secret nothing follows from them. So do numbers, and the words of the documents that say
//! what a message is and asks for.

mod names;
mod streams;
mod text;

use std::collections::{HashSet, VecDeque};
use std::io::{self, Write};

use peerdist_protocol::crypto::HashAlgorithm;
use peerdist_protocol::schema::{
    ComposeError, Form, Node, REST, Structure, Tree, Value, compose, dissect, dissect_datagram,
};
use thiserror::Error;

use self::names::Names;
use self::streams::{Part, Streams};
use crate::craft::send;
use crate::decode::{Event, Message, Seen};
use crate::pcapng::Wire;

/// Requests left out whose answers may come.
const MAX_LEFT_OUT: usize = 65_536;

/// Fields whose bytes nobody else has to know.
const ZEROED: [&str; 7] =
    ["SegmentHashOfData", "BlockHashes", "Block", "DataForVrfBlock", "VrfBlock", "IVBlock", "Padding"];
/// How the names of fields begin that fill up.
const PADDING: &str = "ZeroPad";

/// The hashes of version 1.
const V1: [HashAlgorithm; 3] = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];

/// Why a capture could not be scrubbed.
#[derive(Debug, Error)]
pub enum ScrubError {
    /// The message is in no capture: it has no addresses and no time.
    #[error("messages alone are no capture")]
    NoCapture,
    /// It cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How many messages there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Written.
    pub written: u64,
    /// Left out.
    pub left_out: u64,
}

/// Takes the decoder's events and writes a capture.
#[derive(Debug)]
pub struct Scrubber<W> {
    streams: Streams<W>,
    names: Names,
    /// The head of an answer, until it is known whether content information follows.
    head: Option<Head>,
    left_out: HashSet<u64>,
    left_out_order: VecDeque<u64>,
    count: Scrubbed,
}

#[derive(Debug)]
struct Head {
    seen: Seen,
    /// The number of the request.
    answers: Option<u64>,
    fields: Vec<Node<'static>>,
    name: &'static str,
    is_interim: bool,
}

impl<W: Write> Scrubber<W> {
    /// Writes to `to`.
    pub fn new(to: W) -> io::Result<Self> {
        let application = concat!("peerdist scrub ", env!("CARGO_PKG_VERSION"));
        Ok(Self {
            streams: Streams::new(Wire::new(to, application)?),
            names: Names::default(),
            head: None,
            left_out: HashSet::new(),
            left_out_order: VecDeque::new(),
            count: Scrubbed::default(),
        })
    }

    /// Takes an event of the decoder.
    pub fn event(&mut self, event: &Event<'_>) -> Result<(), ScrubError> {
        let message = match event {
            Event::Message(message) => message,
            Event::Unpaired(asked) | Event::Unanswered(asked) => {
                self.end_head(&[])?;
                let Some(Seen { source, destination, .. }) = asked.seen else { return Ok(()) };
                let (from, to) = (self.names.address(source), self.names.address(destination));
                match event {
                    Event::Unanswered(_) => self.streams.ended(asked.number, from, to)?,
                    _ => self.streams.no_answer(asked.number, from, to)?,
                }
                return Ok(());
            }
        };
        let seen = message.seen.ok_or(ScrubError::NoCapture)?;
        // Content information comes right behind its head.
        let is_body = message.tree.protocol == "MS-PCCRC" && self.head.as_ref().is_some_and(|head| head.seen == seen);
        if !is_body {
            self.end_head(&[])?;
        }
        let answers_left_out = message.answers.as_ref().is_some_and(|asked| self.left_out.contains(&asked.number));
        // It was answered before it was whole: without it nothing says that the answer is of the protocols.
        let has_no_request = message.tree.name == "HTTP_RESPONSE" && message.answers.is_none();
        let is_good = !message.is_cut && !has_no_request && !is_malformed(&message.tree);
        if !is_good || answers_left_out || message.tree.protocol == "MS-PCCRC" && !is_body {
            return Ok(self.leave_out(message, seen)?);
        }
        match self.write(message, seen) {
            Ok(()) => self.count.written += 1,
            Err(WriteError::Compose) => self.leave_out(message, seen)?,
            Err(WriteError::Io(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// There are no more messages. Returns how many there were.
    pub fn finish(mut self) -> Result<Scrubbed, ScrubError> {
        self.end_head(&[])?;
        self.streams.finish()?;
        Ok(self.count)
    }

    fn leave_out(&mut self, message: &Message<'_>, seen: Seen) -> io::Result<()> {
        self.count.left_out += 1;
        // The head of content information that cannot be shown would tell of something that is not there.
        if self.head.take().is_some() {
            self.count.written -= 1;
            self.count.left_out += 1;
        }
        if let Some(asked) = &message.answers {
            let (from, to) = (self.names.address(seen.source), self.names.address(seen.destination));
            self.streams.no_answer(asked.number, from, to)?;
        }
        if !message.is_request {
            return Ok(());
        }
        if self.left_out_order.len() == MAX_LEFT_OUT
            && let Some(oldest) = self.left_out_order.pop_front()
        {
            self.left_out.remove(&oldest);
        }
        self.left_out_order.push_back(message.number);
        self.left_out.insert(message.number);
        Ok(())
    }

    fn write(&mut self, message: &Message<'_>, seen: Seen) -> Result<(), WriteError> {
        let tree = &message.tree;
        let mut fields = record(&tree.fields, &mut self.names).ok_or(WriteError::Compose)?;
        let form = Form::by_name(tree.name).ok_or(WriteError::Compose)?;
        let answers = message.answers.as_ref().map(|asked| asked.number);
        match form {
            Form::Datagram(_) => {
                let bytes = form.compose(&fields)?;
                // Its parts may have been good and not go together as we write them.
                if dissect_datagram(&bytes).is_none_or(|tree| is_malformed(&tree)) {
                    return Err(WriteError::Compose);
                }
                let Part { from, to, began, bytes, .. } = self.part(seen, bytes);
                self.streams.wire.datagram(began, from, to, &bytes)?;
            }
            // Its body, if any, is not of the protocols.
            Form::Headers("request") => {
                fields.retain(|field| field.name != "Content-Length");
                let part = self.part(seen, form.compose(&fields)?);
                fits(self.streams.request(message.number, part)?)?;
            }
            // What is behind it decides over its length.
            Form::Headers(name) => {
                let (from, to) = (self.names.address(seen.source), self.names.address(seen.destination));
                if answers.is_some_and(|number| !self.streams.waits(number, from, to)) {
                    return Err(WriteError::Compose);
                }
                fields.retain(|field| field.name != "Content-Length");
                let is_interim = tree.integer("Status").is_some_and(|status| (100..200).contains(&status));
                self.head = Some(Head { seen, answers, fields, name, is_interim });
            }
            Form::Structure(_) if tree.protocol == "MS-PCCRC" => {
                let bytes = form.compose(&fields)?;
                self.end_head(&bytes)?;
            }
            Form::Structure(_) if message.is_request => {
                let body = form.compose(&fields)?;
                let mut part = self.part(seen, Vec::new());
                let request = send::request(form, &body, &part.to.to_string(), None);
                part.bytes = request.map_err(|_| WriteError::Compose)?;
                fits(self.streams.request(message.number, part)?)?;
            }
            Form::Structure(_) => {
                let body = form.compose(&fields)?;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let part = self.part(seen, [head.as_bytes(), &body].concat());
                self.answer(answers, &part)?;
            }
        }
        Ok(())
    }

    /// Writes the head that waits, with a body or without one.
    fn end_head(&mut self, body: &[u8]) -> Result<(), WriteError> {
        let Some(Head { seen, answers, mut fields, name, is_interim }) = self.head.take() else { return Ok(()) };
        fields.push(Node::new("Content-Length", Value::Text(body.len().to_string().into())));
        let head = Form::Headers(name).compose(&fields)?;
        let part = self.part(seen, [&head, body].concat());
        if is_interim { Ok(self.streams.interim(&part)?) } else { self.answer(answers, &part) }
    }

    fn answer(&mut self, answers: Option<u64>, part: &Part) -> Result<(), WriteError> {
        match answers {
            Some(number) => fits(self.streams.answer(number, part)?),
            None => Ok(self.streams.lone_answer(part)?),
        }
    }

    /// Bytes on the way that a message took.
    fn part(&mut self, seen: Seen, bytes: Vec<u8>) -> Part {
        let (from, to) = (self.names.address(seen.source), self.names.address(seen.destination));
        Part { from, to, began: seen.began, ended: seen.ended, bytes }
    }
}

/// What cannot be written where it belongs is left out.
fn fits(is_written: bool) -> Result<(), WriteError> {
    if is_written { Ok(()) } else { Err(WriteError::Compose) }
}

/// A message of a structure without its secrets, hashes and blocks, in as many bytes; `None` for one that is malformed.
pub(crate) fn blank(structure: &'static Structure, bytes: &[u8]) -> Option<Vec<u8>> {
    let tree = dissect(structure, bytes);
    if is_malformed(&tree) {
        return None;
    }
    let fields = record(&tree.fields, &mut Names::default())?;
    compose(structure, &fields).ok().filter(|blank| blank.len() == bytes.len())
}

/// The fields as they may be seen; none where a text has not the form that is due. One that was taken apart is written
/// anew from its parts.
fn record(nodes: &[Node<'_>], names: &mut Names) -> Option<Vec<Node<'static>>> {
    let nodes = nodes.iter().filter(|node| node.name != "text");
    let mut fields = nodes.map(|node| rewritten(node, false, names)).collect::<Option<Vec<_>>>()?;
    fit_hashes(&mut fields);
    Some(fields)
}

fn rewritten(node: &Node<'_>, zeroed: bool, names: &mut Names) -> Option<Node<'static>> {
    let is_secret = node.field.is_some_and(|field| field.secret);
    let zeroed = zeroed || is_secret || ZEROED.contains(&node.name) || node.name.starts_with(PADDING);
    let value = match &node.value {
        Value::Integer(number) => Value::Integer(*number),
        Value::Bytes(bytes) if zeroed => Value::Bytes(vec![0; bytes.len()].into()),
        Value::Bytes(bytes) => Value::Bytes(match node.name {
            "ContentTag" => names.content_tag(bytes).into(),
            "RequestID" => names.request_id(bytes).into(),
            _ => bytes.to_vec().into(),
        }),
        Value::Text(text) => Value::Text(text::rewritten(names, node.name, text)?.into()),
        Value::Record(_) if node.name == "BlockCount" && !is_whole(node) => return None,
        Value::Record(nodes) => Value::Record(record(nodes, names)?),
        Value::List(items) => {
            Value::List(items.iter().map(|item| rewritten(item, zeroed, names)).collect::<Option<_>>()?)
        }
    };
    Some(Node { field: node.field, ..Node::new(node.name, value) })
}

/// Whether every eight digits of a BlockCount are a number.
fn is_whole(counts: &Node<'_>) -> bool {
    let digits = counts.child("text").and_then(Node::text).map_or(0, str::len);
    counts.child("BlockCounts").is_some_and(|list| 8 * list.children().len() == digits)
}

/// Why a message cannot be written.
enum WriteError {
    /// What is left of it makes no message.
    Compose,
    Io(io::Error),
}

impl From<ComposeError> for WriteError {
    fn from(_: ComposeError) -> Self {
        Self::Compose
    }
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<WriteError> for ScrubError {
    fn from(error: WriteError) -> Self {
        match error {
            // Of a head that was composed before.
            WriteError::Compose => Self::Io(io::Error::other("a head cannot be written")),
            WriteError::Io(error) => Self::Io(error),
        }
    }
}

/// Whether there are bytes in it of which nobody knows what they are.
fn is_malformed(tree: &Tree<'_>) -> bool {
    fn has_rest(nodes: &[Node<'_>]) -> bool {
        nodes.iter().any(|node| node.name == REST || has_rest(node.children()))
    }
    tree.faults.iter().any(|fault| !fault.tolerated) || has_rest(&tree.fields)
}

/// Makes HoD of each segment of version 1 the hash of its block hashes again.
fn fit_hashes(fields: &mut [Node<'static>]) {
    let lists: Vec<Vec<u8>> = match fields.iter().find(|field| field.name == "blocks").map(|field| &field.value) {
        Some(Value::List(blocks)) => blocks.iter().map(hashes_of).collect(),
        _ => return,
    };
    let Some(Node { value: Value::List(segments), .. }) = fields.iter_mut().find(|field| field.name == "segments")
    else {
        return;
    };
    for (segment, hashes) in segments.iter_mut().zip(lists) {
        let Value::Record(members) = &mut segment.value else { continue };
        for member in members.iter_mut().filter(|member| member.name == "SegmentHashOfData") {
            if let Value::Bytes(bytes) = &mut member.value
                && let Some(algorithm) = V1.into_iter().find(|known| known.size() == bytes.len())
            {
                *bytes = algorithm.hash(&hashes).as_bytes().to_vec().into();
            }
        }
    }
}

/// All hashes of a list, one behind the other.
fn hashes_of(list: &Node<'_>) -> Vec<u8> {
    let hashes = list.children().iter().filter(|member| member.name == "BlockHashes").flat_map(Node::children);
    hashes.filter_map(Node::bytes).flatten().copied().collect()
}
