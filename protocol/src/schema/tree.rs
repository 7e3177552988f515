//! What a dissected message looks like.

use std::borrow::Cow;
use std::fmt;

use super::{Field, Form};

/// The name of the node that has the bytes which could not be read, or follow the last field.
pub const REST: &str = "_rest";

/// A dissected message.
#[derive(Debug, Clone)]
pub struct Tree<'a> {
    /// The document's name for it.
    pub name: &'static str,
    /// The document, as in `MS-PCCRR`.
    pub protocol: &'static str,
    /// The section of the document.
    pub section: &'static str,
    /// How many bytes it has.
    pub size: usize,
    /// The bytes.
    pub bytes: &'a [u8],
    /// The fields, as far as they go.
    pub fields: Vec<Node<'a>>,
    /// The rules that it breaks, in the order in which they were noticed.
    pub faults: Vec<Fault>,
}

/// A field and what stood there.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// The document's name for it.
    pub name: &'static str,
    /// Where it begins, in bytes from the start of the message.
    pub offset: usize,
    /// How many bytes it has.
    pub size: usize,
    /// What stood there.
    pub value: Value<'a>,
    /// What its table says of it; none for text. It is a secret where a segment secret may be among bytes that could
    /// not be read, or are too many for their field.
    pub field: Option<&'static Field>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Integer(u64),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Text. One who composes may give every number and all bytes as text.
    Text(Cow<'a, str>),
    /// The fields of a structure.
    Record(Vec<Node<'a>>),
    /// The items of an array.
    List(Vec<Node<'a>>),
}

/// A rule that is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, in bytes from the start of the message.
    pub offset: usize,
    /// Which field, with those it stands in: `segments[1].cbSegment`. Empty for the message.
    pub field: String,
    /// Which rule.
    pub rule: String,
    /// Document and section.
    pub section: String,
    /// Whether receivers take the message all the same.
    pub tolerated: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, field, rule, section, tolerated } = self;
        let colon = if field.is_empty() { "" } else { ": " };
        write!(f, "offset {offset}: {field}{colon}{rule} ([{section}]")?;
        f.write_str(if *tolerated { ", tolerated)" } else { ")" })
    }
}

/// Names and values are compared, not where they stood.
impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl Eq for Node<'_> {}

impl<'a> Tree<'a> {
    /// Its bytes, where composing its fields does not give them: the messages that are text can be written in many ways.
    #[must_use]
    pub fn raw(&self) -> Option<&'a [u8]> {
        match Form::by_name(self.name)? {
            Form::Structure(_) => None,
            form => (form.compose(&self.fields).ok().as_deref() != Some(self.bytes)).then_some(self.bytes),
        }
    }

    /// Whether no rule is broken that receivers insist on.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.faults.iter().all(|fault| fault.tolerated)
    }

    /// The field of this name, at any depth; the first where there are several.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Node<'a>> {
        find(&self.fields, name)
    }

    /// The number in the field of this name.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<u64> {
        self.find(name)?.integer()
    }

    /// The bytes of the field of this name.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.find(name)?.bytes()
    }
}

fn find<'n, 'a>(nodes: &'n [Node<'a>], name: &str) -> Option<&'n Node<'a>> {
    nodes.iter().find_map(|node| if node.name == name { Some(node) } else { find(node.children(), name) })
}

impl<'a> Node<'a> {
    /// A field for [`super::compose`], which asks for nothing but names and values.
    #[must_use]
    pub fn new(name: &'static str, value: Value<'a>) -> Self {
        Self { name, offset: 0, size: 0, value, field: None }
    }

    /// The fields of a structure or the items of an array.
    #[must_use]
    pub fn children(&self) -> &[Node<'a>] {
        match &self.value {
            Value::Record(children) | Value::List(children) => children,
            _ => &[],
        }
    }

    /// A direct child.
    #[must_use]
    pub fn child(&self, name: &str) -> Option<&Node<'a>> {
        self.children().iter().find(|child| child.name == name)
    }

    /// The number that it is.
    #[must_use]
    pub fn integer(&self) -> Option<u64> {
        if let Value::Integer(value) = self.value { Some(value) } else { None }
    }

    /// The bytes that it is.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Value::Bytes(bytes) = &self.value { Some(bytes) } else { None }
    }

    /// The text that it is.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }
}
