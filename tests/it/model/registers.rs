//! Random registers: extracts on the disk and equal hash maps.

use super::identities::{Country, Day};
use super::test_numbers::{norwegian_person, organisation, random_id};
use crate::support::random::Random;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::Path;

/// The day of the registers.
const AS_OF: &str = "2026-06-01T04:00:00Z";

/// An operator as reports show it, with the name of the file that its rows go to.
#[derive(Clone)]
pub(crate) struct Operator {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) file: String,
    has_address: bool,
}

/// An answer of the register: outcome, reason (empty if none) and index of the operator.
pub(crate) type Answer = (&'static str, &'static str, Option<usize>);

pub(crate) struct Register {
    pub(crate) operators: Vec<Operator>,
    /// Id and name; none for KRR.
    pub(crate) senders: Vec<(String, String)>,
    /// Canonical ids of recipients, for lists.
    pub(crate) ids: Vec<String>,
    recipients: Recipients,
}

enum Recipients {
    Far(HashMap<String, FarRecipient>),
    Krr(HashMap<String, KrrPerson>),
}

struct FarRecipient {
    account_type: &'static str,
    pending: bool,
    operator: Option<usize>,
    acceptance: &'static str,
    exceptions: HashSet<usize>,
}

struct KrrPerson {
    deleted: bool,
    reserved: bool,
    mailbox: bool,
    operator: String,
    /// Days on which a channel that has an address was updated or verified.
    fresh: Vec<Day>,
}

impl Register {
    pub(crate) fn kind(&self) -> &'static str {
        match self.recipients {
            Recipients::Far(_) => "far",
            Recipients::Krr(_) => "krr",
        }
    }

    pub(crate) fn country(&self) -> Country {
        match self.recipients {
            Recipients::Far(_) => Country::Sweden,
            Recipients::Krr(_) => Country::Norway,
        }
    }

    /// The time in `register.toml`.
    pub(crate) fn as_of(&self) -> &'static str {
        AS_OF
    }

    /// The outcome for a canonical id and a sender (by index; any for KRR) on a day.
    pub(crate) fn answer(&self, id: &str, sender: usize, day: Day) -> Answer {
        match &self.recipients {
            Recipients::Far(recipients) => {
                let Some(found) = recipients.get(id) else { return ("paper", "not_registered", None) };
                let named = found.exceptions.contains(&sender);
                let accepted = if found.acceptance == "only" { named } else { !named };
                let operator = found.operator.filter(|&place| self.operators[place].has_address);
                match (found.account_type, accepted, found.pending, operator) {
                    ("Not", ..) => ("paper", "not_registered", None),
                    (_, false, ..) => ("paper", "sender_declined", None),
                    (_, _, true, _) => ("paper", "pending", None),
                    ("Anonymous", ..) => ("paper", "anonymous_account", None),
                    (.., None) => ("paper", "operator_without_address", None),
                    (.., operator) => ("digital", "", operator),
                }
            }
            Recipients::Krr(persons) => {
                let Some(found) = persons.get(id) else { return ("paper", "not_registered", None) };
                let place = self.operators.iter().position(|operator| operator.id == found.operator);
                match found {
                    KrrPerson { deleted: true, .. } => ("paper", "deleted", None),
                    KrrPerson { reserved: true, .. } => ("paper", "reserved", None),
                    _ if !found.notifiable(day) => ("paper", "not_notifiable", None),
                    KrrPerson { mailbox: true, .. } if place.is_some() => ("digital", "", place),
                    _ => ("notify", "", None),
                }
            }
        }
    }

    /// Some fields of the register itself that `lookup` shows.
    pub(crate) fn own_fields(&self, id: &str, sender: usize, day: Day) -> Vec<(&'static str, String)> {
        match &self.recipients {
            Recipients::Far(recipients) => match recipients.get(id) {
                None => vec![("type", "Not".into()), ("pending", "false".into())],
                Some(found) => {
                    let accepted = (found.acceptance == "only") == found.exceptions.contains(&sender);
                    vec![
                        ("type", found.account_type.into()),
                        ("pending", found.pending.to_string()),
                        ("sender_accepted", accepted.to_string()),
                    ]
                }
            },
            Recipients::Krr(persons) => {
                let (status, notifiable) = match persons.get(id) {
                    None => ("IKKE_REGISTRERT", false),
                    Some(found) => (if found.deleted { "SLETTET" } else { "AKTIV" }, found.notifiable(day)),
                };
                let varsling = if notifiable { "KAN_VARSLES" } else { "KAN_IKKE_VARSLES" };
                vec![("status", status.into()), ("varslingsstatus", varsling.into())]
            }
        }
    }
}

