//! JSON whose members keep their order, and may be there twice: header lines do and may.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::de::IoRead;

/// The longest JSON of one message in bytes.
const MAX_JSON: u64 = 128 << 20;
/// The most values in one message: the decoder shows 1,000,000 fields.
const MAX_VALUES: usize = 1 << 20;

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

/// Reads a value, as long as there are not too many.
#[derive(Clone, Copy)]
struct AnyJson<'c> {
    /// How many more there may be.
    left: &'c Cell<usize>,
    /// Members of which the value does not matter, and is not kept.
    ignored: fn(&str) -> bool,
}

impl AnyJson<'_> {
    fn count<E: serde::de::Error>(&self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| E::custom(format!("a message has more than {MAX_VALUES} values")))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for AnyJson<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyJson<'_> {
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
        let item = AnyJson { ignored: |_| false, ..self };
        while let Some(item) = items.next_element_seed(item)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        let member = AnyJson { ignored: |_| false, ..self };
        while let Some(name) = members.next_key::<String>()? {
            let value = if (self.ignored)(&name) {
                self.count()?;
                members.next_value::<IgnoredAny>()?;
                Json::Other
            } else {
                members.next_value_seed(member)?
            };
            object.push((name, value));
        }
        Ok(Json::Object(object))
    }
}

/// JSON values one after another, however they are laid out in lines.
pub(super) struct Values<R: Read> {
    /// One for all of them: what it says of a line counts from the first.
    reader: serde_json::Deserializer<IoRead<Bounded<R>>>,
    /// How many more bytes the value may have.
    left: Rc<Cell<u64>>,
    ignored: fn(&str) -> bool,
    has_failed: bool,
}

impl<R: BufRead> Values<R> {
    /// `ignored` names members of the objects of which the value does not matter.
    pub(super) fn new(source: R, ignored: fn(&str) -> bool) -> Self {
        let left = Rc::new(Cell::new(MAX_JSON));
        let reader = serde_json::Deserializer::from_reader(Bounded { source, left: Rc::clone(&left) });
        Self { reader, left, ignored, has_failed: false }
    }

    fn value(&mut self) -> serde_json::Result<Json> {
        let left = Cell::new(MAX_VALUES);
        AnyJson { left: &left, ignored: self.ignored }.deserialize(&mut self.reader)
    }
}

impl<R: BufRead> Iterator for Values<R> {
    type Item = serde_json::Result<Json>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        self.left.set(MAX_JSON);
        let value = match self.reader.end() {
            Ok(()) => return None,
            Err(error) if error.is_io() => Err(error),
            // Something follows.
            Err(_) => self.value(),
        };
        self.has_failed = value.is_err();
        Some(value)
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
        let left = self.left.get().checked_sub(size as u64);
        let too_long = || {
            let why = "content information of more than some 60 MB cannot be made of it";
            io::Error::other(format!("a message has more than {MAX_JSON} bytes of JSON: {why}"))
        };
        self.left.set(left.ok_or_else(too_long)?);
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<serde_json::Result<Json>> {
        Values::new(text.as_bytes(), |name| name == "derived").collect()
    }

    #[test]
    fn values_come_one_after_another_until_one_is_none() {
        let found = values("{\"a\":[1,-1,null]}{}\r\n \t[\"b\"] { ] {}");
        let [Ok(first), Ok(second), Ok(third), Err(_)] = &found[..] else { panic!("{found:?}") };
        let numbers = Json::List(vec![Json::Number(1), Json::Other, Json::Other]);
        assert_eq!(*first, Json::Object(vec![("a".to_owned(), numbers)]));
        assert_eq!(*second, Json::Object(Vec::new()));
        assert_eq!(*third, Json::List(vec![Json::Text("b".to_owned())]));
        assert!(values(" \n").is_empty());
    }

    #[test]
    fn a_line_is_counted_from_the_begin_of_the_source() {
        let text = "{\"a\":1}\n\n{\n\"a\":1\n}\n{\n\"a\":1,\n]";
        let error = values(text).remove(2).unwrap_err();
        assert_eq!((error.line(), error.column()), (8, 1), "{error}");
    }

    #[test]
    fn a_message_has_a_limited_number_of_values_but_for_those_that_are_ignored() {
        let numbers = |count: usize| format!("[{}0]", "1,".repeat(count - 1));
        let many = numbers(MAX_VALUES);
        assert!(values(&format!("{{\"derived\":{many}}}"))[0].is_ok());
        for text in [
            many.clone(),
            format!("{{\"a\":{{\"derived\":{many}}}}}"),
            format!("{{{}", "\"derived\":0,".repeat(MAX_VALUES)),
        ] {
            let error = values(&text).remove(0).unwrap_err().to_string();
            assert!(error.contains("more than 1048576 values"), "{error}");
        }
        // Each has as many.
        let few = numbers(MAX_VALUES - 1);
        assert!(values(&format!("{few}{few}")).iter().all(Result::is_ok));
    }

    #[test]
    fn a_source_fails_behind_its_limit() {
        let mut bounded = Bounded { source: io::repeat(b'a'), left: Rc::new(Cell::new(10)) };
        assert_eq!(bounded.read(&mut [0; 10]).unwrap(), 10);
        assert!(bounded.read(&mut [0]).unwrap_err().to_string().contains("more than 134217728 bytes of JSON"));
    }
}
