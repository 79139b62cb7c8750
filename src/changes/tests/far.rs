//! FaR: recipients, rules and organisations.

use super::*;

const TYPES: [&str; 3] = ["Not", "Anonymous", "Secure"];
/// Times as written and as read.
const TIMES: [(&str, &str); 5] = [
    ("", ""),
    ("2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z"),
    ("2024-10-21T21:16:40+02", "2024-10-21T19:16:40Z"),
    ("2105-01-01T00:00:00Z", "2105-01-01T00:00:00Z"),
    ("1955-01-01T00:00:00.123456789Z", "1955-01-01T00:00:00.123456789Z"),
];
const ADDRESSES: [&str; 4] = ["https://a.example/", "", "https://b.example/", " \t"];

/// The organisation with a number; operators, senders and dispatchers share some.
fn organisation(number: usize) -> String {
    OrganisationId(Ordinal(Space::Organisationsnummer.ordinals().start + 1_234_567 * number as u32)).text()
}

/// A recipient. Organisations are numbers, times are indexes in `TIMES`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    account_type: usize,
    pending: bool,
    operator: Option<usize>,
    times: [usize; 2],
    only: bool,
    senders: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum FarOp {
    Put(usize, Known),
    Remove(usize),
    Accept(usize, (bool, BTreeSet<usize>), usize),
    PutOperator(usize, usize),
    RemoveOperator(usize),
    PutSender(usize, usize),
    RemoveSender(usize),
    PutDispatcher(usize, usize, Vec<usize>),
    RemoveDispatcher(usize),
    SetAside,
}

#[derive(Clone)]
struct Far {
    people: People,
    recipients: BTreeMap<usize, Known>,
    /// Each organisation by its number, with the number of its texts.
    operators: Vec<(usize, usize)>,
    senders: Vec<(usize, usize)>,
    dispatchers: Vec<(usize, (usize, Vec<usize>))>,
}

fn put<T>(list: &mut Vec<(usize, T)>, id: usize, what: T) -> Effect {
    match list.iter_mut().find(|(known, _)| *known == id) {
        Some(known) => known.1 = what,
        None => list.push((id, what)),
    }
    Ok(true)
}

fn remove<T>(list: &mut Vec<(usize, T)>, id: usize) -> Effect {
    let position = list.iter().position(|(known, _)| *known == id);
    Ok(position.map(|position| list.remove(position)).is_some())
}

fn operator(&(id, text): &(usize, usize)) -> Operator {
    Operator {
        id: organisation(id),
        name: format!("Brevlåda {text}"),
        service_address: ADDRESSES[text % 4].to_owned(),
        ui_address: format!("https://ui.example/{text}"),
        internal_service_address: ["", "internal"][text % 2].to_owned(),
        logo: ["", "logo"][text / 2 % 2].to_owned(),
    }
}

/// Senders and dispatchers, some of which are also operators.
fn sender(&(id, text): &(usize, usize)) -> Sender {
    let attention = ["", "Enhet 1"][text % 2].to_owned();
    Sender { id: organisation(id + 2), name: format!("Kommun {text}"), attention }
}

