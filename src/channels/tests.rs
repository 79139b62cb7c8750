//! The ready-made rules and their cases, what is refused, and the fast reading of random rules against a naive one.

use super::plan::{Letter, Plan, TextForms};
use super::*;
use crate::identities::{Country, Today};
use crate::organisations::OperatorIndex;
use crate::register::{Answer, Operator};
use jiff::civil::{Date, date};
use proptest::prelude::*;
use std::path::Path;

const DAY: Date = date(2026, 6, 1);

fn identity(id: &str) -> Identity {
    let country = if id.len() == 12 { Country::Sweden } else { Country::Norway };
    let today = Today::new(2026, 6, 1).expect("a day");
    Identity::parse(id.as_bytes(), country, today).expect("an id")
}

fn operator(id: &str, name: &str) -> Operator {
    let (id, name) = (id.to_owned(), name.to_owned());
    Operator { id, name, ..Operator::default() }
}

/// A letter whose cells are given as bytes.
struct GivenLetter<'l> {
    identity: Identity,
    in_lists: &'l [bool],
    /// The numbers of the answers of further registers that may be asked.
    further: Vec<Option<usize>>,
    cells: &'l [String],
}

impl Letter for GivenLetter<'_> {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn is_in(&self, list: usize) -> bool {
        self.in_lists[list]
    }

    fn answer(&self, register: usize) -> usize {
        self.further[register].expect("the plan asks this register")
    }

    fn cell(&mut self, column: usize) -> &[u8] {
        self.cells[column].as_bytes()
    }
}

fn utf8() -> TextForms {
    TextForms {
        decode: |bytes| String::from_utf8_lossy(bytes).into_owned(),
        encode: |text| Some(text.as_bytes().to_vec()),
    }
}

/// The rule of a letter by the plan, which must be that of the explanation.
fn decide(rules: &ChannelRules, operators: &[Operator], facts: &Facts<'_>) -> usize {
    let plan = Plan::new(rules, operators, &vec![operators; facts.further.len()], facts.day, utf8());
    let answer = Answer::from(facts.answer.outcome).number();
    let further = facts.further.iter().enumerate();
    let further = further.map(|(register, further)| {
        plan.asks(answer, register).then(|| Answer::from(further.outcome).number())
    });
    let mut letter = GivenLetter {
        identity: facts.identity,
        in_lists: &facts.in_lists,
        further: further.collect(),
        cells: &facts.cells,
    };
    let rule = usize::from(plan.decide(answer, &mut letter));
    if let Some(of_all) = plan.rule_of(answer) {
        assert_eq!(usize::from(of_all), rule);
    }
    assert_eq!(rules.decide(facts), rule, "{facts:?}");
    rule
}

fn ready_made() -> impl Iterator<Item = std::path::PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/rules");
    let entries = std::fs::read_dir(directory).expect("read").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
}

fn outcome_of(outcome: &str, reason: &str) -> Outcome {
    let reason = PaperReason::ALL.into_iter().find(|known| known.name() == reason);
    match outcome {
        "digital" => Outcome::Digital(OperatorIndex::new(0)),
        "notify" => Outcome::Notify,
        "other_country" => Outcome::OtherCountry,
        _ => Outcome::Paper(reason.expect("a reason")),
    }
}

