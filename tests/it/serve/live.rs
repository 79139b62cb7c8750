//! Registers that change while clients query them.

use super::forms::unpacked;
use super::ids::{DATE, changed_ids, far_ids, krr_ids, lookup, row, words};
use super::soap::{expected, is_reachable, statuses};
use crate::support::client::{Server, request};
use crate::support::flag::SetOnDrop;
use crate::support::workspace::{SENDER, Workspace, fixture, lines_of, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const BATCH: usize = 10;
/// Sequence number of the fixtures.
const FIRST: u64 = 1000;

const FAR: &str = "/far/v1/reachability?sender=164821000025&date=2026-06-01";
const KRR: &str = "/krr/v1/reachability?date=2026-06-01";

/// A register and its answers after each batch.
struct Changing {
    kind: &'static str,
    ids: Vec<String>,
    batches: usize,
    answers: BTreeMap<u64, Vec<Value>>,
    persons: BTreeMap<u64, Vec<Value>>,
}

impl Changing {
    /// Applies the changes in a separate directory, and leaves another at its beginning.
    fn new(work: &Workspace, kind: &'static str, sender: Option<&str>, mut ids: Vec<String>) -> Changing {
        let (played, served) = (format!("{kind}-played"), format!("{kind}-served"));
        let changes = lines_of(&format!("changes/{kind}.jsonl"));
        ids.sort();
        ids.dedup();
        for directory in [&played, &served] {
            work.done(&["init", &fixture(kind), directory, "--quiet"]);
        }
        let lines: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes()).collect();
        let mut answers = BTreeMap::from([(FIRST, lookup(work, &played, sender, &lines))]);
        let (mut persons, mut batches) = (BTreeMap::new(), 0);
        for (number, batch) in changes.chunks(BATCH).enumerate() {
            let name = format!("{kind}-{number}.jsonl");
            work.write(&name, text(batch));
            let sequence = work.apply(&[&played, &name])["to"].as_u64().expect("number");
            answers.insert(sequence, lookup(work, &played, sender, &lines));
            batches += 1;
        }
        if kind == "krr" {
            persons.clone_from(&answers);
        }
        Changing { kind, ids, batches, answers, persons }
    }

    fn last(&self) -> u64 {
        *self.answers.keys().next_back().expect("some")
    }

    fn of(&self, sequence: u64) -> &[Value] {
        self.answers.get(&sequence).unwrap_or_else(|| panic!("{}: no batch ends at {sequence}", self.kind))
    }
}

/// A client that sends requests of all forms until the test ends.
struct Clients<'a> {
    server: &'a Server,
    over: AtomicBool,
    asked: AtomicU64,
}

