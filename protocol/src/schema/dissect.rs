//! Bytes to trees: a table is walked along the bytes, as far as they go.

use std::borrow::Cow;

use super::path::{self, Part};
use super::tree::REST;
use super::{Count, Extent, Fault, Field, Kind, Node, Order, Presence, Region, Rule, Shown, Structure, Tree, Value};
use super::{check, hash_size};
use crate::wire::Reader;

/// The most broken rules that are named of one message; the last says that there are more.
pub const MAX_FAULTS: usize = 64;
/// The most fields that are read of one message; what follows is left unread.
const MAX_NODES: usize = 1_000_000;

/// What is said of unread bytes among which a segment secret may be.
static SECRET_REST: Field = Field::bytes(REST, Extent::Rest, "bytes that could not be read").secret();

/// What is said of bytes that are too many for their field: they may be another message, and have its secrets.
static TOO_LONG: Field = Field::bytes("Hash", Extent::Rest, "more bytes than a hash has").secret();

/// Reads bytes as a structure. Whatever they are, there is a tree: fields that could be read, the bytes that could
/// not, and the rules that are broken.
#[must_use]
pub fn dissect<'a>(structure: &'static Structure, bytes: &'a [u8]) -> Tree<'a> {
    let mut walk = Walk {
        root: structure,
        section: structure,
        faults: Vec::new(),
        path: Vec::new(),
        scope: Vec::new(),
        lenient: false,
        nodes: 0,
        has_secret: structure.has_secret(),
    };
    let mut reader = Reader::new(bytes);
    let mut fields = Vec::new();
    if bytes.len() > structure.max_size {
        let rule = format!("{} bytes, where {} are the most", bytes.len(), structure.max_size);
        walk.fault(0, rule, false);
    }
    if walk.fields(structure, &mut reader, &mut fields).is_ok() {
        walk.end(structure, &mut reader, &mut fields);
    }
    let Structure { name, protocol, section, .. } = *structure;
    Tree { name, protocol, section, size: bytes.len(), bytes, fields, faults: walk.faults }
}

/// The rest of the message cannot be read.
struct Stop;

pub(super) struct Walk {
    root: &'static Structure,
    /// The structure whose fields are read.
    section: &'static Structure,
    faults: Vec<Fault>,
    path: Vec<Part>,
    /// The numbers read so far, by name; the last one counts.
    scope: Vec<(&'static str, u64)>,
    /// Whether faults are tolerated here.
    lenient: bool,
    nodes: usize,
    /// Whether there may be a segment secret among the bytes that cannot be read.
    has_secret: bool,
}

impl Walk {
    fn fields<'a>(
        &mut self,
        structure: &'static Structure,
        reader: &mut Reader<'a>,
        out: &mut Vec<Node<'a>>,
    ) -> Result<(), Stop> {
        let outer = std::mem::replace(&mut self.section, structure);
        let start = reader.offset();
        for field in structure.fields {
            if field.presence == Presence::MayEnd && reader.left() == 0 {
                out.push(self.rest(reader));
                break;
            }
            self.path.push(Part::Name(field.name));
            self.field(field, reader, start, out)?;
            self.path.pop();
        }
        for check in structure.checks {
            check::run(*check, out, self);
        }
        self.section = outer;
        Ok(())
    }