/// Each case of a ready-made file comes out as its table says; each rule has a case, and none is dead.
#[test]
fn ready_made_rules_decide_their_cases() {
    let mut files = 0;
    for path in ready_made() {
        let rules = ChannelRules::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rules.dead().len(), 0, "{path:?}");
        let mut seen = vec![false; rules.rules().len()];
        let mut cases = csv::Reader::from_path(path.with_extension("cases.csv")).expect("cases");
        let headers = cases.headers().expect("a header").clone();
        for (number, case) in cases.records().enumerate() {
            let case = case.expect("a case");
            let cell = |name: &str| headers.iter().position(|header| header == name).map(|at| &case[at]);
            let get = |name: &str| cell(name).unwrap_or_else(|| panic!("{path:?} has no column {name}"));
            let operators = [operator("164921000016", get("operator"))];
            let outcome = outcome_of(get("outcome"), get("reason"));
            let further: Vec<Outcome> = rules
                .registers()
                .iter()
                .map(|register| outcome_of(get(&format!("{}_outcome", register.name)), "reserved"))
                .collect();
            let facts = Facts {
                answer: RegisterAnswer::new(outcome, &operators),
                further: further.iter().map(|outcome| RegisterAnswer::new(*outcome, &operators)).collect(),
                identity: identity(get("id")),
                day: DAY,
                in_lists: rules.lists().iter().map(|list| get("lists") == list.name).collect(),
                cells: rules.columns().iter().map(|column| get(&column.name).to_owned()).collect(),
            };
            let rule = decide(&rules, &operators, &facts);
            let found = (&*rules.channel_of(rule).name, &*rules.rules()[rule].name);
            assert_eq!(found, (get("channel"), get("rule")), "{path:?}, case {}", number + 1);
            seen[rule] = true;
        }
        // In NAV's rules the last one is for what KRR does not have today.
        let without = rules.rules().iter().zip(seen).filter(|(_, seen)| !seen);
        let without: Vec<_> = without.map(|(rule, _)| &*rule.name).collect();
        assert!(without.is_empty() || without == ["all others"], "{path:?}: {without:?}");
        files += 1;
    }
    assert_eq!(files, 8);
}

const HEAD: &str = "[[channel]]\nname = \"mailbox\"\n[[channel]]\nname = \"print\"\ncost = 8.5\n";
const REGISTERS: &str =
    "[[register]]\nname = \"a\"\npath = \"a.nabar\"\n[[register]]\nname = \"b\"\npath = \"b.nabar\"\n";
const LAST: &str = "[[rule]]\nname = \"others\"\nchannel = \"print\"\n";

fn with_condition(when: &str) -> String {
    format!("{HEAD}[[rule]]\nname = \"first\"\nchannel = \"print\"\nwhen = {when}\n{LAST}")
}