impl Clients<'_> {
    fn ask_all(&self, changing: &Changing, target: &str) {
        let lines = changing.ids.join("\n");
        let mut client = self.server.connect();
        let mut seen = FIRST;
        while !self.over.load(Ordering::Relaxed) {
            let mut ask = |target: &str, kind: &str, body: &[u8]| {
                client.send(&request("POST", target, &format!("Content-Type: {kind}\r\n"), body));
                let reply = client.reply();
                assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
                self.asked.fetch_add(1, Ordering::Relaxed);
                reply
            };
            let mut newer = |sequence: u64| {
                assert!(sequence >= seen, "{sequence} after {seen}");
                seen = sequence;
                changing.of(sequence)
            };
            let reply =
                ask(target, "application/json", json!({"recipients": changing.ids}).to_string().as_bytes());
            let report = reply.json();
            assert_eq!(report["register"]["sequence"], reply.sequence());
            let found: Vec<_> = report["results"].as_array().expect("a list").iter().map(words).collect();
            let answers = newer(reply.sequence());
            assert_eq!(report["register"]["as_of"], answers[0]["as_of"]);
            assert!(found == answers.iter().map(words).collect::<Vec<_>>(), "JSON at {}", reply.sequence());
            let rows = |answers: &[Value]| -> Vec<u8> {
                changing.ids.iter().zip(answers).flat_map(|(id, answer)| row(id.as_bytes(), answer)).collect()
            };
            let reply = ask(target, "text/csv", lines.as_bytes());
            assert!(reply.body == rows(newer(reply.sequence())), "CSV at {}", reply.sequence());
            // So many ids that they are looked up on another thread.
            let many = 40_000usize.div_ceil(changing.ids.len());
            let reply = ask(target, "text/plain", format!("{lines}\n").repeat(many).as_bytes());
            assert!(reply.body == rows(newer(reply.sequence())).repeat(many), "text at {}", reply.sequence());
            let reply = ask(target, "application/vnd.nabar.ids", changing.ids.concat().as_bytes());
            let (sequence, found) = unpacked(&reply.body);
            assert_eq!(sequence, reply.sequence());
            assert!(found == newer(sequence).iter().map(words).collect::<Vec<_>>(), "compact at {sequence}");
            match changing.kind {
                "far" => {
                    let sequence = |server: &Server| server.get("/far/v1/register").sequence();
                    for ids in 0..changing.ids.len().div_ceil(1000) {
                        let range = ids * 1000..changing.ids.len().min(ids * 1000 + 1000);
                        let before = sequence(self.server);
                        let reply = ask(
                            "/far/Recipient/v3",
                            "text/xml",
                            is_reachable(SENDER, &changing.ids[range.clone()]).as_bytes(),
                        );
                        let found = statuses(reply.text());
                        let after = sequence(self.server);
                        // It does not name its version: any version during the request is right.
                        let right = changing.answers.range(before..=after).any(|(_, answers)| {
                            let answers = changing.ids[range.clone()].iter().zip(&answers[range.clone()]);
                            found == answers.map(|(id, answer)| expected(id, answer)).collect::<Vec<_>>()
                        });
                        assert!(right, "SOAP between {before} and {after}");
                    }
                }
                _ => {
                    let ids = &changing.ids[..changing.ids.len().min(1000)];
                    let reply = ask(
                        "/krr/rest/v2/personer",
                        "application/json",
                        json!({"personidentifikatorer": ids}).to_string().as_bytes(),
                    );
                    newer(reply.sequence());
                    let report = reply.json();
                    let persons = report["personer"].as_array().expect("a list");
                    assert_eq!(persons.len(), ids.len());
                    for (person, answer) in persons.iter().zip(&changing.persons[&reply.sequence()]) {
                        for (name, value) in person.as_object().expect("a person") {
                            // This form answers for today, and persons who are not in the register have no reservation.
                            let differs = name == "varslingsstatus"
                                || answer.get(name).is_none() && name == "reservasjon";
                            assert!(differs || answer[name] == *value, "{name} at {}", reply.sequence());
                        }
                    }
                }
            }
        }
    }

    /// A stream is answered from the version at its beginning, although batches arrive meanwhile.
    fn streams(&self, changing: &Changing, target: &str) {
        while !self.over.load(Ordering::Relaxed) {
            let mut client = self.server.connect();
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
            );
            client.send(head.as_bytes());
            let mut writer = client.writer();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    for id in &changing.ids {
                        let piece = crate::support::client::chunk(format!("{id}\n").as_bytes());
                        std::io::Write::write_all(&mut writer, &piece).expect("sent");
                    }
                    std::io::Write::write_all(&mut writer, b"0\r\n\r\n").expect("sent");
                });
                let reply = client.reply();
                assert_eq!(reply.status, 200);
                let answers = changing.of(reply.sequence());
                let rows =
                    changing.ids.iter().zip(answers).flat_map(|(id, answer)| row(id.as_bytes(), answer));
                assert!(reply.body == rows.collect::<Vec<u8>>(), "a stream at {}", reply.sequence());
                self.asked.fetch_add(1, Ordering::Relaxed);
            });
        }
    }
}

