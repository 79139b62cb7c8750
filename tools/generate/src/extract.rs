//! The directory of an extract: `register.toml` and all ids in it.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter};
use std::path::Path;

use crate::calendar::Moment;
use crate::identity::Register;

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The fields of `register.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub register: Register,
    pub sequence: u64,
    pub as_of: Moment,
}

impl Header {
    /// The text of `register.toml`.
    pub fn text(&self) -> String {
        let kind = match self.register {
            Register::Far => "far",
            Register::Krr => "krr",
        };
        let mut as_of = Vec::new();
        self.as_of.push_utc(&mut as_of);
        let as_of = String::from_utf8_lossy(&as_of);
        let sequence = self.sequence;
        format!("kind = \"{kind}\"\nsequence = {sequence}\nas_of = \"{as_of}\"\n")
    }

    fn parse(text: &str) -> Result<Self> {
        let value = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(key, _)| key.trim() == name)
                .map(|(_, value)| value.trim().trim_matches('"'))
                .ok_or_else(|| format!("register.toml has no {name}"))
        };
        let register = match value("kind")? {
            "far" => Register::Far,
            "krr" => Register::Krr,
            other => return Err(format!("register.toml: unknown kind {other:?}").into()),
        };
        let sequence = value("sequence")?.parse()?;
        let as_of = value("as_of")?;
        // A register that has followed changes has decimals; the second is enough here.
        let whole = as_of.split_once('.').map(|(whole, _)| format!("{whole}Z"));
        Ok(Header { register, sequence, as_of: Moment::parse(whole.as_deref().unwrap_or(as_of))? })
    }
}

/// Opens a new file of an extract.
pub fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(BufWriter::with_capacity(1 << 20, file))
}

/// Reads `register.toml`.
pub fn read_header(directory: &Path) -> Result<Header> {
    let path = directory.join("register.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Header::parse(&text)
}

/// Reads the header and all ids, in the order of the files.
pub fn read(directory: &Path) -> Result<(Header, Vec<u64>)> {
    let header = read_header(directory)?;
    let (names, marker): (&[&str], &[u8]) = match header.register {
        Register::Far => (&["recipients.csv"], b""),
        Register::Krr => (&["personer.jsonl", "kontaktregister.xml"], b"personidentifikator"),
    };
    let path = names
        .iter()
        .map(|name| directory.join(name))
        .find(|path| path.exists())
        .ok_or_else(|| format!("{} has none of {names:?}", directory.display()))?;
    let ids = read_ids(BufReader::with_capacity(1 << 20, File::open(path)?), marker)?;
    Ok((header, ids))
}

/// The first number after `marker` on each line that has both.
fn read_ids(mut reader: impl BufRead, marker: &[u8]) -> Result<Vec<u64>> {
    let mut ids = Vec::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        ids.extend(id_after(&line, marker));
        line.clear();
    }
    Ok(ids)
}

fn id_after(line: &[u8], marker: &[u8]) -> Option<u64> {
    let start = if marker.is_empty() {
        0
    } else {
        line.windows(marker.len()).position(|window| window == marker)? + marker.len()
    };
    let digits = line[start..]
        .iter()
        .skip_while(|byte| b"\":> ".contains(byte))
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |id, byte| Some(id.unwrap_or(0) * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let as_of = Moment::parse("2026-06-01T04:00:00Z").unwrap();
        let header = Header { register: Register::Krr, sequence: 1000, as_of };
        assert_eq!(Header::parse(&header.text()).unwrap(), header);
        assert!(Header::parse("kind = \"xyz\"").is_err());
    }

    #[test]
    fn ids_are_found_in_all_three_forms() {
        let csv = b"recipient_id,type\n191212121212,Secure\n".as_slice();
        assert_eq!(read_ids(csv, b"").unwrap(), [191_212_121_212]);
        let json = b"{\"personidentifikator\":\"01810112345\",\"reservasjon\":\"NEI\"}\n".as_slice();
        assert_eq!(read_ids(json, b"personidentifikator").unwrap(), [1_810_112_345]);
        let xml = b"<m:personidentifikator>01810112345</m:personidentifikator>".as_slice();
        assert_eq!(read_ids(xml, b"personidentifikator").unwrap(), [1_810_112_345]);
    }
}
