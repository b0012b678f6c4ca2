//! Kubernetes quantities as whole numbers, for comparing them.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const SUFFIXES: [(&str, u128); 12] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
];

/// The value in bytes, rounded up; `None` if it is not a non-negative quantity within 64 bits.
pub(crate) fn bytes(quantity: &Quantity) -> Option<u64> {
    scaled(quantity, 1)
}

/// The value in thousandths, rounded up, as processors are counted.
pub(crate) fn thousandths(quantity: &Quantity) -> Option<u64> {
    scaled(quantity, 1_000)
}

fn scaled(quantity: &Quantity, scale: u128) -> Option<u64> {
    let text = quantity.0.trim();
    let (number, multiplier, divisor) = split(text)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = match (whole, fraction) {
        ("", "") => return None,
        _ => format!("{whole}{fraction}").parse().ok()?,
    };
    let divisor = 10_u128
        .checked_pow(u32::try_from(fraction.len()).ok()?)?
        .checked_mul(divisor)?;
    let value = digits.checked_mul(multiplier)?.checked_mul(scale)?;
    u64::try_from(value.div_ceil(divisor)).ok()
}

/// The number without its suffix, and what the suffix multiplies and divides by.
fn split(text: &str) -> Option<(&str, u128, u128)> {
    let found = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor, 1)));
    if found.is_some() {
        return found;
    }
    let fractions = [("m", 1_000), ("u", 1_000_000), ("n", 1_000_000_000)];
    let found = fractions
        .iter()
        .find_map(|(suffix, parts)| text.strip_suffix(suffix).map(|number| (number, 1, *parts)));
    if found.is_some() {
        return found;
    }
    let Some((number, exponent)) = text.split_once(['e', 'E']) else {
        return Some((text, 1, 1));
    };
    let exponent: i32 = exponent.parse().ok()?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 {
        (number, 1, power)
    } else {
        (number, power, 1)
    })
}

/// The canonical quantity of a number of bytes: the largest binary suffix that divides it.
pub(crate) fn from_bytes(bytes: u64) -> Quantity {
    let binary = SUFFIXES[..6]
        .iter()
        .rev()
        .find(|(_, factor)| bytes != 0 && u128::from(bytes).is_multiple_of(*factor));
    Quantity(match binary {
        Some((suffix, factor)) => format!("{}{suffix}", u128::from(bytes) / factor),
        None => bytes.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_is_read() {
        let cases = [
            ("0", Some(0)),
            ("1024", Some(1024)),
            ("1Gi", Some(1 << 30)),
            ("1.5Ki", Some(1536)),
            ("1500m", Some(2)),
            ("2k", Some(2000)),
            ("1e3", Some(1000)),
            ("12E2", Some(1200)),
            ("1E", Some(1_000_000_000_000_000_000)),
            ("5e-1", Some(1)),
            ("", None),
            ("-1", None),
            ("lots", None),
            ("99Ei", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(&Quantity(text.into())), expected, "{text}");
        }
    }

    #[test]
    fn processors_are_counted_in_thousandths() {
        let cases = [
            ("1", 1000),
            ("250m", 250),
            ("0.1", 100),
            ("1500u", 2),
            ("1n", 1),
        ];
        for (text, expected) in cases {
            assert_eq!(
                thousandths(&Quantity(text.into())),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn bytes_are_written_in_the_largest_exact_unit() {
        assert_eq!(from_bytes(1 << 30).0, "1Gi");
        assert_eq!(from_bytes(3 << 20).0, "3Mi");
        assert_eq!(from_bytes(1001).0, "1001");
        assert_eq!(from_bytes(0).0, "0");
    }
}
