//! Trees to bytes: the inverse of [`super::dissect`].

use thiserror::Error;

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
        /// Which.
        field: String,
    },
    /// The structure has no such field.
    #[error("{structure} has no field {field}")]
    Unknown {
        /// The structure.
        structure: &'static str,
        /// What was given.
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

/// Writes a structure. Sizes, counts and padding may be left out and are then what they have to be; where they are
/// given they are written as they are, wrong or not. Values of fields may be numbers, bytes, or text that says them.
pub fn compose(structure: &'static Structure, values: &[Node<'_>]) -> Result<Vec<u8>, ComposeError> {
    let mut composer = Composer { root: structure, out: Vec::new(), patches: Vec::new() };
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
    out: Vec<u8>,
    patches: Vec<Patch>,
}

impl Composer {
    fn fields(&mut self, structure: &'static Structure, values: &[Node<'_>]) -> Result<Flow, ComposeError> {
        let start = self.out.len();
        let known = |value: &&Node<'_>| value.name != REST && structure.field(value.name).is_none();
        if let Some(unknown) = values.iter().find(known) {
            return Err(ComposeError::Unknown { structure: structure.name, field: unknown.name.to_owned() });
        }
        let rest = values.iter().find(|value| value.name == REST);
        for field in structure.fields {
            let flow = match (values.iter().find(|value| value.name == field.name), rest) {
                (Some(value), _) => self.given(field, value)?,
                (None, Some(rest)) => return self.end(rest),
                (None, None) => self.left_out(structure, field, values, start)?,
            };
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
        self.put(&bytes_of(REST, rest)?)?;
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
                let number = number_of(field, shown, value)?;
                if width < 8 && number >> (8 * width) != 0 {
                    return Err(kind(field, "a number that fits its bytes"));
                }
                self.integer(number, width, order)?;
            }
            Kind::Bytes(_) | Kind::ZeroPad => self.put(&bytes_of(field.name, value)?)?,
            Kind::Structure(structure, region) => {
                let Value::Record(values) = &value.value else { return Err(kind(field, "an object")) };
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
                let Value::List(items) = &value.value else { return Err(kind(field, "an array")) };
                for value in items {
                    if self.given(item, value)? == Flow::Ends {
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
        let missing = || ComposeError::Missing { field: field.name.to_owned() };
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
                    (None, None) => default.ok_or_else(missing)?,
                };
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
        let value_of = |field: &Field| values.iter().find(|value| value.name == field.name);
        for field in structure.fields {
            let count = match (field.kind, value_of(field)) {
                (Kind::Bytes(Extent::SizedBy(name)), Some(value)) if name == size.name => {
                    bytes_of(field.name, value)?.len()
                }
                (Kind::Structure(_, Region::SizedBy(name)) | Kind::Array(_, Count::Within(name)), Some(value))
                    if name == size.name =>
                {
                    let mut part = Composer { root: self.root, out: Vec::new(), patches: Vec::new() };
                    part.given(field, value)?;
                    part.out.len()
                }
                (Kind::Array(_, Count::CountedBy(name)), Some(value)) if name == size.name => value.children().len(),
                (Kind::Bytes(Extent::SizedBy(name)) | Kind::Structure(_, Region::SizedBy(name)), None)
                    if name == size.name && field.presence != Presence::Required =>
                {
                    0
                }
                _ => continue,
            };
            return Ok(Some(count as u64));
        }
        Ok(None)
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

fn encode(number: u64, width: usize, order: Order) -> Vec<u8> {
    let mut bytes: Vec<u8> = number.to_le_bytes().into_iter().take(width).collect();
    if order == Order::Big {
        bytes.reverse();
    }
    bytes
}

fn kind(field: &Field, due: &'static str) -> ComposeError {
    ComposeError::Kind { field: field.name.to_owned(), due }
}

fn bytes_of(name: &str, value: &Node<'_>) -> Result<Vec<u8>, ComposeError> {
    let error = ComposeError::Kind { field: name.to_owned(), due: "hexadecimal digits" };
    match &value.value {
        Value::Bytes(bytes) => Ok(bytes.to_vec()),
        Value::Text(text) => hex::decode(text.as_ref()).map_err(|_| error),
        _ => Err(error),
    }
}

fn number_of(field: &Field, shown: Shown, value: &Node<'_>) -> Result<u64, ComposeError> {
    let error = || kind(field, "a number");
    match &value.value {
        Value::Integer(number) => Ok(*number),
        Value::Text(text) => read_number(shown, text).ok_or_else(error),
        _ => Err(error()),
    }
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
