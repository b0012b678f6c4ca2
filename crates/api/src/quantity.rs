//! Kubernetes quantities: `1Gi`, `500M`, `1073741824`, `1.5e3`.

use std::{cmp::Ordering, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a quantity looks like, as the API server's own schemas say it.
pub const PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Parts of one; the finest suffix is `n`.
const NANO: i128 = 1_000_000_000;

/// An amount, exact to a billionth, together with the text it was written as.
///
/// Compares by value; serialises as it was written, so that an object never changes by being read.
/// (Kubernetes API conventions, "Quantity".)
#[derive(Debug, Clone)]
pub struct Quantity {
    nanos: i128,
    text: String,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It does not have the form of one.
    #[error("{0:?} is no quantity: it must look like 10Gi, 500M or 1073741824")]
    Malformed(String),
    /// It is beyond what can be held (about 10^29).
    #[error("quantity {0:?} is too large")]
    TooLarge(String),
}

impl Quantity {
    /// A quantity of whole units, such as bytes.
    pub fn from_units(units: u64) -> Self {
        Self {
            nanos: i128::from(units) * NANO,
            text: units.to_string(),
        }
    }

    /// Whole units, rounded up; 0 for a negative amount.
    pub fn units(&self) -> u64 {
        let whole = self.nanos.div_euclid(NANO) + i128::from(self.nanos.rem_euclid(NANO) != 0);
        u64::try_from(whole.max(0)).unwrap_or(u64::MAX)
    }

    /// Whether it is above zero.
    pub fn is_positive(&self) -> bool {
        self.nanos > 0
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || QuantityError::Malformed(text.to_owned());
        let too_large = || QuantityError::TooLarge(text.to_owned());
        let (sign, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (-1, &text[1..]),
            Some(b'+') => (1, &text[1..]),
            _ => (1, text),
        };
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return Err(malformed());
        }
        let digits = format!("{whole}{fraction}");
        let mantissa: i128 = digits.parse().map_err(|_| too_large())?;
        let places = i32::try_from(fraction.len()).map_err(|_| too_large())?;
        let (base, exponent): (i128, i32) = match suffix {
            "n" => (1, -9),
            "u" => (1, -6),
            "m" => (1, -3),
            "" => (1, 0),
            "k" => (1, 3),
            "M" => (1, 6),
            "G" => (1, 9),
            "T" => (1, 12),
            "P" => (1, 15),
            "E" => (1, 18),
            "Ki" => (1 << 10, 0),
            "Mi" => (1 << 20, 0),
            "Gi" => (1 << 30, 0),
            "Ti" => (1 << 40, 0),
            "Pi" => (1 << 50, 0),
            "Ei" => (1 << 60, 0),
            _ => match suffix.strip_prefix(['e', 'E']) {
                Some(exponent) => (1, exponent.parse().map_err(|_| malformed())?),
                None => return Err(malformed()),
            },
        };
        // In nanos: mantissa × base × 10^(exponent - places + 9), rounded away from zero.
        let power = exponent.checked_sub(places).and_then(|p| p.checked_add(9));
        let power = power.ok_or_else(too_large)?;
        let scaled = mantissa.checked_mul(base).ok_or_else(too_large)?;
        let nanos = if power >= 0 {
            let factor = 10i128
                .checked_pow(power.unsigned_abs())
                .ok_or_else(too_large)?;
            scaled.checked_mul(factor).ok_or_else(too_large)?
        } else {
            match 10i128.checked_pow(power.unsigned_abs()) {
                Some(factor) => scaled / factor + i128::from(scaled % factor != 0),
                None => i128::from(scaled != 0),
            }
        };
        Ok(Self {
            nanos: sign * nanos,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as \"10Gi\" or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, units: u64) -> Result<Quantity, E> {
                Ok(Quantity::from_units(units))
            }

            fn visit_i64<E: de::Error>(self, units: i64) -> Result<Quantity, E> {
                units.to_string().parse().map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, units: f64) -> Result<Quantity, E> {
                units.to_string().parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "pattern": PATTERN,
            "x-kubernetes-int-or-string": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(text: &str) -> u64 {
        text.parse::<Quantity>().unwrap().units()
    }

    #[test]
    fn suffixes_scale() {
        assert_eq!(units("1Gi"), 1 << 30);
        assert_eq!(units("1.5Gi"), 3 << 29);
        assert_eq!(units("2k"), 2000);
        assert_eq!(units("12e6"), 12_000_000);
        assert_eq!(units("1E"), 1_000_000_000_000_000_000);
        assert_eq!(units("1E3"), 1000);
        assert_eq!(units(".5"), 1, "a part of a byte needs a byte");
        assert_eq!(units("100m"), 1);
        assert_eq!(units("-1"), 0);
    }

    #[test]
    fn malformed_texts_are_refused() {
        for text in [
            "", "Gi", "1 Gi", "1gi", "1.2.3", "--1", "1Gii", "1e", "0x10", "١",
        ] {
            assert!(
                text.parse::<Quantity>().is_err(),
                "{text:?} must be refused"
            );
        }
        assert!(matches!(
            "9e99".parse::<Quantity>(),
            Err(QuantityError::TooLarge(_))
        ));
    }

    #[test]
    fn numbers_and_strings_are_read_alike() {
        let from_number: Quantity = serde_json::from_str("1073741824").unwrap();
        let from_text: Quantity = serde_json::from_str("\"1Gi\"").unwrap();
        assert_eq!(from_number, from_text);
        assert_eq!(serde_json::to_string(&from_text).unwrap(), "\"1Gi\"");
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,24}") {
            let _: Result<Quantity, _> = text.parse();
        }

        #[test]
        fn whole_units_survive(units in any::<u64>()) {
            let text = Quantity::from_units(units).to_string();
            prop_assert_eq!(text.parse::<Quantity>().unwrap().units(), units);
        }
    }
}
