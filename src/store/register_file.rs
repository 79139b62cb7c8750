//! Register files that other programs put into a data directory, or damage there.
//!
//! A writer gives a register file its name once, when it is complete, and never writes to it. Anything else is the work of
//! others: a copy that is restored, a disk that fails. What they leave is used only if all of it is whole.

use super::directory::DataDirectory;
use super::disk::FileId;
use super::error::StoreError;
use super::names;
use crate::register::{Kind, Register};
use crate::snapshot::Snapshot;
use std::io;
#[cfg(feature = "replica")]
use std::path::Path;
use std::thread::available_parallelism;

/// What a reader knows of register files that it does not use.
#[derive(Default)]
pub(super) struct RegisterFileLooks {
    /// What is in place of the register file, and why it is not used.
    refused: Option<(FileId, String)>,
    /// Whether the register file was missing at the last look: it may be missing while it is replaced.
    was_missing: bool,
    newer: Option<NewerFile>,
}

/// A register file that is newer than the one that is read.
struct NewerFile {
    sequence: u64,
    id: FileId,
    /// Why it is not used; `None` after the first look, since the next refresh may use it.
    why: Option<String>,
}

impl RegisterFileLooks {
    /// The file in place of the register file, if it is another one and whole. `base`: the sequence number of the register
    /// file; `opened`: the file that was opened.
    ///
    /// Errors: there is one that is not whole; or none, also at the last look.
    pub(super) fn replacement(
        &mut self,
        directory: &DataDirectory,
        current: &Register,
        base: u64,
        opened: FileId,
    ) -> Result<Option<FileId>, StoreError> {
        let name = names::register(base);
        let id = match directory.disk.file_id(&name) {
            Ok(id) => id,
            // A checkpoint may have removed it, which the next refresh notices.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.was_missing => {
                self.was_missing = true;
                return Ok(None);
            }
            Err(error) => return Err(directory.io(&name)(error)),
        };
        self.was_missing = false;
        if id == opened && current.is_intact() {
            self.refused = None;
            return Ok(None);
        }
        // A replica is what its source says, so its file is made again, by the process that follows.
        if !directory.is_missing(names::REPLICA_OF) {
            let why = "another program has written to it, or replaced it".to_owned();
            return Err(StoreError::Replaced { path: directory.path.join(name), why });
        }
        let why = match self.refused.take().filter(|(refused, _)| *refused == id) {
            Some((_, why)) => why,
            None => match damage_of(directory, base, current.kind()) {
                Ok(()) => return Ok(Some(id)),
                // It cannot be opened: tried again.
                Err(error @ StoreError::Io { .. }) => return Err(error),
                Err(error) => reason(error),
            },
        };
        self.refused = Some((id, why.clone()));
        Err(StoreError::Replaced { path: directory.path.join(name), why })
    }

    /// Errors: there is a register file newer than `base` that was there at the last look as well. A refresh goes over to
    /// the register file of a checkpoint, so this is another one.
    pub(super) fn newer(
        &mut self,
        directory: &DataDirectory,
        base: u64,
        kind: Kind,
    ) -> Result<(), StoreError> {
        let newest = directory.contents()?.registers.last().copied().filter(|newest| *newest > base);
        let Some(sequence) = newest else {
            self.newer = None;
            return Ok(());
        };
        let name = names::register(sequence);
        let id = match directory.disk.file_id(&name) {
            Ok(id) => id,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(directory.io(&name)(error)),
        };
        match &mut self.newer {
            Some(newer) if newer.sequence == sequence && newer.id == id => {
                let judge = || match damage_of(directory, sequence, kind) {
                    Ok(()) => "the log of changes does not lead to it".to_owned(),
                    Err(error) => reason(error),
                };
                let why = newer.why.get_or_insert_with(judge).clone();
                Err(StoreError::Newer { path: directory.path.join(name), why })
            }
            _ => {
                self.newer = Some(NewerFile { sequence, id, why: None });
                Ok(())
            }
        }
    }
}

/// What an error says of a register file, without its path.
fn reason(error: StoreError) -> String {
    match error {
        StoreError::Register { error, .. } => error.to_string(),
        StoreError::Damaged { finding, .. } => format!("it is damaged: {finding}"),
        error => error.to_string(),
    }
}

/// Verifies all of a register file. Errors: it is damaged, of another kind, or changes.
fn damage_of(directory: &DataDirectory, sequence: u64, kind: Kind) -> Result<(), StoreError> {
    let register = directory.register(sequence)?;
    let name = names::register(sequence);
    if register.kind() != kind {
        let (found, kind) = (register.kind().name(), kind.name());
        return Err(directory.damaged(&name, 0, format!("it is a register of {found}, not of {kind}")));
    }
    match verify(&register).map_err(directory.io(&name))? {
        Some(finding) => Err(directory.damaged(&name, 0, finding)),
        None => Ok(()),
    }
}

