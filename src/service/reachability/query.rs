//! A question about outcomes, and its results.

use crate::channels::RULES_MAX;
use crate::identities::{Country, Identity, Ordinal, Rejection};
use crate::mailing::{IdNumbers, IdRuling, ListError, Ruling};
use crate::register::{Answer, Damage, DecidedStates, Outcome, Question, Register};
use crate::service::authorization::require_outcomes;
use crate::service::context::RequestContext;
use crate::service::live;
use crate::service::problem::Problem;
use crate::service::record::RequestRecord;
use crate::service::registers::ServedRegister;
use crate::service::request::RequestDate;
use crate::source::{Front, FrontError};
use hyper::StatusCode;
use std::ops::Range;
use std::sync::Arc;

/// A question to one version of a register, with that version.
pub(in crate::service) struct ReachabilityQuery {
    pub(super) register: Arc<Register>,
    pub(super) sender: Option<String>,
    pub(super) date: RequestDate,
    decided: Arc<DecidedStates>,
    /// The channel rules that decide each letter; they read no cells.
    pub(super) ruling: Option<Arc<Ruling<'static>>>,
}

impl ReachabilityQuery {
    /// A question to the newest version. Errors: no such sender, or one that the caller does not act for.
    pub(in crate::service) fn new(
        context: &RequestContext<'_>,
        served: &ServedRegister,
        sender: Option<&str>,
        date: Option<&str>,
    ) -> Result<ReachabilityQuery, Problem> {
        let (register, date) = (live::register_for(served, sender)?, RequestDate::parse(date)?);
        let about = |problem: Problem| problem.about_sender(sender);
        let decided = served.decided(&register, sender, date.date);
        let decided = decided.map_err(|error| about(Problem::of_question(&register, error)))?;
        require_outcomes(&context.caller, &register, decided.sender).map_err(about)?;
        let sender = decided.sender.map(|index| register.senders()[usize::from(index)].id.clone());
        Ok(ReachabilityQuery { register, sender, date, decided, ruling: None })
    }