impl Far {
    fn know_senders<'a>(&self, ids: impl IntoIterator<Item = &'a usize>, column: &'static str) -> Effect {
        let known = ids.into_iter().all(|id| self.senders.iter().any(|(known, _)| known == id));
        if known { Ok(true) } else { Err(("unknown_sender", column)) }
    }

    fn sender_ids<'a>(ids: impl IntoIterator<Item = &'a usize>) -> Vec<String> {
        ids.into_iter().map(|id| organisation(id + 2)).collect()
    }

    /// Fields of a recipient, as in rows and changes.
    fn fields(&self, who: usize, known: &Known) -> [(&'static str, Value); 8] {
        let [registration, change] = known.times.map(|time| TIMES[time].0.into());
        [
            ("recipient_id", self.people.id(who).into()),
            ("type", TYPES[known.account_type].into()),
            ("pending", known.pending.into()),
            ("operator_id", known.operator.map_or(String::new(), organisation).into()),
            ("last_registration", registration),
            ("acceptance", if known.only { "only" } else { "all-except" }.into()),
            ("exceptions", Far::sender_ids(known.senders.iter().rev()).into()),
            ("last_sender_accept_change", change),
        ]
    }

    fn read(&self, recipient: Recipient) -> Known {
        let Recipient::Far { state, rule, last_registration, last_sender_accept_change } = recipient else {
            panic!("a FaR recipient")
        };
        assert!(rule.senders.is_sorted_by(|a, b| a < b));
        let time = |time: Option<Timestamp>| {
            let text = time.map_or(String::new(), |time| time.to_string());
            TIMES.iter().position(|(_, known)| *known == text).expect("one of them")
        };
        Known {
            account_type: TYPES.iter().position(|name| *name == state.account_type.name()).expect("one"),
            pending: state.pending,
            operator: state.operator.map(|position| self.operators[usize::from(position)].0),
            times: [last_registration, last_sender_accept_change].map(time),
            only: rule.acceptance == Acceptance::Only,
            senders: rule.senders.iter().map(|position| self.senders[usize::from(*position)].0).collect(),
        }
    }

    fn outcome(&self, who: usize, sender: usize) -> Outcome {
        let Some(known) = self.recipients.get(&who) else {
            return Outcome::Paper(PaperReason::NotRegistered);
        };
        let position = self.operators.iter().position(|(id, _)| Some(*id) == known.operator);
        let reached = position.filter(|position| self.operators[*position].1.is_multiple_of(2));
        Outcome::Paper(match (known.account_type, reached) {
            (0, _) => PaperReason::NotRegistered,
            _ if known.senders.contains(&sender) != known.only => PaperReason::SenderDeclined,
            _ if known.pending => PaperReason::Pending,
            (1, _) => PaperReason::AnonymousAccount,
            (_, None) => PaperReason::OperatorWithoutAddress,
            (_, Some(position)) => {
                return Outcome::Digital(crate::register::OperatorIndex::new(position as u16));
            }
        })
    }
}

impl Model for Far {
    const KIND: Kind = Kind::Far;
    type Op = FarOp;

    fn extract(&self) -> Vec<(&'static str, String)> {
        let mut files = vec![
            (
                "operators.csv",
                "id,name,service_address,ui_address,internal_service_address,logo\n".to_owned(),
            ),
            ("senders.csv", "id,name,attention\n".to_owned()),
            ("dispatchers.csv", "id,name,senders\n".to_owned()),
            ("recipients.csv", String::new()),
        ];
        for Operator { id, name, service_address, ui_address, internal_service_address, logo } in
            self.operators.iter().map(operator)
        {
            let row = [id, name, service_address, ui_address, internal_service_address, logo].join(",");
            files[0].1 += &(row + "\n");
        }
        for Sender { id, name, attention } in self.senders.iter().map(sender) {
            files[1].1 += &format!("{id},{name},{attention}\n");
        }
        for (id, (text, senders)) in &self.dispatchers {
            let senders = Far::sender_ids(senders).join(" ");
            files[2].1 += &format!("{},Tryckeri {text},{senders}\n", organisation(id + 4));
        }
        let header = "recipient_id,type,pending,operator_id,last_registration,acceptance,exceptions,last_sender_accept_change\n";
        files[3].1 = header.to_owned();
        for (who, known) in &self.recipients {
            let fields = self
                .fields(*who, known)
                .map(|(_, value)| value.to_string().replace("\",\"", " ").replace(['"', '[', ']'], ""));
            files[3].1 += &(fields.join(",") + "\n");
        }
        files
    }

