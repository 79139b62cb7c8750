//! Names of elements, paths of them, and the namespaces in which they are.

use super::tokens::{attributes, local_name};
use memchr::memchr;
use std::ops::Range;

/// A name in a description: without prefix, and with its namespace if that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    local: String,
    namespace: Option<String>,
}

/// A name or path cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "write names of elements without prefixes, such as Recipient/PersonId, Recipient/@id or {{namespace}}Letter"
)]
pub(super) struct NameError;

impl Name {
    /// `Letter`, or `{namespace}Letter`.
    pub(super) fn parse(text: &str) -> Result<Name, NameError> {
        let (namespace, local) = match text.strip_prefix('{') {
            Some(rest) => {
                rest.split_once('}').map(|(uri, local)| (Some(uri.to_owned()), local)).ok_or(NameError)?
            }
            None => (None, text),
        };
        let is_name = |character: char| character.is_alphanumeric() || "_-.".contains(character);
        let is_first = |character: char| character.is_alphabetic() || character == '_';
        match local.starts_with(is_first) && local.chars().all(is_name) {
            true => Ok(Name { local: local.to_owned(), namespace }),
            false => Err(NameError),
        }
    }

    pub(super) fn local(&self) -> &[u8] {
        self.local.as_bytes()
    }

    /// Whether it is this name, in any namespace.
    pub(super) fn is_local(&self, local: &[u8]) -> bool {
        self.local.as_bytes() == local
    }

    /// Whether an element of a name with prefix has this name.
    #[inline(always)]
    pub(super) fn is(&self, name: &[u8], bindings: &Bindings) -> bool {
        self.is_local(local_name(name))
            && self.namespace.as_deref().is_none_or(|namespace| bindings.of(name) == namespace.as_bytes())
    }
}

/// Elements from one to another within it, and perhaps an attribute of the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ElementPath {
    pub(super) elements: Vec<Name>,
    pub(super) attribute: Option<String>,
}

impl ElementPath {
    /// `Recipient/PersonId`, `Recipient/@id` or `@id`. Slashes within the braces of a namespace do not separate.
    pub(super) fn parse(text: &str) -> Result<ElementPath, NameError> {
        let mut is_inside = false;
        let parts = text.split(|character: char| {
            is_inside = (is_inside || character == '{') && character != '}';
            character == '/' && !is_inside
        });
        let mut parts: Vec<&str> = parts.collect();
        let attribute = match parts.last().and_then(|last| last.strip_prefix('@')) {
            Some(name) => {
                parts.pop();
                Some(Name::parse(name).map(|name| name.local)?)
            }
            None => None,
        };
        let elements = parts.into_iter().map(Name::parse).collect::<Result<Vec<_>, _>>()?;
        match elements.is_empty() && attribute.is_none() {
            true => Err(NameError),
            false => Ok(ElementPath { elements, attribute }),
        }
    }

    /// Whether elements of these names, the outermost first, have this path from the document on.
    pub(super) fn is(&self, names: &[Vec<u8>], bindings: &Bindings) -> bool {
        self.elements.len() == names.len()
            && self.elements.iter().zip(names).all(|(wanted, name)| wanted.is(name, bindings))
    }
}

/// The namespaces of prefixes, with the depth of the element that declares each.
#[derive(Clone, Debug, Default)]
pub(super) struct Bindings(Vec<(usize, Vec<u8>, Vec<u8>)>);

impl Bindings {
    /// Adds what the attributes of an element declare.
    #[inline(always)]
    pub(super) fn open(&mut self, bytes: &[u8], within: Range<usize>, depth: usize) {
        if within.is_empty() || memchr::memmem::find(&bytes[within.clone()], b"xmlns").is_none() {
            return;
        }
        for (name, value) in attributes(bytes, within) {
            let prefix = match &bytes[name] {
                b"xmlns" => &[],
                name => match name.strip_prefix(b"xmlns:") {
                    Some(prefix) => prefix,
                    None => continue,
                },
            };
            self.0.push((depth, prefix.to_vec(), bytes[value].to_vec()));
        }
    }

    /// Removes what elements from a depth on have declared.
    #[inline(always)]
    pub(super) fn close(&mut self, depth: usize) {
        while self.0.last().is_some_and(|(of, ..)| *of >= depth) {
            self.0.pop();
        }
    }

    /// The namespace of an element's name with prefix; empty without one.
    fn of(&self, name: &[u8]) -> &[u8] {
        let prefix = memchr(b':', name).map_or(&b""[..], |colon| &name[..colon]);
        self.0.iter().rev().find(|(_, one, _)| one == prefix).map_or(b"", |(.., uri)| uri)
    }
}
