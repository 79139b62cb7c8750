//! KRR: persons.

use super::*;

/// Texts of which persons have one; the first means none.
const MAILBOXES: [&str; 3] = ["", "kari.nordmann#1234", "802010123456"];
const OPERATORS: [&str; 5] = ["", "984661185", "922020175", "310000000", "974 720 760"];
const OPERATOR_NAMES: [&str; 5] = ["", "Digipost", "e-Boks", "310000000", "974 720 760"];
const CERTIFICATES: [&str; 4] = ["", "MIIB0ee4", "MIIBLeVujfoEmgPstGLh", "AA=="];
const LANGUAGES: [&str; 3] = ["", "nb", "se"];
const SHARED: [&str; 3] = ["", "JA", "NEI"];

/// E-mail or mobile number: text, day updated, day verified, shared.
type Channel = (String, Option<u32>, Option<u32>, usize, Option<u32>);

#[derive(Clone, Debug)]
struct Citizen {
    reserved: bool,
    deleted: bool,
    channels: [Channel; 2],
    /// Indexes in the lists above.
    mailbox: usize,
    operator: usize,
    certificate: usize,
    language: usize,
    /// `reservasjonstidspunkt`, `reservasjon_oppdatert`, `spraak_oppdatert`.
    days: [Option<u32>; 3],
}

#[derive(Clone, Debug)]
enum KrrOp {
    Put(usize, Citizen),
    Remove(usize),
    Page(Vec<(usize, Citizen)>),
    SetAside,
}

#[derive(Clone)]
struct Krr {
    people: People,
    persons: BTreeMap<usize, Citizen>,
    operators: Vec<usize>,
}

/// A day of a calendar whose months have 28 days, some months later.
fn day(number: u32, months: u32) -> String {
    let (month, day) = (number / 28 + months, number % 28 + 1);
    format!("{}-{:02}-{day:02}", 2020 + month / 12, month % 12 + 1)
}

impl Citizen {
    fn person(&self, id: &str, [after_day, none]: [&str; 2]) -> Value {
        let time = |number: Option<u32>| number.map_or(none.to_owned(), |number| day(number, 0) + after_day);
        let [email, mobile] = &self.channels;
        let [reserved, updated, language] = self.days.map(time);
        json!({
            "personidentifikator": id,
            "reservasjon": if self.reserved { "JA" } else { "NEI" },
            "reservasjonstidspunkt": reserved,
            "reservasjon_oppdatert": updated,
            "status": if self.deleted { "SLETTET" } else { "AKTIV" },
            "kontaktinformasjon": {
                "epostadresse": email.0,
                "epostadresse_oppdatert": time(email.1),
                "epostadresse_sist_verifisert": time(email.2),
                "epostadresse_sist_validert": time(email.4),
                "epostadresse_duplisert": SHARED[email.3],
                "mobiltelefonnummer": mobile.0,
                "mobiltelefonnummer_oppdatert": time(mobile.1),
                "mobiltelefonnummer_sist_verifisert": time(mobile.2),
                "mobiltelefonnummer_sist_validert": time(mobile.4),
                "mobiltelefonnummer_duplisert": SHARED[mobile.3],
            },
            "digital_post": {
                "postkasseadresse": MAILBOXES[self.mailbox],
                "postkasseleverandoeradresse": OPERATORS[self.operator],
            },
            "sertifikat": CERTIFICATES[self.certificate],
            "spraak": LANGUAGES[self.language],
            "spraak_oppdatert": language,
        })
    }

    /// As written in extracts and changes.
    fn given(&self, id: &str, spelling: u64) -> Value {
        let mut person = self.person(id, ["T10:14:52.5+02", ""]);
        if spelling.is_multiple_of(2) {
            person["varslingsstatus"] = "KAN_VARSLES".into();
            return person;
        }
        without_empty(&mut person);
        person
    }

    /// As read from the register.
    fn expected(&self, id: &str) -> Value {
        let mut person = self.person(id, ["T08:14:52.5Z", ""]);
        without_empty(&mut person);
        person
    }