    /// The same question with the channel rules of a name. Errors: there are none, the caller may not use them, they read
    /// cells, or they cannot be used as they are.
    pub(super) fn with_rules(
        mut self,
        context: &RequestContext<'_>,
        name: Option<&str>,
    ) -> Result<ReachabilityQuery, Problem> {
        let Some(name) = name else { return Ok(self) };
        let question = self.question()?;
        let rules = &context.service.rules;
        // Lists may have to be read.
        let read = || rules.ruling(name, &context.caller, &question, &self.date);
        let ruling = tokio::task::block_in_place(read)?;
        if !ruling.rules().columns().is_empty() {
            let detail = "these rules read cells of rows: send a list to /v1/check";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "rules-read-cells", detail));
        }
        self.ruling = Some(ruling);
        Ok(self)
    }

    /// The same question to a live register's answers for some ids in any spelling. If the register is away, ids may be
    /// missing: their outcome is `not_asked`.
    ///
    /// Errors: the register has not answered for any id.
    pub(super) async fn asked(
        self,
        front: &Front,
        context: &RequestContext<'_>,
        ids: impl Iterator<Item = &[u8]>,
    ) -> Result<(ReachabilityQuery, Option<FrontError>), Problem> {
        let numbers = self.numbers();
        let ids = ids.filter_map(|id| numbers.identity(id).ok()).map(|identity| identity.ordinal());
        let ids = ids.filter(|id| !numbers.is_foreign(*id)).collect();
        let answer = live::ask(front, self.sender.as_deref(), context, ids).await?;
        let question = answer.register.question(self.sender.as_deref(), self.date.date);
        let decided = question.map(|question| Arc::clone(question.decided()));
        let decided = decided.map_err(|error| Problem::of_question(&answer.register, error))?;
        Ok((ReachabilityQuery { register: answer.register, decided, ..self }, answer.missing))
    }

    fn question(&self) -> Result<Question<'_>, Problem> {
        self.register.question_of(&self.decided).map_err(|damage| Problem::damaged(&self.register, &damage))
    }

    /// The ids that it is asked about: with channel rules also those of a further register's country.
    fn numbers(&self) -> IdNumbers {
        let (country, today) = (self.country(), self.date.today);
        let only = IdNumbers { country, other: None, today };
        self.ruling.as_deref().map_or(only, |ruling| ruling.ids(country, today))
    }

    pub(super) fn country(&self) -> Country {
        self.register.kind().country()
    }

    /// The results for ids in any spelling, in their order.
    pub(super) fn results<'i>(&self, ids: impl Iterator<Item = &'i [u8]>) -> Result<QueryResults, Problem> {
        let question = self.question()?;
        let (mut ordinals, mut rejected) = (Vec::with_capacity(ids.size_hint().0), Vec::new());
        let (mut identities, numbers) = (Vec::new(), self.numbers());
        for (index, id) in ids.enumerate() {
            let identity = numbers.identity(id);
            if self.ruling.is_some() {
                identities.push(identity.ok());
            }
            ordinals.push(match identity {
                Ok(identity) => identity.ordinal(),
                Err(rejection) => {
                    rejected.push((index as u32, rejection));
                    Ordinal::ABSENT
                }
            });
        }
        let mut answers = vec![Answer::default(); ordinals.len()];
        let lookup = question.ask_all(&ordinals, &mut answers);
        let lookup = lookup.and_then(|()| self.register.intact());
        lookup.map_err(|damage: Damage| Problem::damaged(&self.register, &damage))?;
        for (answer, _) in answers.iter_mut().zip(&ordinals).filter(|(_, id)| numbers.is_foreign(**id)) {
            *answer = Outcome::OtherCountry.into();
        }
        let rules = self.rules_of(&answers, identities);
        let rules = rules.map_err(|_| Problem::rules_unavailable())?;
        Ok(QueryResults { answers, rejected, rules })
    }

    /// The rule of each id, if there are channel rules. Errors: a further register of the rules is damaged.
    fn rules_of(&self, answers: &[Answer], identities: Vec<Option<Identity>>) -> Result<Vec<u16>, ListError> {
        let Some(ruling) = self.ruling.as_deref() else { return Ok(Vec::new()) };
        let ruling = IdRuling::new(ruling, self.register.operators(), self.date.date)?;
        let mut rules = Vec::with_capacity(answers.len());
        for (answer, identity) in answers.iter().zip(identities) {
            let rule = identity.map_or(Ok(None), |identity| ruling.rule_of(*answer, identity))?;
            rules.push(rule.unwrap_or(NO_RULE));
        }
        ruling.intact()?;
        Ok(rules)
    }
}

/// Stands for the rule of an id that is no letter.
const NO_RULE: u16 = u16::MAX;
const _: () = assert!(RULES_MAX < NO_RULE as usize);

/// Results in the order of the ids.
pub(super) struct QueryResults {
    /// One for each id; that of a rejected id has no meaning.
    pub(super) answers: Vec<Answer>,
    /// Rejected ids by their indexes, ascending.
    rejected: Vec<(u32, Rejection)>,
    /// The rule of each, if there are channel rules.
    rules: Vec<u16>,
}

/// The result for an id: its answer, or why it is rejected, and the index of the rule that decided its channel.
#[derive(Clone, Copy)]
pub(super) struct QueryResult {
    answer: Result<Answer, Rejection>,
    rule: Option<u16>,
}

impl QueryResults {
    /// Counts for metrics and audit log.
    pub(super) fn record(&self, query: &ReachabilityQuery) -> RequestRecord {
        let count = |kind| self.answers.iter().filter(|answer| answer.kind() == kind).count() as u64;
        let rejected = self.rejected.len() as u64;
        let (notify, digital) = (count(1), count(2));
        let foreign = Answer::from(Outcome::OtherCountry);
        let foreign = self.answers.iter().filter(|answer| **answer == foreign).count() as u64;
        let paper = self.answers.len() as u64 - notify - digital - foreign;
        // Rejected ids were looked up as the ordinal that no recipient has, whose outcome is paper.
        let all = [
            ("paper", paper - rejected),
            ("other_country", foreign),
            ("notify", notify),
            ("digital", digital),
            ("rejected", rejected),
        ];
        let outcomes = all.into_iter().filter(|(_, count)| *count > 0).collect();
        RequestRecord {
            outcomes,
            ..RequestRecord::of(&query.register, query.sender.as_deref(), self.answers.len())
        }
    }

