//! Trees to bytes: the inverse of [`super::dissect`].

use thiserror::Error;

use super::path::{self, Part};
use super::tree::REST;
use super::{Count, Enumeration, Extent, Field, Kind, Node, Order, Presence, Region, Rule, Shown, Structure, Value};
use crate::wire::Put as _;

/// The most bytes that are composed: the largest message there is.
pub const MAX_COMPOSED_SIZE: usize = crate::content::MAX_CONTENT_INFORMATION_SIZE;

/// Why values make no message; the fault of who wrote them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ComposeError {
    /// A field that cannot be left out was left out.
    #[error("{field} is missing")]
    Missing {
        /// Which, with those it stands in: `segments[1].cbSegment`.
        field: String,
    },
    /// The structure has no such field.
    #[error("{field} is no field of {structure}")]
    Unknown {
        /// The structure.
        structure: &'static str,
        /// What was given.
        field: String,
    },
    /// A field is given more than once.
    #[error("{field} is there twice")]
    Repeated {
        /// Which.
        field: String,
    },
    /// A value that the field cannot have.
    #[error("{field} has to be {due}")]
    Kind {
        /// Which.
        field: String,
        /// What it has to be.
        due: &'static str,
    },
    /// More than [`MAX_COMPOSED_SIZE`].
    #[error("the message is longer than {MAX_COMPOSED_SIZE} bytes")]
    TooLarge,
}

impl ComposeError {
    /// The same of a structure that is in this field.
    pub(super) fn within(mut self, outer: &str) -> Self {
        if let Self::Missing { field }
        | Self::Unknown { field, .. }
        | Self::Repeated { field }
        | Self::Kind { field, .. } = &mut self
        {
            *field = format!("{outer}.{field}");
        }
        self
    }
}

/// Writes a structure. Sizes, counts and padding may be left out and are then what they have to be; where they are
/// given they are written as they are, wrong or not. Values of fields may be numbers, bytes, or text that says them.
pub fn compose(structure: &'static Structure, values: &[Node<'_>]) -> Result<Vec<u8>, ComposeError> {
    let mut composer = Composer { root: structure, path: Vec::new(), out: Vec::new(), patches: Vec::new() };
    composer.fields(structure, values)?;
    Ok(composer.finish())
}

/// Whether there is more to write: values of a message that was cut off end where it did.
#[derive(PartialEq)]
enum Flow {
    GoesOn,
    Ends,
}

/// A size that is known when all is written.
struct Patch {
    at: usize,
    width: usize,
    order: Order,
    counted_from: usize,
}

struct Composer {
    root: &'static Structure,
    /// The field that is being written.
    path: Vec<Part>,
    out: Vec<u8>,
    patches: Vec<Patch>,
}

