//! Kubernetes quantities: numbers such as `500m`, `1.5Gi` or `12e6`.
//!
//! The grammar and the canonical form are those of the Kubernetes API reference, "Quantity".

use std::fmt;

/// An exact number with the notation that it was written in.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    /// The value in units of 10⁻⁹, within ±(2⁶³-1)·10⁹.
    nano: i128,
    notation: Notation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    /// `Ki`, `Mi`, …
    Binary,
    /// `m`, `k`, `M`, …
    Decimal,
    /// `e3`, `E6`, …
    Exponent,
}

/// A text that is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Characters that occur in no quantity, or in a wrong order.
    #[error(
        "quantities must match the regular expression \
         '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The digits are no number.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is none of those that are known.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i128 = 1_000_000_000;
const LIMIT: i128 = i64::MAX as i128 * NANO;
const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, suffix) = unsigned.split_at(end.unwrap_or(unsigned.len()));
        if text.is_empty() || !is_suffix(suffix) {
            return Err(QuantityError::Format);
        }
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return Err(QuantityError::Number);
        }
        let (notation, power, shift) = scale(suffix)?;
        let nano = to_nano(whole, fraction, power, shift);
        Ok(Self {
            nano: if text.starts_with('-') { -nano } else { nano },
            notation,
        })
    }
}

/// Whether `text` is `[eEinumkKMGTP]*[-+]?[0-9]*`.
fn is_suffix(text: &str) -> bool {
    let rest = text.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest.bytes().all(|b| b.is_ascii_digit())
}

/// The notation, power of ten and power of two of a suffix.
fn scale(suffix: &str) -> Result<(Notation, i32, u32), QuantityError> {
    if let Some(&(_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Notation::Decimal, power, 0));
    }
    if let Some(index) = BINARY.iter().position(|name| *name == suffix) {
        let shift = 10 * (u32::try_from(index).unwrap_or_default() + 1);
        return Ok((Notation::Binary, 0, shift));
    }
    let exponent = suffix
        .strip_prefix(['e', 'E'])
        .and_then(|digits| digits.parse::<i32>().ok());
    exponent
        .map(|power| (Notation::Exponent, power, 0))
        .ok_or(QuantityError::Suffix)
}

/// The digits times 10^`power` times 2^`shift`, rounded up to a whole nano, capped at [`LIMIT`].
fn to_nano(whole: &str, fraction: &str, power: i32, shift: u32) -> i128 {
    let digits = whole
        .bytes()
        .chain(fraction.bytes())
        .map(|b| i128::from(b - b'0'));
    let length = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let mut power = power.saturating_add(9).saturating_sub(length);
    let (mut value, mut lost) = (0_i128, false);
    for digit in digits {
        // Digits beyond what the limit can hold only matter as a power of ten and a rounding.
        if value < LIMIT {
            value = value * 10 + digit;
        } else {
            lost |= digit != 0;
            power = power.saturating_add(1);
        }
    }
    value = value
        .checked_shl(shift)
        .filter(|v| v >> shift == value)
        .unwrap_or(i128::MAX);
    while power > 0 && value != 0 && value < LIMIT {
        value *= 10;
        power -= 1;
    }
    while power < 0 && value != 0 {
        lost |= value % 10 != 0;
        value /= 10;
        power += 1;
    }
    value.saturating_add(i128::from(lost)).min(LIMIT)
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, and the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let small = self.nano.abs() < 1024 * NANO;
        if self.notation == Notation::Binary && !small {
            return self.binary(f);
        }
        let (mut value, mut power) = (self.nano, -9);
        while value != 0 && value % 1000 == 0 && power < 18 {
            value /= 1000;
            power += 3;
        }
        if value == 0 {
            return f.write_str("0");
        }
        match self.notation {
            Notation::Exponent if power == 0 => write!(f, "{value}"),
            Notation::Exponent => write!(f, "{value}e{power}"),
            _ => {
                let suffix = DECIMAL
                    .iter()
                    .find(|(_, p)| *p == power)
                    .map_or("", |(name, _)| name);
                write!(f, "{value}{suffix}")
            }
        }
    }
}