    /// The first day on which no contact is fresh; "" if none ever was.
    fn expires(&self) -> String {
        let dated = self.channels.iter().filter(|(text, ..)| !text.is_empty());
        let days = dated.flat_map(|(_, updated, verified, ..)| updated.iter().chain(verified));
        days.max().map_or(String::new(), |number| day(*number, 18))
    }
}

fn without_empty(object: &mut Value) {
    let fields = object.as_object_mut().expect("an object");
    fields.values_mut().filter(|value| value.is_object()).for_each(without_empty);
    fields.retain(|_, value| *value != json!("") && *value != json!({}));
}

impl Krr {
    fn outcome(&self, who: usize, date: &str) -> Outcome {
        let Some(citizen) = self.persons.get(&who) else {
            return Outcome::Paper(PaperReason::NotRegistered);
        };
        let position = self.operators.iter().position(|operator| *operator == citizen.operator);
        match position.filter(|_| citizen.mailbox != 0) {
            _ if citizen.deleted => Outcome::Paper(PaperReason::Deleted),
            _ if citizen.reserved => Outcome::Paper(PaperReason::Reserved),
            _ if date >= &citizen.expires()[..] => Outcome::Paper(PaperReason::NotNotifiable),
            Some(position) => Outcome::Digital(crate::register::OperatorIndex::new(position as u16)),
            None => Outcome::Notify,
        }
    }

    fn put(&mut self, who: usize, citizen: &Citizen) {
        if citizen.operator != 0 && !self.operators.contains(&citizen.operator) {
            self.operators.push(citizen.operator);
        }
        self.persons.insert(who, citizen.clone());
    }
}

impl Model for Krr {
    const KIND: Kind = Kind::Krr;
    type Op = KrrOp;

    fn extract(&self) -> Vec<(&'static str, String)> {
        let given = |(who, citizen): (&usize, &Citizen)| citizen.given(self.people.id(*who), 1);
        vec![("personer.jsonl", self.persons.iter().map(|each| given(each).to_string() + "\n").collect())]
    }

    fn write(&self, op: &KrrOp, previous: u64) -> Value {
        let id = |who: usize| spelled(self.people.id(who), previous);
        match op {
            KrrOp::Put(who, citizen) => json!({"put_person": citizen.given(&id(*who), previous)}),
            KrrOp::Remove(who) => json!({"remove_person": {"personidentifikator": id(*who)}}),
            KrrOp::Page(persons) => {
                let given = |(who, citizen): &(usize, Citizen)| citizen.given(&id(*who), previous);
                let persons: Vec<Value> = persons.iter().map(given).collect();
                json!({"put_persons": {"previous": previous, "persons": persons}})
            }
            KrrOp::SetAside => json!({"set_aside": {"reason": "bad_value", "column": "status"}}),
        }
    }

    fn apply(&mut self, op: &KrrOp) -> Effect {
        match op {
            KrrOp::Put(who, citizen) => self.put(*who, citizen),
            KrrOp::Remove(who) => return Ok(self.persons.remove(who).is_some()),
            KrrOp::Page(persons) => persons.iter().for_each(|(who, citizen)| self.put(*who, citizen)),
            KrrOp::SetAside => {}
        }
        Ok(true)
    }

    fn agrees(&self, register: &Register) {
        let operators = register.operators().iter().map(|operator| (&operator.id[..], &operator.name[..]));
        assert!(
            operators
                .eq(self.operators.iter().map(|&position| (OPERATORS[position], OPERATOR_NAMES[position])))
        );
        let expected = |who: usize, citizen: &Citizen| citizen.expected(self.people.id(who));
        self.people.known(register, &self.persons, expected, |recipient| match recipient {
            Recipient::Krr { person, .. } => serde_json::to_value(person).expect("JSON"),
            Recipient::Far { .. } => panic!("a KRR person"),
        });
        let expiring = self.persons.values().map(Citizen::expires).filter(|day| !day.is_empty()).take(3);
        let dates: Vec<String> = expiring.chain(["1969-01-01".to_owned(), "2024-02-29".to_owned()]).collect();
        for date in dates.iter().map(|date| date.parse::<Date>().expect("a date")) {
            for date in [date, date.yesterday().expect("a date")] {
                let text = date.to_string();
                self.people.asked(register, None, date, |who| self.outcome(who, &text));
            }
        }
    }
}

