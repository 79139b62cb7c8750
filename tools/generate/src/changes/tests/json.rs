//! A simple JSON reader, independent of the writing code under test.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Object(Members),
    List(Vec<Json>),
    Text(String),
    Number(u64),
    Boolean(bool),
}

pub type Members = BTreeMap<String, Json>;

impl Json {
    pub fn members(&self) -> &Members {
        let Json::Object(members) = self else { panic!("no object: {self:?}") };
        members
    }

    pub fn list(&self) -> &[Json] {
        let Json::List(values) = self else { panic!("no list: {self:?}") };
        values
    }

    pub fn text(&self) -> &str {
        let Json::Text(text) = self else { panic!("no text: {self:?}") };
        text
    }

    pub fn number(&self) -> u64 {
        let Json::Number(number) = self else { panic!("no number: {self:?}") };
        *number
    }
}

/// Reads one value that is all of `text`.
pub fn parse(text: &str) -> Json {
    let mut rest = text;
    let value = value(&mut rest);
    assert_eq!(rest, "", "after the value");
    value
}

fn taken(rest: &mut &str, start: &str) -> bool {
    let after = rest.strip_prefix(start);
    *rest = after.unwrap_or(rest);
    after.is_some()
}

fn value(rest: &mut &str) -> Json {
    if taken(rest, "{") {
        Json::Object(members(rest))
    } else if taken(rest, "[") {
        Json::List(values(rest))
    } else if taken(rest, "\"") {
        Json::Text(text(rest))
    } else if taken(rest, "true") {
        Json::Boolean(true)
    } else if taken(rest, "false") {
        Json::Boolean(false)
    } else {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        *rest = after;
        Json::Number(number.parse().expect("a value"))
    }
}

fn members(rest: &mut &str) -> Members {
    let mut members = Members::new();
    while !taken(rest, "}") {
        assert!(members.is_empty() || taken(rest, ","), "a comma before {rest}");
        assert!(taken(rest, "\""), "a name before {rest}");
        let name = text(rest);
        assert!(taken(rest, ":"), "a colon before {rest}");
        assert_eq!(members.insert(name, value(rest)), None, "a name twice");
    }
    members
}

fn values(rest: &mut &str) -> Vec<Json> {
    let mut values = Vec::new();
    while !taken(rest, "]") {
        assert!(values.is_empty() || taken(rest, ","), "a comma before {rest}");
        values.push(value(rest));
    }
    values
}

fn text(rest: &mut &str) -> String {
    let mut text = String::new();
    loop {
        let mut letters = rest.chars();
        match letters.next().expect("the end of a text") {
            '"' => {
                *rest = letters.as_str();
                return text;
            }
            '\\' => {
                text.push(letters.next().filter(|letter| r#""\"#.contains(*letter)).expect("a simple escape"))
            }
            letter => text.push(letter),
        }
        *rest = letters.as_str();
    }
}
