//! The audit log: callers, senders, counts and outcomes of requests. It never contains an id of a recipient.

use super::config;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A line of the log.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct AuditEntry {
    /// Time of the response.
    pub(super) time: String,
    /// Set in the first of two lines for a streamed response; the second line has the counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) begun: bool,
    pub(super) request_id: String,
    pub(super) endpoint: &'static str,
    pub(super) status: u16,
    /// Organisation of the caller; absent if authentication is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<String>,
    /// Address of the caller.
    pub(super) address: String,
    /// Id of the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sender: Option<String>,
    /// Number of ids in the request.
    pub(super) ids: u64,
    /// Number of ids by outcome.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// Sequence number of the version that the response was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<u64>,
    pub(super) micros: u64,
}

/// The open file, and whether its last line may be incomplete.
struct AuditFile {
    file: File,
    incomplete: bool,
}

/// Appends to a file, each line with one write.
pub(super) struct AuditLog {
    path: PathBuf,
    file: Mutex<AuditFile>,
}

impl AuditLog {
    pub(super) fn open(config: &config::Audit) -> io::Result<AuditLog> {
        let file = Mutex::new(AuditFile { file: append(&config.path)?, incomplete: false });
        Ok(AuditLog { path: config.path.clone(), file })
    }

    /// Opens the path again, after the file was renamed by log rotation.
    pub(super) fn reopen(&self) {
        match append(&self.path) {
            Ok(file) => {
                *self.file.lock().unwrap_or_else(PoisonError::into_inner) =
                    AuditFile { file, incomplete: false };
            }
            Err(error) => {
                tracing::error!(%error, "the audit log cannot be reopened; the old file is still written")
            }
        }
    }

    /// Appends a line. Errors: it was not written, or only in part.
    pub(super) fn write(&self, entry: &AuditEntry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.incomplete {
            // The previous write failed part-way, for example on a full disk.
            line.insert(0, b'\n');
        }
        let written = file.file.write_all(&line);
        file.incomplete = written.is_err();
        written
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
