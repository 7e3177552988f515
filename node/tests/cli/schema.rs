//! Holding JSON values to the schemas of the OpenAPI document.

use serde_json::Value;

/// The keywords that say something about a value. Others must be annotations.
const ANNOTATIONS: [&str; 6] = ["description", "default", "format", "pattern", "x-status", "x-code"];

/// The OpenAPI document of the sockets.
pub(crate) struct Document(pub(crate) Value);

impl Document {
    /// What is wrong with a value that should be of a named schema, member for member.
    pub(crate) fn mistakes(&self, schema: &str, value: &Value) -> Vec<String> {
        self.mistakes_of(&self.0["components"]["schemas"][schema], value)
    }

    /// The same for any schema of the document. Objects must have every member that is described, apart from optional
    /// ones, and no other.
    pub(crate) fn mistakes_of(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut mistakes = Vec::new();
        self.look(schema, value, "", &mut mistakes);
        mistakes
    }

    /// What a `$ref` points to, or the value itself.
    pub(crate) fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(pointer) => self.0.pointer(pointer.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    fn look(&self, schema: &Value, value: &Value, at: &str, mistakes: &mut Vec<String>) {
        for (keyword, expected) in schema.as_object().unwrap_or_else(|| panic!("{at}: {schema} is no schema")) {
            let is_right = match keyword.as_str() {
                "$ref" => {
                    self.look(self.resolve(schema), value, at, mistakes);
                    true
                }
                "type" => match expected {
                    Value::Array(types) => types.iter().any(|expected| is_of_type(value, expected)),
                    expected => is_of_type(value, expected),
                },
                "const" => value == expected,
                "enum" => expected.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|number| number >= expected.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|number| number <= expected.as_f64().unwrap()),
                "oneOf" => {
                    let choices = expected.as_array().unwrap().iter();
                    choices.filter(|choice| self.mistakes_of(choice, value).is_empty()).count() == 1
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.look(expected, item, &format!("{at}/{index}"), mistakes);
                    }
                    true
                }
                "required" => {
                    let mut names = expected.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                    value.is_object() && names.all(|name| value.get(name).is_some())
                }
                "properties" => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        match expected.get(name) {
                            Some(expected) => self.look(expected, member, &format!("{at}/{name}"), mistakes),
                            None => mistakes.push(format!("{at}: {name} is not described")),
                        }
                    }
                    true
                }
                "additionalProperties" if expected.is_object() => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        self.look(expected, member, &format!("{at}/{name}"), mistakes);
                    }
                    true
                }
                // `properties` lets no others through here.
                "additionalProperties" => true,
                annotation => {
                    assert!(ANNOTATIONS.contains(&annotation), "{at}: the keyword {annotation} is not known here");
                    true
                }
            };
            if !is_right {
                mistakes.push(format!("{at}: {value} is not {keyword} {expected}"));
            }
        }
    }
}

fn is_of_type(value: &Value, expected: &Value) -> bool {
    match expected.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the type {other} is not known here"),
    }
}

mod tests {
    use serde_json::json;

    use super::Document;

    #[test]
    fn mistakes_are_seen() {
        let document = Document(json!({ "components": { "schemas": {
            "Number": { "type": "integer", "minimum": 1, "maximum": 3, "description": "A small one." },
            "Thing": {
                "type": "object",
                "required": ["number"],
                "properties": {
                    "number": { "$ref": "#/components/schemas/Number" },
                    "kind": { "oneOf": [{ "const": "a" }, { "type": "null" }] },
                    "list": { "type": "array", "items": { "$ref": "#/components/schemas/Number" } },
                },
            },
            "Counts": { "type": "object", "additionalProperties": { "$ref": "#/components/schemas/Number" } },
        }}}));
        let right = [
            ("Thing", json!({ "number": 1 })),
            ("Thing", json!({ "number": 3, "kind": "a", "list": [1, 2] })),
            ("Thing", json!({ "number": 3, "kind": null, "list": [] })),
            ("Counts", json!({ "any": 1 })),
        ];
        for (schema, value) in right {
            assert_eq!(document.mistakes(schema, &value), Vec::<String>::new(), "{value}");
        }
        let wrong = [
            ("Thing", json!({})),
            ("Thing", json!([])),
            ("Thing", json!({ "number": 0 })),
            ("Thing", json!({ "number": 4 })),
            ("Thing", json!({ "number": "1" })),
            ("Thing", json!({ "number": 1, "kind": "b" })),
            ("Thing", json!({ "number": 1, "list": [1, -1] })),
            ("Thing", json!({ "number": 1, "other": 1 })),
            ("Counts", json!({ "any": "1" })),
        ];
        for (schema, value) in wrong {
            assert_ne!(document.mistakes(schema, &value), Vec::<String>::new(), "{value}");
        }
    }
}
