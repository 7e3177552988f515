//! The tables of structures as Lua tables, each after those that it names.

use std::fmt::Write as _;

use peerdist_protocol::schema::tables::ALL;
use peerdist_protocol::schema::{Count, Extent, Field, Kind, Order, Presence, Region, Rule, Shown, Structure};

use super::quoted;

/// What the filters of a document's fields begin with.
pub(super) fn prefix(document: &str) -> String {
    document.trim_start_matches("MS-").to_ascii_lowercase()
}

/// Every structure that can be met, the inner ones first.
pub(super) fn structures() -> Vec<&'static Structure> {
    let mut known = Vec::new();
    ALL.into_iter().for_each(|structure| collect(structure, &mut known));
    known
}

fn collect(structure: &'static Structure, known: &mut Vec<&'static Structure>) {
    if place(structure, known).is_some() {
        return;
    }
    structure.fields.iter().filter_map(inner).for_each(|inner| collect(inner, known));
    known.push(structure);
}

fn inner(field: &'static Field) -> Option<&'static Structure> {
    match field.kind {
        Kind::Structure(structure, _) => Some(structure),
        Kind::Array(item, _) => inner(item),
        _ => None,
    }
}

fn place(structure: &Structure, known: &[&Structure]) -> Option<usize> {
    known.iter().position(|other| std::ptr::eq(*other, structure)).map(|index| index + 1)
}

pub(super) fn write(text: &mut String) {
    let known = structures();
    text.push_str("\ntables.list = {}\n");
    for (index, structure) in known.iter().enumerate() {
        let _ = writeln!(text, "\ntables.list[{}] = {{", index + 1);
        let _ =
            writeln!(text, "  name = {}, prefix = {},", quoted(structure.name), quoted(&prefix(structure.protocol)));
        let _ = writeln!(text, "  protocol = {}, section = {},", quoted(structure.protocol), quoted(structure.section));
        let _ = writeln!(
            text,
            "  max_size = {}, tail_padding = {}, open_end = {},",
            structure.max_size, structure.tail_padding, structure.open_end
        );
        let constants = structure.constants.iter().map(|constant| {
            let (field, value, tolerated) = (quoted(constant.field), constant.value, constant.tolerated);
            format!("{{ field = {field}, value = {value}, tolerated = {tolerated} }}")
        });
        let _ = writeln!(text, "  constants = {},", list(constants));
        let checks = structure.checks.iter().map(|check| quoted(&format!("{check:?}")));
        let _ = writeln!(text, "  checks = {},", list(checks));
        text.push_str("  fields = {\n");
        for field in structure.fields {
            let _ = writeln!(text, "    {},", table(field, &known));
        }
        text.push_str("  },\n}\n");
    }
    text.push_str("\ntables.by_name = {\n");
    for structure in ALL {
        if let Some(place) = place(structure, &known) {
            let _ = writeln!(text, "  [{}] = tables.list[{place}],", quoted(structure.name));
        }
    }
    text.push_str("}\n");
}

fn table(field: &'static Field, known: &[&Structure]) -> String {
    let mut parts = vec![format!("name = {}", quoted(field.name))];
    let mut part = |name: &str, value: String| parts.push(format!("{name} = {value}"));
    match field.kind {
        Kind::Integer { width, order, shown } => {
            part("kind", quoted("integer"));
            part("width", width.to_string());
            if order == Order::Little {
                part("little", "true".to_owned());
            }
            match shown {
                Shown::Number => {}
                Shown::Version => part("version", "true".to_owned()),
                Shown::Named(names) => {
                    let values = names.values.iter().map(|(value, name)| format!("[{value}] = {}", quoted(name)));
                    part("values", list(values));
                }
            }
        }
        Kind::Bytes(extent) => {
            part("kind", quoted("bytes"));
            match extent {
                Extent::Fixed(size) => part("size", size.to_string()),
                Extent::SizedBy(name) => part("sized_by", quoted(name)),
                Extent::HashOf(name) => part("hash_of", quoted(name)),
                Extent::Rest => part("rest", "true".to_owned()),
            }
        }
        Kind::ZeroPad => part("kind", quoted("zero_pad")),
        Kind::Structure(structure, region) => {
            part("kind", quoted("structure"));
            // `collect` has seen it.
            part("structure", format!("tables.list[{}]", place(structure, known).unwrap_or(0)));
            match region {
                Region::Inline => {}
                Region::SizedBy(name) => part("sized_by", quoted(name)),
                Region::Rest => part("rest", "true".to_owned()),
            }
        }
        Kind::Array(item, count) => {
            part("kind", quoted("array"));
            part("item", table(item, known));
            match count {
                Count::CountedBy(name) => part("counted_by", quoted(name)),
                Count::Within(name) => part("within", quoted(name)),
                Count::Rest => {}
            }
        }
    }
    if field.presence == Presence::MayEnd {
        part("may_end", "true".to_owned());
    }
    let mut rules = Vec::new();
    for rule in field.rules {
        match *rule {
            Rule::Is(value) => rules.push(format!("{{ \"is\", {value} }}")),
            Rule::ShouldBe(value) => rules.push(format!("{{ \"should_be\", {value} }}")),
            Rule::Known => rules.push("{ \"known\" }".to_owned()),
            Rule::Between(least, most) => rules.push(format!("{{ \"between\", {least}, {most} }}")),
            Rule::Multiple(of) => rules.push(format!("{{ \"multiple\", {of} }}")),
            Rule::SizeOfRest => rules.push("{ \"size_of_rest\" }".to_owned()),
            Rule::SizeOfMessage => rules.push("{ \"size_of_message\" }".to_owned()),
            Rule::Items(least, most) => {
                part("least", least.to_string());
                if most != usize::MAX {
                    part("most", most.to_string());
                }
            }
            Rule::Sizes(sizes) => part("sizes", list(sizes.iter().map(usize::to_string))),
        }
    }
    if !rules.is_empty() {
        part("rules", list(rules.into_iter()));
    }
    format!("{{ {} }}", parts.join(", "))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    if items.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", items.join(", ")) }
}
