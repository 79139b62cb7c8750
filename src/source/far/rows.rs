//! Rows of an answer that have the same tags as a row before them.
//!
//! The rows of an answer differ in little more than an id, two flags and two times: a thousand rows have two or three
//! sequences of tags. When the XML reader has read a row, its tags are a *shape*. Each row that follows is compared with
//! the shapes: if all of its tags are byte for byte the same, and between them is only text without markup, the
//! texts are the values of the same elements, since the namespaces around rows do not change within a response. Any other
//! row is left to the XML reader. This saves most of the time of an answer.

use super::{Element, MessageReader};
use crate::changes::{ChangeBody, OrganisationId};
use crate::source::answer::CallError;
use memchr::{memchr, memchr3};

/// Shapes of a response, at most.
const SHAPES_MAX: usize = 8;
/// Operators that are remembered with a shape, at most.
const SUPPLIERS_MAX: usize = 16;

/// The tags before a value, and its element.
struct Value<'b> {
    tags: &'b [u8],
    element: Element,
}

/// The tags of a row.
#[derive(Default)]
struct RowShape<'b> {
    values: Vec<Value<'b>>,
    /// The tags behind the last value.
    end: &'b [u8],
    has_supplier: bool,
    /// The values of the operator: the first one, and the one behind the last.
    supplier: (usize, usize),
    /// The text from the first to the last of them, tags included, and the operator's id.
    suppliers: Vec<(&'b [u8], OrganisationId)>,
}

/// A row that has a shape.
#[derive(Default)]
struct Texts<'b> {
    /// The value of each element, but those of an operator that is known.
    values: Vec<(Element, &'b [u8])>,
    /// The operator, if it is known.
    known: Option<OrganisationId>,
    /// The text from the first to the last value of the operator, tags included.
    supplier: &'b [u8],
    bytes: usize,
}

/// The shapes of the rows that were read.
#[derive(Default)]
pub(super) struct RowShapes<'b> {
    shapes: Vec<RowShape<'b>>,
    /// What follows the row before; empty before the second row.
    rest: &'b [u8],
    /// The elements of the tags since then.
    tags: Vec<Element>,
    texts: Texts<'b>,
    #[cfg(test)]
    is_off: bool,
}

impl<'b> RowShapes<'b> {
    /// No row is read by its shape: what the others are compared with.
    #[cfg(test)]
    pub(super) fn off() -> RowShapes<'b> {
        RowShapes { is_off: true, ..RowShapes::default() }
    }

    /// The XML reader has read a tag: the begin or the end of an element, or an empty element.
    pub(super) fn tag(&mut self, element: Element) {
        self.tags.push(element);
    }

    /// The XML reader has read a row, and `rest` follows. Reads the rows that follow and have known shapes. Returns what
    /// follows them.
    ///
    /// Errors: those of their values.
    pub(super) fn rows(
        &mut self,
        mut rest: &'b [u8],
        reader: &mut MessageReader,
    ) -> Result<&'b [u8], CallError> {
        #[cfg(test)]
        if self.is_off {
            return Ok(rest);
        }
        let row = &self.rest[..self.rest.len().saturating_sub(rest.len())];
        if self.shapes.len() < SHAPES_MAX && reader.fault.is_none() {
            self.shapes.extend(RowShape::of(row, &self.tags));
        }
        self.tags.clear();
        while let Some(shape) = self.shapes.iter_mut().find(|shape| shape.has(rest, &mut self.texts)) {
            shape.read(&self.texts, reader)?;
            rest = &rest[self.texts.bytes..];
        }
        self.rest = rest;
        Ok(rest)
    }
}

