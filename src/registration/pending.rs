//! Requests of companies that lack signatures. They are no part of the register: replicas do not have them.

use super::error::{RegistrationError, RegistrationsError};
use super::signatories::Person;
use crate::files::{self, Folder, read_regular_text};
use crate::store::mode_of_files;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file in a data directory.
pub(super) const PENDING: &str = "pending.json";
/// The version of its format.
const VERSION: u32 = 1;
/// Most requests that are kept.
pub(super) const REQUESTS_MAX: usize = 10_000;
/// Most bytes of their agreement texts.
const AGREEMENTS_BYTES_MAX: usize = 16 << 20;
/// Longest file that is read: in JSON, a byte may take six.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Requested {
    /// `register`: an account of this type, as on the wire.
    Create(String),
    /// `deregister`.
    Delete,
    /// `changeServiceSupplier`.
    Operator,
    /// `storeAccountPreferences`: the ids of the accepted senders, ascending.
    Preferences(Vec<String>),
}

/// Of each kind, a recipient has at most one pending request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PendingKind {
    Account,
    Operator,
    Preferences,
}

impl Requested {
    pub(crate) fn kind(&self) -> PendingKind {
        match self {
            Requested::Create(_) | Requested::Delete => PendingKind::Account,
            Requested::Operator => PendingKind::Operator,
            Requested::Preferences(_) => PendingKind::Preferences,
        }
    }
}

/// A request that lacks signatures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PendingRequest {
    pub(crate) recipient: String,
    pub(crate) requested: Requested,
    /// The operator that has sent it.
    pub(crate) operator: String,
    /// The operator as the request spells it.
    pub(crate) supplier: String,
    pub(crate) agreement: String,
    /// `xs:date`; empty if the request has none.
    pub(crate) date: String,
    pub(crate) signed_by: Vec<Person>,
    /// When the last signature came.
    pub(crate) time: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PendingFile {
    version: u32,
    requests: Vec<PendingRequest>,
}

/// All pending requests. Each change replaces their file, and is durable when it returns.
#[derive(Debug)]
pub(super) struct PendingRequests {
    path: PathBuf,
    requests: Vec<PendingRequest>,
}

impl PendingRequests {
    pub(super) fn open(directory: &Path) -> Result<PendingRequests, RegistrationsError> {
        let path = directory.join(PENDING);
        let requests = match read_regular_text(&path, FILE_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(RegistrationsError::Io { path, error }),
            Ok(text) => match serde_json::from_str(&text) {
                Ok(PendingFile { version: VERSION, requests }) => requests,
                Ok(PendingFile { version, .. }) => {
                    let finding =
                        format!("its format is version {version}; this nabar knows version {VERSION}");
                    return Err(RegistrationsError::Bad { path, finding });
                }
                // The message of the parser may quote what it has read.
                Err(_) => {
                    let finding = "these are not the pending requests of a register: restore the file, or remove it to \
                                   give them up";
                    return Err(RegistrationsError::Bad { path, finding: finding.to_owned() });
                }
            },
        };
        Ok(PendingRequests { path, requests })
    }

    /// Keeps these requests and no other.
    #[cfg(feature = "sandbox")]
    pub(super) fn set(&mut self, requests: Vec<PendingRequest>) -> Result<(), RegistrationsError> {
        self.replace(requests)
    }

    pub(super) fn of(&self, recipient: &str, kind: PendingKind) -> Option<&PendingRequest> {
        self.requests
            .iter()
            .find(|request| request.recipient == recipient && request.requested.kind() == kind)
    }

    pub(super) fn all(&self, kind: PendingKind) -> impl Iterator<Item = &PendingRequest> {
        self.requests.iter().filter(move |request| request.requested.kind() == kind)
    }

    /// Errors: there are too many.
    pub(super) fn check_space(&self, more: usize) -> Result<(), RegistrationError> {
        let bytes: usize = self.requests.iter().map(|request| request.agreement.len()).sum();
        match self.requests.len() >= REQUESTS_MAX || bytes + more > AGREEMENTS_BYTES_MAX {
            true => Err(RegistrationError::Busy("too many requests lack signatures: delete some of them")),
            false => Ok(()),
        }
    }

    /// Keeps a request, in place of the one of its recipient and kind.
    pub(super) fn put(&mut self, request: PendingRequest) -> Result<(), RegistrationsError> {
        let (recipient, kind) = (request.recipient.clone(), request.requested.kind());
        let is_it = |other: &PendingRequest| other.recipient == recipient && other.requested.kind() == kind;
        let mut requests: Vec<_> = self.requests.iter().filter(|other| !is_it(other)).cloned().collect();
        requests.push(request);
        self.replace(requests)
    }

    pub(super) fn remove(&mut self, recipient: &str, kind: PendingKind) -> Result<(), RegistrationsError> {
        self.retain(|other| other.recipient != recipient || other.requested.kind() != kind)
    }

    pub(super) fn remove_all(&mut self, recipient: &str) -> Result<(), RegistrationsError> {
        self.retain(|other| other.recipient != recipient)
    }

    pub(super) fn retain(
        &mut self,
        keep: impl Fn(&PendingRequest) -> bool,
    ) -> Result<(), RegistrationsError> {
        let requests: Vec<_> = self.requests.iter().filter(|request| keep(request)).cloned().collect();
        if requests.len() == self.requests.len() { Ok(()) } else { self.replace(requests) }
    }

    fn replace(&mut self, requests: Vec<PendingRequest>) -> Result<(), RegistrationsError> {
        let failed = |error| RegistrationsError::Io { path: self.path.clone(), error };
        let file = PendingFile { version: VERSION, requests };
        let text = serde_json::to_vec_pretty(&file).map_err(|error| failed(error.into()))?;
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let folder = Folder::open(directory).map_err(failed)?;
        let written = files::replace_with_mode(&self.path, mode_of_files(&folder), |file| {
            folder.adopt(file)?;
            file.write_all(&text)
        });
        written.map_err(failed)?;
        self.requests = file.requests;
        Ok(())
    }
}
