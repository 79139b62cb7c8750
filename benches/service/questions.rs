//! The same requests in every form, each with the expected answer.

use super::load::{CONNECTIONS, Connection, Questions, Wire};
use super::servers::{Server, resp};
use nabar::identities::Identity;
use nabar::register::{Damage, Outcome, Recipient, Register};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

const DATE: &str = "2026-06-01";

fn post(address: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {address} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn reachability(sender: &str) -> String {
    format!("/v1/reachability?sender={sender}&date={DATE}")
}

fn text(ids: &[Identity], before: &str, between: &str, after: &str) -> String {
    let ids: Vec<&str> = ids.iter().map(Identity::as_str).collect();
    [before, &ids.join(between), after].concat()
}

/// The byte of an outcome, as docs/service.md has it.
fn byte(outcome: Outcome) -> u8 {
    const REASONS: [&str; 8] = [
        "not_registered",
        "sender_declined",
        "pending",
        "anonymous_account",
        "operator_without_address",
        "reserved",
        "not_notifiable",
        "deleted",
    ];
    match outcome {
        Outcome::Paper(reason) => {
            REASONS.iter().position(|name| *name == reason.name()).expect("a reason") as u8
        }
        Outcome::Notify => 8,
        Outcome::NotAsked | Outcome::Refused | Outcome::OtherCountry => unreachable!("a complete register"),
        Outcome::Digital(operator) => 9 + operator.get() as u8,
    }
}

/// The byte of each answer in the compact form, by the library.
fn answers(register: &Register, sender: &str, ids: &[Identity]) -> Vec<u8> {
    let question = register.question(Some(sender), DATE.parse().expect("a day")).expect("a question");
    let answer = |id: &Identity| byte(question.ask(id).expect("undamaged"));
    ids.iter().map(answer).collect()
}

pub(crate) fn compact_questions(
    server: &Server,
    register: &Register,
    sender: &str,
    sets: &[&[Identity]],
) -> Questions {
    let mut head = b"NABAANS\x01".to_vec();
    head.extend_from_slice(&register.sequence().to_le_bytes());
    head.extend_from_slice(&(register.as_of().as_nanosecond() as i64).to_le_bytes());
    let asked = sets.iter().map(|ids| {
        let mut answer = head.clone();
        answer.extend_from_slice(&(ids.len() as u32).to_le_bytes());
        answer.extend_from_slice(&(register.operators().len() as u16).to_le_bytes());
        for operator in register.operators() {
            answer.push(operator.id.len() as u8);
            answer.extend_from_slice(operator.id.as_bytes());
        }
        answer.extend(answers(register, sender, ids));
        let body = text(ids, "", "", "");
        (post(&reachability(sender), "application/vnd.nabar.ids", body.as_bytes()), answer)
    });
    Questions {
        addresses: [server.address; CONNECTIONS],
        wire: Wire::Http,
        asked: asked.collect(),
        ids: sets[0].len(),
    }
}

pub(crate) fn json_questions(
    server: &Server,
    register: &Register,
    sender: &str,
    sets: &[&[Identity]],
) -> Questions {
    let mut connection = Connection::new(server.address);
    let question = register.question(Some(sender), DATE.parse().expect("a day")).expect("a question");
    let asked = sets.iter().map(|ids| {
        let body = text(ids, "{\"recipients\":[\"", "\",\"", "\"]}");
        let request = post(&reachability(sender), "application/json", body.as_bytes());
        let answer = connection.ask(&request).to_vec();
        let answers: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        let results = answers["results"].as_array().expect("results");
        assert_eq!(results.len(), ids.len());
        for (result, id) in results.iter().zip(*ids) {
            let outcome = question.ask(id).expect("undamaged");
            assert_eq!(result["outcome"], outcome.name());
            assert_eq!(result["reason"].as_str().unwrap_or_default(), outcome.reason());
        }
        (request, answer)
    });
    Questions {
        addresses: [server.address; CONNECTIONS],
        wire: Wire::Http,
        asked: asked.collect(),
        ids: sets[0].len(),
    }
}

pub(crate) fn csv_questions(
    server: &Server,
    register: &Register,
    sender: &str,
    sets: &[&[Identity]],
) -> Questions {
    let question = register.question(Some(sender), DATE.parse().expect("a day")).expect("a question");
    let asked = sets.iter().map(|ids| {
        let mut answer = String::new();
        for id in *ids {
            let outcome = question.ask(id).expect("undamaged");
            let operator =
                outcome.operator().map_or("", |place| &register.operators()[usize::from(place)].id);
            answer += &format!("{},{},{},{operator}\n", id.as_str(), outcome.name(), outcome.reason());
        }
        (post(&reachability(sender), "text/csv", text(ids, "", "\n", "\n").as_bytes()), answer.into_bytes())
    });
    Questions {
        addresses: [server.address; CONNECTIONS],
        wire: Wire::Chunks,
        asked: asked.collect(),
        ids: sets[0].len(),
    }
}

pub(crate) fn soap_questions(
    server: &Server,
    register: &Register,
    sender: &str,
    sets: &[&[Identity]],
) -> Questions {
    let mut connection = Connection::new(server.address);
    let place = register.senders().iter().position(|other| other.id == sender).expect("a sender") as u16;
    let before = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <isReachable xmlns=\"http://minameddelanden.gov.se/schema/Recipient/v3\"><senderOrgNr>{sender}</senderOrgNr><recipientId>"
    );
    let after = "</recipientId></isReachable></s:Body></s:Envelope>";
    let asked = sets.iter().map(|ids| {
        let body = text(ids, &before, "</recipientId><recipientId>", after);
        let request = post("/Recipient/v3", "text/xml", body.as_bytes());
        let answer = connection.ask(&request).to_vec();
        let answers = std::str::from_utf8(&answer).expect("text");
        let rows: Vec<&str> = answers.split("<return>").skip(1).collect();
        assert_eq!(rows.len(), ids.len());
        for (row, id) in rows.iter().zip(*ids) {
            let accepted = match register.recipient(id).expect("undamaged") {
                Some(Recipient::Far { rule, .. }) => rule.accepts(nabar::register::SenderIndex::new(place)),
                _ => false,
            };
            assert!(row.contains(id.as_str()));
            assert!(row.contains(&format!("<r:SenderAccepted>{accepted}</r:SenderAccepted>")));
        }
        (request, answer)
    });
    Questions {
        addresses: [server.address; CONNECTIONS],
        wire: Wire::Http,
        asked: asked.collect(),
        ids: sets[0].len(),
    }
}

