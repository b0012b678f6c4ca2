//! What the product is built from must be free to use, and to use together.

use super::metadata::Metadata;

/// Licences that ask for no more than a notice.
const PERMISSIVE: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Other implementations of TLS: one is enough to keep up to date.
const UNWANTED: [&str; 4] = ["native-tls", "openssl", "openssl-sys", "ring"];

/// Packages that must not be built from.
pub(super) fn faults(metadata: &Metadata) -> Vec<String> {
    let mut faults = Vec::new();
    for package in metadata.built() {
        let name = format!("{} {}", package.name, package.version);
        if UNWANTED.contains(&package.name.as_str()) {
            faults.push(format!("{name}: not wanted, TLS is done by aws-lc-rs"));
        }
        match &package.license {
            None => faults.push(format!("{name}: says nothing about its licence")),
            Some(licence) if !is_permissive(licence) => {
                faults.push(format!("{name}: its licence is not on the list: {licence}"));
            }
            Some(_) => {}
        }
    }
    faults
}

/// Whether an SPDX expression leaves a choice that is on the list. The slash is an old way to say
/// `OR`.
fn is_permissive(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    any(&mut rest).unwrap_or(false) && rest.is_empty()
}

// Each of these reads one part of an expression, and gives nothing where there is none.

fn any(rest: &mut &[&str]) -> Option<bool> {
    let mut good = all(rest)?;
    while take(rest, "OR") {
        good |= all(rest)?;
    }
    Some(good)
}

fn all(rest: &mut &[&str]) -> Option<bool> {
    let mut good = one(rest)?;
    while take(rest, "AND") {
        good &= one(rest)?;
    }
    Some(good)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    if take(rest, "(") {
        let good = any(rest)?;
        return take(rest, ")").then_some(good);
    }
    let name = next(rest)?;
    if take(rest, "WITH") {
        let licence = format!("{name} WITH {}", next(rest)?);
        return Some(PERMISSIVE.contains(&licence.as_str()));
    }
    Some(PERMISSIVE.contains(&name))
}

fn next<'a>(rest: &mut &[&'a str]) -> Option<&'a str> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(first)
}

fn take(rest: &mut &[&str], token: &str) -> bool {
    match rest.split_first() {
        Some((first, after)) if *first == token => {
            *rest = after;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_enough_and_a_sum_needs_all() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-2.0) AND ISC",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(is_permissive(good), "{good}");
        }
        let bad = [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT OR",
            "(MIT",
            "MIT ISC",
            "MIT WITH strings",
        ];
        for bad in bad {
            assert!(!is_permissive(bad), "{bad}");
        }
    }
}