#[test]
fn every_answer_is_right_for_the_version_that_it_names() {
    let work = Workspace::new();
    let ids = |ids: Vec<String>, changed: Vec<String>| ids.into_iter().step_by(2).chain(changed).collect();
    let far = Changing::new(
        &work,
        "far",
        Some(SENDER),
        ids(far_ids(), changed_ids("changes/far.jsonl", "recipient_id")),
    );
    let krr = Changing::new(
        &work,
        "krr",
        None,
        ids(krr_ids(), changed_ids("changes/krr.jsonl", "personidentifikator")),
    );
    let versions = far.answers.values().map(|answers| answers.iter().map(words).collect::<Vec<_>>());
    assert!(versions.collect::<std::collections::BTreeSet<_>>().len() > 20, "the batches change answers");
    let server = Server::start(&work, &["far=far-served", "krr=krr-served"]);
    let clients = Clients { server: &server, over: AtomicBool::new(false), asked: AtomicU64::new(0) };
    std::thread::scope(|scope| {
        let end = SetOnDrop(&clients.over);
        let threads = [
            scope.spawn(|| clients.ask_all(&far, FAR)),
            scope.spawn(|| clients.ask_all(&far, FAR)),
            scope.spawn(|| clients.ask_all(&krr, KRR)),
            scope.spawn(|| clients.streams(&far, FAR)),
            scope.spawn(|| clients.streams(&krr, KRR)),
        ];
        let failed = || threads.iter().any(|thread| thread.is_finished());
        for number in 0..far.batches {
            for changing in [&far, &krr].into_iter().filter(|changing| number < changing.batches) {
                let (kind, directory) = (changing.kind, format!("{}-served", changing.kind));
                let to = work.apply(&[&directory, &format!("{kind}-{number}.jsonl")])["to"].as_u64();
                // The new register is used without a restart.
                let path = format!("/{kind}/v1/register");
                let asked = clients.asked.load(Ordering::Relaxed) + 3;
                while Some(server.get(&path).sequence()) != to
                    || clients.asked.load(Ordering::Relaxed) < asked
                {
                    assert!(!failed(), "a client failed");
                }
            }
            if number % 7 == 3 {
                work.done(&["checkpoint", "far-served"]);
            }
        }
        assert!(!failed(), "a client failed");
        drop(end);
    });
    for changing in [&far, &krr] {
        assert_eq!(server.get(&format!("/{}/v1/register", changing.kind)).sequence(), changing.last());
    }
    let metrics = server.get("/metrics");
    let line = format!("nabar_register_sequence{{register=\"far\"}} {}", far.last());
    assert!(metrics.text().contains(&line), "{}", metrics.text());
    let errors = server.errors();
    assert!(!errors.contains("\"ERROR\"") && !errors.contains("\"WARN\""), "{errors}");
    server.is_well("changes");
}

