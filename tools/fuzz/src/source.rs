//! Statements of a source, as a replica reads them from headers.

use crate::data::{head, new_directory};
use nabar::replica::Part;
use nabar::signing::{SigningKeys, Statement, TrustedKeys, generate};
use nabar::store::changes_of_frames;
use std::collections::BTreeMap;
use std::fs;
use std::sync::LazyLock;

static KEYS: LazyLock<(SigningKeys, TrustedKeys)> = LazyLock::new(|| {
    let directory = new_directory();
    fs::create_dir_all(&directory).expect("created");
    let [private, public] = generate(directory.join("source")).expect("a pair");
    (SigningKeys::read(&[private]).expect("a key"), TrustedKeys::read(&[public]).expect("a key"))
});

/// Headers, one per line, as `name: value`; `SIGNED` as a signature is a valid one. After an empty line the body.
pub(crate) fn run(data: &[u8]) {
    let ([choice], text) = head::<1>(data);
    let end = text.windows(2).position(|window| window == b"\n\n").unwrap_or(text.len());
    let (lines, body) = (String::from_utf8_lossy(&text[..end]), text.get(end + 2..).unwrap_or_default());
    let headers: BTreeMap<&str, &str> = lines.lines().filter_map(|line| line.split_once(": ")).collect();
    let (digest, length) = (blake3::hash(body).to_hex().to_string(), body.len().to_string());
    let get = |name: &'static str| match name {
        "nabar-digest" => Some(&*digest),
        "nabar-bytes" => Some(&*length),
        _ => headers.get(name).copied(),
    };
    let what = if choice & 1 == 0 { "changes" } else { "snapshot" };
    let nonce = "0123456789abcdef0123456789abcdef".to_owned();
    if let Some((_, part)) = get("nabar-register").and_then(|register| register.split_once(' '))
        && let Ok(part) = part.parse::<Part>()
    {
        assert_eq!(part.to_string().parse(), Ok(part), "a part is read as it is written");
    }
    let Some(statement) = Statement::of_headers(what, get, nonce) else { return };
    let _ = changes_of_frames(body, statement.from, usize::MAX);
    let (keys, trusted) = &*KEYS;
    assert!(trusted.check(&statement, get("nabar-signature-2")).is_err(), "a forged signature");
    let signature = keys.sign(&statement);
    assert_eq!(trusted.check(&statement, Some(&signature)), Ok(()), "a valid signature");
    // A signature is of one statement only.
    let others = [
        Statement { what: if choice & 1 == 0 { "snapshot" } else { "changes" }, ..statement.clone() },
        Statement { from: statement.from ^ 1, ..statement.clone() },
        Statement { to: statement.to ^ 1, ..statement.clone() },
        Statement { latest: statement.latest ^ 1, ..statement.clone() },
        Statement {
            register: statement.content.clone(),
            content: statement.register.clone(),
            ..statement.clone()
        },
        Statement { content: format!("{}x", statement.content), ..statement.clone() },
        Statement { bytes: statement.bytes.map(|bytes| bytes ^ 1), ..statement.clone() },
        Statement { expires: format!("{}x", statement.expires), ..statement.clone() },
        Statement { time: format!("{}x", statement.time), ..statement.clone() },
    ];
    for other in others.iter().filter(|other| **other != statement) {
        assert!(trusted.check(other, Some(&signature)).is_err(), "the signature of another statement");
    }
}
