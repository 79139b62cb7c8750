//! The audit log: who asked what, in whose name, and what came of it. Never an id of a recipient.

use super::config;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// A line of the log.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Entry {
    /// When it was answered.
    pub(super) time: String,
    /// Set at the beginning of an answer that is streamed; a second line has what came of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) begun: bool,
    pub(super) request_id: String,
    pub(super) endpoint: &'static str,
    pub(super) status: u16,
    /// Organisation of the caller; absent if nobody is asked who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<String>,
    /// Address of the caller.
    pub(super) address: String,
    /// In whose name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sender: Option<String>,
    /// Number of ids asked for.
    pub(super) ids: u64,
    /// How many of them had which outcome.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// The version that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sequence: Option<u64>,
    pub(super) micros: u64,
}

/// The file, and whether its last line may be half a line.
struct Log {
    file: File,
    torn: bool,
}

/// The file, appended to. Lines are whole: one write each.
pub(super) struct Audit {
    path: PathBuf,
    file: Mutex<Log>,
}

impl Audit {
    pub(super) fn open(config: &config::Audit) -> io::Result<Audit> {
        let file = Mutex::new(Log { file: append(&config.path)?, torn: false });
        Ok(Audit { path: config.path.clone(), file })
    }

    /// Opens the file anew: whoever rotates it has renamed it.
    pub(super) fn reopen(&self) {
        match append(&self.path) {
            Ok(file) => {
                *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Log { file, torn: false };
            }
            Err(error) => tracing::error!(%error, "the audit log is written where it was"),
        }
    }

    /// Appends a line. Errors: it is not written, or not whole.
    pub(super) fn write(&self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut log = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if log.torn {
            // Of a line that a full disk has cut short.
            line.insert(0, b'\n');
        }
        let written = log.file.write_all(&line);
        log.torn = written.is_err();
        written
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