impl KrrPerson {
    fn notifiable(&self, day: Day) -> bool {
        let fresh = self.fresh.iter().any(|fresh| day < fresh.months_later(18));
        fresh && !self.deleted && !self.reserved
    }
}

/// Name and file of FaR's operators; two share a name, one has no address.
const FAR_OPERATORS: [(&str, &str); 6] = [
    ("Brevia", "digital-brevia.csv"),
    ("Post, \"Nord\" & Öst AB", "digital-post-nord-ost-ab.csv"),
    ("Mejlo Sverige", ""),
    ("Mejlo sverige!", ""),
    ("Utan Adress", "digital-utan-adress.csv"),
    ("Ærlig é 7", "digital-aerlig-e-7.csv"),
];

/// Writes a random FaR extract to an existing directory.
///
/// With more than some twenty operators records are two bytes wide.
pub(crate) fn far(random: &mut Random, extract: &Path, operators: usize, recipients: usize) -> Register {
    let mut ids = BTreeSet::new();
    let mut new_organisation = |random: &mut Random| loop {
        let id = organisation(random);
        if ids.insert(id.clone()) {
            return id;
        }
    };
    let shares_name = operators > 3;
    let operators: Vec<Operator> = (0..operators)
        .map(|place| {
            let id = new_organisation(random);
            let (name, mut file) = match FAR_OPERATORS.get(place) {
                Some((name, file)) => ((*name).to_owned(), (*file).to_owned()),
                None => (format!("Operator {place}"), format!("digital-operator-{place}.csv")),
            };
            if file.is_empty() {
                let id = if shares_name { format!("-{id}") } else { String::new() };
                file = format!("digital-mejlo-sverige{id}.csv");
            }
            Operator { id, has_address: name != "Utan Adress", name, file }
        })
        .collect();
    let senders: Vec<(String, String)> =
        (0..80).map(|place| (new_organisation(random), format!("Kommun {place}"))).collect();

    let address = |operator: &Operator| if operator.has_address { "https://mm.example/v3" } else { "  " };
    let rows = operators.iter().map(|o| vec![o.id.clone(), o.name.clone(), address(o).to_owned()]);
    table(&extract.join("operators.csv"), &["id", "name", "service_address"], rows);
    let rows = senders.iter().map(|(id, name)| vec![id.clone(), name.clone()]);
    table(&extract.join("senders.csv"), &["id", "name"], rows);
    table(&extract.join("dispatchers.csv"), &["id", "name", "senders"], std::iter::empty());

    let (mut rows, mut found) = (Vec::new(), HashMap::new());
    // Some rules are shared by many recipients, others have one.
    let shared: Vec<_> = (0..12).map(|_| rule(random, senders.len())).collect();
    for _ in 0..recipients {
        let id = random_id(random, Country::Sweden);
        let (acceptance, exceptions) = match random.below(10) {
            0..=3 => ("all-except", Vec::new()),
            4..=7 => random.pick(&shared).clone(),
            _ => rule(random, senders.len()),
        };
        let operator = (!random.percent(4)).then(|| random.below(operators.len()));
        let account_type = *random.pick(&["Secure", "Secure", "Secure", "Secure", "Anonymous", "Not"]);
        let pending = random.percent(10);
        let senders_of = exceptions.iter().map(|&place| senders[place].0.clone()).collect::<Vec<_>>();
        let mut row = vec![
            if random.percent(10) { format!("{}-{}", &id[..8], &id[8..]) } else { id.clone() },
            account_type.to_owned(),
            if pending { "true" } else { *random.pick(&["false", ""]) }.to_owned(),
            operator.map_or(String::new(), |place| operators[place].id.clone()),
            if random.percent(30) { "2025-02-03T04:05:06Z".to_owned() } else { String::new() },
            acceptance.to_owned(),
            senders_of.join(" "),
            String::new(),
        ];
        // Rows that cannot be stored are rejected, also if a later row of the same recipient is valid.
        if random.percent(3) {
            let (column, bad) = *random.pick(&[
                (0, "199902302388"),
                (1, "trygg"),
                (2, "kanske"),
                (3, "164900000008"),
                (4, "igår"),
                (5, "none"),
                (6, "164900000008"),
            ]);
            if column == 6 {
                row[5] = "only".to_owned();
            }
            row[column] = bad.to_owned();
        } else {
            found.entry(id).or_insert(FarRecipient {
                account_type,
                pending,
                operator,
                acceptance,
                exceptions: exceptions.into_iter().collect(),
            });
        }
        rows.push(row);
    }
    // Further rows of existing recipients: the first row counts.
    for _ in 0..recipients / 20 {
        let mut row = random.pick(&rows).clone();
        row[1] = "Not".to_owned();
        if found.contains_key(&row[0]) {
            rows.push(row);
        }
    }
    let columns = [
        "recipient_id",
        "type",
        "pending",
        "operator_id",
        "last_registration",
        "acceptance",
        "exceptions",
        "last_sender_accept_change",
    ];
    table(&extract.join("recipients.csv"), &columns, rows.into_iter());
    describe(extract, "far");
    let mut ids: Vec<String> = found.keys().cloned().collect();
    ids.sort_unstable();
    Register { operators, senders, ids, recipients: Recipients::Far(found) }
}

