//! The forms of runs by their descriptions.

use super::afp::AfpRun;
use super::description::{DescriptionError, MottakersplittDescription, RunDescription, ZipDescription, of};
use super::records::RecordsRun;
use super::xml::XmlRun;
use super::{Run, RunError, RunProblem};
use serde::Deserialize;
use std::path::{Path, PathBuf};

impl RunDescription {
    /// Reads a description. Errors: it cannot be read, or used.
    pub fn read(path: impl AsRef<Path>) -> Result<RunDescription, DescriptionError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| DescriptionError::Read { path: path.to_owned(), error })?;
        RunDescription::parse(&text).map_err(|error| match error {
            DescriptionError::Toml { error, .. } => DescriptionError::Toml { path: path.to_owned(), error },
            DescriptionError::Wrong(text) => DescriptionError::Wrong(format!("{}{text}", of(path))),
            error => error,
        })
    }

    /// A description from its text. Errors: it cannot be used.
    pub fn parse(text: &str) -> Result<RunDescription, DescriptionError> {
        #[derive(Deserialize)]
        struct Form {
            form: String,
        }
        let failed = |error: toml::de::Error| DescriptionError::Toml {
            path: PathBuf::new(),
            error: error.to_string().trim_end().to_owned(),
        };
        let Form { form } = toml::from_str(text).map_err(failed)?;
        let description = match &*form {
            "records" => RunDescription::Records(toml::from_str(text).map_err(failed)?),
            "xml" => RunDescription::Xml(toml::from_str(text).map_err(failed)?),
            "afp" => RunDescription::Afp(toml::from_str(text).map_err(failed)?),
            "zip" => RunDescription::Zip(toml::from_str(text).map_err(failed)?),
            "mottakersplitt" => RunDescription::Mottakersplitt(toml::from_str(text).map_err(failed)?),
            _ => {
                return Err(DescriptionError::Wrong(
                    "form: write \"records\", \"xml\", \"afp\", \"zip\" or \"mottakersplitt\"".to_owned(),
                ));
            }
        };
        description.check()?;
        Ok(description)
    }

    /// The description as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }

    /// Errors: its parts do not fit each other.
    pub fn check(&self) -> Result<(), DescriptionError> {
        match self {
            RunDescription::Records(records) => records.compile().map(drop),
            RunDescription::Xml(xml) => xml.compile().map(drop),
            RunDescription::Afp(afp) if afp.id_tag.is_empty() => {
                Err(DescriptionError::Wrong("id_tag: name the tag (TLE) that has the id".to_owned()))
            }
            RunDescription::Afp(_) | RunDescription::Mottakersplitt(_) => Ok(()),
            RunDescription::Zip(zip) => zip.check(),
        }
    }

    /// Opens a run that begins with `bytes`, or is `bytes` if `is_whole`. `None` if more bytes are needed.
    ///
    /// Errors: the run is not as described.
    pub fn open(&self, bytes: &[u8], is_whole: bool) -> Result<Option<Box<dyn Run>>, RunError> {
        match self {
            RunDescription::Records(records) => RecordsRun::open(records, bytes, is_whole),
            RunDescription::Xml(xml) => XmlRun::open(xml, bytes, is_whole),
            RunDescription::Afp(afp) => AfpRun::open(afp, bytes, is_whole),
            RunDescription::Mottakersplitt(_) => {
                XmlRun::open(&MottakersplittDescription::xml(), bytes, is_whole)
            }
            // Its letters are those of its index.
            RunDescription::Zip(_) => Err(RunProblem::Archive.at(0)),
        }
    }
}

impl ZipDescription {
    fn check(&self) -> Result<(), DescriptionError> {
        let wrong = |text: &str| Err(DescriptionError::Wrong(text.to_owned()));
        match () {
            () if self.index.is_empty() => wrong("index: name the entry that is the index"),
            () if self.files_in.is_empty() => wrong("files_in: name the columns with the names of files"),
            () if self.files_separator.as_deref() == Some("") => {
                wrong("files_separator: write what is between names")
            }
            () if self.letter_element.is_some() != self.id_path.is_some() => {
                wrong("letter_element and id_path of an index in XML require each other")
            }
            () if self.letter_element.is_some() && self.id_column.is_some() => {
                wrong("id_column is of an index that is a list, letter_element of one in XML")
            }
            () if self.letter_element.is_none() && !self.counts.is_empty() => {
                wrong("count: only an index in XML has numbers around its letters")
            }
            () => self.xml().map_or(Ok(()), |xml| xml.compile().map(drop)),
        }
    }
}
