//! A writer of JSON objects, member by member.

use crate::text::push_padded;

/// Writes the members of one object; `close` ends it.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, empty: true }
    }

    pub fn close(self) {
        self.out.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        push_text(self.out, name);
        self.out.push(b':');
    }

    pub fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        push_text(self.out, value);
    }

    /// A text that `push` writes and that needs no escaping.
    pub fn text_with(&mut self, name: &str, push: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        self.out.push(b'"');
        push(self.out);
        self.out.push(b'"');
    }

    /// A value that `push` writes.
    pub fn value_with(&mut self, name: &str, push: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        push(self.out);
    }

    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    pub fn boolean(&mut self, name: &str, value: bool) {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// An identity number of `width` digits.
    pub fn id(&mut self, name: &str, id: u64, width: usize) {
        self.text_with(name, |out| push_padded(out, id, width));
    }

    /// A list of identity numbers of `width` digits.
    pub fn ids(&mut self, name: &str, ids: &[u64], width: usize) {
        self.name(name);
        self.out.push(b'[');
        for (index, &id) in ids.iter().enumerate() {
            self.out.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
            push_padded(self.out, id, width);
            self.out.push(b'"');
        }
        self.out.push(b']');
    }

    pub fn object(&mut self, name: &str) -> Object<'_> {
        self.name(name);
        Object::open(self.out)
    }
}

/// Appends a quoted text, escaped where it must be (RFC 8259).
fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_nest() {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.text("a", "1");
        let mut inner = object.object("b");
        inner.text("c", "2");
        inner.close();
        object.close();
        assert_eq!(out, b"{\"a\":\"1\",\"b\":{\"c\":\"2\"}}");
    }

    #[test]
    fn every_kind_of_value_is_written() {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.number("n", 7);
        object.boolean("b", true);
        object.id("i", 42, 5);
        object.ids("none", &[], 5);
        object.ids("two", &[1, 2], 3);
        object.close();
        let expected = "{\"n\":7,\"b\":true,\"i\":\"00042\",\"none\":[],\"two\":[\"001\",\"002\"]}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn texts_are_escaped_where_they_must_be() {
        let mut out = Vec::new();
        push_text(&mut out, "Myndigheten \"Rent\\vatten\"\n");
        assert_eq!(String::from_utf8(out).unwrap(), r#""Myndigheten \"Rent\\vatten\"\u000a""#);
    }
}
