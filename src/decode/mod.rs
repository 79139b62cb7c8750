//! Decoding of register text that extracts and changes share: compressed files, persons of KRR as JSON and
//! XML, and the reasons for rejecting a row or a change.

mod bounded_input;
mod compression;
mod krr_xml;
mod person;
mod reason;

pub use reason::Reason;

pub(crate) use bounded_input::BoundedInput;
pub(crate) use compression::decompressed;
pub(crate) use krr_xml::{ChangesPage, KRR_XML_FILE, KrrXmlReader, XmlError};
pub(crate) use person::{DecodedPerson, decode_person};
pub(crate) use reason::{identity_reason, reason};