/// Verifies the newest register file of a data directory. Cost: reads it, on half of the cores.
///
/// Errors: it is damaged or cannot be read.
#[cfg(feature = "replica")]
pub(crate) fn verify_newest(path: &Path) -> Result<(), StoreError> {
    let directory = DataDirectory::new(path);
    let newest = directory.contents()?.registers.last().copied();
    let newest = newest.ok_or_else(|| StoreError::NotOne(path.to_owned()))?;
    let kind = directory.register(newest)?.kind();
    damage_of(&directory, newest, kind)
}

/// A sequence number that the register of a data directory has reached, by the names of its files: that of the last
/// segment, which a writer has made; without one, that of the last register file.
///
/// Errors: it has no files.
#[cfg(feature = "replica")]
pub(crate) fn sequence_of_names(path: &Path) -> Result<u64, StoreError> {
    let contents = DataDirectory::new(path).contents()?;
    let last = contents.segments.last().or(contents.registers.last());
    last.copied().ok_or_else(|| StoreError::NotOne(path.to_owned()))
}

/// The first thing that `nabar verify` finds in a register's file, if there is any. Cost: reads the whole file, on half of
/// the cores: others have work meanwhile.
///
/// Errors: the system has no threads.
pub(crate) fn verify(register: &Register) -> io::Result<Option<String>> {
    let cores = available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(cores.div_ceil(2)).build();
    let snapshot = Snapshot::of_register(register);
    let findings = match snapshot {
        Ok(snapshot) => pool.map_err(io::Error::other)?.install(|| snapshot.verify()),
        Err(error) => return Ok(Some(error.to_string())),
    };
    let changed = || register.intact().err().map(|damage| damage.to_string());
    Ok(findings.first().map(ToString::to_string).or_else(changed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Lines, Reader, Writer, init};
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::fs;
    use std::path::{Path, PathBuf};

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    /// A register at 1000, and the same at 1300, with a register file at that number.
    fn directories(at: &Path) -> [PathBuf; 2] {
        let all = [at.join("far"), at.join("later")];
        all.iter().for_each(|path| _ = init(fixture("far"), path).expect("a data directory"));
        let writer = Writer::open(&all[1]).expect("a writer");
        let text = fs::read(fixture("changes/far.jsonl")).expect("changes");
        writer.apply(Lines::parse(&text, writer.kind()), None).expect("applied");
        writer.checkpoint(false).expect("a checkpoint");
        all
    }

    /// Another file in place of the register file is read if it is whole, and refused if it is not.
    #[test]
    fn a_replaced_register_file_is_read_if_it_is_whole() {
        let work = tempfile::tempdir().expect("directory");
        let [far, later] = directories(work.path());
        let path = far.join(names::register(1000));
        let whole = fs::read(&path).expect("read");
        let put = |content: &[u8]| {
            fs::write(far.join("copy"), content).expect("written");
            fs::rename(far.join("copy"), &path).expect("renamed");
        };
        let mut reader = Reader::open(&far).expect("a reader");
        assert!(!reader.check_register_files().expect("nothing is new"));
        put(&whole);
        let before = reader.register();
        assert!(reader.check_register_files().expect("whole"));
        assert!(!std::sync::Arc::ptr_eq(&before, &reader.register()));
        assert!(!reader.check_register_files().expect("nothing is new"));
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        let other = fs::read(later.join(names::register(1300))).expect("read");
        for (content, why) in [(&damaged, "it is damaged"), (&other, "the register at sequence 1300")] {
            put(content);
            for _ in 0..3 {
                let refused = reader.check_register_files().expect_err("it is not whole");
                let is_it =
                    matches!(&refused, StoreError::Replaced { why: found, .. } if found.contains(why));
                assert!(is_it, "{refused}");
                assert!(reader.register().is_intact(), "what is read is still there");
            }
        }
        fs::remove_file(&path).expect("removed");
        assert!(!reader.check_register_files().expect("it may be missing for a moment"));
        assert!(matches!(reader.check_register_files(), Err(StoreError::Io { .. })));
        put(&whole);
        assert!(reader.check_register_files().expect("whole"));
    }

    /// At the first look, a newer register file may be that of a checkpoint.
    #[test]
    fn a_newer_register_file_without_a_log_is_not_used() {
        let work = tempfile::tempdir().expect("directory");
        let [far, later] = directories(work.path());
        let mut reader = Reader::open(&far).expect("a reader");
        let newer = far.join(names::register(1300));
        fs::copy(later.join(names::register(1300)), &newer).expect("copied");
        reader.check_register_files().expect("the first look");
        let refused = reader.check_register_files().expect_err("it is not used").to_string();
        assert!(refused.contains("the log of changes does not lead to it"), "{refused}");
        // Opening a pipe would wait.
        fs::remove_file(&newer).expect("removed");
        mknodat(CWD, &newer, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        let refused = reader.check_register_files().expect_err("it is a pipe").to_string();
        assert!(refused.contains("not a regular file"), "{refused}");
        assert!(Reader::open(&far).is_err(), "it would be the newest register file");
        fs::remove_file(&newer).expect("removed");
        assert!(!reader.check_register_files().expect("nothing is new"));
        assert_eq!(reader.register().sequence(), 1000);
    }
}
