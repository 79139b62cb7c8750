//! More than ten thousand changes per second, while clients use every interface.

use super::forms::unpacked;
use super::ids::{DATE, far_ids, krr_ids, lookup, words};
use super::soap::{is_reachable, statuses};
use crate::support::client::{Client, Reply, Server, request};
use crate::support::workspace::{SENDER, Workspace};
use nabar::store::{Lines, Writer};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Sequence number of the fixtures.
const FIRST: u64 = 1000;
/// Changes of each register, and how many are applied at a time.
const CHANGES: u64 = 30_000;
const BATCH: u64 = 100;

/// Recipients, changed in turn; each change flips a yes to a no or back.
struct Turning {
    ids: Vec<String>,
}

impl Turning {
    /// Index of the recipient that a change flips, and the new state.
    fn turn(&self, sequence: u64) -> (usize, bool) {
        let number = (sequence - FIRST - 1) as usize;
        (number % self.ids.len(), number / self.ids.len() % 2 == 1)
    }

    /// The state of each at a sequence number. At first all are yes.
    fn at(&self, sequence: u64) -> Vec<bool> {
        let done = (sequence - FIRST) as usize;
        let times = |place: usize| (done + self.ids.len() - 1 - place) / self.ids.len();
        (0..self.ids.len()).map(|place| times(place).is_multiple_of(2)).collect()
    }

    fn apply(&self, directory: &std::path::Path, change: impl Fn(&str, bool) -> serde_json::Value) {
        let writer = Writer::open(directory).expect("a writer");
        for first in (FIRST + 1..=FIRST + CHANGES).step_by(BATCH as usize) {
            let lines: String = (first..first + BATCH)
                .map(|sequence| {
                    let (place, yes) = self.turn(sequence);
                    let mut line = change(&self.ids[place], yes);
                    line["sequence"] = sequence.into();
                    line["time"] = "2026-06-01T04:00:01Z".into();
                    format!("{line}\n")
                })
                .collect();
            let done = writer.apply(Lines::parse(lines.as_bytes(), writer.kind()), None).expect("applied");
            assert_eq!(done.applied, BATCH);
        }
    }
}