fn channel(text: &'static str) -> impl Strategy<Value = Channel> {
    let number = || proptest::option::of(prop_oneof![3 => 0..20u32, 1 => 0..2688u32]);
    let text = prop_oneof![1 => Just(""), 3 => Just(text)].prop_map(str::to_owned);
    // In small registers often no person has one.
    let validated = proptest::option::weighted(0.2, 0..2688u32);
    (text, number(), number(), 0..3usize, validated)
}

fn citizen() -> impl Strategy<Value = Citizen> {
    let flags = (proptest::bool::weighted(0.2), proptest::bool::weighted(0.2));
    let days = [0, 100, 200].map(|first| proptest::option::of(first..first + 50u32));
    let indexes = (0..3usize, 0..5usize, 0..4usize, 0..3usize);
    (flags, channel("per@example.no"), channel("+4799999999"), indexes, days).prop_map(
        |((reserved, deleted), email, mobile, (mailbox, operator, certificate, language), days)| Citizen {
            reserved,
            deleted,
            channels: [email, mobile],
            mailbox,
            operator,
            certificate,
            language,
            days,
        },
    )
}

fn first(people: People, persons: BTreeMap<usize, Citizen>) -> Krr {
    let operators: BTreeSet<usize> = persons.values().map(|citizen| citizen.operator).collect();
    let mut operators: Vec<usize> = operators.into_iter().filter(|operator| *operator != 0).collect();
    operators.sort_by_key(|operator| OPERATORS[*operator]);
    Krr { people, persons, operators }
}

fn op(people: usize) -> impl Strategy<Value = KrrOp> {
    prop_oneof![
        6 => (who(people), citizen()).prop_map(|(who, citizen)| KrrOp::Put(who, citizen)),
        3 => who(people).prop_map(KrrOp::Remove),
        2 => vec((who(people), citizen()), 0..6).prop_map(KrrOp::Page),
        1 => Just(KrrOp::SetAside),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn persons_agree_with_a_map(
        persons in btree_map(0..280usize, citizen(), 0..60),
        batches in vec(batch(vec(op(280), 0..14)), 1..7),
    ) {
        check(first(People::of(Country::Norway), persons), batches);
    }
}

/// A person with a unique state; there are 79 488.
fn different(number: usize) -> Citizen {
    let (rest, updated) = (number / 2688, number % 2688);
    Citizen {
        reserved: rest % 2 == 1,
        deleted: rest / 2 % 2 == 1,
        channels: [("per@example.no".to_owned(), Some(updated as u32), None, 0, None), Channel::default()],
        mailbox: rest / 4 % 2,
        operator: rest / 8,
        certificate: 0,
        language: 0,
        days: [None; 3],
    }
}

/// Records become two and then four bytes wide, also if the batch that widened them was dropped.
#[test]
fn with_many_states_records_become_wider() {
    let crowd = Space::DNummer.ordinals().start;
    let all = People::of_ordinals(crowd..crowd + 150_000);
    assert!(all.0.len() > 70_000);
    let persons: BTreeMap<usize, Citizen> = (0..200).map(|who| (who * 300, different(who))).collect();
    let put = |range: Range<usize>| range.map(|n| KrrOp::Put(n, different(n))).collect();
    let few = || vec![KrrOp::Put(300, different(1)), KrrOp::Remove(600), KrrOp::Put(7, different(69_999))];
    let many = (0..68_000).map(|number| (number, different(number))).collect();
    let batches = [put(1000..1050), few(), put(200..400), few(), vec![KrrOp::Page(many)], few()];
    check(first(all, persons), applied_twice(batches));
}
