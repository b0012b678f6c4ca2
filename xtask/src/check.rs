//! Rules that no compiler enforces. Each module has one, and finds faults as sentences.

mod layers;
mod licences;
mod metadata;
mod tree;

use std::io::Write;

use anyhow::bail;
use metadata::Metadata;

/// Applies all rules, and prints every fault.
pub(crate) fn run() -> anyhow::Result<()> {
    let metadata = Metadata::load()?;
    let mut faults = layers::faults(&metadata);
    faults.extend(licences::faults(&metadata));
    faults.extend(tree::faults(&metadata.workspace_root)?);
    let mut out = std::io::stdout().lock();
    for fault in &faults {
        writeln!(out, "{fault}")?;
    }
    match faults.len() {
        0 => Ok(()),
        count => bail!("the tree has {count} faults"),
    }
}
