//! ZIP runs: an index, with a letter for each row or element, and the files that its letters name.
//!
//! The index is split as any list or XML run is. Then each part becomes an archive with its index and its files, whose bytes are
//! copied as they are compressed.

use super::Mailing;
use super::error::{ArchiveProblem, ListError};
use super::input::{self, Input};
use super::options::{ListOptions, Progress, StreamLimits};
use super::output_directory::{OutputDirectory, write_error};
use super::outputs::OutputFile;
use super::report::{EntriesSummary, RunSummary};
use super::row_cells::CellReader;
use super::rows::RowScanner;
use super::run::ListResult;
use super::sniff::ListForm;
use crate::memory::{Mapped, map};
use crate::runs::{BytesEnd, Letters, Missing, RunDescription, Shared, Unnamed, ZipDescription};
use hashbrown::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read};
use std::path::Path;
use wildmatch::WildMatch;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// Maximum length in bytes of an index, unpacked: it is in memory.
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// Maximum number of entries of an archive.
const ENTRIES_MAX: usize = 1 << 24;
/// Bytes that are written to a file at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// An archive that has been opened.
pub(super) struct Archive<'d> {
    description: &'d ZipDescription,
    mapped: Mapped,
    /// Names of its entries, in its order.
    names: Vec<String>,
    by_name: HashMap<String, usize>,
}

