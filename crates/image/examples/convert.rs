//! Imports a disk image from a path or a URL into a raw sparse file:
//!
//! ```text
//! cargo run --release -p longshore-image --example convert -- SOURCE FILE
//! ```

use std::{
    env,
    error::Error,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use longshore_image::{HttpOptions, Job, Location, Progress, Source, Target};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [source, file] => convert(source, Path::new(file)),
        _ => Err("usage: convert SOURCE FILE".into()),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    writeln!(io::stderr(), "convert: {}", causes.join(": ")).ok();
    ExitCode::FAILURE
}

fn convert(source: &str, file: &Path) -> Result<(), Box<dyn Error>> {
    let location: Location = source.parse()?;
    let name = file
        .file_name()
        .ok_or("FILE has no name")?
        .to_string_lossy()
        .into_owned();
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());

    let progress = Progress::default();
    let job = Job::inspect(Source::open(&location, &HttpOptions::default())?, &progress)?;
    writeln!(io::stdout(), "{location}: {}", job.plan())?;
    let report = job.run(&Target {
        folder: folder.unwrap_or(Path::new(".")).to_owned(),
        name,
        capacity: u64::MAX,
        grow_to: 0,
        preallocate: false,
    })?;
    writeln!(
        io::stdout(),
        "read {} bytes; a disk of {} bytes, {} of them allocated",
        report.bytes_read,
        report.disk_size,
        report.allocated
    )?;
    Ok(())
}
