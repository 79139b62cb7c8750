//! Reads the objects of a [`Person`] from JSON, each field into its place.
//!
//! What serde derives moves each object, of some hundred bytes, several times: a quarter of the time to read a person. Null is
//! read as an absent field, fields that are not known are ignored, and a field that is there twice is an error.

use super::person::{DigitalPost, Kontaktinformasjon, Person};
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Where the value of a field goes.
enum Place<'p, S> {
    Text(&'p mut S),
    Channels(&'p mut Option<Kontaktinformasjon<S>>),
    Mailbox(&'p mut Option<DigitalPost<S>>),
}

/// An object whose fields are known by name.
trait Object<S>: Default {
    /// What an error says is expected.
    const NAME: &'static str;

    /// The number of a field, and where its value goes. `None` if it is not known.
    fn place(&mut self, name: &str) -> Option<(u32, Place<'_, S>)>;
}

/// The fields of an object, which have the names of the contract, and what they hold.
macro_rules! object {
    ($object:ident, $name:literal, $($number:literal $field:ident $place:ident),+) => {
        impl<S: Default> Object<S> for $object<S> {
            const NAME: &'static str = $name;

            fn place(&mut self, name: &str) -> Option<(u32, Place<'_, S>)> {
                Some(match name {
                    $(stringify!($field) => ($number, Place::$place(&mut self.$field)),)+
                    _ => return None,
                })
            }
        }

        impl<'de, S: Deserialize<'de> + Default> Deserialize<'de> for $object<S> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut object = Self::default();
                InPlace(&mut object, PhantomData).deserialize(deserializer)?;
                Ok(object)
            }
        }
    };
}

object!(
    Person,
    "a person",
    0 personidentifikator Text,
    1 reservasjon Text,
    2 reservasjonstidspunkt Text,
    3 reservasjon_oppdatert Text,
    4 status Text,
    5 varslingsstatus Text,
    6 kontaktinformasjon Channels,
    7 digital_post Mailbox,
    8 sertifikat Text,
    9 spraak Text,
    10 spraak_oppdatert Text
);

object!(
    Kontaktinformasjon,
    "kontaktinformasjon",
    0 epostadresse Text,
    1 epostadresse_oppdatert Text,
    2 epostadresse_sist_verifisert Text,
    3 epostadresse_sist_validert Text,
    4 epostadresse_duplisert Text,
    5 mobiltelefonnummer Text,
    6 mobiltelefonnummer_oppdatert Text,
    7 mobiltelefonnummer_sist_verifisert Text,
    8 mobiltelefonnummer_sist_validert Text,
    9 mobiltelefonnummer_duplisert Text
);

object!(
    DigitalPost,
    "digital_post",
    0 postkasseadresse Text,
    1 postkasseleverandoeradresse Text
);

/// Reads an object into its place.
struct InPlace<'p, O, S>(&'p mut O, PhantomData<S>);

impl<'de, O: Object<S>, S: Deserialize<'de> + Default> DeserializeSeed<'de> for InPlace<'_, O, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, O: Object<S>, S: Deserialize<'de> + Default> Visitor<'de> for InPlace<'_, O, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(O::NAME)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = 0u32;
        while let Some(known) = map.next_key_seed(FieldName(&mut *self.0, PhantomData))? {
            let Some((number, place)) = known else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen >> number & 1 == 1 {
                return Err(A::Error::custom("a field is there twice"));
            }
            seen |= 1 << number;
            match place {
                Place::Text(text) => *text = map.next_value::<Option<S>>()?.unwrap_or_default(),
                Place::Channels(channels) => map.next_value_seed(OrNull(channels, PhantomData))?,
                Place::Mailbox(mailbox) => map.next_value_seed(OrNull(mailbox, PhantomData))?,
            }
        }
        Ok(())
    }
}

/// Reads an object, or null, into its place.
struct OrNull<'p, O, S>(&'p mut Option<O>, PhantomData<S>);

