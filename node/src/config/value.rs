//! The text forms of values: sizes such as `"10 GiB"` and times such as `"28d"`.

use std::time::Duration;

use thiserror::Error;

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// The text is not a size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a size is a whole number and one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB, as in \"10 GiB\"")]
pub struct ParseSizeError;

/// The text is not a time span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a time is a whole number and one of ms, s, min, h, d, as in \"28d\"")]
pub struct ParseDurationError;

/// Reads a size such as `"10 GiB"`, `"500 MB"` or `"65536"` into bytes. The unit's case does not matter.
pub fn parse_size(text: &str) -> Result<u64, ParseSizeError> {
    let (number, unit) = split_unit(text).ok_or(ParseSizeError)?;
    let factor = match unit {
        "" => 1,
        unit => SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(ParseSizeError)?.1,
    };
    number.checked_mul(factor).ok_or(ParseSizeError)
}

/// Reads a time span such as `"28d"`, `"5 min"` or `"300 ms"`. The unit has to be there.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let (number, unit) = split_unit(text).ok_or(ParseDurationError)?;
    let factor = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or(ParseDurationError)?.1;
    number.checked_mul(factor).map(Duration::from_millis).ok_or(ParseDurationError)
}

/// The text that [`parse_size`] reads back as `bytes`, in the largest binary unit that divides it.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    let binary = SIZE_UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
    match binary.into_iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{} {unit}", bytes / factor),
        None => format!("{bytes} B"),
    }
}

/// The text that [`parse_duration`] reads back, in the largest unit that divides the span; whole milliseconds.
#[must_use]
pub fn duration_text(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    match DURATION_UNITS.iter().find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", millis / factor),
        None => "0s".to_owned(),
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

/// `#[serde(with = "value::bytes")]` for sizes: text, or a plain number of bytes.
pub(super) mod bytes {
    use serde::{Deserializer, Serializer, de};

    pub(in crate::config) fn serialize<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::size_text(*bytes))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = u64;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a size such as \"10 GiB\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
                super::parse_size(text).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
                u64::try_from(number).map_err(|_| E::custom(super::ParseSizeError))
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// `#[serde(with = "value::duration")]` for time spans.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::config) fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::duration_text(*span))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        super::parse_duration(&text).map_err(de::Error::custom)
    }
}

/// Values that are written as texts, with what is expected where something else stands.
macro_rules! as_text {
    ($($type:ty: $expected:literal),* $(,)?) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl serde::de::Visitor<'_> for Visitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                from.deserialize_str(Visitor)
            }
        }
    )*};
}
pub(super) use as_text;