impl<'b> RowShape<'b> {
    /// The shape of a row, whose tags have these elements. `None` if it has something else than tags and text.
    fn of(row: &'b [u8], tags: &[Element]) -> Option<RowShape<'b>> {
        let (first, between) = tags.split_first()?;
        let (last, between) = between.split_last()?;
        let is_one = *first == Element::Row && *last == Element::Row && !between.contains(&Element::Row);
        if !is_one {
            return None;
        }
        let mut shape = RowShape::default();
        // Where the tags after the last value begin, and whether the tag before is the begin of an element.
        let (mut from, mut begun, mut at, mut count) = (0, None, 0, 0);
        while let Some(start) = memchr(b'<', &row[at..]).map(|offset| at + offset) {
            let element = *tags.get(count)?;
            let is_end = row[start..].starts_with(b"</");
            if let (Some(value), true) = (begun, is_end) {
                shape.values.push(Value { tags: &row[from..value], element });
                from = start;
            }
            let end = end_of_tag(row, start)?;
            let is_empty = row[..end].ends_with(b"/>");
            begun = (!is_end && !is_empty).then_some(end);
            if element == Element::Supplier {
                // Twice: at its begin, and at its end.
                let first = if shape.has_supplier { shape.supplier.0 } else { shape.values.len() };
                (shape.has_supplier, shape.supplier) = (true, (first, shape.values.len()));
            }
            (at, count) = (end, count + 1);
        }
        shape.end = &row[from..];
        (count == tags.len() && at == row.len()).then_some(shape)
    }

    /// Whether what follows begins with a row of this shape; its texts.
    fn has(&self, rest: &'b [u8], texts: &mut Texts<'b>) -> bool {
        texts.values.clear();
        (texts.known, texts.supplier) = (None, &[]);
        let (mut at, mut index, mut supplier_from) = (0, 0, 0);
        while let Some(value) = self.values.get(index) {
            let Some(after) = rest[at..].strip_prefix(value.tags) else { return false };
            at = rest.len() - after.len();
            if index == self.supplier.0 && index < self.supplier.1 {
                supplier_from = at;
                let is_known = |(text, _): &&(&[u8], OrganisationId)| {
                    after.strip_prefix(*text).is_some_and(|after| after.first() == Some(&b'<'))
                };
                if let Some((text, id)) = self.suppliers.iter().find(is_known) {
                    texts.known = Some(*id);
                    (at, index) = (at + text.len(), self.supplier.1);
                    continue;
                }
            }
            // A line end may be normalized, and an entity has to be resolved.
            let Some(length) = memchr3(b'<', b'&', b'\r', after) else { return false };
            if after[length] != b'<' {
                return false;
            }
            texts.values.push((value.element, &after[..length]));
            (at, index) = (at + length, index + 1);
            if index == self.supplier.1 {
                texts.supplier = &rest[supplier_from..at];
            }
        }
        texts.bytes = at + self.end.len();
        rest[at..].starts_with(self.end)
    }

    /// Reads a row of this shape.
    fn read(&mut self, texts: &Texts<'b>, reader: &mut MessageReader) -> Result<(), CallError> {
        reader.start(Element::Row)?;
        match texts.known {
            None if self.has_supplier => reader.start(Element::Supplier)?,
            known => reader.known_supplier = known,
        }
        for (element, text) in &texts.values {
            let text = std::str::from_utf8(text)
                .map_err(|_| CallError::BadAnswer("the answer is not UTF-8".to_owned()))?;
            reader.end(*element, text.trim())?;
        }
        reader.end(Element::Row, "")?;
        let is_new = texts.known.is_none() && self.suppliers.len() < SUPPLIERS_MAX;
        if let (Some(ChangeBody::PutRecipient(put)), true) = (reader.answers.answers.last(), is_new) {
            self.suppliers.extend(put.operator.map(|id| (texts.supplier, id)));
        }
        Ok(())
    }
}

/// Where a tag ends that begins at a place. `None` if it is another piece of markup, or is cut off.
fn end_of_tag(row: &[u8], start: usize) -> Option<usize> {
    if matches!(row.get(start + 1), Some(b'!' | b'?')) {
        return None;
    }
    let mut at = start;
    loop {
        at += memchr3(b'>', b'"', b'\'', &row[at..])?;
        match row[at] {
            b'>' => return Some(at + 1),
            quote => at += 2 + memchr(quote, &row[at + 1..])?,
        }
    }
}
