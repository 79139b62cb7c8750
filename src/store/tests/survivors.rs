//! The disks that a power cut may leave.
//!
//! Synced edits survive. Of the others any subset may survive: none, all, all but one, each up to some byte, lengths
//! without content, and any subset of small pieces. Names and contents are lost independently.

use super::disk::{Bytes, Edit, NameEdit, SimDisk, SimFile, State, Target};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A disk after a power cut, and which edits survived.
pub(super) struct Survivor {
    pub(super) disk: SimDisk,
    pub(super) how: String,
    /// Only the durable content.
    pub(super) bare: bool,
    /// All edits, also the interrupted one.
    pub(super) whole: bool,
}

/// Which edits of each file survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    /// All but one.
    Without(usize),
    /// Some of the first only.
    First(usize),
    /// One up to a byte, and all others.
    Torn(usize, usize),
    /// Lengths with zeros.
    Hollow,
    /// Some pieces of 64 bytes.
    Scattered(u64),
}

/// Edits of this length may be a register file and are not torn at every offset of interest.
const SHORT: usize = 1 << 16;
/// Up to so many edits, all subsets are tried.
const SUBSETS: usize = 4;

/// All disks to try for this crash, each once.
pub(super) fn survivors(disk: &SimDisk) -> Vec<Survivor> {
    let state = disk.state();
    let (names, fates) = (name_fates(state.edits.len()), fates(&state));
    let mut survivors: Vec<Survivor> = Vec::new();
    let mut seen = HashMap::new();
    for (number, kept) in names.iter().enumerate() {
        for &fate in &fates {
            // Contents are torn both with the durable and with the current names.
            if number >= 2 && !matches!(fate, Fate::Lost | Fate::Kept) {
                continue;
            }
            let files = survive(&state, kept, fate);
            let index = *seen.entry(digest(&files)).or_insert_with(|| {
                let how = format!("{fate:?}, names {kept:?}, interrupted {:?}", state.interrupted);
                survivors.push(Survivor { disk: SimDisk::fresh(files), how, bare: false, whole: false });
                survivors.len() - 1
            });
            survivors[index].bare |= fate == Fate::Lost && !kept.contains(&true);
            survivors[index].whole |= fate == Fate::Kept && !kept.contains(&false);
        }
    }
    survivors
}

/// Which edits of the names survive: none, all, then others.
fn name_fates(count: usize) -> Vec<Vec<bool>> {
    let subset = |bits: usize| (0..count).map(|edit| bits >> edit & 1 == 1).collect();
    let all = (1 << count) - 1;
    let others: Vec<usize> = match count {
        0 => return vec![Vec::new()],
        1..=SUBSETS => (1..all).collect(),
        _ => (0..count).flat_map(|edit| [1 << edit, all & !(1 << edit), (1 << edit) - 1]).collect(),
    };
    [0, all].into_iter().chain(others).map(subset).collect()
}

fn fates(state: &State) -> Vec<Fate> {
    let edited = (0..state.files.len()).filter(|&file| !state.files[file].edits.is_empty());
    let Some(file) = edited.max_by_key(|&file| state.files[file].edits.len()) else {
        return vec![Fate::Lost, Fate::Kept];
    };
    let edits = &state.files[file].edits;
    let complete = |(name, &of): (&String, &usize)| of == file && !name.ends_with(".partial");
    if !state.names.iter().any(complete) {
        // Its content does not matter: it will be removed.
        return vec![Fate::Lost, Fate::Kept, Fate::Scattered(1)];
    }
    let mut fates = vec![Fate::Lost, Fate::Kept, Fate::Hollow];
    fates.extend((0..edits.len()).flat_map(|edit| [Fate::Without(edit), Fate::First(edit)]));
    for (number, edit) in edits.iter().enumerate() {
        let Edit::Write { bytes, .. } = edit else { continue };
        let length = bytes.len();
        match length < SHORT {
            true => fates.extend(interesting(length).map(|at| Fate::Torn(number, at))),
            false => fates.push(Fate::Torn(number, length / 2)),
        }
    }
    if edits.iter().all(|edit| !matches!(edit, Edit::Write { bytes, .. } if bytes.len() >= SHORT)) {
        fates.extend((1..=6).map(Fate::Scattered));
    }
    fates
}

/// Offsets at which a frame is torn: within and around the fields of its head, and in its changes.
fn interesting(length: usize) -> impl Iterator<Item = usize> {
    let offsets = [1, 7, 8, 16, 47, 48, 55, 56, 87, 88, 89, length / 2, length.saturating_sub(8), length - 1];
    offsets.into_iter().filter(move |&at| at < length)
}

fn survive(state: &State, kept: &[bool], fate: Fate) -> BTreeMap<String, Arc<Bytes>> {
    let mut names = state.durable.clone();
    let done = state.edits.iter().zip(kept).filter(|(_, kept)| **kept);
    done.for_each(|(edit, _): (&NameEdit, _)| edit.apply(&mut names));
    let content =
        |file: usize| content(&state.files[file], state.interrupted == Some(Target::File(file)), fate);
    names.into_iter().map(|(name, file)| (name, content(file))).collect()
}

fn content(file: &SimFile, interrupted: bool, fate: Fate) -> Arc<Bytes> {
    let edits = &file.edits;
    if edits.is_empty() || fate == Fate::Lost {
        return Arc::clone(&file.durable);
    }
    if fate == Fate::Kept && !interrupted && (*file.now).as_ref().len() >= SHORT {
        return Arc::clone(&file.now);
    }
    let mut content = (*file.durable).clone();
    for (number, edit) in edits.iter().enumerate() {
        match (fate, edit) {
            (Fate::Without(one), _) if one == number => {}
            (Fate::First(count), _) if number >= count => {}
            (Fate::Torn(one, bytes), Edit::Write { at, bytes: all }) if one == number => {
                Edit::Write { at: *at, bytes: all[..bytes].into() }.apply(&mut content);
            }
            (Fate::Hollow, Edit::Write { at, bytes }) => {
                // Only new bytes can be zero; durable ones keep their content.
                let length = content.as_ref().len().max(at + bytes.len());
                Edit::Cut(length).apply(&mut content);
            }
            (Fate::Scattered(seed), Edit::Write { at, bytes }) => scatter(&mut content, *at, bytes, seed),
            _ => edit.apply(&mut content),
        }
    }
    Arc::new(content)
}

/// Writes some of the pieces; of the others at most the length.
fn scatter(content: &mut Bytes, at: usize, bytes: &[u8], seed: u64) {
    for (index, piece) in (at..).step_by(64).zip(bytes.chunks(64)) {
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(&index.to_le_bytes(), seed);
        if hash & 1 == 1 {
            Edit::Write { at: index, bytes: piece.into() }.apply(content);
        }
    }
}

/// Fingerprint of a disk. Register files are compared by address, not byte by byte.
fn digest(files: &BTreeMap<String, Arc<Bytes>>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (name, content) in files {
        let bytes = (**content).as_ref();
        hasher.update(name.as_bytes()).update(&bytes.len().to_le_bytes());
        match bytes.len() < SHORT {
            true => hasher.update(bytes),
            false => hasher.update(&(Arc::as_ptr(content) as usize).to_le_bytes()),
        };
    }
    *hasher.finalize().as_bytes()
}
