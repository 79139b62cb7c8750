//! A JSON Schema validator for the keywords that the schemas of `docs/` use.

use super::document;
use serde_json::Value;

/// The one pattern of the schemas.
const TIME: &str =
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}(:[0-9]{2})?)$";

/// Keywords without effect on validation, and `then`, which belongs to `if`.
const ANNOTATIONS: [&str; 7] = ["$schema", "$defs", "$id", "title", "description", "default", "then"];

pub(crate) struct Schema(Value);

impl Schema {
    /// The schema of changes.
    pub(crate) fn new() -> Schema {
        Schema::of("changes.schema.json")
    }

    /// A schema of `docs/`.
    pub(crate) fn of(name: &str) -> Schema {
        let schema: Value = serde_json::from_str(&document(name)).expect("JSON");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        Schema(schema)
    }

    /// Names of the properties of a definition, of the whole schema if the name is empty.
    pub(crate) fn properties(&self, definition: &str) -> Vec<String> {
        let pointer = if definition.is_empty() { String::new() } else { format!("/$defs/{definition}") };
        let schema = self.0.pointer(&pointer).unwrap_or_else(|| panic!("no definition {definition}"));
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.map_or(Vec::new(), |properties| properties.keys().cloned().collect())
    }

    pub(crate) fn accepts(&self, value: &Value) -> bool {
        self.valid(&self.0, value)
    }

    fn valid(&self, schema: &Value, value: &Value) -> bool {
        if let Some(all) = schema.as_bool() {
            return all;
        }
        let keywords = schema.as_object().expect("a schema");
        keywords.iter().all(|(keyword, of)| self.keyword(schema, keyword, of, value))
    }

    fn keyword(&self, schema: &Value, keyword: &str, of: &Value, value: &Value) -> bool {
        let all = |of: &Value| of.as_array().expect("a list").clone();
        let text = |name: &Value| name.as_str().expect("a text").to_owned();
        match keyword {
            "$ref" => {
                let pointer = text(of).strip_prefix('#').expect("within the schema").to_owned();
                self.valid(self.0.pointer(&pointer).expect("a definition"), value)
            }
            "allOf" => all(of).iter().all(|schema| self.valid(schema, value)),
            "not" => !self.valid(of, value),
            "if" => !self.valid(of, value) || self.valid(&schema["then"], value),
            "const" => of == value,
            "dependentRequired" => value.as_object().is_none_or(|object| {
                let of = of.as_object().expect("an object");
                of.iter()
                    .filter(|(name, _)| object.contains_key(*name))
                    .all(|(_, names)| all(names).iter().all(|name| object.contains_key(&text(name))))
            }),
            "minItems" => {
                value.as_array().is_none_or(|list| list.len() as u64 >= of.as_u64().expect("a number"))
            }
            "anyOf" => all(of).iter().any(|schema| self.valid(schema, value)),
            "oneOf" => all(of).iter().filter(|schema| self.valid(schema, value)).count() == 1,
            "type" if of.is_array() => all(of).iter().any(|of| is(value, &text(of))),
            "type" => is(value, &text(of)),
            "enum" => all(of).contains(value),
            "minimum" => value.as_f64().is_none_or(|value| value >= of.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|value| value <= of.as_f64().expect("a number")),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 >= of.as_u64().expect("a number")),
            "pattern" => {
                assert_eq!(of, TIME, "another pattern: teach it to this test");
                value.as_str().is_none_or(is_time)
            }
            "required" => {
                let required = all(of);
                value
                    .as_object()
                    .is_none_or(|object| required.iter().all(|name| object.contains_key(&text(name))))
            }
            "properties" => value.as_object().is_none_or(|object| {
                object.iter().all(|(name, value)| of.get(name).is_none_or(|schema| self.valid(schema, value)))
            }),
            "additionalProperties" => {
                assert_eq!(of, false);
                let known = &schema["properties"];
                value.as_object().is_none_or(|object| object.keys().all(|name| known.get(name).is_some()))
            }
            "items" => value.as_array().is_none_or(|list| list.iter().all(|value| self.valid(of, value))),
            other => {
                assert!(ANNOTATIONS.contains(&other), "unknown keyword {other}");
                true
            }
        }
    }
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => panic!("unknown type {name}"),
    }
}

/// Whether a text matches [`TIME`].
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let Some(rest) = shape.strip_prefix("0000-00-00T00:00:00") else { return false };
    let zeros = rest.strip_prefix('.').map_or(0, |rest| rest.len() - rest.trim_start_matches('0').len());
    let offset = match rest.strip_prefix('.') {
        Some(rest) if (1..=9).contains(&zeros) => &rest[zeros..],
        Some(_) => return false,
        None => rest,
    };
    ["Z", "+00", "-00", "+00:00", "-00:00"].contains(&offset)
}
