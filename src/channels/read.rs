//! The file of rules as TOML has it.

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::path::PathBuf;
use toml::{Spanned, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) currency: String,
    pub(super) compare_with: Option<Spanned<String>>,
    pub(super) decimal_sign: Option<Spanned<String>>,
    pub(super) date_form: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) channel: Vec<Channel>,
    #[serde(default)]
    pub(super) list: Vec<List>,
    #[serde(default)]
    pub(super) register: Vec<Register>,
    #[serde(default)]
    pub(super) rule: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Channel {
    pub(super) name: Spanned<String>,
    pub(super) mailbox: Option<bool>,
    pub(super) register: Option<Spanned<String>>,
    pub(super) cost: Option<Spanned<f64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    pub(super) name: Spanned<String>,
    pub(super) path: PathBuf,
    pub(super) id_column: Option<Text>,
    pub(super) max_rejected: Option<Spanned<Text>>,
    #[serde(default)]
    pub(super) may_be_empty: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    pub(super) name: Spanned<String>,
    pub(super) path: PathBuf,
    pub(super) sender: Option<Spanned<Text>>,
    pub(super) max_age_hours: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: Spanned<String>,
    pub(super) channel: Spanned<String>,
    pub(super) cost: Option<Spanned<f64>>,
    pub(super) compared_cost: Option<Spanned<f64>>,
    #[serde(default)]
    pub(super) when: When,
}

/// Conditions that all hold.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    pub(super) outcome: Option<Spanned<OneOrMore>>,
    pub(super) reason: Option<Spanned<OneOrMore>>,
    pub(super) operator: Option<Spanned<OneOrMore>>,
    pub(super) recipient: Option<Spanned<OneOrMore>>,
    pub(super) first_digit: Option<Spanned<OneOrMore>>,
    pub(super) age: Option<Spanned<Age>>,
    pub(super) list: Option<Spanned<OneOrMore>>,
    pub(super) register: Option<RegisterSays>,
    pub(super) cell: Option<Cell>,
    pub(super) all: Option<Vec<When>>,
    pub(super) any: Option<Vec<When>>,
    pub(super) not: Option<Box<When>>,
}

/// What a further register says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterSays {
    pub(super) name: Spanned<String>,
    pub(super) outcome: Option<Spanned<OneOrMore>>,
    pub(super) reason: Option<Spanned<OneOrMore>>,
    pub(super) operator: Option<Spanned<OneOrMore>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cell {
    pub(super) column: Spanned<Text>,
    pub(super) is: Option<OneOrMore>,
    pub(super) empty: Option<bool>,
    pub(super) matches: Option<OneOrMore>,
    pub(super) at_least: Option<Spanned<Value>>,
    pub(super) above: Option<Spanned<Value>>,
    pub(super) at_most: Option<Spanned<Value>>,
    pub(super) below: Option<Spanned<Value>>,
    pub(super) not_a_number: Option<bool>,
    pub(super) not_a_date: Option<bool>,
}

/// A text; of a whole number its digits.
pub(super) struct Text(pub(super) String);

/// One text or several.
pub(super) struct OneOrMore(pub(super) Vec<String>);

/// `"unknown"`, or limits.
pub(super) enum Age {
    Unknown,
    Within { at_least: Option<u32>, below: Option<u32> },
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text in quotation marks, or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct OneOrMoreVisitor;

impl<'de> Visitor<'de> for OneOrMoreVisitor {
    type Value = OneOrMore;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text in quotation marks, or several in brackets")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![text.to_owned()]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<OneOrMore, E> {
        Ok(OneOrMore(vec![number.to_string()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<OneOrMore, A::Error> {
        let mut texts = Vec::new();
        while let Some(Text(text)) = sequence.next_element()? {
            texts.push(text);
        }
        match texts.is_empty() {
            true => Err(A::Error::custom("name at least one between the brackets")),
            false => Ok(OneOrMore(texts)),
        }
    }
}

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneOrMore, D::Error> {
        deserializer.deserialize_any(OneOrMoreVisitor)
    }
}

struct AgeVisitor;

impl<'de> Visitor<'de> for AgeVisitor {
    type Value = Age;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"unknown\", or limits such as { at_least = 18, below = 65 }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Age, E> {
        match text {
            "unknown" => Ok(Age::Unknown),
            _ => Err(E::custom("an age is \"unknown\", or has limits such as { below = 18 }")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Age, A::Error> {
        let (mut at_least, mut below) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match &key[..] {
                "at_least" => at_least = Some(map.next_value()?),
                "below" => below = Some(map.next_value()?),
                _ => return Err(A::Error::unknown_field(&key, &["at_least", "below"])),
            }
        }
        match (at_least, below) {
            (None, None) => Err(A::Error::custom("an age has limits such as { below = 18 }")),
            (at_least, below) => Ok(Age::Within { at_least, below }),
        }
    }
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Age, D::Error> {
        deserializer.deserialize_any(AgeVisitor)
    }
}
