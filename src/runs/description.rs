//! Descriptions of print runs: what a print vendor writes once for each customer's runs.

use super::charset::Charset;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// The description of a run: TOML, `docs/runs.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "form", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RunDescription {
    /// Line data: a letter is one or several records.
    Records(RecordsDescription),
    /// XML: a letter is an element.
    Xml(XmlDescription),
    /// AFP: a letter is a page group.
    Afp(AfpDescription),
    /// ZIP: an index, and the files that its letters name.
    Zip(ZipDescription),
    /// A `mottakersplitt` of Digipost: a letter is a recipient, and a split writes the result too.
    Mottakersplitt(MottakersplittDescription),
}

/// A description cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// It is not TOML, or has names or values that a description does not have.
    #[error("{}{error}", of(path))]
    Toml {
        /// The file; empty if the description is no file.
        path: PathBuf,
        /// What is wrong, and on which line.
        error: String,
    },
    /// Its parts do not fit each other.
    #[error("{0}")]
    Wrong(String),
}

pub(super) fn of(path: &Path) -> String {
    if path.as_os_str().is_empty() { String::new() } else { format!("{}: ", path.display()) }
}

impl RunDescription {
    /// `records`, `xml`, `afp`, `zip` or `mottakersplitt`.
    pub fn form(&self) -> &'static str {
        match self {
            RunDescription::Records(_) => "records",
            RunDescription::Xml(_) => "xml",
            RunDescription::Afp(_) => "afp",
            RunDescription::Zip(_) => "zip",
            RunDescription::Mottakersplitt(_) => "mottakersplitt",
        }
    }

    /// Where the id of a letter is, for reports.
    pub fn id_place(&self) -> String {
        match self {
            RunDescription::Records(records) => {
                let types = records.id_in.join(",");
                if types.is_empty() {
                    records.id_at.to_string()
                } else {
                    format!("{types}@{}", records.id_at)
                }
            }
            RunDescription::Xml(xml) => format!("{}/{}", xml.letter_element, xml.id_path),
            RunDescription::Afp(afp) => afp.id_tag.clone(),
            RunDescription::Zip(zip) => zip.index.clone(),
            RunDescription::Mottakersplitt(_) => {
                RunDescription::Xml(MottakersplittDescription::xml()).id_place()
            }
        }
    }

    /// Whether what is around the letters may hold ids of persons.
    pub fn allows_ids_around(&self) -> bool {
        match self {
            RunDescription::Records(records) => records.ids_around || !records.header.is_empty(),
            RunDescription::Xml(xml) => xml.ids_around,
            RunDescription::Afp(afp) => afp.ids_around,
            RunDescription::Zip(zip) => zip.ids_around,
            // Its letters are elements: what is around them is the job.
            RunDescription::Mottakersplitt(_) => true,
        }
    }

    /// How the files of a part of the run end, if the run's own name does not say.
    pub fn usual_ending(&self) -> &'static str {
        match self {
            RunDescription::Records(_) => "txt",
            RunDescription::Xml(_) | RunDescription::Mottakersplitt(_) => "xml",
            RunDescription::Afp(_) => "afp",
            RunDescription::Zip(_) => "zip",
        }
    }
}

/// A place in a record: bytes, or a column of a delimited record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// `OFFSET:LENGTH`: the first byte, from 0, and the number of bytes.
    Bytes(usize, usize),
    /// The column, from 1.
    Column(usize),
}

impl Place {
    /// Whether both have something in common.
    pub(super) fn overlaps(self, other: Place) -> bool {
        match (self, other) {
            (Place::Bytes(at, length), Place::Bytes(offset, bytes)) => {
                at < offset + bytes && offset < at + length
            }
            (one, other) => one == other,
        }
    }
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        const MAX: usize = crate::limits::ROW_BYTES_MAX;
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number < MAX);
        let place =
            match text.split_once(':') {
                Some((offset, length)) => number(offset).zip(number(length).filter(|length| *length > 0)),
                None => return match number(text).filter(|column| *column > 0) {
                    Some(column) => Ok(Place::Column(column)),
                    None => Err(
                        "write OFFSET:LENGTH in bytes, the offset from 0, or the number of a column, from 1"
                            .to_owned(),
                    ),
                },
            };
        match place {
            Some((offset, length)) => Ok(Place::Bytes(offset, length)),
            None => Err("write OFFSET:LENGTH in bytes, the offset from 0, such as 0:12".to_owned()),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Place, String> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Bytes(offset, length) => write!(out, "{offset}:{length}"),
            Place::Column(column) => write!(out, "{column}"),
        }
    }
}

/// Line data: records with or without line ends, of which one or several are a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RecordsDescription {
    /// `records`.
    #[serde(default, skip_serializing)]
    pub form: String,
    /// The character set of types, ids and numbers.
    #[serde(default)]
    pub charset: Charset,
    /// Length in bytes of records without line ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_length: Option<usize>,
    /// The delimiter of columns; without one, places are bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// Where the type of a record is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_type: Option<Place>,
    /// Types of records with which a letter begins.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub letter_start: Vec<String>,
    /// A letter begins where this changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter_key: Option<Place>,
    /// A letter begins with each record that this regular expression matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter_match: Option<String>,
    /// Types of records that have the id; without one, each record may have it.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub id_in: Vec<String>,
    /// Instead: the id is in each record that this regular expression matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_match: Option<String>,
    /// Where in them the id is.
    pub id_at: Place,
    /// Types of records before the first letter.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub header: Vec<String>,
    /// Types of records after the last letter.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub trailer: Vec<String>,
    /// Types of the other records of a letter; if there are some, letters with records of another type are rejected.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<String>,
    /// Whether header and trailer may hold ids of persons.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ids_around: bool,
    /// Numbers in header and trailer that depend on the letters.
    #[serde(default, rename = "count", skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<CountDescription>,
}

