//! ZIP runs: an index, with a letter for each row or element, and the files that its letters name.
//!
//! The index is split as any list or XML run is. Then each part becomes an archive with its index and its files, whose bytes are
//! copied as they are compressed.

use super::Mailing;
use super::error::{ArchiveProblem, ListError};
use super::input::{self, Input};
use super::options::{ListOptions, Progress, StreamLimits};
use super::output_directory::{OutputDirectory, write_error};
use super::outputs::{OutputFile, in_parallel};
use super::report::{EntriesSummary, RunSummary};
use super::row_cells::CellReader;
use super::rows::RowScanner;
use super::run::ListResult;
use super::sniff::ListForm;
use super::zip_entries::{self, Entry, PartWriter};
use crate::memory::{Mapped, map};
use crate::runs::{BytesEnd, Letters, Missing, RunDescription, Shared, Unnamed, ZipDescription};
use hashbrown::{HashMap, HashSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use wildmatch::WildMatch;
use zip::ZipArchive;

/// Maximum length in bytes of an index, unpacked: it is in memory.
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// An index that is longer than the first and has more bytes than the second for each compressed one is refused.
const EXPANSION_FROM: u64 = 32 << 20;
const EXPANSION_MAX: u64 = 200;
/// Maximum number of entries of an archive.
const ENTRIES_MAX: usize = 1 << 24;

/// An archive that has been opened.
pub(super) struct Archive<'d> {
    description: &'d ZipDescription,
    mapped: Mapped,
    /// Its entries, in its order, and their names.
    entries: Vec<Entry>,
    names: Vec<String>,
    /// Its index, unpacked.
    index: IndexBytes,
    by_name: HashMap<String, usize>,
}

/// The bytes of an index, which a job reads too.
#[derive(Clone)]
struct IndexBytes(Arc<Vec<u8>>);

impl AsRef<[u8]> for IndexBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
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
        let names = archive.file_names().map(|name| name.map(std::borrow::Cow::into_owned));
        let names = names.collect::<Result<Vec<String>, _>>().map_err(ArchiveProblem::Zip)?;
        let directory = usize::try_from(archive.central_directory_start()).unwrap_or(usize::MAX);
        let index = IndexBytes(Arc::new(index_of(&mut archive, description)?));
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
        let entries = zip_entries::entries(mapped.as_ref(), directory, names.len())?;
        Ok(Archive { description, mapped, entries, names, index, by_name })
    }

    /// Makes archives of the parts of the index that a split has written.
    pub(super) fn pack(
        &self,
        directory: &OutputDirectory,
        files: &mut [OutputFile],
        form: &ListForm,
        first_column: usize,
        (sync, threads, progress): (bool, usize, &dyn Progress),
    ) -> Result<EntriesSummary, ListError> {
        let parts = in_parallel(threads, files.len(), |index| {
            let part = directory.mapped(&files[index].path)?;
            Ok(self.named_in(part.as_ref(), form, first_column))
        })?;
        let (others, summary) = self.checked(&parts)?;
        let entries_of = |(file, part): (&OutputFile, &NamedEntries)| {
            let is_rejected = file.outcome == Some("rejected");
            let unnamed = others.unnamed.iter().filter(|_| is_rejected);
            let mut entries: Vec<usize> =
                part.entries.iter().chain(&others.to_all).chain(unnamed).copied().collect();
            // In the order of the archive, which is read once.
            entries.sort_unstable_by_key(|entry| self.entries[*entry].bytes.start);
            entries
        };
        let entries: Vec<Vec<usize>> = files.iter().zip(&parts).map(entries_of).collect();
        let packed = in_parallel(threads, files.len(), |index| {
            self.pack_part(directory, &files[index], &entries[index], (sync, progress))
        })?;
        for (file, (name, bytes, digest)) in files.iter_mut().zip(packed) {
            directory.remove(&file.path)?;
            (file.path, file.bytes, file.digest) = (name, bytes, digest);
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
        self.checked(&[self.named_in(self.index.as_ref(), form, first_column)]).map(|(_, summary)| summary)
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
            result: None,
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

    /// Makes the archive of a part, with its index behind its files: its name, length and digest.
    fn pack_part(
        &self,
        directory: &OutputDirectory,
        file: &OutputFile,
        entries: &[usize],
        (sync, progress): (bool, &dyn Progress),
    ) -> Result<(String, u64, String), ListError> {
        let stem = Path::new(&file.path).file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}.zip");
        let path = directory.partial_path(&name);
        let mut writer = PartWriter::new(self.mapped.as_ref(), directory.create_file(&name)?);
        for (number, entry) in entries.iter().enumerate() {
            if number.is_multiple_of(256) && progress.interrupted() {
                return Err(ListError::Interrupted);
            }
            writer.copy(&self.entries[*entry]).map_err(write_error(&path))?;
        }
        let index = &self.entries[self.by_name[&self.description.index]];
        let part = directory.mapped(&file.path)?;
        writer.replace(index, part.as_ref()).map_err(write_error(&path))?;
        let (written, bytes, hash) = writer.finish().map_err(write_error(&path))?;
        if sync {
            written.sync_data().map_err(write_error(&path))?;
        }
        match directory.length(&name)? == bytes {
            true => Ok((name, bytes, format!("blake3:{}", hash.to_hex()))),
            false => Err(ListError::Sums),
        }
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

/// The index, unpacked.
fn index_of(
    archive: &mut ZipArchive<Cursor<&[u8]>>,
    description: &ZipDescription,
) -> Result<Vec<u8>, ListError> {
    let name = &description.index;
    let Some(index) = archive.index_for_name(name) else {
        return Err(ArchiveProblem::NoIndex(crate::plain_text::plain(name).into_owned()).into());
    };
    let mut entry = archive.by_index(index).map_err(ArchiveProblem::Zip)?;
    // The crate unpacks no more than the directory says.
    if entry.size() > INDEX_BYTES_MAX {
        return Err(ArchiveProblem::IndexTooLong.into());
    }
    if entry.size() > EXPANSION_FROM && entry.size() / EXPANSION_MAX > entry.compressed_size() {
        return Err(ArchiveProblem::IndexExpands.into());
    }
    let mut bytes = Vec::with_capacity(entry.size() as usize);
    let read = entry.read_to_end(&mut bytes);
    read.map_err(|error| ArchiveProblem::Zip(error.into()))?;
    Ok(bytes)
}

fn archive_of(mapped: &Mapped) -> Result<ZipArchive<Cursor<&[u8]>>, ListError> {
    ZipArchive::new(Cursor::new(mapped.as_ref())).map_err(|error| ArchiveProblem::Zip(error).into())
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
    let index = input::stream(Box::new(Cursor::new(archive.index.clone())), StreamLimits::default())?;
    let options = index_options(&mailing.options, description);
    job(&Mailing { options, ..mailing.clone() }, index, &archive)
}