fn rule(random: &mut Random, senders: usize) -> (&'static str, Vec<usize>) {
    let count = random.below(6);
    let acceptance = *random.pick(&["all-except", "all-except", "only"]);
    (acceptance, (0..count).map(|_| random.below(senders)).collect())
}

fn table(path: &Path, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut writer = csv::Writer::from_path(path).expect("created");
    writer.write_record(columns).expect("written");
    rows.for_each(|row| {
        let missing = columns.len() - row.len();
        writer.write_record(row.iter().map(String::as_str).chain(vec![""; missing])).expect("written");
    });
    writer.flush().expect("written");
}

fn describe(extract: &Path, kind: &str) {
    let text = format!("kind = \"{kind}\"\nsequence = 1000\nas_of = \"{AS_OF}\"\n");
    fs::write(extract.join("register.toml"), text).expect("written");
}

/// A FaR register written by hand: one sender, one operator, and recipients of whom some do not accept the sender.
pub(crate) fn far_of(extract: &Path, recipients: &[(&str, bool)]) -> Register {
    let (operator, sender) = ("164120000007", "164820000018");
    let address = "https://mm.example/v3".to_owned();
    let operators = [vec![operator.to_owned(), "Brevia".to_owned(), address]];
    table(&extract.join("operators.csv"), &["id", "name", "service_address"], operators.into_iter());
    let senders = [vec![sender.to_owned(), "Kommun".to_owned()]];
    table(&extract.join("senders.csv"), &["id", "name"], senders.into_iter());
    table(&extract.join("dispatchers.csv"), &["id", "name", "senders"], std::iter::empty());
    let (mut rows, mut found) = (Vec::new(), HashMap::new());
    for &(id, accepts) in recipients {
        let exceptions = if accepts { "" } else { sender };
        rows.push([id, "Secure", "false", operator, "all-except", exceptions].map(str::to_owned).to_vec());
        found.insert(
            id.to_owned(),
            FarRecipient {
                account_type: "Secure",
                pending: false,
                operator: Some(0),
                acceptance: "all-except",
                exceptions: if accepts { HashSet::new() } else { HashSet::from([0]) },
            },
        );
    }
    let columns = ["recipient_id", "type", "pending", "operator_id", "acceptance", "exceptions"];
    table(&extract.join("recipients.csv"), &columns, rows.into_iter());
    describe(extract, "far");
    let (name, file) = ("Brevia".to_owned(), "digital-brevia.csv".to_owned());
    Register {
        operators: vec![Operator { id: operator.to_owned(), name, file, has_address: true }],
        senders: vec![(sender.to_owned(), "Kommun".to_owned())],
        ids: found.keys().cloned().collect(),
        recipients: Recipients::Far(found),
    }
}