    fn write(&self, op: &FarOp, spelling: u64) -> Value {
        // An empty field may be left out.
        let brief = |fields: &[(&str, Value)]| {
            let empty = [json!(""), json!(false), json!([]), json!("all-except")];
            let kept =
                fields.iter().filter(|(_, value)| spelling.is_multiple_of(2) || !empty.contains(value));
            Value::Object(kept.map(|(name, value)| (name.to_string(), value.clone())).collect())
        };
        let id = |who: usize| spelled(self.people.id(who), spelling);
        let organisation = |number| spelled(&organisation(number), spelling);
        match op {
            FarOp::Put(who, known) => {
                let mut fields = self.fields(*who, known);
                fields[0].1 = id(*who).into();
                let doubled = known.senders.first().map(|id| organisation(id + 2).into());
                fields[6].1.as_array_mut().expect("senders").extend(doubled);
                json!({"put_recipient": brief(&fields)})
            }
            FarOp::Remove(who) => json!({"remove_recipient": {"recipient_id": id(*who)}}),
            FarOp::Accept(who, (only, senders), time) => {
                let fields = [
                    ("exceptions", Far::sender_ids(senders).into()),
                    ("last_sender_accept_change", TIMES[*time].0.into()),
                ];
                let mut set = brief(&fields);
                set["recipient_id"] = id(*who).into();
                set["acceptance"] = if *only { "only" } else { "all-except" }.into();
                json!({"set_acceptance": set})
            }
            FarOp::PutOperator(number, text) => {
                let Operator { name, service_address, ui_address, internal_service_address, logo, .. } =
                    operator(&(*number, *text));
                json!({"put_operator": brief(&[
                    ("id", organisation(*number).into()), ("name", name.into()),
                    ("service_address", service_address.into()), ("ui_address", ui_address.into()),
                    ("internal_service_address", internal_service_address.into()), ("logo", logo.into()),
                ])})
            }
            FarOp::RemoveOperator(number) => json!({"remove_operator": {"id": organisation(*number)}}),
            FarOp::PutSender(number, text) => {
                let Sender { name, attention, .. } = sender(&(*number, *text));
                let id = organisation(number + 2);
                json!({"put_sender": {"id": id, "name": name, "attention": attention}})
            }
            FarOp::RemoveSender(number) => json!({"remove_sender": {"id": organisation(number + 2)}}),
            FarOp::PutDispatcher(number, text, senders) => {
                let (id, senders) = (organisation(number + 4), Far::sender_ids(senders));
                json!({"put_dispatcher": {"id": id, "name": format!("Tryckeri {text}"), "senders": senders}})
            }
            FarOp::RemoveDispatcher(number) => json!({"remove_dispatcher": {"id": organisation(number + 4)}}),
            FarOp::SetAside => json!({"set_aside": {"reason": "bad_json"}}),
        }
    }

    fn apply(&mut self, op: &FarOp) -> Effect {
        match op {
            FarOp::Put(who, known) => {
                if known.operator.is_some_and(|id| !self.operators.iter().any(|(known, _)| *known == id)) {
                    return Err(("unknown_operator", "operator_id"));
                }
                self.know_senders(&known.senders, "exceptions")?;
                self.recipients.insert(*who, known.clone());
            }
            FarOp::Remove(who) => return Ok(self.recipients.remove(who).is_some()),
            FarOp::Accept(who, (only, senders), time) => {
                self.know_senders(senders, "exceptions")?;
                let unknown = ("unknown_recipient", "recipient_id");
                let known = self.recipients.get_mut(who).ok_or(unknown)?;
                (known.only, known.senders, known.times[1]) = (*only, senders.clone(), *time);
            }
            FarOp::PutOperator(id, text) => return put(&mut self.operators, *id, *text),
            FarOp::RemoveOperator(id) => {
                for known in self.recipients.values_mut() {
                    known.operator = known.operator.filter(|own| own != id);
                }
                return remove(&mut self.operators, *id);
            }
            FarOp::PutSender(id, text) => return put(&mut self.senders, *id, *text),
            FarOp::RemoveSender(id) => {
                self.recipients.values_mut().for_each(|known| _ = known.senders.remove(id));
                self.dispatchers.iter_mut().for_each(|(_, (_, senders))| senders.retain(|own| own != id));
                return remove(&mut self.senders, *id);
            }
            FarOp::PutDispatcher(id, text, senders) => {
                self.know_senders(senders, "senders")?;
                return put(&mut self.dispatchers, *id, (*text, senders.clone()));
            }
            FarOp::RemoveDispatcher(id) => return remove(&mut self.dispatchers, *id),
            FarOp::SetAside => {}
        }
        Ok(true)
    }

