//! Register file to extract.

use super::far::{COLUMNS, FILE as RECIPIENTS};
use super::krr::FILE as PERSONS;
use crate::consent::RuleSet;
use crate::files::{FileMode, Folder};
use crate::identities::Identity;
use crate::register::{Damage, FarState, Kind, Recipient, Register};
use jiff::Timestamp;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Why a register cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// A file or the directory of the extract cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The path of the extract is a file.
    #[error("{} is not a directory: name a new directory", .0.display())]
    NotADirectory(PathBuf),
    /// The register cannot be read.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The directory of the extract is not empty.
    #[error("{0} exists already and is not empty: name a new directory")]
    Occupied(String),
}

/// Why the content of a file cannot be written.
enum ContentError {
    Io(io::Error),
    Damaged(Damage),
}

impl From<io::Error> for ContentError {
    fn from(error: io::Error) -> ContentError {
        ContentError::Io(error)
    }
}

impl From<csv::Error> for ContentError {
    fn from(error: csv::Error) -> ContentError {
        ContentError::Io(error.into())
    }
}

impl From<Damage> for ContentError {
    fn from(damage: Damage) -> ContentError {
        ContentError::Damaged(damage)
    }
}

/// Writes a register as an extract into a new or empty directory.
///
/// The files appear under their names one by one, `register.toml` last.
pub fn export(register: &Register, extract: impl AsRef<Path>) -> Result<(), ExportError> {
    let extract = extract.as_ref();
    let io = |error| ExportError::Write { path: extract.to_owned(), error };
    if extract.exists() && !extract.is_dir() {
        return Err(ExportError::NotADirectory(extract.to_owned()));
    }
    Folder::create_all(extract, FileMode::of_process())
        .and_then(|folder| folder.check_owner())
        .map_err(io)?;
    if fs::read_dir(extract).map_err(io)?.next().is_some() {
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
    content: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), ContentError>,
) -> Result<(), ExportError> {
    let path = extract.join(name);
    let mut damaged = None;
    let written = crate::files::replace(&path, |file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        match content(&mut out) {
            Ok(()) => out.flush(),
            Err(ContentError::Io(error)) => Err(error),
            Err(ContentError::Damaged(damage)) => {
                damaged = Some(damage);
                Err(io::Error::other("not written"))
            }
        }
    });
    match damaged {
        Some(damage) => Err(damage.into()),
        None => written.map(drop).map_err(|error| ExportError::Write { path, error }),
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

fn sender_ids(register: &Register, positions: &[crate::register::SenderIndex]) -> String {
    let senders = register.senders();
    let ids: Vec<&str> =
        positions.iter().filter_map(|&index| senders.get(usize::from(index))).map(|s| &s.id[..]).collect();
    ids.join(" ")
}

fn export_recipients(register: &Register, extract: &Path) -> Result<(), ExportError> {
    write(extract, RECIPIENTS, |out| {
        let mut csv = csv::Writer::from_writer(out);
        csv.write_record(COLUMNS)?;
        register.for_each::<ContentError>(|identity, recipient| {
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
    let operator = state.operator.and_then(|index| register.operators().get(usize::from(index)));
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
        register.for_each::<ContentError>(|_, recipient| {
            if let Recipient::Krr { person, .. } = recipient {
                serde_json::to_writer(&mut *out, &person).map_err(io::Error::from)?;
                out.write_all(b"\n")?;
            }
            Ok(())
        })
    })
}
