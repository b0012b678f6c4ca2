//! What people and scripts read on standard output.

use std::io::{self, Write};

/// Prints a line at once, even into a pipe: scripts wait for some of them.
pub(crate) fn line(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