    fn agrees(&self, register: &Register) {
        assert!(register.operators().iter().cloned().eq(self.operators.iter().map(operator)));
        assert!(register.senders().iter().cloned().eq(self.senders.iter().map(sender)));
        let position = |id: &usize| self.senders.iter().position(|(own, _)| own == id).expect("known");
        let index = |id: &usize| crate::register::SenderIndex::new(position(id) as u16);
        let dispatchers = self.dispatchers.iter().map(|(id, (text, senders))| Dispatcher {
            id: organisation(id + 4),
            name: format!("Tryckeri {text}"),
            senders: senders.iter().map(index).collect(),
        });
        assert!(register.dispatchers().iter().cloned().eq(dispatchers));
        self.people.known(register, &self.recipients, |_, known| known.clone(), |read| self.read(read));
        let census = register.census().expect("undamaged");
        let of = |operator| self.recipients.values().filter(|k| k.operator == operator).count() as u64;
        assert!(census.operators.into_iter().eq(self.operators.iter().map(|(id, _)| of(Some(*id)))));
        assert_eq!(census.without_operator, of(None));
        let date = jiff::civil::date(2026, 6, 1);
        for number in 0..12 {
            let id = organisation(number + 2);
            if self.senders.iter().any(|(known, _)| *known == number) {
                self.people.asked(register, Some(&id), date, |who| self.outcome(who, number));
            } else {
                assert!(matches!(register.question(Some(&id), date), Err(QuestionError::SenderUnknown)));
            }
        }
    }
}

fn senders() -> impl Strategy<Value = (bool, BTreeSet<usize>)> {
    prop_oneof![1 => Just((false, BTreeSet::new())), 2 => (any::<bool>(), btree_set(0..6usize, 0..4))]
}

fn known() -> impl Strategy<Value = Known> {
    let operator = proptest::option::weighted(0.8, 0..4usize);
    let times = prop_oneof![[0..5usize, 0..5usize], [0..4usize, 0..4usize]];
    let pending = proptest::bool::weighted(0.3);
    (0..3usize, pending, operator, times, senders()).prop_map(
        |(account_type, pending, operator, times, (only, senders))| Known {
            account_type,
            pending,
            operator,
            times,
            only,
            senders,
        },
    )
}

fn op_of_recipients(people: usize) -> impl Strategy<Value = FarOp> {
    prop_oneof![
        6 => (who(people), known()).prop_map(|(who, known)| FarOp::Put(who, known)),
        2 => who(people).prop_map(FarOp::Remove),
        4 => (who(people), senders(), 0..5usize).prop_map(|(who, rule, time)| FarOp::Accept(who, rule, time)),
    ]
}

fn op(people: usize) -> impl Strategy<Value = FarOp> {
    prop_oneof![
        24 => op_of_recipients(people),
        1 => (0..4usize, 0..8usize).prop_map(|(id, text)| FarOp::PutOperator(id, text)),
        1 => (0..4usize).prop_map(FarOp::RemoveOperator),
        2 => (0..6usize, 0..4usize).prop_map(|(id, text)| FarOp::PutSender(id, text)),
        1 => (0..6usize).prop_map(FarOp::RemoveSender),
        1 => (0..3usize, 0..4usize, vec(0..6usize, 0..4)).prop_map(|(id, text, s)| FarOp::PutDispatcher(id, text, s)),
        1 => (0..3usize).prop_map(FarOp::RemoveDispatcher),
        1 => Just(FarOp::SetAside),
    ]
}