/// A KRR register written by hand: one operator, and persons with fresh contacts of whom some have a mailbox.
pub(crate) fn krr_of(extract: &Path, day: Day, persons: &[(&str, bool)]) -> Register {
    let (mut lines, mut found) = (Vec::new(), HashMap::new());
    for &(id, mailbox) in persons {
        let operator = if mailbox { "984661185" } else { "" };
        let line = serde_json::json!({
            "personidentifikator": id,
            "reservasjon": "NEI",
            "status": "AKTIV",
            "kontaktinformasjon": {"epostadresse": "a@example.no", "epostadresse_oppdatert": format!("{day}T01:02:03Z")},
            "digital_post": {
                "postkasseadresse": if mailbox { "box#1" } else { "" },
                "postkasseleverandoeradresse": operator,
            },
        });
        lines.push(line.to_string());
        let (operator, fresh) = (operator.to_owned(), vec![day]);
        found.insert(id.to_owned(), KrrPerson { deleted: false, reserved: false, mailbox, operator, fresh });
    }
    fs::write(extract.join("personer.jsonl"), lines.join("\n")).expect("written");
    describe(extract, "krr");
    let [id, name, file] = ["984661185", "Digipost", "digital-digipost.csv"].map(str::to_owned);
    Register {
        operators: vec![Operator { id, name, file, has_address: true }],
        senders: Vec::new(),
        ids: found.keys().cloned().collect(),
        recipients: Recipients::Krr(found),
    }
}

/// KRR has only the numbers of operators; nabar knows the names of some.
const KRR_OPERATORS: [(&str, &str, &str); 5] = [
    // In ascending order of the numbers, as the register has them.
    ("000000042", "000000042", "digital-000000042.csv"),
    ("922020175", "e-Boks", "digital-e-boks-922020175.csv"),
    ("984661185", "Digipost", "digital-digipost.csv"),
    ("996460320", "e-Boks", "digital-e-boks-996460320.csv"),
    ("", "", ""), // none
];

