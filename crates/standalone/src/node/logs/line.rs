//! One line of a log file.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// Times with nanoseconds, all of the same length.
const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));

/// Whose line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// Writes a line; `text` is without its line end. A part is continued by the next line of the same
/// stream.
pub(super) fn write(into: &mut Vec<u8>, at: Timestamp, stream: Stream, is_part: bool, text: &[u8]) {
    let stream = match stream {
        Stream::Output => "stdout",
        Stream::Error => "stderr",
    };
    let tag = if is_part { "P" } else { "F" };
    let head = format!("{} {stream} {tag} ", PRINTER.timestamp_to_string(&at));
    into.extend_from_slice(head.as_bytes());
    into.extend_from_slice(text);
    into.push(b'\n');
}

/// A line as it is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// When it was said.
    pub(super) at: Timestamp,
    /// The time as it was written.
    pub(super) time: &'a [u8],
    /// Whether its end follows.
    pub(super) is_part: bool,
    /// What was said, without the line end.
    pub(super) text: &'a [u8],
}

/// Reads a line, with or without its end; `None` for one that a crash cut.
pub(super) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (time, _stream, tag, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let at = std::str::from_utf8(time).ok()?.parse().ok()?;
    Some(Line {
        at,
        time,
        is_part: tag == b"P",
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut file = Vec::new();
        let at = Timestamp::now();
        write(&mut file, at, Stream::Error, true, b"half a  line");
        let line = parse(&file).unwrap();
        assert_eq!(
            (line.at, line.is_part, line.text),
            (at, true, b"half a  line".as_slice())
        );
        assert!(file.starts_with(line.time));
    }

    #[test]
    fn a_cut_line_is_none() {
        for cut in ["", "2026-11-21T05:09:00.000000000Z", "x stdout F text"] {
            assert_eq!(parse(cut.as_bytes()), None, "{cut:?}");
        }
    }
}