impl<'de, O: Object<S>, S: Deserialize<'de> + Default> DeserializeSeed<'de> for OrNull<'_, O, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, O: Object<S>, S: Deserialize<'de> + Default> Visitor<'de> for OrNull<'_, O, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(O::NAME)
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        InPlace(self.0.get_or_insert_default(), PhantomData).deserialize(deserializer)
    }
}

/// Reads the name of a field, and finds its place.
struct FieldName<'p, O, S>(&'p mut O, PhantomData<S>);

impl<'de, 'p, O: Object<S>, S: 'p> DeserializeSeed<'de> for FieldName<'p, O, S> {
    type Value = Option<(u32, Place<'p, S>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'p, O: Object<S>, S: 'p> Visitor<'_> for FieldName<'p, O, S> {
    type Value = Option<(u32, Place<'p, S>)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.place(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::person::Text;
    use serde_json::Value;

    fn read(text: &str) -> Result<Person, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Every field has its place: what is written is read.
    #[test]
    fn every_field_is_read() {
        let mut number = 0;
        let mut text = || {
            number += 1;
            format!("text {number}")
        };
        let person = Person {
            personidentifikator: text(),
            reservasjon: text(),
            reservasjonstidspunkt: text(),
            reservasjon_oppdatert: text(),
            status: text(),
            varslingsstatus: text(),
            kontaktinformasjon: Some(Kontaktinformasjon {
                epostadresse: text(),
                epostadresse_oppdatert: text(),
                epostadresse_sist_verifisert: text(),
                epostadresse_sist_validert: text(),
                epostadresse_duplisert: text(),
                mobiltelefonnummer: text(),
                mobiltelefonnummer_oppdatert: text(),
                mobiltelefonnummer_sist_verifisert: text(),
                mobiltelefonnummer_sist_validert: text(),
                mobiltelefonnummer_duplisert: text(),
            }),
            digital_post: Some(DigitalPost { postkasseadresse: text(), postkasseleverandoeradresse: text() }),
            sertifikat: text(),
            spraak: text(),
            spraak_oppdatert: text(),
        };
        let written = serde_json::to_string(&person).expect("JSON");
        assert_eq!(written.matches("\"text ").count(), number);
        assert_eq!(read(&written).as_ref(), Ok(&person));
        let value: Value = serde_json::from_str(&written).expect("JSON");
        assert_eq!(
            serde_json::from_value::<Person>(value).expect("a person"),
            person,
            "names are not borrowed"
        );
        let borrowed: Person<Text<'_>> = serde_json::from_str(&written).expect("a person");
        assert_eq!(serde_json::to_string(&borrowed).expect("JSON"), written);
    }

    #[test]
    fn fields_may_be_absent_null_or_unknown_but_not_twice() {
        let person = Person { spraak: "n\u{e5}".to_owned(), ..Person::default() };
        let text =
            r#"{"ny":{"spraak":["x"]},"spr\u0061ak":"n\u00e5","status":null,"kontaktinformasjon":null}"#;
        assert_eq!(read(text), Ok(person));
        assert_eq!(
            read(r#"{"digital_post":{}}"#).map(|read| read.digital_post),
            Ok(Some(DigitalPost::default()))
        );
        for bad in [
            r#"{"spraak":"nb","spraak":"nb"}"#,
            r#"{"spraak":null,"spraak":"nb"}"#,
            r#"{"digital_post":null,"digital_post":{}}"#,
            r#"{"digital_post":{"postkasseadresse":"a","postkasseadresse":"b"}}"#,
        ] {
            assert!(read(bad).is_err_and(|why| why.contains("twice")), "{bad}");
        }
        for bad in [
            "[]",
            "\"\"",
            r#"{"spraak":1}"#,
            r#"{"kontaktinformasjon":"x"}"#,
            r#"{"digital_post":[]}"#,
            r#"{"a":1"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
