//! The output directory of a split, as its report describes it.

use super::error::ListError;
use super::id_numbers::IdNumbers;
use super::options::ListOptions;
use super::report::{REPORT, VERSION};
use super::sniff::{self, ListForm};
use super::{Mailing, recipients};
use crate::identities::{Country, Ordinal, Today};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A directory that a split has made, as its report describes it.
#[derive(Clone, Debug)]
pub struct SplitDirectory {
    path: PathBuf,
    written: WrittenReport,
}

/// The part of `report.json` that is read again.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenReport {
    pub(super) version: u32,
    pub(super) made: Option<WrittenMade>,
    pub(super) settings: Option<WrittenSettings>,
    pub(super) list: WrittenList,
    pub(super) register: WrittenRegister,
    pub(super) sender: Option<WrittenSender>,
    #[serde(default)]
    pub(super) files: Vec<WrittenFile>,
    pub(super) feedback: Option<WrittenFeedback>,
    pub(super) channels: Option<WrittenChannels>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenSettings {
    pub(super) id_columns: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenList {
    pub(super) path: String,
    pub(super) digest: String,
    pub(super) delimiter: String,
    pub(super) id_column: String,
    pub(super) columns: usize,
    pub(super) header_row: Option<u64>,
    pub(super) skipped_rows: u64,
    run: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenRegister {
    pub(super) kind: String,
    pub(super) sequence: u64,
    pub(super) as_of: String,
    pub(super) digest: Option<String>,
    pub(super) source: Option<WrittenSource>,
}

/// The live register that answered.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenSource {
    pub(super) address: String,
    pub(super) oldest: String,
    pub(super) newest: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenMade {
    pub(super) at: String,
    pub(super) date: String,
    pub(super) version: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenChannels {
    pub(super) rules_digest: String,
    #[serde(default)]
    pub(super) registers: Vec<WrittenFurther>,
}

/// A further register of the rules.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenFurther {
    pub(super) name: String,
    #[serde(default)]
    pub(super) sender: Option<String>,
    pub(super) register: WrittenRegister,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenFeedback {
    pub(super) digest: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenSender {
    pub(super) id: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WrittenFile {
    pub(super) path: String,
    pub(super) outcome: Option<String>,
    pub(super) channel: Option<String>,
    pub(super) operator_id: Option<String>,
    /// The further register whose operator it is.
    pub(super) register: Option<String>,
    pub(super) rows: u64,
    pub(super) digest: Option<String>,
}

impl SplitDirectory {
    /// Reads the report of a split. Errors: there is none; it is one of a print run.
    pub fn read(path: impl AsRef<Path>) -> Result<SplitDirectory, ListError> {
        let path = path.as_ref();
        let report = path.join(REPORT);
        let text = std::fs::read(&report).map_err(|_| ListError::NoSplit(path.to_owned()))?;
        let written: WrittenReport =
            serde_json::from_slice(&text).map_err(|_| ListError::NoSplit(path.to_owned()))?;
        // A name is used only if it is one of a file in the directory.
        let is_name = |file: &WrittenFile| Path::new(&file.path).file_name() == Some(file.path.as_ref());
        if written.version != VERSION || !written.files.iter().all(is_name) {
            return Err(ListError::NoSplit(path.to_owned()));
        }
        if written.list.run.is_some() {
            return Err(ListError::SplitOfRun(path.to_owned()));
        }
        if written.files.iter().any(|file| file.path.ends_with(".xlsx")) {
            return Err(ListError::SplitOfWorkbook(path.to_owned()));
        }
        Ok(SplitDirectory { path: path.to_owned(), written })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn report(&self) -> &WrittenReport {
        &self.written
    }

    /// The further registers of its rules.
    pub(super) fn further(&self) -> &[WrittenFurther] {
        self.written.channels.as_ref().map_or(&[], |channels| &channels.registers)
    }

    /// Its ids.
    pub(super) fn ids(&self) -> IdNumbers {
        let country_of = |kind: &str| if kind == "krr" { Country::Norway } else { Country::Sweden };
        let country = country_of(self.kind());
        let mut others = self.further().iter().map(|further| country_of(&further.register.kind));
        IdNumbers { country, other: others.find(|other| *other != country), today: self.today() }
    }

    /// The day for which the split was made.
    fn today(&self) -> Today {
        let date = self.written.made.as_ref().and_then(|made| made.date.parse().ok());
        date.and_then(Today::from_date).unwrap_or(Today::CONTRACT)
    }

    /// Whether it has letters by the answers of a register of a kind: that of the job, or one of its rules.
    pub fn has_kind(&self, kind: &str) -> bool {
        self.kind() == kind || self.further().iter().any(|further| further.register.kind == kind)
    }

    /// Errors: the ids of the list were in two columns.
    pub fn check_one_column(&self) -> Result<(), ListError> {
        match self.written.list.id_column.contains(" + ") {
            true => Err(ListError::TwoColumns),
            false => Ok(()),
        }
    }

    /// `far`, `krr` or `kivra`.
    pub fn kind(&self) -> &str {
        &self.written.register.kind
    }

    /// The sender for whom a source of a kind is asked again: of the mailing, or else of the further register of that kind.
    pub fn sender_of(&self, kind: &str) -> Option<&str> {
        match self.kind() == kind {
            true => self.sender(),
            false => self.further().iter().find(|further| further.register.kind == kind)?.sender.as_deref(),
        }
    }

    /// The sender of the mailing; `None` for KRR and Kivra.
    pub fn sender(&self) -> Option<&str> {
        self.written.sender.as_ref().map(|sender| sender.id.as_str())
    }

    /// The files of letters to an operator of a register of a kind, and the operator.
    pub(super) fn digital(&self, kind: &str) -> impl Iterator<Item = (&WrittenFile, &str)> {
        let digital = move |file: &'_ WrittenFile| {
            let further = self.further();
            let is_of_kind = match &file.register {
                None => self.kind() == kind,
                // For another sender it would have to be asked again by itself.
                Some(name) => further.iter().any(|one| {
                    let is_asked = one.sender.as_deref() == self.sender_of(kind);
                    one.name == *name && one.register.kind == kind && is_asked
                }),
            };
            is_of_kind && file.operator_id.is_some() && file.rows > 0
        };
        let files = self.written.files.iter().filter(move |file| digital(file));
        files.filter_map(|file| Some((file, file.operator_id.as_deref()?)))
    }

    /// How the files of the split are read: as its list was.
    pub(super) fn options(&self, skip_rows: u64) -> ListOptions {
        let list = &self.written.list;
        let id_at = list
            .id_column
            .split_once(':')
            .filter(|_| list.columns == 0)
            .and_then(|(offset, length)| Some((offset.parse().ok()?, length.parse().ok()?)));
        // As they were given: a title may not be the only one of its name.
        let given = self.written.settings.as_ref().map(|settings| settings.id_columns.clone());
        let found = || list.id_column.split(" + ").map(str::to_owned).collect();
        let columns = given.filter(|columns| !columns.is_empty()).unwrap_or_else(found);
        ListOptions {
            delimiter: list.delimiter.bytes().next(),
            id_columns: if id_at.is_some() { Vec::new() } else { columns },
            id_at,
            skip_rows,
            header: Some(list.header_row.is_some()),
            other_country: self.ids().other,
            ..ListOptions::default()
        }
    }

    /// Runs a job on a file of the split. The lines above the header are there unless they were dropped.
    pub(super) fn read_as_list<T>(
        &self,
        job: impl Fn(ListOptions) -> Result<T, ListError>,
    ) -> Result<T, ListError> {
        let skipped = self.written.list.skipped_rows;
        match job(self.options(skipped)) {
            Err(ListError::NoSuchColumn { .. } | ListError::HeaderIsRow) if skipped > 0 => {
                job(self.options(0))
            }
            done => done,
        }
    }

    /// The form of a file of the split.
    pub(super) fn form_of(&self, sample: &[u8], whole: bool) -> Result<ListForm, ListError> {
        self.read_as_list(|options| {
            sniff::sniff(sample, whole, self.ids().country, Today::CONTRACT, &options)
        })
    }

    /// The identities of the digital letters by the register of a mailing, ascending, each once.
    pub fn recipients(&self, mailing: &Mailing<'_>) -> Result<Vec<Ordinal>, ListError> {
        let mut all = Vec::new();
        for (file, _) in self.digital(mailing.question.register().source_name()) {
            let list = self.path.join(&file.path);
            let (ids, _) =
                self.read_as_list(|options| recipients(&Mailing { options, list: &list, ..*mailing }))?;
            all.extend(ids);
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}
