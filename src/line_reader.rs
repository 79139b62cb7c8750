//! Lines of bounded length: an input without line ends takes no more memory than any other.

use std::io::{self, BufRead};

/// What [`LineReader::read`] has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLine {
    /// A line with its line feed; the last line may have none.
    Whole,
    /// The beginning of a line that is longer than allowed.
    TooLong,
    /// Nothing: the input has ended.
    End,
}

/// Reads lines that end with a line feed. A carriage return before it counts as a byte of the line.
///
/// Cost: each byte is searched once and copied once.
pub struct LineReader<R> {
    input: R,
    bytes_max: usize,
    number: u64,
    /// Whether the rest of a line that is too long has not been read.
    is_inside: bool,
}

impl<R: BufRead> LineReader<R> {
    /// Lines of an input of at most `bytes_max` bytes, without their line feeds.
    pub fn new(input: R, bytes_max: usize) -> LineReader<R> {
        LineReader { input, bytes_max, number: 0, is_inside: false }
    }

    /// Number of the line that was read last, from 1; 0 before the first.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The input, behind what was read.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// Appends the next line to `text`. If it is too long, these are its first bytes, as many as are allowed; its rest is
    /// skipped by the next call.
    ///
    /// Errors: those of the input.
    pub fn read(&mut self, text: &mut Vec<u8>) -> io::Result<ReadLine> {
        if self.is_inside {
            self.skip_rest()?;
        }
        self.append(self.bytes_max, text, true)
    }

    /// Appends more of a line that was [`ReadLine::TooLong`], at most `more` bytes, as [`read`](Self::read) does.
    pub fn read_on(&mut self, more: usize, text: &mut Vec<u8>) -> io::Result<ReadLine> {
        if self.is_inside { self.append(more, text, false) } else { Ok(ReadLine::Whole) }
    }

    /// Appends at most `left` bytes of a line; `is_new` if nothing of it has been read.
    fn append(&mut self, mut left: usize, text: &mut Vec<u8>, mut is_new: bool) -> io::Result<ReadLine> {
        self.is_inside = false;
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            if available.is_empty() {
                return Ok(if is_new { ReadLine::End } else { ReadLine::Whole });
            }
            self.number += u64::from(is_new);
            is_new = false;
            // One byte more than allowed, which may be the line feed.
            let window = &available[..available.len().min(left.saturating_add(1))];
            let (taken, end) = match memchr::memchr(b'\n', window) {
                Some(at) => (at + 1, Some(ReadLine::Whole)),
                None if window.len() > left => (left, Some(ReadLine::TooLong)),
                None => (window.len(), None),
            };
            text.extend_from_slice(&window[..taken]);
            self.input.consume(taken);
            if let Some(end) = end {
                self.is_inside = end == ReadLine::TooLong;
                return Ok(end);
            }
            left -= taken;
        }
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            let end = memchr::memchr(b'\n', available);
            let taken = end.map_or(available.len(), |at| at + 1);
            let is_over = end.is_some() || available.is_empty();
            self.input.consume(taken);
            if is_over {
                self.is_inside = false;
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    /// An input that hands out its bytes in given pieces.
    struct Pieces(VecDeque<Vec<u8>>);

    impl io::Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let available = self.fill_buf()?;
            let count = available.len().min(buffer.len());
            buffer[..count].copy_from_slice(&available[..count]);
            self.consume(count);
            Ok(count)
        }
    }

    impl BufRead for Pieces {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            while self.0.front().is_some_and(Vec::is_empty) {
                self.0.pop_front();
            }
            Ok(self.0.front().map_or(&[], Vec::as_slice))
        }

        fn consume(&mut self, count: usize) {
            if let Some(first) = self.0.front_mut() {
                first.drain(..count);
            }
        }
    }

    /// The lines of a text as the standard library splits it: whole, or the allowed beginning of one that is too long.
    fn naive(text: &[u8], bytes_max: usize) -> Vec<(u64, ReadLine, Vec<u8>)> {
        let each = |(number, line): (u64, &[u8])| {
            let content = line.strip_suffix(b"\n").unwrap_or(line);
            match content.len() <= bytes_max {
                true => (number, ReadLine::Whole, line.to_vec()),
                false => (number, ReadLine::TooLong, content[..bytes_max].to_vec()),
            }
        };
        (1..).zip(text.split_inclusive(|&byte| byte == b'\n')).map(each).collect()
    }

    fn read_all(input: Pieces, bytes_max: usize) -> Vec<(u64, ReadLine, Vec<u8>)> {
        let (mut reader, mut lines) = (LineReader::new(input, bytes_max), Vec::new());
        loop {
            let mut text = Vec::new();
            match reader.read(&mut text).expect("no errors") {
                ReadLine::End => return lines,
                read => lines.push((reader.number(), read, text)),
            }
        }
    }

    fn in_pieces(text: &[u8], cuts: &[usize]) -> Pieces {
        let (mut pieces, mut rest) = (VecDeque::new(), text);
        for cut in cuts {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.push_back(piece.to_vec());
            rest = after;
        }
        pieces.push_back(rest.to_vec());
        Pieces(pieces)
    }

    /// Lines whose lengths are around the limit, with both line ends, and perhaps none at the end.
    fn texts(bytes_max: usize) -> impl Strategy<Value = Vec<u8>> {
        let lengths =
            prop_oneof![0..4usize, bytes_max.saturating_sub(2)..bytes_max + 3, 0..3 * bytes_max + 3];
        let line = (lengths, prop_oneof![Just("\n"), Just("\r\n"), Just("\n\n"), Just("\r")]);
        (prop::collection::vec(line, 0..8), 0..bytes_max + 3).prop_map(|(lines, last)| {
            let mut text = Vec::new();
            for (length, end) in lines {
                text.extend((0..length).map(|at| b'a' + (at % 26) as u8));
                text.extend(end.bytes());
            }
            text.extend(std::iter::repeat_n(b'z', last));
            text
        })
    }

    proptest! {
        #[test]
        fn lines_are_those_of_a_naive_reader(
            (bytes_max, text) in (1..40usize).prop_flat_map(|bytes_max| (Just(bytes_max), texts(bytes_max))),
            cuts in prop::collection::vec(0..20usize, 0..30),
        ) {
            prop_assert_eq!(read_all(in_pieces(&text, &cuts), bytes_max), naive(&text, bytes_max));
        }

        #[test]
        fn a_line_that_is_too_long_can_be_read_on(
            (bytes_max, text) in (1..40usize).prop_flat_map(|bytes_max| (Just(bytes_max), texts(bytes_max))),
            cuts in prop::collection::vec(0..20usize, 0..30),
            more in 0..40usize,
        ) {
            let (mut reader, mut lines) = (LineReader::new(in_pieces(&text, &cuts), bytes_max), Vec::new());
            loop {
                let mut line = Vec::new();
                let read = match reader.read(&mut line).expect("no errors") {
                    ReadLine::End => break,
                    ReadLine::TooLong => reader.read_on(more, &mut line).expect("no errors"),
                    whole => whole,
                };
                lines.push((reader.number(), read, line));
            }
            prop_assert_eq!(lines, naive(&text, bytes_max + more));
        }
    }

    #[test]
    fn an_endless_line_takes_no_more_than_the_limit() {
        let endless = io::BufReader::new(io::repeat(b'x'));
        let (mut reader, mut text) = (LineReader::new(endless, 1000), Vec::new());
        assert_eq!(reader.read(&mut text).expect("read"), ReadLine::TooLong);
        assert_eq!(text.len(), 1000);
    }
}