/// Writes a random KRR extract to an existing directory, with contacts that expire around a day.
pub(crate) fn krr(random: &mut Random, extract: &Path, around: Day, persons: usize) -> Register {
    let (mut lines, mut found) = (Vec::new(), HashMap::new());
    for _ in 0..persons {
        let id = norwegian_person(random);
        let operator = random.pick(&KRR_OPERATORS).0.to_owned();
        let mut person = KrrPerson {
            deleted: random.percent(10),
            reserved: random.percent(15),
            mailbox: random.percent(60),
            operator,
            fresh: Vec::new(),
        };
        let mut contact = serde_json::Map::new();
        for (channel, address) in [("epostadresse", "a@example.no"), ("mobiltelefonnummer", "+4799999999")] {
            let has_address = random.percent(60);
            if has_address || random.percent(30) {
                contact.insert(channel.to_owned(), if has_address { address } else { "" }.into());
            }
            // A validation does not make an address fresh.
            for event in ["oppdatert", "sist_verifisert", "sist_validert"] {
                if random.percent(50) {
                    let (day, text) = moment(random, around);
                    contact.insert(format!("{channel}_{event}"), text.into());
                    if event == "sist_validert" {
                        continue;
                    }
                    // A date without an address is no channel.
                    person.fresh.extend(has_address.then_some(day));
                }
            }
        }
        let mailbox = if person.mailbox { "box#1" } else { "" };
        let mut line = serde_json::json!({
            "personidentifikator": id,
            "reservasjon": if person.reserved { "JA" } else { random.pick(&["NEI", ""]) },
            "status": if person.deleted { "SLETTET" } else { random.pick(&["AKTIV", ""]) },
            "varslingsstatus": random.pick(&["KAN_VARSLES", "KAN_IKKE_VARSLES"]),
            "kontaktinformasjon": contact,
            "digital_post": {"postkasseadresse": mailbox, "postkasseleverandoeradresse": person.operator},
        });
        if random.percent(3) {
            let (field, bad) = *random.pick(&[
                ("status", "IKKE_REGISTRERT"),
                ("reservasjon", "kanskje"),
                ("personidentifikator", "01815012345"),
                ("reservasjonstidspunkt", "igår"),
            ]);
            line[field] = bad.into();
        } else {
            found.entry(id).or_insert(person);
        }
        lines.push(line.to_string());
    }
    for _ in 0..persons / 20 {
        let mut again: serde_json::Value = serde_json::from_str(random.pick::<String>(&lines)).expect("JSON");
        if found.contains_key(again["personidentifikator"].as_str().unwrap_or_default()) {
            again["status"] = "SLETTET".into();
            lines.push(again.to_string());
        }
    }
    // The register must read compressed extracts too.
    let file = fs::File::create(extract.join("personer.jsonl.zst")).expect("created");
    let mut encoder = zstd::Encoder::new(file, 1).expect("opened");
    encoder.write_all(lines.join("\n").as_bytes()).expect("written");
    encoder.finish().expect("written");
    describe(extract, "krr");
    let is_used = |id: &str| found.values().any(|person| person.operator == id);
    let operators = KRR_OPERATORS.iter().filter(|(id, ..)| !id.is_empty() && is_used(id));
    let operators = operators.map(|&(id, name, file)| Operator {
        id: id.to_owned(),
        name: name.to_owned(),
        file: file.to_owned(),
        has_address: true,
    });
    let operators = operators.collect();
    let mut ids: Vec<String> = found.keys().cloned().collect();
    ids.sort_unstable();
    Register { operators, senders: Vec::new(), ids, recipients: Recipients::Krr(found) }
}

/// A time in one of KRR's three spellings, and its day in UTC: most often one on which the 18 months end
/// around a day.
fn moment(random: &mut Random, around: Day) -> (Day, String) {
    let asked = jiff::civil::date(around.year as i16, around.month as i8, around.day as i8);
    let back = match random.below(4) {
        0 => jiff::Span::new().days(random.between(1, 1500)),
        _ => jiff::Span::new().months(18).days(random.between(0, 6) as i32 - 3),
    };
    let date = asked.checked_sub(back).expect("a date");
    let utc = date.at(random.below(24) as i8, random.below(60) as i8, 7, 0);
    let (offset, spelling) = *random.pick(&[(1, 0), (2, 0), (1, 1), (2, 1), (0, 2)]);
    let local = utc.checked_add(jiff::Span::new().hours(offset)).expect("a time");
    let clock = format!("{}T{:02}:{:02}:07", local.date(), local.hour(), local.minute());
    let text = match spelling {
        0 => format!("{clock}+{offset:02}"),
        1 => format!("{clock}.000+{offset:02}:00"),
        _ => format!("{clock}.768Z"),
    };
    (Day::new(date.year() as u32, date.month() as u32, date.day() as u32), text)
}
