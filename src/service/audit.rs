//! The audit log: callers, senders, counts and outcomes of requests. It never contains an id of a recipient.

use super::attempts::Attempts;
use super::config;
use crate::files;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A line of the log.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct AuditEntry {
    /// Time of the response.
    pub(super) time: String,
    /// Set in the first of two lines for a streamed response; the second line has the counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) begun: bool,
    /// Number of further refusals of the same kind, which have no lines of their own.
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) repeated: u64,
    pub(super) request_id: String,
    pub(super) endpoint: &'static str,
    pub(super) status: u16,
    /// Organisation of the caller; absent if authentication is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<String>,
    /// Address of the caller.
    pub(super) address: String,
    /// Id of the sender; of a refused request, the number that it named.
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
    /// Why the request was refused: the code of a SOAP fault, or the last word of the type of a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<String>,
    pub(super) micros: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A line about the log itself.
#[derive(Default, Serialize)]
struct AuditNote {
    time: String,
    /// The file was opened: at the start, or again. It is written to at once, since only that shows that it can be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    opened: bool,
    /// The log could not be written for some time.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    resumed: bool,
}

/// The open file, and whether its last line may be incomplete.
struct AuditFile {
    file: File,
    incomplete: bool,
}

/// Time that a write may take. Then other requests no longer wait for it, and the log is failing.
const WRITE_TIME: Duration = Duration::from_secs(5);

/// Refusals of one kind that have lines of their own, in each [`REFUSALS_TIME`]; further ones are counted.
const REFUSALS_WRITTEN: u64 = 5;
/// Time after which counted refusals are written as one line.
const REFUSALS_TIME: Duration = Duration::from_secs(10);
/// Kinds of refusals that are distinguished; further ones share a line without address.
const REFUSAL_KINDS: usize = 1000;

/// Refusals of one kind.
struct Refusals {
    since: Instant,
    count: u64,
    /// The last one.
    entry: AuditEntry,
}