    /// What follows the last field of a message.
    fn end<'a>(&mut self, structure: &'static Structure, reader: &mut Reader<'a>, out: &mut Vec<Node<'a>>) {
        let count = reader.left();
        if count == 0 {
            return;
        }
        if !structure.open_end {
            let zeros = count <= structure.tail_padding && reader.rest().iter().all(|byte| *byte == 0);
            self.fault(reader.offset(), format!("{} left over behind the last field", bytes(count)), zeros);
        }
        out.push(self.rest(reader));
    }

    fn field<'a>(
        &mut self,
        field: &'static Field,
        reader: &mut Reader<'a>,
        start: usize,
        out: &mut Vec<Node<'a>>,
    ) -> Result<(), Stop> {
        let offset = reader.offset();
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.fault(offset, format!("only {MAX_NODES} fields are read of one message"), true);
            out.push(self.rest(reader));
            return Err(Stop);
        }
        let mut shown_as = field;
        let value = match field.kind {
            Kind::Integer { width, order, shown } => {
                let value = integer(self.take(width, reader, out)?, order);
                self.scope.push((field.name, value));
                self.integer_rules(field, shown, value, offset, start, reader.left());
                Value::Integer(value)
            }
            Kind::Bytes(extent) => {
                let size = match extent {
                    Extent::Fixed(size) => size,
                    Extent::SizedBy(name) => self.number(name),
                    Extent::HashOf(name) => match hash_size(self.value(name)) {
                        Some(size) => size,
                        None => return Err(self.stop("its size is unknown, as the hash is".to_owned(), reader, out)),
                    },
                    Extent::Rest => reader.left(),
                };
                let taken = self.take(size, reader, out)?;
                for rule in field.rules {
                    if let Rule::Sizes(sizes) = rule
                        && !sizes.contains(&taken.len())
                    {
                        self.fault(offset, format!("{}, where one of {sizes:?} is due", bytes(taken.len())), false);
                        if sizes.iter().all(|size| *size < taken.len()) {
                            shown_as = &TOO_LONG;
                        }
                    }
                }
                Value::Bytes(Cow::Borrowed(taken))
            }
            Kind::ZeroPad => {
                let taken = self.take(offset.wrapping_neg() & 3, reader, out)?;
                if taken.iter().any(|byte| *byte != 0) {
                    self.fault(offset, "padding that is not zero".to_owned(), true);
                }
                Value::Bytes(Cow::Borrowed(taken))
            }
            Kind::Structure(structure, region) => return self.structure(field, structure, region, reader, out),
            Kind::Array(item, count) => return self.array(field, item, count, reader, out),
        };
        out.push(Node { name: field.name, offset, size: reader.offset() - offset, value, field: Some(shown_as) });
        Ok(())
    }

    fn structure<'a>(
        &mut self,
        field: &'static Field,
        structure: &'static Structure,
        region: Region,
        reader: &mut Reader<'a>,
        out: &mut Vec<Node<'a>>,
    ) -> Result<(), Stop> {
        let offset = reader.offset();
        let mut inner = Vec::new();
        let wanted = match region {
            Region::Inline => {
                let outcome = self.fields(structure, reader, &mut inner);
                let size = reader.offset() - offset;
                out.push(Node { name: field.name, offset, size, value: Value::Record(inner), field: Some(field) });
                return outcome;
            }
            Region::SizedBy(name) => self.number(name),
            Region::Rest => reader.left(),
        };
        let size = wanted.min(reader.left());
        let Ok(mut part) = reader.sub(size) else { return Err(Stop) };
        if wanted > 0 || matches!(region, Region::Rest) {
            let (depth, section, lenient) = (self.path.len(), self.section, self.lenient);
            self.lenient |= structure.open_end;
            if self.fields(structure, &mut part, &mut inner).is_ok() {
                self.end(structure, &mut part, &mut inner);
            }
            self.path.truncate(depth);
            (self.lenient, self.section) = (lenient, section);
        }
        out.push(Node { name: field.name, offset, size, value: Value::Record(inner), field: Some(field) });
        if wanted > size {
            return Err(self.stop(format!("{} announced, {size} left", bytes(wanted)), reader, out));
        }
        Ok(())
    }

    fn array<'a>(
        &mut self,
        field: &'static Field,
        item: &'static Field,
        count: Count,
        reader: &mut Reader<'a>,
        out: &mut Vec<Node<'a>>,
    ) -> Result<(), Stop> {
        let offset = reader.offset();
        let mut items = Vec::new();
        let outcome = match count {
            Count::CountedBy(name) => {
                let count = self.number(name);
                self.items(item, reader, &mut items, |items, _| items < count)
            }
            Count::Rest => self.items(item, reader, &mut items, |_, left| left > 0),
            Count::Within(name) => {
                let wanted = self.number(name);
                let size = wanted.min(reader.left());
                match reader.sub(size) {
                    Ok(mut part) => {
                        let (depth, section, known) = (self.path.len(), self.section, self.scope.len());
                        // What cannot be read there ends with it.
                        if self.items(item, &mut part, &mut items, |_, left| left > 0).is_err() {
                            self.path.truncate(depth);
                            self.scope.truncate(known);
                            self.section = section;
                        }
                        if wanted > size {
                            self.fault(offset, format!("{} announced, {size} left", bytes(wanted)), false);
                        }
                        Ok(())
                    }
                    Err(_) => Err(Stop),
                }
            }
        };
        if outcome.is_ok() {
            for rule in field.rules {
                if let Rule::Items(least, most) = rule
                    && !(*least..=*most).contains(&items.len())
                {
                    let most = if *most == usize::MAX { "more".to_owned() } else { most.to_string() };
                    self.fault(offset, format!("{} items, where {least} to {most} are due", items.len()), false);
                }
            }
        }
        let size = reader.offset() - offset;
        out.push(Node { name: field.name, offset, size, value: Value::List(items), field: Some(field) });
        outcome
    }

    fn items<'a>(
        &mut self,
        item: &'static Field,
        reader: &mut Reader<'a>,
        items: &mut Vec<Node<'a>>,
        goes_on: impl Fn(usize, usize) -> bool,
    ) -> Result<(), Stop> {
        let start = reader.offset();
        let known = self.scope.len();
        let mut one = Vec::with_capacity(1);
        while goes_on(items.len(), reader.left()) {
            self.path.push(Part::Index(items.len()));
            let outcome = self.field(item, reader, start, &mut one);
            for node in one.drain(..) {
                // The bytes in the place of an item that could not be read.
                let unread = node.name == REST;
                let Node { offset, size, .. } = node;
                let value = Value::Record(vec![node.clone()]);
                items.push(if unread { Node { name: item.name, offset, size, value, field: None } } else { node });
            }
            outcome?;
            self.path.pop();
            self.scope.truncate(known);
        }
        Ok(())
    }

    fn take<'a>(&mut self, size: usize, reader: &mut Reader<'a>, out: &mut Vec<Node<'a>>) -> Result<&'a [u8], Stop> {
        let left = reader.left();
        match reader.take(size) {
            Ok(taken) => Ok(taken),
            Err(_) => Err(self.stop(format!("cut off: {} needed, {left} left", bytes(size)), reader, out)),
        }
    }

    /// Puts what is left into the tree and says why it stays unread.
    fn stop<'a>(&mut self, rule: String, reader: &mut Reader<'a>, out: &mut Vec<Node<'a>>) -> Stop {
        self.fault(reader.offset(), rule, false);
        out.push(self.rest(reader));
        Stop
    }

    /// What is left, unread.
    fn rest<'a>(&self, reader: &mut Reader<'a>) -> Node<'a> {
        let (offset, size) = (reader.offset(), reader.left());
        let left = reader.take(size).unwrap_or_default();
        let field = (self.has_secret && size > 0).then_some(&SECRET_REST);
        Node { name: REST, offset, size, value: Value::Bytes(Cow::Borrowed(left)), field }
    }

    fn value(&self, name: &str) -> u64 {
        self.scope.iter().rev().find(|(known, _)| *known == name).map_or(0, |(_, value)| *value)
    }

    fn number(&self, name: &str) -> usize {
        usize::try_from(self.value(name)).unwrap_or(usize::MAX)
    }

    fn integer_rules(
        &mut self,
        field: &'static Field,
        shown: Shown,
        value: u64,
        offset: usize,
        start: usize,
        left: usize,
    ) {
        if let Some(constant) = self.root.constants.iter().find(|constant| constant.field == field.name)
            && constant.value != value
        {
            let rule =
                format!("{}, where {} has {}", number(shown, value), self.root.name, number(shown, constant.value));
            self.fault(offset, rule, constant.tolerated);
        }
        let width = if let Kind::Integer { width, .. } = field.kind { width } else { 0 };
        for rule in field.rules {
            let (text, tolerated) = match *rule {
                Rule::Is(due) if value != due => (format!("{value}, where {due} is due"), false),
                Rule::ShouldBe(due) if value != due => (format!("{value}, where {due} is expected"), true),
                Rule::Known if !is_known(shown, value) => (format!("{value} has no meaning"), false),
                Rule::Between(least, most) if !(least..=most).contains(&value) => {
                    (format!("{value}, where {least} to {most} are allowed"), false)
                }
                Rule::Multiple(of) if value == 0 || !value.is_multiple_of(of) => {
                    (format!("{value} is no positive multiple of {of}"), false)
                }
                Rule::SizeOfRest if value != left as u64 => (format!("{value}, but {} follow", bytes(left)), false),
                Rule::SizeOfMessage if value != (offset - start + width + left) as u64 => {
                    (format!("{value}, but the message has {}", bytes(offset - start + width + left)), false)
                }
                _ => continue,
            };
            self.fault(offset, text, tolerated);
        }
    }

    /// Notes a broken rule, at the field that is being read.
    fn fault(&mut self, offset: usize, rule: String, tolerated: bool) {
        let field = path::text(&self.path);
        self.push(Fault { offset, field, rule, section: section(self.section), tolerated: tolerated || self.lenient });
    }

    /// Notes a broken rule between fields; `field` is named within the structure that is being read.
    pub(super) fn broken(&mut self, offset: usize, field: &str, rule: String, tolerated: bool) {
        let before = self.faults.len();
        self.fault(offset, rule, tolerated);
        if let Some(fault) = self.faults.get_mut(before)
            && before + 1 < MAX_FAULTS
        {
            if !fault.field.is_empty() && !field.is_empty() {
                fault.field.push('.');
            }
            fault.field.push_str(field);
        }
    }

    fn push(&mut self, fault: Fault) {
        match self.faults.len() {
            count if count + 1 < MAX_FAULTS => self.faults.push(fault),
            count if count + 1 == MAX_FAULTS => {
                let rule = "more rules are broken from here on".to_owned();
                self.faults.push(Fault { field: String::new(), rule, tolerated: false, ..fault });
            }
            _ => {}
        }
    }
}

pub(super) fn section(structure: &Structure) -> String {
    format!("{} {}", structure.protocol, structure.section)
}

fn integer(bytes: &[u8], order: Order) -> u64 {
    let append = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    match order {
        Order::Big => bytes.iter().fold(0, append),
        Order::Little => bytes.iter().rev().fold(0, append),
    }
}

fn is_known(shown: Shown, value: u64) -> bool {
    if let Shown::Named(names) = shown { names.name_of(value).is_some() } else { true }
}

/// A number as it is shown.
fn number(shown: Shown, value: u64) -> String {
    match shown {
        Shown::Version => super::version_text(value),
        Shown::Named(names) => {
            names.name_of(value).map_or_else(|| value.to_string(), |name| format!("{value} ({name})"))
        }
        Shown::Number => value.to_string(),
    }
}

fn bytes(count: usize) -> String {
    if count == 1 { "1 byte".to_owned() } else { format!("{count} bytes") }
}
