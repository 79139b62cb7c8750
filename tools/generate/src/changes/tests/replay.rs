//! Registers as plain maps, changed line by line; every change must fit the current state.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::json::{Json, Members, parse};
use crate::identity::Register;

/// A parsed line of a stream.
pub struct Line {
    pub sequence: u64,
    pub time: String,
    pub kind: String,
    pub value: Members,
}

impl Line {
    pub fn parse(line: &str) -> Line {
        let json = parse(line);
        let members = json.members();
        assert_eq!(members.len(), 3, "{line}");
        let known = ["sequence", "time"];
        let (kind, value) = members.iter().find(|(name, _)| !known.contains(&&name[..])).expect("a change");
        Line {
            sequence: members["sequence"].number(),
            time: members["time"].text().to_owned(),
            kind: kind.clone(),
            value: value.members().clone(),
        }
    }

    pub fn text(&self, name: &str) -> &str {
        self.value[name].text()
    }

    fn names(&self) -> Vec<&str> {
        self.value.keys().map(String::as_str).collect()
    }
}

fn rows(extract: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(extract.join(name)).expect(name);
    text.lines().skip(1).map(str::to_owned).collect()
}

fn first_cell(row: &str) -> String {
    row.split(',').next().expect("a cell").to_owned()
}

fn texts(list: &Json) -> Vec<&str> {
    let texts: Vec<&str> = list.list().iter().map(Json::text).collect();
    assert!(texts.is_sorted_by(|left, right| left < right), "{texts:?}");
    texts
}

/// A FaR register; recipients are as `put_recipient` has them.
pub struct FarModel {
    pub operators: BTreeSet<String>,
    pub senders: BTreeSet<String>,
    pub dispatchers: BTreeMap<String, Vec<String>>,
    pub recipients: BTreeMap<String, Members>,
    /// Features of the stream that were seen.
    pub seen: BTreeMap<&'static str, u64>,
    removed: BTreeSet<String>,
}

impl FarModel {
    pub fn read(extract: &Path) -> FarModel {
        let ids = |name: &str| rows(extract, name).iter().map(|row| first_cell(row)).collect();
        let dispatchers = rows(extract, "dispatchers.csv");
        let senders = |row: &str| {
            let last = row.rsplit(',').next().unwrap_or_default();
            last.split_whitespace().map(str::to_owned).collect()
        };
        let recipients = rows(extract, "recipients.csv");
        FarModel {
            operators: ids("operators.csv"),
            senders: ids("senders.csv"),
            dispatchers: dispatchers.iter().map(|row| (first_cell(row), senders(row))).collect(),
            recipients: recipients.iter().map(|row| (first_cell(row), recipient(row))).collect(),
            seen: BTreeMap::new(),
            removed: BTreeSet::new(),
        }
    }

    pub fn apply(&mut self, line: &Line) {
        match &line.kind[..] {
            "put_recipient" => self.put_recipient(line),
            "remove_recipient" => {
                assert_eq!(line.names(), ["recipient_id"]);
                assert!(self.recipients.remove(line.text("recipient_id")).is_some(), "an unknown id");
                self.removed.insert(line.text("recipient_id").to_owned());
            }
            "set_acceptance" => self.set_acceptance(line),
            "put_operator" => self.put_operator(line),
            "remove_operator" => self.remove_operator(line),
            "put_sender" => {
                assert_eq!(line.names(), ["attention", "id", "name"]);
                self.senders.insert(line.text("id").to_owned());
            }
            "remove_sender" => self.remove_sender(line),
            "put_dispatcher" => {
                assert_eq!(line.names(), ["id", "name", "senders"]);
                let senders = self.known_senders(&line.value["senders"]);
                self.dispatchers.insert(line.text("id").to_owned(), senders);
            }
            "remove_dispatcher" => {
                assert_eq!(line.names(), ["id"]);
                assert!(self.dispatchers.remove(line.text("id")).is_some(), "no dispatcher to remove");
            }
            kind => panic!("unknown change {kind}"),
        }
    }

    fn see(&mut self, what: &'static str, whether: bool) {
        *self.seen.entry(what).or_default() += u64::from(whether);
    }

    fn known_senders(&self, list: &Json) -> Vec<String> {
        let senders = texts(list);
        assert!(senders.iter().all(|&id| self.senders.contains(id)), "{senders:?}");
        senders.into_iter().map(str::to_owned).collect()
    }

