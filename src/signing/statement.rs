//! Signed statements about responses, and the headers that carry them.

use super::SigningKeys;

/// Names of headers of HTTP responses and of messages.
pub(crate) mod header {
    /// The register: `far` or `krr`; for a part, followed by a space and the part.
    pub(crate) const REGISTER: &str = "nabar-register";
    /// Sequence number before the first change of a response, or that of the register file.
    pub(crate) const FROM: &str = "nabar-from";
    /// Last sequence number of a response.
    pub(crate) const TO: &str = "nabar-to";
    /// Last sequence number of the register.
    pub(crate) const LATEST: &str = "nabar-latest";
    /// Content digest at the last sequence number of a response, if that is also the register's.
    pub(crate) const CONTENT: &str = "nabar-content";
    /// Time of the statement.
    pub(crate) const TIME: &str = "nabar-time";
    /// Time after which the statement says nothing about the present; absent if a nonce ties it to a request.
    pub(crate) const EXPIRES: &str = "nabar-expires";
    /// Length of the register file or of the response in bytes.
    pub(crate) const BYTES: &str = "nabar-bytes";
    /// Signatures of statements in format 1, `ID=BASE64`, for replicas of older versions.
    pub(crate) const SIGNATURE_1: &str = "nabar-signature";
    /// Signatures of statements in format 2, `ID=BASE64`.
    pub(crate) const SIGNATURE: &str = "nabar-signature-2";
    /// Nonce of the replica, to be signed as well.
    pub(crate) const NONCE: &str = "nabar-nonce";
    /// BLAKE3 of the register file or of the response's bytes, hexadecimal.
    pub(crate) const DIGEST: &str = "nabar-digest";
    /// Sequence number before the oldest change that is still in the log.
    pub(crate) const OLDEST: &str = "nabar-oldest";
    /// Media type of changes as frames of the log.
    pub(crate) const FRAMES: &str = "application/vnd.nabar.changes";
}

/// What a source states about a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// `snapshot` or `changes`.
    pub what: &'static str,
    /// `far` or `krr`; for a part, followed by a space and the part.
    pub register: String,
    /// Sequence number of the register file, or before the first change.
    pub from: u64,
    /// Sequence number after the last change.
    pub to: u64,
    /// Last sequence number of the source.
    pub latest: u64,
    /// Content digest at `to`; empty if unknown.
    pub content: String,
    /// BLAKE3 of the register file or of the response's bytes, hexadecimal; may be empty without keys.
    pub body: String,
    /// Length of the register file or of the response in bytes. `None` in format 1, which did not state it.
    pub bytes: Option<u64>,
    /// Nonce of the replica, which ties the response to its request; empty if there is none.
    pub nonce: String,
    /// Time of the statement, RFC 3339.
    pub time: String,
    /// Time after which the statement says nothing about the present, RFC 3339; empty if the nonce shows that it is
    /// new.
    pub expires: String,
}

impl Statement {
    /// The signed lines, in format 2.
    pub(super) fn text(&self) -> String {
        let Statement { what, register, from, to, latest, content, body, bytes, nonce, time, expires } = self;
        let bytes = bytes.map(|bytes| bytes.to_string()).unwrap_or_default();
        format!(
            "nabar 2\nwhat: {what}\nregister: {register}\nfrom: {from}\nto: {to}\nlatest: {latest}\n\
             content: {content}\nbody: {body}\nbytes: {bytes}\nnonce: {nonce}\ntime: {time}\nexpires: {expires}\n"
        )
    }

    /// The signed lines in format 1, without length and expiry.
    pub(super) fn text_1(&self) -> String {
        let Statement { what, register, from, to, latest, content, body, nonce, time, .. } = self;
        format!(
            "nabar 1\nwhat: {what}\nregister: {register}\nfrom: {from}\nto: {to}\nlatest: {latest}\n\
             content: {content}\nbody: {body}\nnonce: {nonce}\ntime: {time}\n"
        )
    }

    /// The statement in headers, which `get` finds by name. `None` if a header is missing or malformed; the length is
    /// missing in format 1.
    pub fn of_headers<'h>(
        what: &'static str,
        get: impl Fn(&'static str) -> Option<&'h str>,
        nonce: String,
    ) -> Option<Statement> {
        let text = |name| get(name).unwrap_or_default().to_owned();
        let number = |name| get(name)?.parse().ok();
        Some(Statement {
            what,
            register: text(header::REGISTER),
            from: number(header::FROM)?,
            to: number(header::TO)?,
            latest: number(header::LATEST)?,
            content: text(header::CONTENT),
            body: text(header::DIGEST),
            bytes: get(header::BYTES).map(str::parse).transpose().ok()?,
            nonce,
            time: text(header::TIME),
            expires: text(header::EXPIRES),
        })
    }

    /// The headers of the statement, with signatures in both formats if there are keys.
    pub(crate) fn headers(&self, keys: &SigningKeys) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let numbers = [(header::FROM, self.from), (header::TO, self.to), (header::LATEST, self.latest)];
        let texts = [
            (header::REGISTER, self.register.clone()),
            (header::CONTENT, self.content.clone()),
            (header::DIGEST, self.body.clone()),
            (header::TIME, self.time.clone()),
            (header::EXPIRES, self.expires.clone()),
            (header::SIGNATURE_1, keys.sign_format_1(self)),
            (header::SIGNATURE, keys.sign(self)),
        ];
        let numbers = numbers.into_iter().chain(self.bytes.map(|bytes| (header::BYTES, bytes)));
        let numbers = numbers.map(|(name, number)| (name, number.to_string()));
        numbers.chain(texts.into_iter().filter(|(_, text)| !text.is_empty()))
    }
}