impl Composer {
    fn fields(&mut self, structure: &'static Structure, values: &[Node<'_>]) -> Result<Flow, ComposeError> {
        let start = self.out.len();
        let known = |value: &&Node<'_>| value.name != REST && structure.field(value.name).is_none();
        if let Some(unknown) = values.iter().find(known) {
            return Err(ComposeError::Unknown { structure: structure.name, field: self.beside(unknown.name) });
        }
        if let Some(repeated) = repeated(values) {
            return Err(ComposeError::Repeated { field: self.beside(repeated) });
        }
        let rest = values.iter().find(|value| value.name == REST);
        let is_given = |field: &Field| values.iter().any(|value| value.name == field.name);
        // Behind the last field that is given.
        let end = structure.fields.iter().rposition(is_given).map_or(0, |last| last + 1);
        for (at, field) in structure.fields.iter().enumerate() {
            let given = values.iter().find(|value| value.name == field.name);
            if let (true, Some(rest)) = (at >= end, rest) {
                return self.end(rest);
            }
            self.path.push(Part::Name(field.name));
            let flow = match given {
                Some(value) => self.given(field, value)?,
                None => self.left_out(structure, field, values, start)?,
            };
            self.path.pop();
            if flow == Flow::Ends {
                return Ok(Flow::Ends);
            }
        }
        match rest {
            Some(rest) => self.end(rest),
            None => Ok(Flow::GoesOn),
        }
    }

    fn end(&mut self, rest: &Node<'_>) -> Result<Flow, ComposeError> {
        self.path.push(Part::Name(REST));
        let bytes = self.bytes_of(rest)?;
        self.path.pop();
        self.put(&bytes)?;
        Ok(Flow::Ends)
    }

    fn given(&mut self, field: &'static Field, value: &Node<'_>) -> Result<Flow, ComposeError> {
        // In the place of an item that could not be read.
        if let Value::Record(inner) = &value.value
            && let [rest] = inner.as_slice()
            && rest.name == REST
            && !matches!(field.kind, Kind::Structure(..))
        {
            return self.end(rest);
        }
        match field.kind {
            Kind::Integer { width, order, shown } => {
                let number = self.number_of(shown, value)?;
                if width < 8 && number >> (8 * width) != 0 {
                    return Err(self.kind("a number that fits its bytes"));
                }
                self.integer(number, width, order)?;
            }
            Kind::Bytes(_) | Kind::ZeroPad => {
                let bytes = self.bytes_of(value)?;
                self.put(&bytes)?;
            }
            Kind::Structure(structure, region) => {
                let Value::Record(values) = &value.value else { return Err(self.kind("an object")) };
                match region {
                    Region::SizedBy(_) if values.is_empty() => {}
                    // What ends there is the region, not the message.
                    Region::SizedBy(_) | Region::Rest => {
                        self.fields(structure, values)?;
                    }
                    Region::Inline => return self.fields(structure, values),
                }
            }
            Kind::Array(item, count) => {
                let Value::List(items) = &value.value else { return Err(self.kind("an array")) };
                for (index, value) in items.iter().enumerate() {
                    self.path.push(Part::Index(index));
                    let flow = self.given(item, value)?;
                    self.path.pop();
                    if flow == Flow::Ends {
                        // Where bytes are counted, what ends there is the array, not the message.
                        return Ok(if matches!(count, Count::Within(_)) { Flow::GoesOn } else { Flow::Ends });
                    }
                }
            }
        }
        Ok(Flow::GoesOn)
    }

    fn left_out(
        &mut self,
        structure: &'static Structure,
        field: &'static Field,
        values: &[Node<'_>],
        start: usize,
    ) -> Result<Flow, ComposeError> {
        let missing = || ComposeError::Missing { field: path::text(&self.path) };
        match field.kind {
            Kind::Integer { width, order, .. } => {
                let here = self.out.len();
                for rule in field.rules {
                    let counted_from = match rule {
                        Rule::SizeOfRest => here + width,
                        Rule::SizeOfMessage => start,
                        _ => continue,
                    };
                    self.patches.push(Patch { at: here, width, order, counted_from });
                }
                let default = field.rules.iter().find_map(|rule| match *rule {
                    Rule::Is(due) | Rule::ShouldBe(due) => Some(due),
                    Rule::SizeOfRest | Rule::SizeOfMessage => Some(0),
                    _ => None,
                });
                let constant = self.root.constants.iter().find(|constant| constant.field == field.name);
                let number = match (constant, self.dependent(structure, field, values)?) {
                    (Some(constant), _) => constant.value,
                    (None, Some(size)) => size,
                    (None, None) if field.presence != Presence::Required => default.unwrap_or(0),
                    // A count follows from what it counts, which is what is missing then.
                    (None, None) => default.ok_or_else(|| match counted(structure, field.name).next() {
                        Some(counted) => ComposeError::Missing { field: self.part(counted).path_text() },
                        None => missing(),
                    })?,
                };
                if let Some(counted) = counted(structure, field.name).next()
                    && width < 8
                    && number >> (8 * width) != 0
                {
                    return Err(self.part(counted).kind("no longer than its size or count can say"));
                }
                self.integer(number, width, order)?;
            }
            Kind::ZeroPad => {
                let pad = self.out.len().wrapping_neg() & 3;
                self.put(&vec![0; pad])?;
            }
            _ if field.presence == Presence::Required => return Err(missing()),
            Kind::Bytes(Extent::Fixed(size)) => self.put(&vec![0; size])?,
            Kind::Bytes(_) | Kind::Array(..) | Kind::Structure(_, Region::SizedBy(_) | Region::Rest) => {}
            Kind::Structure(structure, Region::Inline) => return self.fields(structure, &[]),
        }
        Ok(Flow::GoesOn)
    }

    /// The size or count that a field has to have because of what it counts; none where it counts nothing.
    fn dependent(
        &self,
        structure: &'static Structure,
        size: &Field,
        values: &[Node<'_>],
    ) -> Result<Option<u64>, ComposeError> {
        for field in counted(structure, size.name) {
            let value = values.iter().find(|value| value.name == field.name);
            let count = match (field.kind, value) {
                (Kind::Bytes(_), Some(value)) => self.part(field).bytes_of(value)?.len(),
                (Kind::Array(_, Count::CountedBy(_)), Some(value)) => value.children().len(),
                (_, Some(value)) => {
                    let mut part = self.part(field);
                    part.given(field, value)?;
                    part.out.len()
                }
                (Kind::Bytes(_) | Kind::Structure(..), None) if field.presence != Presence::Required => 0,
                (_, None) => continue,
            };
            return Ok(Some(count as u64));
        }
        Ok(None)
    }

    /// For the bytes of a field beside the one that is being written.
    fn part(&self, field: &Field) -> Self {
        let mut path = self.path.clone();
        path.pop();
        path.push(Part::Name(field.name));
        Self { root: self.root, path, out: Vec::new(), patches: Vec::new() }
    }

    /// The path of a member of the structure that is being written.
    fn beside(&self, name: &'static str) -> String {
        let mut path = self.path.clone();
        path.push(Part::Name(name));
        path::text(&path)
    }

    fn path_text(&self) -> String {
        path::text(&self.path)
    }

    fn kind(&self, due: &'static str) -> ComposeError {
        ComposeError::Kind { field: self.path_text(), due }
    }

    fn bytes_of(&self, value: &Node<'_>) -> Result<Vec<u8>, ComposeError> {
        let bytes = match &value.value {
            Value::Bytes(bytes) => Some(bytes.to_vec()),
            Value::Text(text) => hex::decode(text.as_ref()).ok(),
            _ => None,
        };
        bytes.ok_or_else(|| self.kind("hexadecimal digits"))
    }

    fn number_of(&self, shown: Shown, value: &Node<'_>) -> Result<u64, ComposeError> {
        let number = match &value.value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) => read_number(shown, text),
            _ => None,
        };
        number.ok_or_else(|| self.kind("a number"))
    }

    fn integer(&mut self, number: u64, width: usize, order: Order) -> Result<(), ComposeError> {
        let bytes = encode(number, width, order);
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), ComposeError> {
        if self.out.len() + bytes.len() > MAX_COMPOSED_SIZE {
            return Err(ComposeError::TooLarge);
        }
        self.out.put(bytes);
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        let size = self.out.len();
        for Patch { at, width, order, counted_from } in self.patches {
            let bytes = encode((size - counted_from) as u64, width, order);
            if let Some(place) = self.out.get_mut(at..at + width) {
                place.copy_from_slice(&bytes);
            }
        }
        self.out
    }
}