/// XML: a letter is an element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct XmlDescription {
    /// `xml`.
    #[serde(default, skip_serializing)]
    pub form: String,
    /// The element of each letter, without prefix; `{namespace}Name` if the namespace counts.
    pub letter_element: String,
    /// Elements from the letter's to that of the id, separated by slashes; `@name` last for an attribute.
    pub id_path: String,
    /// Whether what is around the letters may hold ids of persons.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ids_around: bool,
    /// Numbers before and after the letters that depend on them.
    #[serde(default, rename = "count", skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<XmlCountDescription>,
}

/// A number in XML around the letters that depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct XmlCountDescription {
    /// Elements from the document's to that of the number; `@name` last for an attribute.
    pub path: String,
    /// What it counts: letters.
    #[serde(default)]
    pub of: Counted,
}

/// A `mottakersplitt` of Digipost. Its names are published, so that there is nothing to describe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MottakersplittDescription {
    /// `mottakersplitt`.
    #[serde(default, skip_serializing)]
    pub form: String,
}

impl MottakersplittDescription {
    /// How it is read: as XML.
    pub fn xml() -> XmlDescription {
        XmlDescription {
            letter_element: "mottaker".to_owned(),
            id_path: "foedselsnummer".to_owned(),
            ..XmlDescription::default()
        }
    }
}

/// AFP: a letter is a page group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AfpDescription {
    /// `afp`.
    #[serde(default, skip_serializing)]
    pub form: String,
    /// Name of the tag (TLE) of the group that has the id.
    pub id_tag: String,
    /// Character set of tags that do not say theirs.
    #[serde(default = "international")]
    pub charset: Charset,
    /// Whether groups of the same id that follow each other are one letter.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub join_groups: bool,
    /// Whether what is around the groups may hold ids of persons in its tags.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ids_around: bool,
}

impl Default for AfpDescription {
    fn default() -> AfpDescription {
        AfpDescription {
            form: String::new(),
            id_tag: String::new(),
            charset: international(),
            join_groups: false,
            ids_around: false,
        }
    }
}

/// ZIP: an index, and the files that its letters name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ZipDescription {
    /// `zip`.
    #[serde(default, skip_serializing)]
    pub form: String,
    /// Name of the entry that is the index: a list, or XML.
    pub index: String,
    /// Columns of the index, or paths within the letter's element, with the names of files.
    #[serde(deserialize_with = "one_or_more")]
    pub files_in: Vec<String>,
    /// What is between several names in one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files_separator: Option<String>,
    /// Column of the ids of a list; detected without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_column: Option<String>,
    /// As for XML, if the index is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub letter_element: Option<String>,
    /// As for XML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_path: Option<String>,
    /// Names of entries that every part gets, with `*` and `?` as wildcards.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub common: Vec<String>,
    /// What happens to other entries that no letter names.
    #[serde(default)]
    pub unnamed: Unnamed,
    /// What happens if letters name files that are not there.
    #[serde(default)]
    pub missing: Missing,
    /// What happens to entries that several letters name.
    #[serde(default)]
    pub shared: Shared,
    /// As for XML.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ids_around: bool,
    /// As for XML.
    #[serde(default, rename = "count", skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<XmlCountDescription>,
}

/// What happens to entries of a ZIP that no letter names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unnamed {
    /// The run is refused.
    #[default]
    Refuse,
    /// They go to the part of rejected letters, and are counted.
    Reject,
}

/// What happens if letters name files that are not in a ZIP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// The run is refused.
    #[default]
    Refuse,
    /// They are counted.
    Allow,
}

/// What happens to entries of a ZIP that several letters name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shared {
    /// Each part with such a letter has them.
    #[default]
    Every,
    /// The run is refused.
    Refuse,
}

impl ZipDescription {
    /// The description of an index in XML.
    pub(crate) fn xml(&self) -> Option<XmlDescription> {
        let (letter_element, id_path) = self.letter_element.clone().zip(self.id_path.clone())?;
        let (counts, ids_around) = (self.counts.clone(), self.ids_around);
        Some(XmlDescription { letter_element, id_path, counts, ids_around, ..XmlDescription::default() })
    }
}

fn international() -> Charset {
    Charset::Ebcdic500
}

/// A number in a header or trailer record that depends on the letters.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CountDescription {
    /// Type of its record.
    #[serde(rename = "in")]
    pub within: String,
    /// Where in the record it is.
    pub at: Place,
    /// What it counts.
    #[serde(default)]
    pub of: Counted,
    /// Types of the records with the values of a sum.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub sum_in: Vec<String>,
    /// Where in them the values are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum_at: Option<Place>,
}

/// What a number in a header or trailer record counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Letters.
    #[default]
    Letters,
    /// Records of letters.
    Records,
    /// All records, with those of header and trailer.
    AllRecords,
    /// The sum of a value of records.
    Sum,
}

impl Default for Place {
    fn default() -> Place {
        Place::Column(1)
    }
}

/// A text, or a list of texts.
fn one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        More(Vec<String>),
    }
    Ok(match Texts::deserialize(from)? {
        Texts::One(text) => vec![text],
        Texts::More(texts) => texts,
    })
}
