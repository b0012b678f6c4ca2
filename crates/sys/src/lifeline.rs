//! A lifeline: a process that must not outlive the one that started it.
//!
//! The parent gives the child a pipe or socket as standard input and never lets go of the other
//! end. The kernel closes that end when the parent dies, however it dies, and the child sees the
//! end of its input.

use std::io::{self, Read};

/// The environment variable by which a parent says that standard input is a lifeline. Its value is
/// `stdin`.
///
/// Without it, standard input means nothing: a service manager usually connects it to `/dev/null`.
pub const VARIABLE: &str = "LONGSHORE_LIFELINE";

/// The value of [`VARIABLE`].
pub const STDIN: &str = "stdin";

/// Whether the parent of this process gave it a lifeline.
pub fn is_given() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| value == STDIN)
}

/// Calls `cut` from a thread of its own once standard input ends.
pub fn watch(cut: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new()
        .name("lifeline".to_owned())
        .spawn(move || {
            // Nothing is ever sent; an error means as much as the end.
            let _ = io::copy(&mut io::stdin().lock().by_ref(), &mut io::sink());
            cut();
        })
        .map(drop)
}
