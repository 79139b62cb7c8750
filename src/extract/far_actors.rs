//! `operators.csv`, `senders.csv` and `dispatchers.csv`.

use super::error::BuildError;
use super::rejected::Rejected;
use super::source;
use super::table::Table;
use crate::decode::{Reason, reason};
use crate::limits::{DISPATCHERS_MAX, OPERATORS_MAX, SENDERS_MAX};
use crate::register::{self, Actors, Dispatcher, Operator, Sender, SenderIndex};
use hashbrown::HashMap;
use std::path::Path;

/// The organisations of an extract, and their positions in its lists, by id.
pub(super) struct ActorTables {
    pub(super) actors: Actors,
    pub(super) operators: HashMap<Vec<u8>, u16>,
    pub(super) senders: HashMap<Vec<u8>, u16>,
}

const OPERATORS: &[&str] =
    &["id", "name", "service_address", "ui_address", "internal_service_address", "logo"];
const SENDERS: &[&str] = &["id", "name", "attention"];
const DISPATCHERS: &[&str] = &["id", "name", "senders"];

pub(super) fn read(extract: &Path, rejected: &mut Rejected) -> Result<ActorTables, BuildError> {
    let (mut operators, mut senders) = (HashMap::new(), HashMap::new());
    let mut actors = Actors::default();

    let table = Table::open(source::open(extract, "operators.csv")?, OPERATORS, 2)?;
    table.for_each(rejected, |row| {
        let id = new_id(row, &mut operators)?;
        let text = |column| row.text(column).map(str::to_owned);
        actors.operators.push(Operator {
            id,
            name: text(1)?,
            service_address: text(2)?,
            ui_address: text(3)?,
            internal_service_address: text(4)?,
            logo: text(5)?,
        });
        Ok(())
    })?;
    check_limit("operators", actors.operators.len(), OPERATORS_MAX)?;

    let table = Table::open(source::open(extract, "senders.csv")?, SENDERS, 2)?;
    table.for_each(rejected, |row| {
        let id = new_id(row, &mut senders)?;
        actors.senders.push(Sender { id, name: row.text(1)?.to_owned(), attention: row.text(2)?.to_owned() });
        Ok(())
    })?;
    check_limit("senders", actors.senders.len(), SENDERS_MAX)?;

    let mut dispatchers = HashMap::new();
    let table = Table::open(source::open(extract, "dispatchers.csv")?, DISPATCHERS, 2)?;
    table.for_each(rejected, |row| {
        let acts_for = positions(row.cell(2), &senders).ok_or(reason("unknown_sender", "senders"))?;
        let name = row.text(1)?.to_owned();
        let id = new_id(row, &mut dispatchers)?;
        actors.dispatchers.push(Dispatcher { id, name, senders: acts_for });
        Ok(())
    })?;
    check_limit("dispatchers", actors.dispatchers.len(), DISPATCHERS_MAX)?;
    Ok(ActorTables { actors, operators, senders })
}

/// The canonical id of a row, entered under the next position. All texts of the row are checked first, so that
/// a rejected row takes no position.
fn new_id(row: &Table, positions: &mut HashMap<Vec<u8>, u16>) -> Result<String, Reason> {
    for column in 0..row.column_count() {
        row.text(column)?;
    }
    let id = register::organisation(row.text(0)?).ok_or(reason("bad_organisation_number", "id"))?;
    if positions.contains_key(id.as_bytes()) {
        return Err(reason("duplicate_id", "id"));
    }
    // More than 65 535 are an error once all are counted.
    positions.insert(id.clone().into_bytes(), positions.len() as u16);
    Ok(id)
}

/// The positions of ids separated by spaces, `None` if one is unknown.
pub(super) fn positions(ids: &[u8], known: &HashMap<Vec<u8>, u16>) -> Option<Vec<SenderIndex>> {
    ids.split(|&byte| byte == b' ')
        .filter(|id| !id.is_empty())
        .map(|id| position(id, known).map(SenderIndex::new))
        .collect()
}

/// The position of an id in any spelling.
pub(super) fn position(id: &[u8], known: &HashMap<Vec<u8>, u16>) -> Option<u16> {
    known.get(id).copied().or_else(|| {
        let canonical = register::organisation(std::str::from_utf8(id).ok()?)?;
        known.get(canonical.as_bytes()).copied()
    })
}

pub(super) fn check_limit(what: &'static str, count: usize, max: usize) -> Result<(), BuildError> {
    if count > max { Err(BuildError::TooMany { what, max }) } else { Ok(()) }
}