    fn put_recipient(&mut self, line: &Line) {
        let now = &line.value;
        let optional = ["last_registration", "last_sender_accept_change", "operator_id"];
        let names: Vec<&str> = line.names().into_iter().filter(|name| !optional.contains(name)).collect();
        assert_eq!(names, ["acceptance", "exceptions", "pending", "recipient_id", "type"]);
        assert!(["Secure", "Anonymous", "Not"].contains(&line.text("type")));
        let operator = now.get("operator_id").map(Json::text);
        assert!(operator.is_none_or(|id| self.operators.contains(id)), "{operator:?}");
        assert!(operator.is_none() || line.text("type") != "Not");
        self.check_acceptance(line);
        let id = line.text("recipient_id").to_owned();
        if let Some(before) = self.recipients.get(&id).cloned() {
            for kept in ["acceptance", "exceptions", "last_sender_accept_change"] {
                assert_eq!(now.get(kept), before.get(kept), "{kept}");
            }
            let differs = |name: &str| now.get(name) != before.get(name);
            self.see("repeated", *now == before);
            self.see("moved", differs("operator_id") && operator.is_some());
            self.see("type", differs("type"));
            self.see("completed", differs("pending") && now["pending"] == Json::Boolean(false));
            let had_none = operator.is_none() && line.text("type") != "Not";
            self.see("without operator", had_none);
            assert!(*now == before || line.text("last_registration") == line.time);
            assert!(*now == before || !had_none, "who changes has an operator");
        } else {
            assert!(is_valid(&id, Register::Far), "{id}");
            let returned = self.removed.remove(&id);
            self.see("joined", !returned);
            self.see("returned", returned);
        }
        self.recipients.insert(id, now.clone());
    }

    fn check_acceptance(&self, line: &Line) {
        assert!(["all-except", "only"].contains(&line.text("acceptance")));
        self.known_senders(&line.value["exceptions"]);
    }

    fn set_acceptance(&mut self, line: &Line) {
        let names = ["acceptance", "exceptions", "last_sender_accept_change", "recipient_id"];
        assert_eq!(line.names(), names);
        assert_eq!(line.text("last_sender_accept_change"), line.time);
        self.check_acceptance(line);
        let recipient = self.recipients.get_mut(line.text("recipient_id")).expect("a recipient");
        recipient.extend(names[..3].iter().map(|&name| (name.to_owned(), line.value[name].clone())));
    }

    fn put_operator(&mut self, line: &Line) {
        let names = ["id", "internal_service_address", "logo", "name", "service_address", "ui_address"];
        assert_eq!(line.names(), names);
        self.operators.insert(line.text("id").to_owned());
    }

    fn remove_operator(&mut self, line: &Line) {
        assert_eq!(line.names(), ["id"]);
        assert!(self.operators.remove(line.text("id")), "no operator to remove");
        for recipient in self.recipients.values_mut() {
            if recipient.get("operator_id") == Some(&line.value["id"]) {
                recipient.remove("operator_id");
            }
        }
    }

    fn remove_sender(&mut self, line: &Line) {
        assert_eq!(line.names(), ["id"]);
        assert!(self.senders.remove(line.text("id")), "no sender to remove");
        for recipient in self.recipients.values_mut() {
            let Some(Json::List(exceptions)) = recipient.get_mut("exceptions") else { panic!("no list") };
            exceptions.retain(|id| *id != line.value["id"]);
        }
        for senders in self.dispatchers.values_mut() {
            senders.retain(|id| id != line.text("id"));
        }
    }
}

/// A row of `recipients.csv` as `put_recipient` would have it.
fn recipient(row: &str) -> Members {
    let cells: Vec<&str> = row.split(',').collect();
    let text = |at: usize| Json::Text(cells[at].to_owned());
    let exceptions = cells[6].split_whitespace().map(|id| Json::Text(id.to_owned())).collect();
    let mut members = Members::from([
        ("recipient_id".to_owned(), text(0)),
        ("type".to_owned(), text(1)),
        ("pending".to_owned(), Json::Boolean(cells[2] == "true")),
        ("acceptance".to_owned(), text(5)),
        ("exceptions".to_owned(), Json::List(exceptions)),
    ]);
    for (name, at) in [("operator_id", 3), ("last_registration", 4), ("last_sender_accept_change", 7)] {
        if !cells[at].is_empty() {
            members.insert(name.to_owned(), text(at));
        }
    }
    members
}

/// Whether an id has the width and the check digits of its register.
pub fn is_valid(id: &str, register: Register) -> bool {
    let number: u64 = id.parse().expect("digits");
    let stem = number / if register == Register::Far { 10 } else { 100 };
    id.len() == register.width() && register.complete(stem) == Some(number)
}

/// A KRR register: its ids.
pub struct KrrModel {
    pub ids: BTreeSet<String>,
    pub joined: u64,
}

impl KrrModel {
    pub fn read(extract: &Path) -> KrrModel {
        let text = std::fs::read_to_string(extract.join("personer.jsonl")).expect("persons");
        let id = |line: &str| parse(line).members()["personidentifikator"].text().to_owned();
        KrrModel { ids: text.lines().map(id).collect(), joined: 0 }
    }

    pub fn apply(&mut self, line: &Line) {
        let id = line.text("personidentifikator");
        match &line.kind[..] {
            "put_person" => {
                assert!(is_valid(id, Register::Krr), "{id}");
                assert!(["JA", "NEI"].contains(&line.text("reservasjon")));
                assert!(["AKTIV", "SLETTET"].contains(&line.text("status")));
                self.joined += u64::from(self.ids.insert(id.to_owned()));
            }
            "remove_person" => {
                assert_eq!(line.names(), ["personidentifikator"]);
                assert!(self.ids.remove(id), "an unknown id");
            }
            kind => panic!("unknown change {kind}"),
        }
    }
}
