//! Register files that are sent to replicas, known to be whole.

use crate::register::{Damage, DamagedSection, Register};
use crate::snapshot::Snapshot;
use crate::snapshot::format::Entry;

/// BLAKE3 of a register's file, 64 hexadecimal digits. A source that states it vouches for the file, so all bytes are
/// compared with the file's own checksums first. Cost: reads the file twice, on all cores.
///
/// Errors: a checksum does not match, or the file was written to since it was opened.
pub(crate) fn digest(register: &Register, file: &Snapshot) -> Result<String, Damage> {
    if let Some(name) = first_damaged(file) {
        // A file that was written to is the likelier reason.
        return Err(register.intact().err().unwrap_or(DamagedSection { name }.into()));
    }
    let digest = file.digest();
    register.intact().map(|()| digest)
}

/// The first section whose checksum does not match, or that the preceding padding does not reach. The checksum of header
/// and section table was compared when the file was opened.
fn first_damaged(file: &Snapshot) -> Option<&'static str> {
    let bytes = file.as_ref();
    let mut end = None;
    let damaged = file.sections().iter().find(|entry| {
        let (start, length) = (entry.offset as usize, entry.bytes as usize);
        let before = end.replace(start + length).map_or(Some(&[][..]), |end: usize| bytes.get(end..start));
        let is_padded = before.is_some_and(|padding| padding.iter().all(|&byte| byte == 0));
        let content = bytes.get(start..start + length);
        !is_padded || content.is_none_or(|content| !has_sum(entry, content))
    });
    damaged.map(|entry| entry.section.name())
}

fn has_sum(entry: &Entry, content: &[u8]) -> bool {
    blake3::Hasher::new().update_rayon(content).finalize() == entry.sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::BuildOptions;
    use std::fs;
    use std::path::Path;

    /// A flipped bit anywhere is found, also in the padding.
    #[test]
    fn a_damaged_file_has_no_digest() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("far.nabar");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
        crate::extract::build(fixture, &path, &BuildOptions::default()).expect("built");
        let bytes = fs::read(&path).expect("read");
        let whole = Snapshot::from_bytes(&bytes).expect("whole");
        let expected = blake3::hash(&bytes).to_hex().to_string();
        assert_eq!(digest(&whole.register().expect("whole"), &whole), Ok(expected));
        let entries = whole.sections().to_vec();
        let mut places: Vec<usize> = entries
            .iter()
            .filter(|entry| entry.bytes > 0)
            .map(|entry| (entry.offset + entry.bytes / 2) as usize)
            .collect();
        let ends = entries.windows(2).filter(|pair| pair[0].offset + pair[0].bytes < pair[1].offset);
        let padding: Vec<usize> = ends.map(|pair| (pair[0].offset + pair[0].bytes) as usize).collect();
        assert!(!padding.is_empty(), "there is padding");
        places.extend(padding);
        for place in places {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            let file = Snapshot::from_bytes(&damaged).expect("the header is whole");
            // Damage in other sections is found when a register is opened.
            if let Ok(register) = file.register() {
                assert!(digest(&register, &file).is_err(), "byte {place}");
            }
        }
    }

    #[test]
    fn a_file_that_was_written_to_has_no_digest() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("far.nabar");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
        crate::extract::build(fixture, &path, &BuildOptions::default()).expect("built");
        let file = Snapshot::open(&path).expect("whole");
        let register = file.register().expect("whole");
        fs::File::options()
            .write(true)
            .open(&path)
            .expect("open")
            .set_modified(std::time::SystemTime::UNIX_EPOCH)
            .expect("set");
        assert_eq!(digest(&register, &file), Err(Damage::Changed));
    }
}
