//! What an image is, judged by its first bytes. Names and media types are not looked at: they lie.

use crate::limits;

/// What the first bytes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// A gzip stream; the image is inside.
    Gzip,
    /// A qcow2 image.
    Qcow2,
    /// A format that is recognised to be refused: written as it is, it would be no disk.
    Unsupported(&'static str),
    /// None of the above, so the bytes are the disk itself.
    Raw,
}

/// Magic numbers of formats that are refused, with their offset.
const UNSUPPORTED: [(usize, &[u8], &str); 8] = [
    (0, b"\xFD7zXZ\0", "xz-compressed"),
    (0, b"\x28\xB5\x2F\xFD", "zstd-compressed"),
    (0, b"KDMV", "VMDK"),
    (0, b"COWD", "VMDK"),
    (0, b"conectix", "VHD"),
    (0, b"vhdxfile", "VHDX"),
    (0x40, b"\x7F\x10\xDA\xBE", "VDI"),
    (0x101, b"ustar", "tar"),
];

/// Judges the beginning of an image; 512 bytes suffice.
pub fn signature(head: &[u8]) -> Signature {
    let has = |offset: usize, magic: &[u8]| {
        head.get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    if has(0, &[0x1F, 0x8B]) {
        return Signature::Gzip;
    }
    if has(0, b"QFI\xFB") {
        return Signature::Qcow2;
    }
    UNSUPPORTED
        .iter()
        .find(|(offset, magic, _)| has(*offset, magic))
        .map_or(Signature::Raw, |(_, _, name)| Signature::Unsupported(name))
}

/// Whether an image begins like a document: printable text without any control character.
///
/// Boot sectors contain code and zeros; so does every partition table and file system.
pub(crate) fn looks_like_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(512)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character may be cut at the end of the sample.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty()
        && text
            .chars()
            .all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r'))
}

/// The first words of a document, on one line and safe to show.
pub(crate) fn excerpt(head: &[u8]) -> String {
    const LONGEST: usize = 60;
    let text = String::from_utf8_lossy(&head[..head.len().min(limits::HEAD_BYTES)]);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control() || c == '\u{FFFD}');
    let line = words
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    line.chars().take(LONGEST - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures() {
        assert_eq!(signature(b"\x1F\x8B\x08"), Signature::Gzip);
        assert_eq!(signature(b"QFI\xFB\0\0\0\x03"), Signature::Qcow2);
        assert_eq!(signature(b"KDMV"), Signature::Unsupported("VMDK"));
        let mut tar = vec![0; 512];
        tar[0x101..0x106].copy_from_slice(b"ustar");
        assert_eq!(signature(&tar), Signature::Unsupported("tar"));
        assert_eq!(signature(&[0; 512]), Signature::Raw);
        assert_eq!(signature(b"Q"), Signature::Raw);
    }

    #[test]
    fn documents_and_disks() {
        for text in [
            "<!DOCTYPE html>\n<html>",
            "{\"error\": 404}",
            "gr\u{fc}\u{df}e",
            "a",
        ] {
            assert!(looks_like_text(text.as_bytes()), "{text}");
        }
        assert!(
            looks_like_text(&"\u{e4}".repeat(300).as_bytes()[..511]),
            "a cut character"
        );
        for disk in [
            &b"\xEB\x63\x90"[..],
            b"text\0",
            b"",
            b"\x1B[0m",
            b"caf\xE9 au lait",
        ] {
            assert!(!looks_like_text(disk), "{disk:?}");
        }
    }

    #[test]
    fn excerpts_are_short_and_printable() {
        assert_eq!(
            excerpt(b"<html>\r\n\t<b>\x1b[1mhi</b>"),
            "<html> <b> [1mhi</b>"
        );
        assert_eq!(excerpt(&[b'x'; 100]).chars().count(), 60);
    }
}
