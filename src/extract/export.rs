//! Register file to extract.

use super::far::{COLUMNS, FILE as RECIPIENTS};
use super::krr::FILE as PERSONS;
use crate::consent::RuleSet;
use crate::identities::Identity;
use crate::register::{Damage, FarState, Kind, Recipient, Register};
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Why a register cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The extract cannot be written.
    #[error("cannot write the extract: {0}")]
    Write(#[from] io::Error),
    /// The register cannot be read.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// There is something where the extract should go.
    #[error("{0} is there already and not empty: name a new directory")]
    Occupied(String),
}

impl From<csv::Error> for ExportError {
    fn from(error: csv::Error) -> ExportError {
        ExportError::Write(error.into())
    }
}

/// Writes a register as an extract into a new or empty directory.
///
/// The files appear under their names one by one, `register.toml` last.
pub fn export(register: &Register, extract: &Path) -> Result<(), ExportError> {
    fs::create_dir_all(extract)?;
    if fs::read_dir(extract)?.next().is_some() {
        return Err(ExportError::Occupied(extract.display().to_string()));
    }
    match register.kind() {
        Kind::Far => {
            export_actors(register, extract)?;
            export_recipients(register, extract)?;
        }
        Kind::Krr => export_persons(register, extract)?,
    }
    let description = format!(
        "kind = \"{}\"\nsequence = {}\nas_of = \"{}\"\n",
        register.kind().name(),
        register.sequence(),
        register.as_of()
    );
    write(extract, "register.toml", |out| Ok(out.write_all(description.as_bytes())?))
}

fn write(
    extract: &Path,
    name: &str,
    content: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut failed = None;
    let written = crate::files::replace(&extract.join(name), |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        if let Err(error) = content(&mut out) {
            failed = Some(error);
            return Err(io::Error::other("not written"));
        }
        out.flush()
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(written.map(drop)?),
    }
}

fn export_actors(register: &Register, extract: &Path) -> Result<(), ExportError> {
    write(extract, "operators.csv", |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record([
            "id",
            "name",
            "service_address",
            "ui_address",
            "internal_service_address",
            "logo",
        ])?;
        for operator in register.operators() {
            csv.write_record([
                &operator.id,
                &operator.name,
                &operator.service_address,
                &operator.ui_address,
                &operator.internal_service_address,
                &operator.logo,
            ])?;
        }
        Ok(csv.flush()?)
    })?;
    write(extract, "senders.csv", |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(["id", "name", "attention"])?;
        for sender in register.senders() {
            csv.write_record([&sender.id, &sender.name, &sender.attention])?;
        }
        Ok(csv.flush()?)
    })?;
    write(extract, "dispatchers.csv", |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(["id", "name", "senders"])?;
        for dispatcher in register.dispatchers() {
            let senders = sender_ids(register, &dispatcher.senders);
            csv.write_record([&dispatcher.id, &dispatcher.name, &senders])?;
        }
        Ok(csv.flush()?)
    })
}

fn sender_ids(register: &Register, places: &[u16]) -> String {
    let senders = register.senders();
    let ids: Vec<&str> =
        places.iter().filter_map(|&place| senders.get(usize::from(place))).map(|s| &s.id[..]).collect();
    ids.join(" ")
}

fn export_recipients(register: &Register, extract: &Path) -> Result<(), ExportError> {
    write(extract, RECIPIENTS, |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(COLUMNS)?;
        register.for_each::<ExportError>(|identity, recipient| {
            if let Recipient::Far { state, rule, last_registration, last_sender_accept_change } = recipient {
                let times = [last_registration, last_sender_accept_change].map(time);
                csv.write_record(fields(register, identity, state, &rule, &times))?;
            }
            Ok(())
        })?;
        Ok(csv.flush()?)
    })
}

fn time(time: Option<Timestamp>) -> String {
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn fields(
    register: &Register,
    identity: &Identity,
    state: FarState,
    rule: &RuleSet,
    [last_registration, last_sender_accept_change]: &[String; 2],
) -> [String; 8] {
    let operator = state.operator.and_then(|place| register.operators().get(usize::from(place)));
    [
        identity.as_str().to_owned(),
        state.account_type.name().to_owned(),
        state.pending.to_string(),
        operator.map(|operator| operator.id.clone()).unwrap_or_default(),
        last_registration.clone(),
        rule.acceptance.name().to_owned(),
        sender_ids(register, &rule.senders),
        last_sender_accept_change.clone(),
    ]
}

fn export_persons(register: &Register, extract: &Path) -> Result<(), ExportError> {
    write(extract, PERSONS, |out| {
        register.for_each::<ExportError>(|_, recipient| {
            if let Recipient::Krr { person, .. } = recipient {
                serde_json::to_writer(&mut *out, &person).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        })
    })
}