/// A client that sends requests until all changes are visible, and never sees an older version after a newer one.
fn ask<'s>(
    server: &'s Server,
    over: &'s AtomicBool,
    asked: &'s AtomicU64,
    requests: Vec<(&'s str, &'s str, Vec<u8>)>,
    check: impl Fn(usize, &Reply) + Send + 's,
) -> impl FnOnce() + Send + 's {
    move || {
        let mut client: Client = server.connect();
        let mut seen = FIRST;
        while !over.load(Ordering::Relaxed) {
            for (place, (target, kind, body)) in requests.iter().enumerate() {
                client.send(&request("POST", target, &format!("Content-Type: {kind}\r\n"), body));
                let reply = client.reply();
                assert_eq!(reply.status, 200, "{}", reply.text());
                assert!(reply.sequence() >= seen, "{} after {seen}", reply.sequence());
                seen = reply.sequence();
                check(place, &reply);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[test]
fn answers_are_right_while_tens_of_thousands_of_changes_arrive() {
    let work = Workspace::new();
    for kind in ["far", "krr"] {
        work.done(&["init", &crate::support::workspace::fixture(kind), kind, "--quiet"]);
    }
    let all = far_ids();
    let lines: Vec<&[u8]> = all.iter().map(|id| id.as_bytes()).collect();
    let answers = lookup(&work, "far", Some(SENDER), &lines);
    let digital = all.iter().zip(&answers).filter(|(_, answer)| answer["outcome"] == "digital");
    let far = &Turning { ids: digital.map(|(id, _)| id.clone()).take(60).collect() };
    let krr = &Turning { ids: krr_ids().into_iter().take(40).collect() };
    assert_eq!((far.ids.len(), krr.ids.len()), (60, 40));
    let accept = |id: &str, yes: bool| {
        let exceptions: &[&str] = if yes { &[] } else { &[SENDER] };
        json!({"set_acceptance": {"recipient_id": id, "acceptance": "all-except", "exceptions": exceptions,
            "last_sender_accept_change": "2026-06-01T04:00:01Z"}})
    };
    let reserve = |id: &str, yes: bool| json!({"put_person": {"personidentifikator": id, "reservasjon": if yes { "NEI" } else { "JA" }, "status": "AKTIV"}});
    let server = Server::start(&work, &["far=far", "krr=krr"]);
    let (over, asked) = (&AtomicBool::new(false), &AtomicU64::new(0));
    let target = &*format!("/far/v1/reachability?sender={SENDER}&date={DATE}");
    let in_json = json!({"recipients": far.ids}).to_string().into_bytes();
    let native = vec![
        (target, "application/json", in_json),
        (target, "text/csv", far.ids.join("\n").into_bytes()),
        (target, "application/vnd.nabar.ids", far.ids.concat().into_bytes()),
        ("/far/Recipient/v3", "text/xml", is_reachable(SENDER, &far.ids).into_bytes()),
    ];
    let of_native = |place: usize, reply: &Reply| {
        let expected = far.at(reply.sequence());
        let is_digital = |outcome: &str| outcome == "digital";
        let found: Vec<bool> = match place {
            0 => {
                let report = reply.json();
                report["results"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .map(|a| is_digital(&words(a).0))
                    .collect()
            }
            1 => reply.text().lines().map(|line| line.contains(",digital,")).collect(),
            2 => unpacked(&reply.body).1.iter().map(|(outcome, ..)| is_digital(outcome)).collect(),
            _ => statuses(reply.text()).iter().map(|status| status["accepted"] == "true").collect(),
        };
        assert!(found == expected, "form {place} at {}", reply.sequence());
    };
    let ids = json!({"personidentifikatorer": krr.ids}).to_string().into_bytes();
    let persons = vec![("/krr/rest/v2/personer", "application/json", ids)];
    let of_persons = |_: usize, reply: &Reply| {
        // Only recipients whose turn has come were written.
        let (expected, turned) = (krr.at(reply.sequence()), (reply.sequence() - FIRST) as usize);
        for (place, person) in reply.json()["personer"].as_array().expect("a list").iter().enumerate() {
            let reserved = person["reservasjon"] == "JA";
            assert!(place >= turned || reserved != expected[place], "person {place} at {}", reply.sequence());
        }
    };
    let feed =
        vec![("/krr/rest/v2/krr/hentEndringer", "application/json", br#"{"fraEndringsId":1000}"#.to_vec())];
    let of_feed = |_: usize, reply: &Reply| {
        let (report, expected) = (reply.json(), krr.at(reply.sequence()));
        assert_eq!(report["sisteEndringsId"], reply.sequence());
        let list = report["list"].as_array().expect("a list");
        assert_eq!(list.len(), krr.ids.len().min((reply.sequence() - FIRST) as usize));
        for person in list {
            let place = krr.ids.iter().position(|id| person["personidentifikator"] == **id).expect("of them");
            assert_eq!(person["reservasjon"] == "NEI", expected[place], "person {place}");
        }
    };
    std::thread::scope(|scope| {
        let clients = [
            scope.spawn(ask(&server, over, asked, native.clone(), of_native)),
            scope.spawn(ask(&server, over, asked, native, of_native)),
            scope.spawn(ask(&server, over, asked, persons, of_persons)),
            scope.spawn(ask(&server, over, asked, feed, of_feed)),
        ];
        let writers = [
            scope.spawn(|| far.apply(&work.path("far"), accept)),
            scope.spawn(|| krr.apply(&work.path("krr"), reserve)),
        ];
        let written: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        let seen = |kind: &str| server.get(&format!("/{kind}/v1/register")).sequence();
        work.until("all is seen", || {
            let failed = clients.iter().any(|client| client.is_finished());
            failed || (seen("far"), seen("krr")) == (FIRST + CHANGES, FIRST + CHANGES)
        });
        over.store(true, Ordering::Relaxed);
        assert!(written.iter().all(Result::is_ok));
    });
    assert!(asked.load(Ordering::Relaxed) > 50);
    let errors = server.errors();
    assert!(!errors.contains("\"ERROR\"") && !errors.contains("\"WARN\""), "{errors}");
    server.is_well("tens of thousands of changes");
}