    /// The indexes of rejected ids.
    pub(super) fn rejected(&self) -> impl Iterator<Item = usize> {
        self.rejected.iter().map(|(index, _)| *index as usize)
    }

    /// All results.
    pub(super) fn iter(&self) -> impl Iterator<Item = QueryResult> {
        self.part(0..self.answers.len())
    }

    /// The results of some ids, by their indexes.
    pub(super) fn part(&self, indexes: Range<usize>) -> impl Iterator<Item = QueryResult> {
        let first = self.rejected.partition_point(|(index, _)| (*index as usize) < indexes.start);
        let mut rejected = self.rejected[first..].iter().peekable();
        indexes.map(move |index| {
            let answer = match rejected.next_if(|(other, _)| *other as usize == index) {
                Some((_, rejection)) => Err(*rejection),
                None => Ok(self.answers[index]),
            };
            QueryResult { answer, rule: self.rules.get(index).copied().filter(|rule| *rule != NO_RULE) }
        })
    }
}

/// The text of each distinct result, formatted when it first occurs.
pub(super) struct ResultCache<F> {
    /// By the number of the answer; with channel rules, by that and the rule.
    answers: Vec<Option<Box<[u8]>>>,
    rejections: [Option<Box<[u8]>>; Rejection::ALL.len()],
    format: F,
}

/// The texts of a result. An empty text stands for none.
pub(super) struct ResultFields<'r> {
    pub(super) outcome: &'static str,
    pub(super) reason: &'static str,
    pub(super) operator_id: &'r str,
    /// Channel and rule, if there are channel rules.
    pub(super) ruled: Option<(&'r str, &'r str)>,
}

impl<F: Fn(ResultFields<'_>) -> Vec<u8>> ResultCache<F> {
    pub(super) fn new(format: F) -> ResultCache<F> {
        ResultCache { answers: Vec::new(), rejections: Default::default(), format }
    }

    #[inline]
    pub(super) fn text(&mut self, query: &ReachabilityQuery, result: QueryResult) -> &[u8] {
        let cached = match result.answer {
            Ok(answer) => {
                // The number 0 stands for no rule.
                let rules = query.ruling.as_ref().map_or(1, |ruling| ruling.rules().rules().len() + 1);
                let number = answer.number() * rules + result.rule.map_or(0, |rule| usize::from(rule) + 1);
                if number >= self.answers.len() {
                    self.answers.resize(number + 1, None);
                }
                &mut self.answers[number]
            }
            Err(rejection) => &mut self.rejections[rejection as usize],
        };
        cached.get_or_insert_with(|| (self.format)(fields(query, result)).into_boxed_slice())
    }
}

fn fields(query: &ReachabilityQuery, QueryResult { answer, rule }: QueryResult) -> ResultFields<'_> {
    let ruled = query.ruling.as_deref().map(|ruling| match rule.map(usize::from) {
        Some(rule) => (&*ruling.rules().channel_of(rule).name, &*ruling.rules().rules()[rule].name),
        None => ("", ""),
    });
    match answer.map(Answer::outcome) {
        Ok(outcome) => {
            let operators = query.register.operators();
            let operator = outcome.operator().and_then(|index| operators.get(usize::from(index)));
            ResultFields {
                outcome: outcome.name(),
                reason: outcome.reason(),
                operator_id: operator.map_or("", |operator| operator.id.as_str()),
                ruled,
            }
        }
        Err(rejection) => {
            ResultFields { outcome: "rejected", reason: rejection.name(), operator_id: "", ruled }
        }
    }
}
