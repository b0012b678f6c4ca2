//! The OpenAPI string formats that an API server checks; all others are only documentation.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

/// Whether `text` has the format `format`; true for formats that are not checked.
pub(super) fn matches(format: &str, text: &str) -> bool {
    match format {
        "date-time" => DATE_TIME.is_match(text) && text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "byte" => illegal_base64(text).is_none(),
        "duration" => DURATION.is_match(text),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "uri" => text.parse::<http::Uri>().is_ok(),
        "hostname" => HOSTNAME.is_match(text) && text.len() <= 253,
        "email" => EMAIL.is_match(text),
        "mac" => MAC.is_match(text),
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        _ => true,
    }
}

/// Offset of the first byte that makes `text` no padded base64 (RFC 4648, section 4).
pub(super) fn illegal_base64(text: &str) -> Option<usize> {
    use base64::{
        DecodeError,
        prelude::{BASE64_STANDARD, Engine as _},
    };
    match BASE64_STANDARD.decode(text).err()? {
        DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol(offset, _) => {
            Some(offset)
        }
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => Some(text.len()),
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let Ok(bits) = bits.parse::<u8>() else {
        return false;
    };
    (address.parse::<Ipv4Addr>().is_ok() && bits <= 32)
        || (address.parse::<Ipv6Addr>().is_ok() && bits <= 128)
}

/// RFC 3339 as Go reads it; other parsers of times are more generous, and typed clients would not
/// read the object again.
static DATE_TIME: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$",
    )
});

/// Go's `time.ParseDuration`, and the spelled-out units that the OpenAPI library adds.
static DURATION: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^[+-]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(ns|us|µs|ms|s|m|h|d|w|seconds?|minutes?|hours?|days?|weeks?)\s*)+$",
    )
});
static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$",
    )
});
static EMAIL: LazyLock<Regex> = LazyLock::new(|| regex(r"^[^@\s]+@[^@\s]+$"));
static MAC: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^([0-9A-Fa-f]{2}[:-]){5}([0-9A-Fa-f]{2}[:-]?){1,3}$"));

#[expect(
    clippy::expect_used,
    reason = "the expressions above are constants, used by the tests"
)]
fn regex(source: &str) -> Regex {
    Regex::new(source).expect("a constant expression compiles")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let cases = [
            ("date-time", "2024-01-02T03:04:05Z", true),
            ("date-time", "2024-01-02 03:04", false),
            ("date", "2024-02-30", false),
            ("duration", "1h30m", true),
            ("duration", "abc", false),
            ("byte", "aGVsbG8=", true),
            ("byte", "a*b=", false),
            ("byte", "abc", false),
            ("ipv4", "127.0.0.1", true),
            ("cidr", "10.0.0.0/33", false),
            ("hostname", "a.b-c", true),
            ("email", "a@b", true),
            ("mac", "02:00:00:00:00:01", true),
            ("uuid", "not", false),
            ("anything-else", "x", true),
        ];
        for (format, text, expected) in cases {
            assert_eq!(matches(format, text), expected, "{format} {text}");
        }
    }
}