#[test]
fn a_register_file_that_replaces_another_is_loaded() {
    let work = Workspace::with_data_directories("far", &["data"]);
    work.apply(&["data", &fixture("changes/far.jsonl")]);
    work.done(&["export", "data", "-o", "later"]);
    work.done(&["build", &fixture("far"), "-o", "served.nabar", "--quiet"]);
    work.done(&["build", "later", "-o", "later.nabar", "--quiet"]);
    std::fs::copy(work.path("served.nabar"), work.path("earlier.nabar")).expect("copied");
    let ids: Vec<String> = changed_ids("changes/far.jsonl", "recipient_id");
    let lines: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes()).collect();
    let answered = |register: &str| -> Vec<u8> {
        let answers = lookup(&work, register, Some(SENDER), &lines);
        ids.iter().zip(&answers).flat_map(|(id, answer)| row(id.as_bytes(), answer)).collect()
    };
    let expected = BTreeMap::from([(1000, answered("served.nabar")), (1300, answered("later.nabar"))]);
    assert_ne!(expected[&1000], expected[&1300]);
    let server = Server::with(&work, &["served.nabar"], &["--allow-rollback"]);
    let put = |name: &str| {
        std::fs::copy(work.path(name), work.path("next")).expect("copied");
        std::fs::rename(work.path("next"), work.path("served.nabar")).expect("renamed");
    };
    let target = format!("/v1/reachability?sender={SENDER}&date={DATE}");
    let until = |what: &str, done: &dyn Fn() -> bool| {
        work.until(what, || {
            let reply = server.post(&target, "text/plain", ids.join("\n"));
            assert!(reply.status == 200 && reply.body == expected[&reply.sequence()]);
            done()
        });
    };
    let sequence = || server.get("/v1/register").sequence();
    let following = || server.get("/readyz").json()["registers"][0]["following"] == true;
    put("later.nabar");
    until("the later one", &|| sequence() == 1300);
    work.write("broken.nabar", "this is no register");
    put("broken.nabar");
    until("the problem is reported", &|| !following());
    assert_eq!(sequence(), 1300, "what was there is answered from");
    put("earlier.nabar");
    until("the earlier one", &|| sequence() == 1000 && following());
    std::fs::remove_file(work.path("served.nabar")).expect("removed");
    until("no file", &|| true);
    put("later.nabar");
    until("the later one again", &|| sequence() == 1300 && following());
    server.is_well("other files");
}

/// `cp new.nabar far.nabar` truncates the file that is mapped and writes into it: no SIGBUS, and no answer of new bytes
/// under the old sequence number.
#[test]
fn a_register_file_that_is_overwritten_in_place_gives_no_answers() {
    let work = Workspace::new();
    work.done(&["build", &fixture("far"), "-o", "far.nabar", "--quiet"]);
    work.done(&["init", &fixture("far"), "data", "--quiet"]);
    work.apply(&["data", &fixture("changes/far.jsonl")]);
    work.done(&["export", "data", "-o", "later"]);
    work.done(&["build", "later", "-o", "later.nabar", "--quiet"]);
    let good = std::fs::read(work.path("far.nabar")).expect("register");
    let server = Server::with(&work, &["far.nabar"], &["--allow-rollback"]);
    let ids: String = far_ids().iter().map(|id| format!("{id}\n")).collect();
    let ask = || {
        let question = json!({"sender": SENDER, "recipients": far_ids()}).to_string();
        let target = format!("/v1/reachability?sender={SENDER}");
        [
            server.post("/v1/reachability", "application/json", question).status,
            server.post(&target, "text/csv", &ids).status,
            server.post(&format!("/v1/check?sender={SENDER}"), "text/csv", &ids).status,
            server.get("/v1/senders").status,
            server.get("/readyz").status,
        ]
    };
    assert_eq!(ask(), [200, 200, 200, 200, 200]);
    let file = std::fs::File::options().write(true).open(work.path("far.nabar")).expect("open");
    file.set_len(good.len() as u64 / 3).expect("truncated");
    let [json, lines, check, senders, ready] = ask();
    assert_eq!([json, lines, senders, ready], [500, 500, 500, 503]);
    assert!(check >= 400, "{check}");
    // The same length with other bytes: never an answer under the old number.
    std::fs::write(work.path("far.nabar"), std::fs::read(work.path("later.nabar")).expect("later"))
        .expect("written");
    let reply = server.get("/v1/senders");
    assert!(reply.status == 500 || reply.header("nabar-sequence") == Some("1300"), "{}", reply.status);
    server.is_well("a truncated register file");
    // A file renamed over it, as it should be, is loaded.
    std::fs::write(work.path("new.nabar"), &good).expect("written");
    std::fs::rename(work.path("new.nabar"), work.path("far.nabar")).expect("renamed");
    while server.get("/v1/senders").header("nabar-sequence") != Some("1000") {
        std::thread::yield_now();
    }
    assert_eq!(ask(), [200, 200, 200, 200, 200]);
}