impl<'d> Archive<'d> {
    pub(super) fn open(list: &Path, description: &'d ZipDescription) -> Result<Archive<'d>, ListError> {
        let file = File::open(list).map_err(ListError::Read)?;
        if list.as_os_str() == "-" || !file.metadata().map_err(ListError::Read)?.is_file() {
            return Err(ArchiveProblem::Stream.into());
        }
        let mapped = map(&file).map_err(ListError::Read)?;
        let mut archive = archive_of(&mapped)?;
        if archive.len() > ENTRIES_MAX {
            return Err(ArchiveProblem::TooManyEntries.into());
        }
        if archive.offset() > 0 {
            return Err(ArchiveProblem::BytesBefore.into());
        }
        if archive.has_overlapping_files().map_err(ArchiveProblem::Zip)? {
            return Err(ArchiveProblem::Overlapping.into());
        }
        let names = archive.file_names().map(|name| name.map(std::borrow::Cow::into_owned));
        let names = names.collect::<Result<Vec<String>, _>>().map_err(ArchiveProblem::Zip)?;
        drop(archive);
        let is_unsafe = |name: &&String| {
            let parts = name.split(['/', '\\']);
            name.starts_with(['/', '\\'])
                || name.get(1..2) == Some(":")
                || parts.into_iter().any(|part| part == "..")
        };
        match names.iter().filter(is_unsafe).count() {
            0 => {}
            unsafe_names => return Err(ArchiveProblem::UnsafeNames(unsafe_names).into()),
        }
        let by_name: HashMap<String, usize> = names.iter().cloned().zip(0..).collect();
        let listed = entries_listed(mapped.as_ref()).unwrap_or(names.len() as u64) as usize;
        match listed.max(names.len()) - by_name.len() {
            0 => {}
            same => return Err(ArchiveProblem::SameNames(same).into()),
        }
        Ok(Archive { description, mapped, names, by_name })
    }

    /// The index, unpacked.
    fn index(&self) -> Result<Input, ListError> {
        input::stream(Box::new(Cursor::new(self.index_bytes()?)), StreamLimits::default())
    }

    fn index_bytes(&self) -> Result<Vec<u8>, ListError> {
        let name = &self.description.index;
        let Some(&index) = self.by_name.get(name) else {
            return Err(ArchiveProblem::NoIndex(crate::plain_text::plain(name).into_owned()).into());
        };
        let mut archive = archive_of(&self.mapped)?;
        let mut entry = archive.by_index(index).map_err(ArchiveProblem::Zip)?;
        // The crate unpacks no more than the directory says.
        if entry.size() > INDEX_BYTES_MAX {
            return Err(ArchiveProblem::IndexTooLong.into());
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(ListError::Read)?;
        Ok(bytes)
    }

    /// Makes archives of the parts of the index that a split has written.
    pub(super) fn pack(
        &self,
        directory: &OutputDirectory,
        files: &mut [OutputFile],
        form: &ListForm,
        first_column: usize,
        (sync, progress): (bool, &dyn Progress),
    ) -> Result<EntriesSummary, ListError> {
        let mut parts = Vec::new();
        for file in files.iter() {
            let part = directory.mapped(&file.path)?;
            parts.push(self.named_in(part.as_ref(), form, first_column));
        }
        let (others, summary) = self.checked(&parts)?;
        for (file, part) in files.iter_mut().zip(&parts) {
            let is_rejected = file.outcome == Some("rejected");
            let unnamed = others.unnamed.iter().filter(|_| is_rejected);
            let entries = part.entries.iter().chain(&others.to_all).chain(unnamed).copied();
            self.pack_part(directory, file, entries.collect(), (sync, progress))?;
        }
        match self.mapped.is_intact() {
            true => Ok(summary),
            false => Err(ListError::ListChanged),
        }
    }

    /// Checks the entries against the whole index.
    pub(super) fn check_entries(
        &self,
        form: &ListForm,
        first_column: usize,
    ) -> Result<EntriesSummary, ListError> {
        let index = self.index_bytes()?;
        self.checked(&[self.named_in(&index, form, first_column)]).map(|(_, summary)| summary)
    }

    /// What a report says of the run.
    pub(super) fn summary(&self, result: &ListResult, entries: EntriesSummary) -> RunSummary {
        RunSummary {
            description: RunDescription::Zip(self.description.clone()),
            records: result.totals.records,
            bytes_before: 0,
            bytes_after: 0,
            empty_columns: Vec::new(),
            entries: Some(entries),
        }
    }

    /// The entries that letters of a part of the index name.
    fn named_in(&self, part: &[u8], form: &ListForm, first_column: usize) -> NamedEntries {
        let reader = CellReader::new(form, &form.cells[first_column..]);
        let (mut named, mut letter) = (NamedEntries::default(), 0);
        let mut seen = HashSet::new();
        let mut add = |bytes: std::ops::Range<usize>| {
            letter += 1;
            let mut is_own = HashSet::new();
            reader.all_texts(part, &bytes, &mut |text| {
                let separated = self.description.files_separator.as_deref();
                let names = separated.map_or(vec![text], |separator| text.split(separator).collect());
                for name in names.into_iter().map(str::trim).filter(|name| !name.is_empty()) {
                    match self.entry(name) {
                        Some(entry) if is_own.insert(entry) => {
                            if seen.insert(entry) {
                                named.entries.push(entry);
                            } else {
                                named.repeated.push(entry);
                            }
                        }
                        Some(_) => {}
                        None => named.missing.push(letter),
                    }
                }
            });
        };
        let mut at = form.beginning.len();
        match &form.run {
            Some(run) => {
                let mut letters = Letters::default();
                // The split has read the same bytes.
                let _ = run.letters(&part[at..], usize::MAX, BytesEnd::Run, &mut letters);
                for letter in letters.all() {
                    add(at..form.beginning.len() + letter.end);
                    at = form.beginning.len() + letter.end;
                }
            }
            None => {
                let mut scanner = RowScanner::new(part, &form.guard.rules, at, part.len());
                while at < part.len() {
                    let row = scanner.row_at(at);
                    let has_id = row.id.is_ok_and(|id| form.guard.rules.identity(&part[id]).is_ok());
                    // Totals and repeated headers name no files.
                    if has_id || form.guard.not_a_letter(&part[at..row.end]).is_none() {
                        add(at..row.end);
                    }
                    at = row.end;
                }
            }
        }
        named
    }

    /// The entry that a text names. Paths may have been written on another system.
    fn entry(&self, name: &str) -> Option<usize> {
        let found = self.by_name.get(name).copied().or_else(|| {
            let name = name.replace('\\', "/");
            self.by_name.get(name.strip_prefix("./").unwrap_or(&name)).copied()
        });
        found.filter(|entry| !self.is_other(*entry))
    }

    /// Whether an entry is the index or a directory.
    fn is_other(&self, entry: usize) -> bool {
        self.names[entry] == self.description.index || self.names[entry].ends_with('/')
    }

    /// The entries that no letter names, and what became of the entries. Errors: as the description says.
    fn checked(&self, parts: &[NamedEntries]) -> Result<(OtherEntries, EntriesSummary), ListError> {
        let missing: u64 = parts.iter().map(|part| part.missing.len() as u64).sum();
        if let Some(letter) = parts.iter().find_map(|part| part.missing.first())
            && self.description.missing == Missing::Refuse
        {
            return Err(ArchiveProblem::Missing { files: missing, letter: *letter }.into());
        }
        let mut count = vec![0usize; self.names.len()];
        parts.iter().flat_map(|part| &part.entries).for_each(|entry| count[*entry] += 1);
        let of_several = count.iter().filter(|count| **count > 1).count();
        let repeated: HashSet<usize> = parts.iter().flat_map(|part| part.repeated.iter().copied()).collect();
        if self.description.shared == Shared::Refuse && (of_several > 0 || !repeated.is_empty()) {
            return Err(ArchiveProblem::Shared(of_several.max(repeated.len())).into());
        }
        let common: Vec<WildMatch> =
            self.description.common.iter().map(|name| WildMatch::new(name)).collect();
        let is_common = |entry: &usize| common.iter().any(|pattern| pattern.matches(&self.names[*entry]));
        let unnamed = (0..count.len()).filter(|entry| count[*entry] == 0 && !self.is_other(*entry));
        let (to_all, unnamed): (Vec<usize>, Vec<usize>) = unnamed.partition(is_common);
        if self.description.unnamed == Unnamed::Refuse && !unnamed.is_empty() {
            return Err(ArchiveProblem::Unnamed(unnamed.len()).into());
        }
        let files = (0..count.len()).filter(|entry| !self.is_other(*entry)).count() as u64;
        let (common, unnamed_count) = (to_all.len() as u64, unnamed.len() as u64);
        let summary = EntriesSummary {
            files,
            named: files - common - unnamed_count,
            common,
            unnamed: unnamed_count,
            shared: of_several as u64,
            missing,
        };
        Ok((OtherEntries { to_all, unnamed }, summary))
    }

    /// Makes the archive of a part, with its index in the place of the whole one, and removes the part of the index.
    fn pack_part(
        &self,
        directory: &OutputDirectory,
        file: &mut OutputFile,
        mut entries: Vec<usize>,
        (sync, progress): (bool, &dyn Progress),
    ) -> Result<(), ListError> {
        let stem = Path::new(&file.path).file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}.zip");
        let path = directory.partial_path(&name);
        let failed = |error: ZipError| write_error(&path)(error.into());
        let part = directory.mapped(&file.path)?;
        let mut archive = archive_of(&self.mapped)?;
        let index = self.by_name[&self.description.index];
        entries.push(index);
        // In the order of the archive, which is read once.
        entries.sort_unstable();
        let mut writer =
            ZipWriter::new(BufWriter::with_capacity(BUFFER_BYTES, directory.create_file(&name)?));
        for entry in entries {
            if progress.interrupted() {
                return Err(ListError::Interrupted);
            }
            if entry == index {
                let options = SimpleFileOptions::default()
                    .large_file(part.as_ref().len() as u64 >= u64::from(u32::MAX));
                writer.start_file(&*self.names[entry], options).map_err(failed)?;
                io::copy(&mut part.as_ref(), &mut writer).map_err(write_error(&path))?;
            } else {
                let file = archive.by_index_raw(entry).map_err(ArchiveProblem::Zip)?;
                if local_name(self.mapped.as_ref(), file.header_start()) != Some(file.name_raw()) {
                    return Err(ArchiveProblem::OtherName.into());
                }
                writer.raw_copy_file(file).map_err(failed)?;
            }
        }
        let buffer = writer.finish().map_err(failed)?;
        let written = buffer.into_inner().map_err(|error| write_error(&path)(error.into_error()))?;
        if sync {
            written.sync_data().map_err(write_error(&path))?;
        }
        let bytes = written.metadata().map_err(write_error(&path))?.len();
        directory.remove(&file.path)?;
        (file.digest, file.bytes, file.path) = (directory.digest(&name, bytes)?, bytes, name);
        Ok(())
    }
}

/// Entries that no letter names.
struct OtherEntries {
    /// Those that every part gets.
    to_all: Vec<usize>,
    /// The others.
    unnamed: Vec<usize>,
}

/// The entries that letters of a part name.
#[derive(Default)]
struct NamedEntries {
    /// Each once.
    entries: Vec<usize>,
    /// Those that further letters of the part name.
    repeated: Vec<usize>,
    /// For each file that is not there the number of a letter.
    missing: Vec<u64>,
}

fn archive_of(mapped: &Mapped) -> Result<ZipArchive<Cursor<&[u8]>>, ListError> {
    ZipArchive::new(Cursor::new(mapped.as_ref())).map_err(|error| ArchiveProblem::Zip(error).into())
}

/// The name in the header before an entry, which its directory repeats.
fn local_name(bytes: &[u8], header: u64) -> Option<&[u8]> {
    let header = bytes.get(usize::try_from(header).ok()?..)?;
    let length = usize::from(u16::from_le_bytes(header.get(26..28)?.try_into().ok()?));
    header.starts_with(b"PK\x03\x04").then(|| header.get(30..30 + length)).flatten()
}

/// The number of entries that the end of an archive says: the crate keeps one of several of the same name.
fn entries_listed(bytes: &[u8]) -> Option<u64> {
    const END: &[u8] = b"PK\x05\x06";
    const END_64: &[u8] = b"PK\x06\x06";
    let tail = bytes.len().saturating_sub(22 + 65_535);
    let end = tail + memchr::memmem::rfind(&bytes[tail..], END)?;
    let few = u16::from_le_bytes(bytes.get(end + 10..end + 12)?.try_into().ok()?);
    if few != u16::MAX {
        return Some(few.into());
    }
    let end = memchr::memmem::rfind(&bytes[tail.saturating_sub(1 << 16)..end], END_64)?;
    let end = tail.saturating_sub(1 << 16) + end;
    Some(u64::from_le_bytes(bytes.get(end + 32..end + 40)?.try_into().ok()?))
}

/// How the index of a ZIP run is read.
pub(super) fn index_options(options: &ListOptions, description: &ZipDescription) -> ListOptions {
    let run = description.xml().map(RunDescription::Xml);
    ListOptions {
        id_columns: description.id_column.iter().cloned().collect(),
        cell_columns: description.files_in.clone(),
        run,
        ..options.clone()
    }
}

/// Whether a run is an archive.
pub(super) fn description_of(options: &ListOptions) -> Option<&ZipDescription> {
    match &options.run {
        Some(RunDescription::Zip(description)) => Some(description),
        _ => None,
    }
}

/// Runs a job on the index of an archive.
pub(super) fn with_index<T>(
    mailing: &Mailing<'_>,
    description: &ZipDescription,
    job: impl FnOnce(&Mailing<'_>, Input, &Archive<'_>) -> Result<T, ListError>,
) -> Result<T, ListError> {
    let archive = Archive::open(mailing.list, description)?;
    let index = archive.index()?;
    let options = index_options(&mailing.options, description);
    job(&Mailing { options, ..mailing.clone() }, index, &archive)
}
