//! What a source says of what it tells.

use super::Keys;

/// Names of headers, of answers over HTTP and of messages.
pub(crate) mod header {
    /// What this is a register of: `far` or `krr`, and behind a blank whose part of it.
    pub(crate) const REGISTER: &str = "nabar-register";
    /// Sequence number before the first change of an answer, or of the register file.
    pub(crate) const FROM: &str = "nabar-from";
    /// The last sequence number of an answer.
    pub(crate) const TO: &str = "nabar-to";
    /// The register's last sequence number.
    pub(crate) const LATEST: &str = "nabar-latest";
    /// Content digest at the last sequence number of an answer, if that is the register's.
    pub(crate) const CONTENT: &str = "nabar-content";
    /// When what is signed was made.
    pub(crate) const TIME: &str = "nabar-time";
    /// Signatures, `ID=BASE64`.
    pub(crate) const SIGNATURE: &str = "nabar-signature";
    /// What the replica wants to have signed too.
    pub(crate) const NONCE: &str = "nabar-nonce";
    /// BLAKE3 of the whole register file, in hexadecimal digits.
    pub(crate) const DIGEST: &str = "nabar-digest";
    /// The sequence number that the oldest change follows that is still there.
    pub(crate) const OLDEST: &str = "nabar-oldest";
    /// The media type of changes as frames of the log.
    pub(crate) const FRAMES: &str = "application/vnd.nabar.changes";
}

/// What a source says of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// `snapshot` or `changes`.
    pub what: &'static str,
    /// `far` or `krr`, and behind a blank whose part of it, if it is not all.
    pub register: String,
    /// Sequence number of the register file, or the one that the changes follow.
    pub from: u64,
    /// Sequence number after it.
    pub to: u64,
    /// The source's own.
    pub latest: u64,
    /// Content digest at `to`; empty if it is not told.
    pub content: String,
    /// BLAKE3 of the register file, or of the answer's bytes, hexadecimal.
    pub body: String,
    /// What the replica gave to be signed, so that the answer is to it and was made now; empty if nothing.
    pub nonce: String,
    /// When it was made, RFC 3339.
    pub time: String,
}

impl Statement {
    /// The lines that are signed.
    pub(super) fn text(&self) -> String {
        let Statement { what, register, from, to, latest, content, body, nonce, time } = self;
        format!(
            "nabar 1\nwhat: {what}\nregister: {register}\nfrom: {from}\nto: {to}\nlatest: {latest}\n\
             content: {content}\nbody: {body}\nnonce: {nonce}\ntime: {time}\n"
        )
    }

    /// What is said of an answer whose headers `get` finds by their names, `None` if they do not say it.
    pub(crate) fn of_headers<'h>(
        what: &'static str,
        get: impl Fn(&'static str) -> Option<&'h str>,
        body: String,
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
            body,
            nonce,
            time: text(header::TIME),
        })
    }

    /// The headers that say it, with signatures if there are keys. Signed or not, it says when.
    pub(crate) fn headers(&self, keys: &Keys) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let numbers = [(header::FROM, self.from), (header::TO, self.to), (header::LATEST, self.latest)];
        let texts = [
            (header::REGISTER, self.register.clone()),
            (header::CONTENT, self.content.clone()),
            (header::TIME, self.time.clone()),
            (header::SIGNATURE, keys.sign(self)),
        ];
        let numbers = numbers.into_iter().map(|(name, number)| (name, number.to_string()));
        numbers.chain(texts.into_iter().filter(|(_, text)| !text.is_empty()))
    }
}
