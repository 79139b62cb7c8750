//! Who signs for companies: a file, since nabar does not ask the register of companies.

use super::error::RegistrationsError;
use crate::files::read_regular_text;
use crate::register::organisation;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Somebody who signs. `Id` and `Name` on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    /// Personnummer or samordningsnummer, 12 digits.
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) name: String,
}

/// A company and its signatories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Company {
    /// `16` and the organisation number.
    pub(crate) id: String,
    pub(crate) name: String,
    /// The rule in words, as the register of companies has it.
    #[serde(default)]
    pub(crate) rule: String,
    /// How many of its signatories sign together.
    #[serde(default = "one")]
    pub(crate) signatures: usize,
    pub(crate) signers: Vec<Person>,
}

fn one() -> usize {
    1
}

impl Company {
    /// Whether a person is one of its signatories.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.signers.iter().any(|signer| signer.id == id)
    }

    /// A signer with the name in the file, if its signature has none.
    pub(super) fn named(&self, signer: &Person) -> Person {
        let known = self.signers.iter().find(|known| known.id == signer.id && signer.name.is_empty());
        known.unwrap_or(signer).clone()
    }
}

/// The companies whose signatories are known.
#[derive(Debug, Default)]
pub(crate) struct Signatories {
    companies: HashMap<String, Company>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatoriesFile {
    #[serde(default)]
    company: Vec<Company>,
}

impl Signatories {
    /// Reads a file of signatories; `docs/writing.md` lists its keys.
    pub(super) fn read(path: &Path) -> Result<Signatories, RegistrationsError> {
        let text = read_regular_text(path, FILE_BYTES_MAX)
            .map_err(|error| RegistrationsError::Io { path: path.to_owned(), error })?;
        Signatories::parse(&text, path)
    }

    /// Reads the text of a file of signatories.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Signatories, RegistrationsError> {
        let bad = |finding: String| RegistrationsError::Bad { path: path.to_owned(), finding };
        // The message without the excerpt, which may have numbers.
        let file: SignatoriesFile = toml::from_str(text).map_err(|error| bad(error.message().to_owned()))?;
        let mut companies = HashMap::new();
        for (number, mut company) in (1..).zip(file.company) {
            let id = organisation(&company.id);
            company.id =
                id.ok_or_else(|| bad(format!("company {number}: id is not an organisation number")))?;
            if !(1..=company.signers.len()).contains(&company.signatures) {
                let many = company.signers.len();
                return Err(bad(format!(
                    "company {number}: signatures is not between 1 and its {many} signers"
                )));
            }
            if companies.insert(company.id.clone(), company).is_some() {
                return Err(bad(format!("company {number} is there twice")));
            }
        }
        Ok(Signatories { companies })
    }

    /// The text of a file of signatories.
    pub(crate) fn text(companies: &[Company]) -> String {
        // Texts and numbers only, which TOML always has.
        toml::to_string(&SignatoriesFile { company: companies.to_vec() }).unwrap_or_default()
    }

    pub(crate) fn company(&self, id: &str) -> Option<&Company> {
        self.companies.get(id)
    }

    /// Those who may sign for a recipient and have not.
    pub(super) fn others_of(&self, recipient: &str, signed: &[Person]) -> Vec<Person> {
        let has_signed = |signer: &&Person| signed.iter().any(|other| other.id == signer.id);
        let signers = self.company(recipient).into_iter().flat_map(|company| &company.signers);
        signers.filter(|signer| !has_signed(signer)).cloned().collect()
    }
}