/// The fields of a structure whose size, or number of items, is in the field of this name.
fn counted<'n>(structure: &'static Structure, name: &'n str) -> impl Iterator<Item = &'static Field> + use<'n> {
    structure.fields.iter().filter(move |field| match field.kind {
        Kind::Bytes(Extent::SizedBy(size))
        | Kind::Structure(_, Region::SizedBy(size))
        | Kind::Array(_, Count::Within(size) | Count::CountedBy(size)) => size == name,
        _ => false,
    })
}

fn encode(number: u64, width: usize, order: Order) -> Vec<u8> {
    let mut bytes: Vec<u8> = number.to_le_bytes().into_iter().take(width).collect();
    if order == Order::Big {
        bytes.reverse();
    }
    bytes
}

/// A name that two values have.
pub(super) fn repeated(values: &[Node<'_>]) -> Option<&'static str> {
    let is_repeated =
        |(index, value): &(usize, &Node<'_>)| values.iter().take(*index).any(|earlier| earlier.name == value.name);
    values.iter().enumerate().find(is_repeated).map(|(_, value)| value.name)
}

fn read_number(shown: Shown, text: &str) -> Option<u64> {
    let named = |names: &Enumeration| names.value_of(text);
    match shown {
        Shown::Version => {
            let (major, minor) = text.split_once('.')?;
            Some(u64::from(minor.parse::<u16>().ok()?) << 16 | u64::from(major.parse::<u16>().ok()?))
        }
        Shown::Named(names) if named(names).is_some() => named(names),
        _ => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        },
    }
}