/// A register with some recipients, optionally with a crowd that has so many rules that some are listed.
fn first(mut recipients: BTreeMap<usize, Known>, crowd: bool) -> Far {
    let people = People::of(Country::Sweden);
    for who in (0..people.0.len()).filter(|_| crowd) {
        recipients.entry(who).or_insert_with(|| Known {
            account_type: who % 3,
            pending: who % 5 == 0,
            operator: (who % 4).checked_sub(1),
            times: [who % 4, who % 3],
            only: who % 2 == 0,
            senders: (0..5).filter(|sender| ((who * 7) >> sender) & 1 == 1).collect(),
        });
    }
    Far {
        people,
        recipients,
        operators: vec![(0, 0), (2, 6), (1, 1)],
        senders: vec![(3, 1), (0, 0), (1, 3), (4, 2), (2, 2)],
        dispatchers: vec![(1, (0, vec![4, 0])), (0, (1, vec![]))],
    }
}

/// The recipient with organisations that an extract has from the beginning.
fn at_first(known: Known) -> Known {
    let senders = known.senders.into_iter().filter(|sender| *sender < 5).collect();
    Known { operator: known.operator.filter(|operator| *operator < 3), senders, ..known }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn recipients_agree_with_a_map(
        recipients in btree_map(who(390), known().prop_map(at_first), 0..40),
        crowd in any::<bool>(),
        batches in vec(batch(prop_oneof![
            4 => vec(op(390), 0..16),
            2 => vec(op_of_recipients(390), 0..16),
            1 => vec(op_of_recipients(390), 256..300),
        ]), 1..7),
    ) {
        check(first(recipients, crowd), batches);
    }
}

/// More rules than a table of the editor holds, also after a sender was removed from all of them.
#[test]
fn rules_by_the_thousand() {
    let start = Space::Samordningsnummer.ordinals().start + BLOCK_ORDINALS - 100;
    let with_rule = |who: usize, senders: usize| {
        let senders = (0..12).filter(|sender| senders >> sender & 1 == 1).collect();
        let account_type = if who == 5 { 1 } else { 2 };
        Known {
            account_type,
            pending: false,
            operator: Some(0),
            times: [0, 1],
            only: who.is_multiple_of(3),
            senders,
        }
    };
    let first = Far {
        people: People::of_ordinals((0..2600).map(|n| start + n * 3)),
        recipients: (0..50).map(|who| (who * 50, with_rule(who, who))).collect(),
        senders: (0..12).map(|id| (id, 0)).collect(),
        ..first(BTreeMap::new(), false)
    };
    let put = |who: Range<usize>, rule: fn(usize) -> usize| -> Vec<FarOp> {
        who.map(|who| FarOp::Put(who, with_rule(who, rule(who)))).collect()
    };
    let away = vec![FarOp::RemoveSender(3), FarOp::RemoveSender(11)];
    let back = vec![FarOp::PutSender(3, 1), FarOp::PutSender(11, 0)];
    let accept = (0..9).map(|who| FarOp::Accept(who, (true, BTreeSet::from([3, who % 3])), 2)).collect();
    let (all, few) = (put(0..2600, |who| 4095 - who), put(0..100, |who| (who * 5) & !8));
    let new = put(0..2300, |who| who | 8);
    check(first, applied_twice([all, away.clone(), few, back, new, accept, away]));
}

/// More states than a record of one byte can hold, and fewer again after operators are removed.
#[test]
fn operators_by_the_dozen() {
    let state = |number: usize| Known {
        account_type: number % 3,
        pending: number / 3 % 2 == 1,
        operator: Some(number / 6),
        times: [number % 5, 0],
        only: false,
        senders: (0..5).filter(|sender| ((number % 7) >> sender) & 1 == 1).collect(),
    };
    let join = (3..40).map(|id| FarOp::PutOperator(id, id)).collect();
    let put = |numbers: Range<usize>| numbers.map(|n| FarOp::Put(n, state(n))).collect::<Vec<_>>();
    let leave = (1..30).map(|id| FarOp::RemoveOperator(id * 11 % 40)).collect();
    let again = vec![FarOp::PutOperator(22, 0), FarOp::Put(390, state(22 * 6)), FarOp::Remove(0)];
    let first = first(BTreeMap::from([(395, state(0)), (7, state(3))]), true);
    check(first, applied_twice([join, put(0..100), put(100..240), leave, again]));
}
