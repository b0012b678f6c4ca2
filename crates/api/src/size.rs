//! How large a claim must be for a disk, and a disk may be on a claim.
//!
//! A file system needs some room for itself. CDI reserves a fixed part of a Filesystem volume for
//! it: a claim is made larger by the overhead, and the disk on it is made smaller by the same.
//! A Block volume has no overhead. All sizes are in bytes.

use std::{fmt, str::FromStr};

/// Sizes of disks are multiples of this.
pub const ALIGNMENT: u64 = 1 << 20;

/// The smallest disk that can be asked for.
pub const MINIMUM: u64 = 1 << 20;

/// The part of a volume that its file system takes, in thousandths: 0 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overhead(u16);

/// A text that is no overhead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no overhead: it must be 0, 1, or 0 with up to three decimals, such as 0.06")]
pub struct OverheadError(String);

impl Overhead {
    /// For volumes without a file system.
    pub const NONE: Self = Self(0);
    /// What CDI reserves unless it is told otherwise.
    pub const DEFAULT: Self = Self(60);
}

impl FromStr for Overhead {
    type Err = OverheadError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || OverheadError(text.to_owned());
        match text.split_once('.') {
            None if text == "0" => Ok(Self::NONE),
            None if text == "1" => Ok(Self(1000)),
            Some(("0", decimals)) if (1..=3).contains(&decimals.len()) => {
                if !decimals.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(error());
                }
                format!("{decimals:0<3}")
                    .parse()
                    .map(Self)
                    .map_err(|_| error())
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            1000 => f.write_str("1"),
            part => f.write_str(format!("0.{part:03}").trim_end_matches('0')),
        }
    }
}

/// The claim that a disk of `size` needs: aligned, then enlarged by the overhead.
pub fn required(size: u64, overhead: Overhead) -> u64 {
    let aligned = u128::from(size).next_multiple_of(u128::from(ALIGNMENT));
    let scaled = (aligned * (1000 + u128::from(overhead.0))).div_ceil(1000);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The largest disk that fits a volume of `available`: reduced by the overhead, then aligned down.
pub fn usable(available: u64, overhead: Overhead) -> u64 {
    let reduced = (u128::from(available) * 1000).div_ceil(1000 + u128::from(overhead.0));
    // Never above `available`, so it fits.
    let reduced = u64::try_from(reduced).unwrap_or(available);
    reduced - reduced % ALIGNMENT
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn worked_examples() {
        assert_eq!(required(1 << 30, Overhead::DEFAULT), 1_138_166_334);
        assert_eq!(required(50 << 20, Overhead::DEFAULT), 55_574_528);
        assert_eq!(required(1 << 30, Overhead::NONE), 1 << 30);
        assert_eq!(usable(1_138_166_334, Overhead::DEFAULT), 1 << 30);
    }

    #[test]
    fn overheads_have_up_to_three_decimals() {
        for good in ["0", "0.0", "0.055", "1"] {
            assert!(good.parse::<Overhead>().is_ok(), "{good} is an overhead");
        }
        for bad in [
            "abc", "1.0", "1.abc", "1.0001", "-0.1", "inf", "0.0001", "", "0.",
        ] {
            assert!(bad.parse::<Overhead>().is_err(), "{bad:?} is none");
        }
        assert_eq!("0.06".parse(), Ok(Overhead::DEFAULT));
        assert_eq!(Overhead::DEFAULT.to_string(), "0.06");
    }

    proptest! {
        #[test]
        fn a_disk_fits_the_claim_made_for_it(size in 1u64..1 << 50, part in 0u16..=1000) {
            let overhead = Overhead(part);
            prop_assert!(usable(required(size, overhead), overhead) >= size);
        }
    }
}
