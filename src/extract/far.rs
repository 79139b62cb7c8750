//! `recipients.csv`: a FaR register.

use super::description::{Description, day_of};
use super::error::BuildError;
use super::far_actors::{self, ActorTables};
use super::rejected::Rejected;
use super::source;
use super::table::Table;
use crate::consent::{Acceptance, RuleNumbering, RuleSet};
use crate::decode::{Reason, identity_reason, reason};
use crate::identities::{Country, Identity, Ordinal, Today};
use crate::limits::RECIPIENTS_MAX;
use crate::register::moment::{self, NO_NANOSECONDS};
use crate::register::state::StateNumbering;
use crate::register::state::{AccountType, FarState, StateRule};
use crate::snapshot::far::{FarPlan, FarRow};
use crate::snapshot::write::Draft;
use rayon::prelude::*;
use std::path::Path;

pub(super) const FILE: &str = "recipients.csv";
pub(super) const COLUMNS: &[&str] = &[
    "recipient_id",
    "type",
    "pending",
    "operator_id",
    "last_registration",
    "acceptance",
    "exceptions",
    "last_sender_accept_change",
];
const REQUIRED: usize = 4;

/// A row as read: 32 bytes, because there are millions.
#[derive(Clone, Copy)]
struct Row {
    ordinal: Ordinal,
    line: u32,
    /// Provisional numbers.
    state: u32,
    rule: u32,
    last_registration: i64,
    last_sender_accept_change: i64,
}

pub(super) fn read(
    extract: &Path,
    description: &Description,
    rejected: &mut Rejected,
) -> Result<Draft<'static>, BuildError> {
    let (sequence, as_of) = description.version(None)?;
    let tables = far_actors::read(extract, rejected)?;
    let mut decoder = RowDecoder {
        tables,
        states: StateNumbering::default(),
        rules: RuleNumbering::default(),
        today: day_of(as_of),
    };
    let mut rows = Vec::new();
    let table = Table::open(source::open(extract, FILE)?, COLUMNS, REQUIRED)?;
    table.for_each(rejected, |table| {
        rows.push(decoder.row(table)?);
        Ok(())
    })?;
    far_actors::check_limit("recipients", rows.len(), RECIPIENTS_MAX)?;

    // The first of several rows for a recipient counts.
    rows.par_sort_unstable_by_key(|row| (row.ordinal, row.line));
    rejected.duplicates(&mut rows, |row| (row.ordinal, row.line), FILE, COLUMNS[0])?;

    // Rules of rejected rows alone are dropped: the same recipients make the same file.
    let mut used = vec![false; decoder.rules.len()];
    rows.iter().for_each(|row| used[row.rule as usize] = true);
    let (rules, rule_numbers) = decoder.rules.finish(&used);
    rows.par_iter_mut().for_each(|row| row.rule = rule_numbers[row.rule as usize]);
    let states = decoder.states.provisional();
    let mut plan = FarPlan::default();
    rows.iter().for_each(|row| plan.count(states[row.state as usize], row.rule));
    let mut draft = plan.draft();
    for row in &rows {
        draft.push(&FarRow {
            ordinal: row.ordinal,
            state: states[row.state as usize],
            rule: row.rule,
            last_registration: row.last_registration,
            last_sender_accept_change: row.last_sender_accept_change,
        });
    }
    Ok(draft.finish(sequence, as_of, decoder.tables.actors, rules))
}

struct RowDecoder {
    tables: ActorTables,
    states: StateNumbering,
    rules: RuleNumbering,
    today: Today,
}

impl RowDecoder {
    fn row(&mut self, table: &Table) -> Result<Row, Reason> {
        let identity = Identity::parse(table.cell(0), Country::Sweden, self.today)
            .map_err(|rejection| identity_reason(rejection, COLUMNS[0]))?;
        let account_type = AccountType::ALL
            .into_iter()
            .find(|account_type| table.cell(1).eq_ignore_ascii_case(account_type.name().as_bytes()))
            .ok_or(reason("bad_type", COLUMNS[1]))?;
        let pending = yes_or_no(table.cell(2)).ok_or(reason("bad_boolean", COLUMNS[2]))?;
        let operator = match table.cell(3) {
            b"" => None,
            id => {
                let position = far_actors::position(id, &self.tables.operators);
                Some(position.ok_or(reason("unknown_operator", COLUMNS[3]))?)
            }
        };
        let last_registration = time(table, 4)?;
        let last_sender_accept_change = time(table, 7)?;
        let rule = self.rule(table)?;
        let operator = operator.map(crate::register::OperatorNumber::new);
        let state = FarState { account_type, pending, operator, rule: StateRule::AcceptsAll };
        Ok(Row {
            ordinal: identity.ordinal(),
            line: table.line().min(u64::from(u32::MAX)) as u32,
            state: self.states.number(state.into()),
            rule,
            last_registration,
            last_sender_accept_change,
        })
    }

    fn rule(&mut self, table: &Table) -> Result<u32, Reason> {
        let acceptance = match table.cell(5) {
            b"" => Acceptance::AllExcept,
            name => {
                Acceptance::of_name(&name.to_ascii_lowercase()).ok_or(reason("bad_acceptance", COLUMNS[5]))?
            }
        };
        if acceptance == Acceptance::AllExcept && table.cell(6).is_empty() {
            return Ok(0);
        }
        let senders = far_actors::positions(table.cell(6), &self.tables.senders)
            .ok_or(reason("unknown_sender", COLUMNS[6]))?;
        Ok(self.rules.number(RuleSet::new(acceptance, senders).in_file()))
    }
}

/// A word for yes or no in any case; no if empty.
fn yes_or_no(word: &[u8]) -> Option<bool> {
    match &word.to_ascii_lowercase()[..] {
        b"true" | b"yes" | b"ja" | b"1" => Some(true),
        b"false" | b"no" | b"nej" | b"nei" | b"0" | b"" => Some(false),
        _ => None,
    }
}

/// Nanoseconds of a cell, [`NO_NANOSECONDS`] if empty.
fn time(table: &Table, column: usize) -> Result<i64, Reason> {
    if table.cell(column).is_empty() {
        return Ok(NO_NANOSECONDS);
    }
    let bad = reason("bad_time", COLUMNS[column]);
    let time = moment::parse(table.text(column).map_err(|_| bad)?).ok_or(bad)?;
    moment::nanoseconds(time).ok_or(bad)
}