#[test]
fn bad_rules_are_refused_with_their_line() {
    let refused = |text: &str, line: usize, finding: &str| {
        let error = ChannelRules::parse(text, Path::new("fixtures")).expect_err(text);
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(finding), "{error}\n{text}");
    };
    let in_line_9 = |when: &str, finding: &str| refused(&with_condition(when), 9, finding);
    in_line_9(r#"{ outcome = "digitl" }"#, r#"did you mean "digital"?"#);
    in_line_9(
        r#"{ register = { name = "kivra", outcome = "digital" } }"#,
        "no [[register]] with the name kivra",
    );
    let of_registers = |more: &str, line: usize, finding: &str| {
        refused(&format!("{REGISTERS}{more}{HEAD}{LAST}"), line, finding);
    };
    let register = |name: &str| format!("[[register]]\nname = \"{name}\"\npath = \"x\"\n");
    of_registers(&register("a"), 8, "two registers with the name a");
    of_registers(&register("B"), 8, "lower-case letters");
    of_registers(&register("c"), 8, "more than 2");
    refused(&format!("{}sender = \"1\"\n{HEAD}{LAST}", register("a")), 4, "10 or 12 digits");
    of_registers("[[channel]]\nname = \"x\"\nregister = \"a\"\n", 9, "mailbox = true");
    refused(
        &format!("{REGISTERS}{}", with_condition("{ register = { name = \"a\" } }")),
        15,
        "name an `outcome`, a `reason` or an `operator`",
    );
    in_line_9(r#"{ reason = ["pending", "nowhere"] }"#, "there is no reason nowhere");
    in_line_9(r#"{ recipient = "organization" }"#, r#"did you mean "organisation"?"#);
    in_line_9("{ first_digit = 0 }", "first digit");
    in_line_9(r#"{ age = "old" }"#, "\"unknown\"");
    in_line_9("{ age = { at_least = 18, below = 18 } }", "no age is within");
    in_line_9("{ age = { over = 18 } }", "over");
    in_line_9(r#"{ list = "protected" }"#, "there is no [[list]]");
    in_line_9(r#"{ cell = { column = "land" } }"#, "compared with nothing");
    in_line_9(r#"{ cell = { column = "sidor", above = "two" } }"#, "a limit is a number or a date");
    in_line_9(r#"{ cell = { column = "sidor", above = 2, below = 2026-06-01 } }"#, "another one a date");
    in_line_9(r#"{ cell = { column = "sidor", is = [] } }"#, "at least one");
    in_line_9(r#"{ weather = "fine" }"#, "unknown field `weather`");
    let rule = |name: &str, more: &str| format!("[[rule]]\nname = \"{name}\"\nchannel = \"print\"\n{more}");
    refused(&format!("{HEAD}{}{LAST}", rule("a", "when.any = []\n")), 7, "never holds");
    refused(&format!("{HEAD}{LAST}{LAST}"), 10, "the rule of line 7 has the same name: others");
    refused(&format!("{HEAD}{}", rule("a", "when.outcome = \"paper\"\n")), 7, "the last rule has conditions");
    refused(&format!("{HEAD}{}", LAST.replace("print", "mailbox")), 7, "not all have a mailbox");
    refused(&format!("{HEAD}{}", LAST.replace("print", "prnt")), 8, r#"did you mean "print"?"#);
    refused(HEAD, 1, "there is no rule");
    refused(&format!("{HEAD}[[channel]]\nname = \"print\"\n{LAST}"), 7, "two channels");
    refused(&format!("{HEAD}[[channel]]\nname = \"feedback\"\n{LAST}"), 7, "name the channel otherwise");
    refused(&format!("{HEAD}[[channel]]\nname = \"../x\"\n{LAST}"), 7, "lower-case letters");
    refused(&format!("{HEAD}[[channel]]\nname = \"x\"\ncost = -1\n{LAST}"), 8, "an amount from 0");
    // Their files could be taken for those of an operator.
    for name in ["mailbox-brevia-ab", "digital-brevia-ab"] {
        refused(&format!("{HEAD}[[channel]]\nname = \"{name}\"\n{LAST}"), 7, "a file for an operator");
    }
    refused(
        &format!("{}{LAST}", HEAD.replace("\"mailbox\"", "\"mailbox\"\nmailbox = false")),
        2,
        "otherwise",
    );
    for number in ["196810199809", "681019-9809", "6810199809"] {
        let error =
            ChannelRules::parse(&with_condition(&format!("{{ outcome = \"{number}\" }}")), Path::new(""));
        assert!(error.as_ref().is_err_and(|error| error.contains("no outcome …;")), "{error:?}");
    }
    refused(&format!("compare_with = \"mailbox\"\n{HEAD}{LAST}"), 1, "has no `cost`");
    refused(&format!("decimal_sign = \"'\"\n{HEAD}{LAST}"), 1, "decimal sign");
    refused(&format!("date_form = \"%H\"\n{HEAD}{LAST}"), 1, "strftime");
    let list = |path: &str| format!("[[list]]\nname = \"a\"\npath = \"{path}\"\n");
    refused(&format!("{HEAD}{}{LAST}", list("nowhere.csv")), 7, "there is no file fixtures/nowhere.csv");
    refused(&format!("{HEAD}{0}{0}{LAST}", list("far-list.csv")), 10, "two lists");
    let deep = (0..40).fold("{ outcome = \"paper\" }".to_owned(), |inner, _| format!("{{ not = {inner} }}"));
    refused(&with_condition(&deep), 7, "nested more than");
    let many = (0..=RULES_MAX).fold(HEAD.to_owned(), |text, number| text + &rule(&number.to_string(), ""));
    refused(&many, 7 + 3 * RULES_MAX, "more than 500 rules");
}

#[test]
fn rules_that_can_never_apply_are_found() {
    let text = format!(
        "{HEAD}\
         [[rule]]\nname = \"digital\"\nchannel = \"mailbox\"\nwhen.outcome = \"digital\"\n\
         [[rule]]\nname = \"brevia\"\nchannel = \"mailbox\"\nwhen.operator = \"Brevia AB\"\n\
         [[rule]]\nname = \"both\"\nchannel = \"print\"\nwhen = {{ outcome = \"notify\", reason = \"reserved\" }}\n\
         [[rule]]\nname = \"paper mailbox\"\nchannel = \"mailbox\"\nwhen.outcome = \"paper\"\n\
         [[rule]]\nname = \"pending\"\nchannel = \"print\"\nwhen = {{ reason = \"pending\", age = {{ below = 18 }} }}\n\
         {LAST}"
    );
    let rules = ChannelRules::parse(&text, Path::new("")).expect("rules");
    let dead: Vec<&str> = rules.dead().into_iter().map(|rule| &*rule.name).collect();
    assert_eq!(dead, ["brevia", "both", "paper mailbox"]);
    assert_eq!(rules.operators(None), ["Brevia AB"]);
    let text = format!("[[list]]\nname = \"protected\"\npath = \"far-list.csv\"\n{HEAD}{LAST}");
    let rules = ChannelRules::parse(&text, &Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
    assert_eq!(rules.expect("rules").unused(), ["list protected", "channel mailbox"]);
}

/// Neither a limit nor its opposite decides on a cell without a number, or on an unknown age.
#[test]
fn what_is_unknown_decides_nothing() {
    let facts = |cell: &str, id: &str| Facts {
        answer: RegisterAnswer::new(Outcome::Paper(PaperReason::NotRegistered), &[]),
        further: Vec::new(),
        identity: identity(id),
        day: DAY,
        in_lists: Vec::new(),
        cells: vec![cell.to_owned()],
    };
    for (limit, cell, of_limit, of_opposite) in [
        ("above = 2", "3", true, false),
        ("above = 2", "2", false, true),
        ("above = 2", "", false, false),
        ("above = 2", "two", false, false),
        ("at_least = 2026-06-01", "2026-06-01", true, false),
        ("at_least = 2026-06-01", "2026-05-31", false, true),
        ("at_least = 2026-06-01", "1 juni", false, false),
        ("not_a_number = true", "two", true, false),
    ] {
        let test = format!(r#"{{ cell = {{ column = "a", {limit} }} }}"#);
        for (when, expected) in [(test.clone(), of_limit), (format!("{{ not = {test} }}"), of_opposite)] {
            let rules = ChannelRules::parse(&with_condition(&when), Path::new("")).expect("rules");
            let rule = decide(&rules, &[], &facts(cell, "196810199809"));
            assert_eq!(rule == 0, expected, "{when} of {cell:?}");
        }
    }
    for (id, below, unknown) in
        [("201203042385", true, false), ("196810199809", false, false), ("164560149462", false, true)]
    {
        for (when, expected) in [
            ("{ age = { below = 18 } }", below),
            ("{ not = { age = { below = 18 } } }", !below && !unknown),
            (r#"{ age = "unknown" }"#, unknown),
        ] {
            let rules = ChannelRules::parse(&with_condition(when), Path::new("")).expect("rules");
            let mut facts = facts("", id);
            facts.cells.clear();
            assert_eq!(decide(&rules, &[], &facts) == 0, expected, "{when} of {id}");
        }
    }
}

#[test]
fn numbers_and_dates_are_read_as_the_file_says() {
    let forms = CellForms { decimal_sign: ',', date_form: "%d.%m.%Y".to_owned() };
    for (text, number) in [
        ("12", Some(12.0)),
        ("-1,5", Some(-1.5)),
        ("1 234,50", Some(1234.5)),
        ("1\u{a0}234", Some(1234.0)),
        ("\u{2212}3", Some(-3.0)),
        ("1.5", None),
        ("1,2,3", None),
        ("", None),
        ("inf", None),
        ("1e3", None),
    ] {
        assert_eq!(forms.number(text), number, "{text:?}");
    }
    assert_eq!(forms.date("01.06.2026"), Some(DAY));
    assert_eq!([forms.date("2026-06-01"), forms.date("31.02.2026"), forms.date("")], [None; 3]);
    // A year of two digits is not the year 26.
    let forms = CellForms { date_form: "%Y-%m-%d".to_owned(), ..forms };
    assert_eq!([forms.date("26-06-01"), forms.date("-2026-06-01")], [None; 2]);
}

/// Plain reading of conditions, from the documentation.
mod naive {
    use super::*;

    /// `None`: unknown.
    pub(super) fn holds(condition: &Condition, facts: &Facts<'_>, forms: &CellForms) -> Option<bool> {
        let of = |one: &Condition| holds(one, facts, forms);
        match condition {
            Condition::All(all) => {
                let found: Vec<_> = all.iter().map(of).collect();
                if found.contains(&Some(false)) {
                    Some(false)
                } else if found.contains(&None) {
                    None
                } else {
                    Some(true)
                }
            }
            Condition::Any(any) => {
                let found: Vec<_> = any.iter().map(of).collect();
                if found.contains(&Some(true)) {
                    Some(true)
                } else if found.contains(&None) {
                    None
                } else {
                    Some(false)
                }
            }
            Condition::Not(one) => of(one).map(|holds| !holds),
            Condition::Test(test) => self::test(test, facts, forms),
        }
    }

    fn answer_test(test: &AnswerTest, answer: &RegisterAnswer<'_>) -> Option<bool> {
        if answer.outcome == Outcome::NotAsked {
            return None;
        }
        Some(match test {
            AnswerTest::Outcome(names) => names.contains(&answer.outcome.name()),
            AnswerTest::Reason(reasons) => {
                reasons.iter().any(|reason| reason.name() == answer.outcome.reason())
            }
            AnswerTest::Operator(names) => {
                let (id, name) = answer.operator.unwrap_or_default();
                answer.operator.is_some() && names.iter().any(|one| one == id || one == name)
            }
        })
    }

    fn test(test: &Test, facts: &Facts<'_>, forms: &CellForms) -> Option<bool> {
        let digits = facts.identity.as_str();
        let is_organisation = digits.starts_with("16");
        match test {
            Test::Answer(test) => answer_test(test, &facts.answer),
            Test::Further(register, test) => answer_test(test, &facts.further[*register]),
            Test::Kind(kinds) => {
                let kind = match digits.as_bytes()[6] {
                    _ if is_organisation => RecipientKind::Organisation,
                    b'6'.. => RecipientKind::Samordningsnummer,
                    _ => RecipientKind::Person,
                };
                Some(kinds.contains(&kind))
            }
            Test::FirstDigit(all) => Some(is_organisation && all.contains(&(digits.as_bytes()[2] - b'0'))),
            Test::Age(test) => {
                let day: i8 = digits[6..8].parse().expect("digits");
                let day = if day > 60 { day - 60 } else { day };
                let (year, month) =
                    (digits[..4].parse().expect("digits"), digits[4..6].parse().expect("digits"));
                let born = if is_organisation { None } else { Date::new(year, month, day).ok() };
                let age =
                    born.map(|born| born.until((jiff::Unit::Year, facts.day)).expect("later").get_years());
                match test {
                    AgeTest::Unknown => Some(age.is_none()),
                    AgeTest::Between(from, below) => {
                        age.map(|age| age >= *from as i16 && (age as u32) < *below)
                    }
                }
            }
            Test::List(list) => Some(facts.in_lists[*list]),
            Test::Cell(column, test) => cell(test, &facts.cells[*column], forms),
        }
    }

    fn cell(test: &CellTest, text: &str, forms: &CellForms) -> Option<bool> {
        let number: Option<f64> = match text.chars().all(|c| c.is_ascii_digit() || c == forms.decimal_sign) {
            true => text.replace(forms.decimal_sign, ".").parse().ok(),
            false => None,
        };
        match test {
            CellTest::Is(all) => Some(all.iter().any(|one| one == text)),
            CellTest::Empty(empty) => Some(*empty == text.is_empty()),
            CellTest::Matches(all) => Some(all.iter().any(|pattern| {
                let (pattern, text): (Vec<char>, Vec<char>) =
                    (pattern.chars().collect(), text.chars().collect());
                matches(&pattern, &text)
            })),
            CellTest::NotANumber(not) => Some(number.is_none() == *not),
            CellTest::NotADate(not) => Some(text.parse::<Date>().is_err() == *not),
            CellTest::Within(Limits::Numbers(limits)) => number.map(|number| {
                limits.iter().all(|limit| match limit {
                    Limit::AtLeast(limit) => number >= *limit,
                    Limit::Above(limit) => number > *limit,
                    Limit::AtMost(limit) => number <= *limit,
                    Limit::Below(limit) => number < *limit,
                })
            }),
            CellTest::Within(Limits::Dates(limits)) => text.parse().ok().map(|date: Date| {
                limits.iter().all(|limit| match limit {
                    Limit::AtLeast(limit) => date >= *limit,
                    Limit::Above(limit) => date > *limit,
                    Limit::AtMost(limit) => date <= *limit,
                    Limit::Below(limit) => date < *limit,
                })
            }),
        }
    }

    fn matches(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => matches(rest, text) || !text.is_empty() && matches(pattern, &text[1..]),
            (['?', pattern @ ..], [_, text @ ..]) => matches(pattern, text),
            ([one, pattern @ ..], [other, text @ ..]) => one == other && matches(pattern, text),
            _ => false,
        }
    }
}

const TEXTS: [&str; 9] = ["", "SE", "Åre", "NO", "2", "12.5", "2026-06-01", "2024-02-29", "x\"y"];
const NAMES: [(&str, &str); 3] = [
    ("164921000016", "Brevia AB"),
    ("164921079770", "Min samhällspost"),
    ("164921159564", "Mejlo Sverige AB"),
];

fn one_or_two<T: Clone + std::fmt::Debug + 'static>(all: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    proptest::sample::subsequence(all, 1..=2)
}

fn any_test() -> impl Strategy<Value = Test> {
    let number = |limit: f64| {
        prop_oneof![
            Just(Limit::AtLeast(limit)),
            Just(Limit::Above(limit)),
            Just(Limit::AtMost(limit)),
            Just(Limit::Below(limit))
        ]
    };
    let cell = prop_oneof![
        one_or_two(TEXTS.map(str::to_owned).to_vec()).prop_map(CellTest::Is),
        any::<bool>().prop_map(CellTest::Empty),
        one_or_two(["*", "S?", "?re", "*-*", "N*O", "??"].map(str::to_owned).to_vec())
            .prop_map(CellTest::Matches),
        any::<bool>().prop_map(CellTest::NotANumber),
        any::<bool>().prop_map(CellTest::NotADate),
        proptest::sample::select(vec![2.0, 12.5, 7.0])
            .prop_flat_map(number)
            .prop_map(|limit| CellTest::Within(Limits::Numbers(vec![limit]))),
        proptest::sample::select(vec![Limit::AtLeast(DAY), Limit::Below(DAY)])
            .prop_map(|limit| CellTest::Within(Limits::Dates(vec![limit]))),
    ];
    let names = NAMES.iter().flat_map(|(id, name)| [id.to_string(), name.to_string()]).collect::<Vec<_>>();
    let answer = prop_oneof![
        one_or_two(vec!["digital", "notify", "paper", "other_country"]).prop_map(AnswerTest::Outcome),
        one_or_two(PaperReason::ALL.to_vec()).prop_map(AnswerTest::Reason),
        one_or_two(names).prop_map(AnswerTest::Operator),
    ];
    prop_oneof![
        answer.clone().prop_map(Test::Answer),
        (0usize..2, answer).prop_map(|(register, test)| Test::Further(register, test)),
        one_or_two(RecipientKind::ALL.to_vec()).prop_map(Test::Kind),
        one_or_two(vec![2, 4, 5]).prop_map(Test::FirstDigit),
        prop_oneof![
            Just(AgeTest::Unknown),
            (0u32..60, 1u32..60).prop_map(|(from, years)| AgeTest::Between(from, from + years))
        ]
        .prop_map(Test::Age),
        (0usize..2).prop_map(Test::List),
        (0usize..3, cell).prop_map(|(column, test)| Test::Cell(column, test)),
    ]
}

fn any_condition() -> impl Strategy<Value = Condition> {
    any_test().prop_map(Condition::Test).prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Condition::All),
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Condition::Any),
            inner.prop_map(|one| Condition::Not(Box::new(one))),
        ]
    })
}

fn any_rules() -> impl Strategy<Value = ChannelRules> {
    let rule = (any_condition(), 0usize..4);
    proptest::collection::vec(rule, 0..6).prop_map(|rules| {
        let text = format!(
            "{REGISTERS}{HEAD}[[channel]]\nname = \"hold\"\n\
             [[channel]]\nname = \"other\"\nmailbox = true\nregister = \"b\"\n{LAST}"
        );
        let mut all = ChannelRules::parse(&text, Path::new("")).expect("rules");
        let last = all.rules.pop().expect("a rule");
        for (number, (when, channel)) in rules.into_iter().enumerate() {
            let (name, cost, compared_cost) = (number.to_string(), None, None);
            all.rules.push(ChannelRule { name, channel, when, cost, compared_cost, line: 1 });
        }
        all.rules.push(last);
        all
    })
}

proptest! {
    /// The plan, the explanation and the naive reading agree on random rules and letters.
    #[test]
    fn the_plan_decides_as_the_naive_reading(
        mut rules in any_rules(),
        letters in proptest::collection::vec(
            (
                (0u16..14, [0u16..14, 0u16..14]),
                0usize..6,
                any::<[bool; 2]>(),
                proptest::collection::vec(0..TEXTS.len(), 3),
            ),
            1..12,
        ),
    ) {
        let list = |name: &str| IdList {
            name: name.to_owned(),
            path: PathBuf::new(),
            id_column: None,
            max_rejected: RejectedLimit::Rows(0),
            may_be_empty: false,
            line: 1,
        };
        rules.lists = vec![list("a"), list("b")];
        let column = |name: &str| RuleColumn { name: name.to_owned(), line: 1 };
        rules.columns = ["x", "y", "z"].map(column).to_vec();
        let operators = NAMES.map(|(id, name)| operator(id, name));
        let ids = ["196810199809", "201203042385", "200806012381", "199001622381", "164560149462", "200806022380"];
        for ((answer, further), id, in_lists, cells) in letters {
            let outcome = Answer(answer).outcome();
            if matches!(outcome, Outcome::NotAsked | Outcome::Refused) {
                continue;
            }
            let facts = Facts {
                answer: RegisterAnswer::new(outcome, &operators),
                further: further.map(|further| RegisterAnswer::new(Answer(further).outcome(), &operators)).to_vec(),
                identity: identity(ids[id]),
                day: DAY,
                in_lists: in_lists.to_vec(),
                cells: cells.into_iter().map(|text| TEXTS[text].to_owned()).collect(),
            };
            let naive = rules.rules.iter().position(|rule| {
                let answer = match rule.channel {
                    0 => Some(&facts.answer),
                    3 => Some(&facts.further[1]),
                    _ => None,
                };
                answer.is_none_or(|answer| answer.operator.is_some())
                    && naive::holds(&rule.when, &facts, &rules.cells) == Some(true)
            });
            prop_assert_eq!(Some(decide(&rules, &operators, &facts)), naive);
        }
    }
}