/// The first answer to some requests, as a file that nginx sends.
pub(crate) fn nginx_file(
    nginx: [SocketAddr; CONNECTIONS],
    directory: &Path,
    name: &str,
    of: &Questions,
) -> Questions {
    fs::write(directory.join(name), &of.asked[0].1).expect("written");
    let request = format!("GET /{name} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    let asked = vec![(request, of.asked[0].1.clone())];
    Questions { addresses: nginx, wire: Wire::Http, asked, ids: of.ids }
}

/// The same keys of Redis, with a command for each: all sent before the first reply is read.
pub(crate) fn pipelined(multiple: &Questions) -> Questions {
    let single = |(request, reply): &(Vec<u8>, Vec<u8>)| {
        let keys = request.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
        let mut commands = Vec::new();
        // After the number of words each second line is a word, the first of them the command.
        for key in keys.skip(4).step_by(2) {
            resp(&mut commands, &[&b"GET"[..], key]);
        }
        let values = reply.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
        (commands, reply[values..].to_vec())
    };
    let asked = multiple.asked.iter().map(single).collect();
    Questions { addresses: multiple.addresses, wire: Wire::Redis, asked, ids: multiple.ids }
}

/// Sets each recipient's key to the byte of its answer, as a program would that computes answers in advance.
pub(crate) fn set_keys(server: &Server, register: &Register, sender: &str) {
    let question = register.question(Some(sender), DATE.parse().expect("a day")).expect("a question");
    let mut keys = Vec::with_capacity(register.recipients() as usize);
    let all = register.for_each::<Damage>(|identity, _| {
        keys.push((identity.as_str().to_owned(), byte(question.ask(identity)?)));
        Ok(())
    });
    all.expect("undamaged");
    server.set(keys.into_iter());
}

/// All keys of a request in one command.
pub(crate) fn redis_questions(
    server: &Server,
    register: &Register,
    sender: &str,
    sets: &[&[Identity]],
) -> Questions {
    let asked = sets.iter().map(|ids| {
        let mut words: Vec<&[u8]> = vec![b"MGET"];
        words.extend(ids.iter().map(|id| id.as_bytes()));
        let (mut request, mut reply) = (Vec::new(), format!("*{}\r\n", ids.len()).into_bytes());
        resp(&mut request, &words);
        for (id, answer) in ids.iter().zip(answers(register, sender, ids)) {
            match register.recipient(id).expect("undamaged") {
                None => reply.extend_from_slice(b"$-1\r\n"),
                Some(_) => reply.extend_from_slice(&[b'$', b'1', b'\r', b'\n', answer, b'\r', b'\n']),
            }
        }
        (request, reply)
    });
    Questions {
        addresses: [server.address; CONNECTIONS],
        wire: Wire::Redis,
        asked: asked.collect(),
        ids: sets[0].len(),
    }
}
