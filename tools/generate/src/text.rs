//! Small writers of bytes, shared by all outputs.

/// Appends `value` with leading zeros, `width` digits.
pub fn push_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let start = out.len();
    out.resize(start + width, b'0');
    let mut rest = value;
    for byte in out[start..].iter_mut().rev() {
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

/// Appends a field of a comma separated file, quoted when it must be (RFC 4180).
pub fn push_csv(out: &mut Vec<u8>, field: &str) {
    if !field.contains([',', '"', '\n', '\r']) {
        out.extend_from_slice(field.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(field.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

/// Appends one line of a comma separated file.
pub fn push_csv_line(out: &mut Vec<u8>, fields: &[&str]) {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_csv(out, field);
    }
    out.push(b'\n');
}

/// FNV-1a of an output, so that a test can pin all of it in one number.
#[cfg(test)]
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_padded() {
        let mut out = Vec::new();
        push_padded(&mut out, 42, 5);
        assert_eq!(out, b"00042");
    }

    #[test]
    fn fields_are_quoted_when_they_must_be() {
        let mut out = Vec::new();
        push_csv_line(&mut out, &["a", "b, c", "d \"e\"", ""]);
        assert_eq!(out, b"a,\"b, c\",\"d \"\"e\"\"\",\n");
    }
}
