//! The OpenAPI document of both sockets. A test holds it to the routes.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

/// The document.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Value, json};

    use super::*;
    use crate::control::wire::{self, ErrorCode, Refusal};

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    /// Every operation, with its path and method.
    fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let methods = item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters");
            operations.extend(methods.map(|(method, operation)| (path.as_str(), method.as_str(), operation)));
        }
        operations
    }

    /// The value that a `$ref` points to, or the value itself.
    fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(pointer) => {
                document.pointer(pointer.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{pointer}"))
            }
            None => value,
        }
    }

    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    /// What is written between quotes behind `pub const NAME: &str =` in a source.
    fn constants(source: &str) -> BTreeMap<&str, &str> {
        let lines = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \""));
        lines.map(|(name, rest)| (name, rest.strip_suffix("\";").unwrap())).collect()
    }

    #[test]
    fn the_paths_are_those_of_the_code() {
        let known = constants(include_str!("paths.rs"));
        assert!(known.len() > 20, "{known:?}");
        let known: BTreeSet<_> = known.into_values().collect();
        let document = document();
        let described: BTreeSet<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(described, known);
    }

    #[test]
    fn references_lead_somewhere_and_nothing_lies_about() {
        let document = document();
        let mut used = BTreeSet::new();
        references(&document, &mut used);
        for reference in &used {
            resolve(&document, &json!({ "$ref": reference }));
        }
        for (kind, components) in document["components"].as_object().unwrap() {
            for name in components.as_object().unwrap().keys() {
                assert!(used.contains(format!("#/components/{kind}/{name}").as_str()), "nobody needs {name}");
            }
        }
    }

    #[test]
    fn operations_are_described_in_full() {
        let document = document();
        let tags: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| &tag["name"]).collect();
        let kinds: Vec<_> = document["components"]["schemas"]["ErrorCode"]["oneOf"].as_array().unwrap().clone();
        let mut ids = BTreeSet::new();
        for (path, method, operation) in operations(&document) {
            let at = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{at}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{at}: the id is taken");
            let sockets = operation["tags"].as_array().unwrap();
            assert!(!sockets.is_empty() && sockets.iter().all(|tag| tags.contains(&tag)), "{at}");
            assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/Refusal", "{at}");
            for kind in operation["x-errors"].as_array().unwrap() {
                assert!(kinds.iter().any(|known| &known["const"] == kind), "{at}: {kind}");
            }
            let own = operation["parameters"].as_array().into_iter().flatten();
            let shared = document["paths"][path]["parameters"].as_array().into_iter().flatten();
            let parameters: Vec<_> = own.chain(shared).map(|parameter| resolve(&document, parameter)).collect();
            let in_path: Vec<_> = parameters.iter().filter(|parameter| parameter["in"] == "path").collect();
            assert_eq!(in_path.len(), path.matches('{').count(), "{at}");
            for parameter in in_path {
                assert!(path.contains(&format!("{{{}}}", parameter["name"].as_str().unwrap())), "{at}: {parameter}");
            }
            let has_session = parameters.iter().any(|parameter| parameter["name"] == "Peerdist-Session");
            let may_lack_one = operation["x-errors"].as_array().unwrap().contains(&json!("no_session"));
            assert_eq!(has_session, may_lack_one, "{at}");
        }
    }

    #[test]
    fn the_headers_are_those_of_the_code() {
        let mut said = BTreeSet::new();
        let document = document();
        let components = document["components"]["parameters"].as_object().unwrap().values();
        for parameter in components.filter(|parameter| parameter["in"] == "header") {
            said.insert(parameter["name"].as_str().unwrap().to_ascii_lowercase());
        }
        for (_, _, operation) in operations(&document) {
            for response in operation["responses"].as_object().unwrap().values() {
                let headers = response["headers"].as_object().into_iter().flatten();
                said.extend(headers.map(|(name, _)| name.to_ascii_lowercase()));
            }
        }
        let known = [wire::SESSION_HEADER, wire::NAME_HEADER, wire::SOURCE_HEADER, wire::RANGE_HEADER];
        assert_eq!(said, known.map(str::to_owned).into());
    }

    /// The variants of an enum as its source names them.
    fn variants<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
        let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        body.lines()
            .map(str::trim)
            .filter(|line| !line.starts_with("//"))
            .map(|line| line.trim_end_matches(','))
            .collect()
    }

    #[test]
    fn every_kind_of_refusal_has_its_status_and_code() {
        let mut known = BTreeMap::new();
        for variant in variants(include_str!("wire.rs"), "ErrorCode") {
            let mut name = String::new();
            for letter in variant.chars() {
                if letter.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(letter.to_ascii_lowercase());
            }
            let error: ErrorCode = serde_json::from_value(json!(name)).unwrap();
            let refusal = Refusal::new(error, "");
            known.insert(name, (u64::from(refusal.status().as_u16()), u64::from(refusal.code)));
        }
        assert!(known.len() >= 20, "{known:?}");
        let document = document();
        let said = document["components"]["schemas"]["ErrorCode"]["oneOf"].as_array().unwrap();
        let of = |line: &Value| (line["x-status"].as_u64().unwrap(), line["x-code"].as_u64().unwrap());
        let said: BTreeMap<_, _> =
            said.iter().map(|line| (line["const"].as_str().unwrap().to_owned(), of(line))).collect();
        assert_eq!(said, known);
    }
}
