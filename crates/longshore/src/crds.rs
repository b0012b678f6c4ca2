//! `longshore crds`.

use anyhow::{Context as _, Result};

use crate::output;

/// Prints the CustomResourceDefinitions as a stream of YAML documents.
pub(crate) fn print() -> Result<()> {
    for crd in api::crds::all() {
        let text = serde_saphyr::to_string(&crd).context("failed to write a CRD as YAML")?;
        output::line(format_args!("---\n{}", text.trim_end()))?;
    }
    Ok(())
}