/// What distinguishes refusals: address, caller, endpoint, status, fault.
type RefusalKind = (String, Option<String>, &'static str, u16, Option<String>);

/// Appends to a file, each line with one write.
pub(super) struct AuditLog {
    path: PathBuf,
    /// `None` while it is written to.
    file: Mutex<Option<AuditFile>>,
    returned: Condvar,
    attempts: Attempts,
    write_time: Duration,
    refusals: Mutex<HashMap<RefusalKind, Refusals>>,
    /// Whether the last attempt to write failed.
    failing: AtomicBool,
    /// Whether the last attempt to open the file again failed.
    is_stale: AtomicBool,
}

impl AuditLog {
    /// Opens the file. If it can be opened and not written, the log is failing.
    pub(super) fn open(config: &config::Audit) -> io::Result<AuditLog> {
        AuditLog::open_for(config, WRITE_TIME)
    }

    fn open_for(config: &config::Audit, write_time: Duration) -> io::Result<AuditLog> {
        let file = AuditFile { file: files::append_without_waiting(&config.path)?, incomplete: false };
        let log = AuditLog {
            path: config.path.clone(),
            file: Mutex::new(Some(file)),
            returned: Condvar::new(),
            attempts: Attempts::new(write_time),
            write_time,
            refusals: Mutex::default(),
            failing: AtomicBool::new(false),
            is_stale: AtomicBool::new(false),
        };
        log.note_opened();
        Ok(log)
    }

    /// Whether the last attempt to write, or to open the file again, failed or does not end.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
            || self.is_stale.load(Ordering::Relaxed)
            || self.attempts.is_overdue()
    }

    /// The attempts to write and to open the file.
    pub(super) fn attempts(&self) -> &Attempts {
        &self.attempts
    }

    fn note_opened(&self) {
        let time = jiff::Timestamp::now().to_string();
        // The error is noted and logged.
        let _ = self.append(&AuditNote { time, opened: true, resumed: self.failing.load(Ordering::Relaxed) });
    }

    /// The file, once it is not written to. `None` if the current write takes too long.
    fn take(&self) -> Option<AuditFile> {
        let file = self.lock();
        let left = self.write_time.saturating_sub(self.attempts.running());
        let waited = self.returned.wait_timeout_while(file, left, |file| file.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.take()
    }

    /// Gives the file back, unless it was opened again meanwhile.
    fn put(&self, file: AuditFile) {
        self.lock().get_or_insert(file);
        self.returned.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Option<AuditFile>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the path again, after the file was renamed by log rotation.
    pub(super) fn reopen(&self) {
        let opened = {
            let _attempt = self.attempts.begin();
            files::append_without_waiting(&self.path)
        };
        match opened {
            Ok(file) => {
                // Also if a write to the old file does not end.
                *self.lock() = Some(AuditFile { file, incomplete: false });
                self.returned.notify_one();
                self.is_stale.store(false, Ordering::Relaxed);
                self.note_opened();
            }
            Err(error) => {
                self.is_stale.store(true, Ordering::Relaxed);
                tracing::error!(%error, "the audit log cannot be reopened; the old file is still written")
            }
        }
    }

    /// Whether the file has no name any more: what is written to it is lost.
    fn is_removed(&self) -> bool {
        self.take().is_some_and(|file| {
            let attempt = self.attempts.begin();
            let is_removed = file.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
            drop(attempt);
            self.put(file);
            is_removed
        })
    }

    /// Appends a line. Errors: it was not written, or only in part.
    pub(super) fn write(&self, entry: &AuditEntry) -> io::Result<()> {
        if self.is_removed() {
            self.reopen();
        }
        self.append(entry)
    }

    fn append(&self, entry: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let written = match self.take() {
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "an earlier write does not end")),
            Some(mut file) => {
                if file.incomplete {
                    // The previous write failed part-way, for example on a full disk.
                    line.insert(0, b'\n');
                }
                let attempt = self.attempts.begin();
                let written = file.file.write_all(&line);
                drop(attempt);
                file.incomplete = written.is_err();
                self.put(file);
                written
            }
        };
        let failed_before = self.failing.swap(written.is_err(), Ordering::Relaxed);
        match &written {
            Err(error) if !failed_before => tracing::error!(%error, "the audit log cannot be written"),
            Ok(()) if failed_before => tracing::info!("the audit log can be written again"),
            _ => {}
        }
        written
    }

    /// Appends a line about a refused request, or counts it if there have been several of its kind lately.
    pub(super) fn write_refusal(&self, entry: &AuditEntry) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind =
            (entry.address.clone(), entry.caller.clone(), entry.endpoint, entry.status, entry.fault.clone());
        if refusals.len() >= REFUSAL_KINDS && !refusals.contains_key(&kind) {
            kind = (String::new(), None, "", 0, None);
        }
        let new = || Refusals { since: Instant::now(), count: 0, entry: AuditEntry::default() };
        let of_kind = refusals.entry(kind).or_insert_with(new);
        of_kind.count += 1;
        of_kind.entry = entry.clone();
        if of_kind.count <= REFUSALS_WRITTEN {
            drop(refusals);
            // A refusal is sent without a line: it contains nothing about recipients.
            let _ = self.append(entry);
        }
    }

    /// Appends the lines of refusals that were counted; all of them if `all`, or else those that are due. If the log
    /// could not be written, tries again.
    pub(super) fn write_counted(&self, all: bool) {
        let mut due = Vec::new();
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.retain(|(address, ..), of_kind| {
            let is_due = all || of_kind.since.elapsed() >= REFUSALS_TIME;
            if is_due && of_kind.count > REFUSALS_WRITTEN {
                let entry = std::mem::take(&mut of_kind.entry);
                let repeated = of_kind.count - REFUSALS_WRITTEN;
                due.push(AuditEntry { repeated, address: address.clone(), ..entry });
            }
            !is_due
        });
        drop(refusals);
        for entry in &due {
            let _ = self.append(entry);
        }
        if self.is_removed() || self.is_stale.load(Ordering::Relaxed) {
            self.reopen();
        }
        if self.failing.load(Ordering::Relaxed) {
            let _ = self.append(&AuditNote {
                time: jiff::Timestamp::now().to_string(),
                resumed: true,
                ..AuditNote::default()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &PathBuf) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).expect("read");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The write of another thread does not end: nothing waits for it, the log is failing, and a new file mends it.
    #[test]
    fn a_write_that_does_not_end_stops_no_other() {
        let directory = tempfile::tempdir().expect("directory");
        let config = config::Audit { path: directory.path().join("audit.log") };
        let log = AuditLog::open_for(&config, Duration::ZERO).expect("opened");
        assert!(!log.is_failing(), "the start was written");
        let (hung, attempt) = (log.take().expect("the file"), log.attempts.begin());
        let refused = log.write(&AuditEntry::default()).expect_err("not written");
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert!(log.is_failing());
        std::fs::rename(&config.path, directory.path().join("old")).expect("renamed");
        log.reopen();
        log.write(&AuditEntry { ids: 7, ..AuditEntry::default() }).expect("written");
        drop(attempt);
        log.put(hung);
        assert!(!log.is_failing());
        log.write(&AuditEntry { ids: 8, ..AuditEntry::default() }).expect("written");
        let written = lines(&config.path);
        assert_eq!((&written[0]["opened"], &written[0]["resumed"]), (&true.into(), &true.into()));
        assert_eq!((&written[1]["ids"], &written[2]["ids"]), (&7.into(), &8.into()));
    }

    #[test]
    fn no_line_goes_to_a_file_that_was_removed() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("audit.jsonl");
        let log = AuditLog::open(&config::Audit { path: path.clone() }).expect("opened");
        log.write(&AuditEntry::default()).expect("written");
        std::fs::remove_file(&path).expect("removed");
        log.write(&AuditEntry::default()).expect("written");
        let lines = lines(&path);
        assert!(lines.len() == 2 && lines[0]["opened"] == true, "{lines:?}");
        std::fs::remove_file(&path).expect("removed");
        std::fs::create_dir(&path).expect("made");
        log.write(&AuditEntry::default()).expect("written to the old file");
        assert!(log.is_failing());
    }

    #[test]
    fn a_log_that_was_never_written_is_failing() {
        let config = config::Audit { path: PathBuf::from("/dev/full") };
        assert!(AuditLog::open(&config).expect("opened").is_failing());
    }
}