impl Quantity {
    fn binary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.nano / NANO;
        if self.nano % NANO > 0 {
            value += 1;
        }
        let mut suffix = "";
        for larger in BINARY {
            if value % 1024 != 0 {
                break;
            }
            value /= 1024;
            suffix = larger;
        }
        write!(f, "{value}{suffix}")
    }

    /// Whether the value is below zero.
    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }

    /// Whether the value is zero.
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// Whether the value is an integer.
    pub fn is_whole(&self) -> bool {
        self.nano % NANO == 0
    }

    /// The next integer that is not below the value.
    #[must_use]
    pub fn rounded_up(self) -> Self {
        let below = self.nano.div_euclid(NANO) * NANO;
        let up = if below < self.nano { NANO } else { 0 };
        Self {
            nano: (below + up).min(LIMIT),
            ..self
        }
    }

    /// How often `other` fits into the value, with a fraction; not a number if both are zero.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn ratio(&self, other: &Self) -> f64 {
        self.nano as f64 / other.nano as f64
    }

    /// A sum is written like its first part, unless that is nothing.
    fn notation_with(&self, other: &Self) -> Notation {
        if self.is_zero() {
            other.notation
        } else {
            self.notation
        }
    }
}

impl Default for Quantity {
    fn default() -> Self {
        Self::from(0)
    }
}

impl From<i64> for Quantity {
    fn from(value: i64) -> Self {
        Self {
            nano: (i128::from(value) * NANO).max(-LIMIT),
            notation: Notation::Decimal,
        }
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    /// The sum, within the bounds of a quantity.
    fn add(self, other: Self) -> Self {
        Self {
            nano: (self.nano + other.nano).clamp(-LIMIT, LIMIT),
            notation: self.notation_with(&other),
        }
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;

    /// The difference, within the bounds of a quantity.
    fn sub(self, other: Self) -> Self {
        Self {
            nano: (self.nano - other.nano).clamp(-LIMIT, LIMIT),
            notation: self.notation_with(&other),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nano.cmp(&other.nano)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn canonical_forms() {
        let cases = [
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1Ki", "1Ki"),
            ("1023Ki", "1023Ki"),
            ("512", "512"),
            ("0.5", "500m"),
            ("1000", "1k"),
            ("1500M", "1500M"),
            ("12e6", "12e6"),
            ("1E3", "1e3"),
            ("1E", "1E"),
            ("0Gi", "0"),
            ("-1", "-1"),
            ("+1.", "1"),
            (".5", "500m"),
            ("0.1n", "1n"),
            ("0.5Ki", "512"),
            ("9223372036854775807", "9223372036854775807"),
            (
                "99999999999999999999999999999999999999999E",
                "9223372036854775807",
            ),
        ];
        for (text, canonical) in cases {
            assert_eq!(
                text.parse::<Quantity>().unwrap().to_string(),
                canonical,
                "{text}"
            );
        }
    }

    #[test]
    fn faults() {
        for text in ["", "abc", "10KB", "10Zi", "1 Gi", "1Gi ", "-"] {
            let error = text.parse::<Quantity>().unwrap_err();
            let expected = if text == "-" {
                QuantityError::Number
            } else {
                QuantityError::Format
            };
            assert_eq!(error, expected, "{text:?}");
        }
        assert_eq!("Gi".parse::<Quantity>().unwrap_err(), QuantityError::Number);
        assert_eq!(
            "1.2.3".parse::<Quantity>().unwrap_err(),
            QuantityError::Number
        );
        assert_eq!(
            "1Kk".parse::<Quantity>().unwrap_err(),
            QuantityError::Suffix
        );
        assert_eq!("1K".parse::<Quantity>().unwrap_err(), QuantityError::Suffix);
    }

    #[test]
    fn sums_keep_the_notation_of_their_first_part() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        let sum = |a: &str, b: &str| (quantity(a) + quantity(b)).to_string();
        assert_eq!(sum("0", "1Gi"), "1Gi");
        assert_eq!(sum("1Gi", "1024Mi"), "2Gi");
        assert_eq!(sum("1", "500m"), "1500m");
        assert_eq!((quantity("1Gi") - quantity("1Gi")).to_string(), "0");
        assert_eq!(quantity("1.2").rounded_up(), quantity("2"));
        assert_eq!(quantity("-1.2").rounded_up(), quantity("-1"));
    }

    #[test]
    fn order_is_by_value() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        assert!(quantity("1Gi") > quantity("1G"));
        assert_eq!(quantity("1000m"), quantity("1"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-+]?[0-9.]{0,45}[eEinumkKMGTP]{0,3}[-+]?[0-9]{0,12}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn the_canonical_form_is_stable(value in any::<i64>(), suffix in "(|m|k|M|Ki|Mi|e3)") {
            if let Ok(quantity) = format!("{value}{suffix}").parse::<Quantity>() {
                let canonical = quantity.to_string();
                let again: Quantity = canonical.parse().unwrap();
                prop_assert_eq!(again, quantity);
                prop_assert_eq!(again.to_string(), canonical);
            }
        }
    }
}
