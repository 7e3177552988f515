//! JSON whose members keep their order, and may be there twice: header lines do and may.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::rc::Rc;

use peerdist_protocol::schema::MAX_COMPOSED_SIZE;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The longest JSON of one message in bytes: content information, two letters for each byte, names and ids.
const MAX_JSON: u64 = 8 * MAX_COMPOSED_SIZE as u64;

/// A JSON value, as far as messages have them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    /// `null`, `true` and numbers that are no natural ones.
    Other,
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(u64::try_from(number).map_or(Json::Other, Json::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}

/// JSON values one after another, however they are laid out in lines.
pub(super) struct Values<R: Read> {
    left: Rc<Cell<u64>>,
    stream: serde_json::StreamDeserializer<'static, serde_json::de::IoRead<Bounded<R>>, Json>,
}

impl<R: Read> Values<R> {
    pub(super) fn new(source: R) -> Self {
        let left = Rc::new(Cell::new(MAX_JSON));
        let bounded = Bounded { source, left: Rc::clone(&left) };
        Self { left, stream: serde_json::Deserializer::from_reader(bounded).into_iter() }
    }
}

impl<R: Read> Iterator for Values<R> {
    type Item = serde_json::Result<Json>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left.set(MAX_JSON);
        self.stream.next()
    }
}

/// A source that fails where one value is too long.
struct Bounded<R> {
    source: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.source.read(buffer)?;
        match self.left.get().checked_sub(size as u64) {
            Some(left) => self.left.set(left),
            None => return Err(io::Error::other(format!("a message has more than {MAX_JSON} bytes of JSON"))),
        }
        Ok(size)
    }
}
