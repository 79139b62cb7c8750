//! `register.toml`: the description of an extract.

use super::error::BuildError;
use super::source;
use crate::decode::KRR_XML_FILE;
use crate::identities::Today;
use crate::limits::{LINE_BYTES_MAX, SEQUENCE_MAX};
use crate::register::{Kind, moment};
use jiff::Timestamp;
use jiff::tz::Offset;
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The content of `register.toml`.
pub(super) struct Description {
    pub(super) kind: Kind,
    /// `None` leaves it to the data (`kontaktregister.xml` carries both).
    sequence: Option<u64>,
    as_of: Option<Timestamp>,
    path: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterToml {
    kind: String,
    sequence: Option<u64>,
    as_of: Option<toml::Value>,
}

impl Description {
    pub(super) fn read(extract: &Path) -> Result<Description, BuildError> {
        let path = extract.join("register.toml");
        let error = |finding: String| BuildError::Description { path: path.clone(), finding };
        let text = match read_bounded(&path) {
            Ok(text) if text.len() > LINE_BYTES_MAX => {
                return Err(error("it is longer than 1 MiB".to_owned()));
            }
            Ok(text) => text,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                if extract.is_dir() && source::open_if_present(extract, KRR_XML_FILE)?.is_some() {
                    return Ok(Description { kind: Kind::Krr, sequence: None, as_of: None, path });
                }
                return Err(BuildError::NotAnExtract(extract.to_owned()));
            }
            Err(error) => return Err(BuildError::Read { path, error }),
        };
        let toml: RegisterToml =
            toml::from_str(&text).map_err(|problem| error(problem.message().to_owned()))?;
        let kind = match toml.kind.as_str() {
            "far" => Kind::Far,
            "krr" => Kind::Krr,
            _ => return Err(error("kind is neither \"far\" nor \"krr\"".to_owned())),
        };
        let as_of = match toml.as_of {
            None => None,
            Some(value) => {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let bad = || error("as_of is not an RFC 3339 time such as 2026-06-01T04:00:00Z".to_owned());
                Some(moment::parse(&text).ok_or_else(bad)?)
            }
        };
        Ok(Description { kind, sequence: toml.sequence, as_of, path })
    }

    pub(super) fn error(&self, finding: impl Into<String>) -> BuildError {
        BuildError::Description { path: self.path.clone(), finding: finding.into() }
    }

    /// Sequence number and time: from the description, or else from the data.
    pub(super) fn version(
        &self,
        from_data: Option<(u64, Timestamp)>,
    ) -> Result<(u64, Timestamp), BuildError> {
        let sequence = self.sequence.or(from_data.map(|(sequence, _)| sequence));
        let as_of = self.as_of.or(from_data.map(|(_, as_of)| as_of));
        match (sequence, as_of, from_data) {
            (Some(sequence), _, Some((other, _))) if sequence != other => {
                Err(self.error(format!("sequence is {sequence}, but the data says {other}")))
            }
            (Some(sequence), ..) if sequence > SEQUENCE_MAX => {
                Err(self.error(format!("sequence is {sequence}, and at most {SEQUENCE_MAX}")))
            }
            (Some(sequence), Some(as_of), _) => Ok((sequence, as_of)),
            (None, ..) => Err(self.error("it has no sequence: add `sequence = 1000`")),
            (_, None, _) => Err(self.error("it has no as_of: add `as_of = \"2026-06-01T04:00:00Z\"`")),
        }
    }
}

/// The text of a file, of which not much more than the limit is read.
fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LINE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The day from which the century of a short identity is derived: that of the extract, never today's, so that
/// an extract always makes the same file.
pub(super) fn day_of(as_of: Timestamp) -> Today {
    let date = Offset::UTC.to_datetime(as_of).date();
    Today::new(date.year() as u32, date.month() as u32, date.day() as u32).unwrap_or(Today::CONTRACT)
}
