//! The library that stands between a program and its files.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("interpose.c");

/// Watches and disturbs what a program does to the files of a folder.
#[derive(Debug, Clone)]
pub struct Interposer {
    library: PathBuf,
}

/// Operations that fail: `count` of them, from number `at` on (counted from 1).
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    /// The first that fails.
    pub at: u64,
    /// How many fail.
    pub count: u64,
    /// How.
    pub kind: FailureKind,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The device has an error.
    Eio,
    /// The file system is full.
    Enospc,
    /// Half of a write is done; what follows finds the file system full.
    Short,
    /// The process is killed instead.
    Kill,
}

impl Interposer {
    /// Compiles the library with `cc`, once for each version of its source.
    pub fn build() -> Self {
        let mut hasher = DefaultHasher::new();
        SOURCE.hash(&mut hasher);
        let folder = std::env::current_exe()
            .unwrap()
            .parent()
            .unwrap()
            .to_owned();
        let library = folder.join(format!("faults-{:016x}.so", hasher.finish()));
        if !library.exists() {
            let source = library.with_extension(format!("{}.c", std::process::id()));
            let name = source.with_extension("so");
            std::fs::write(&source, SOURCE).unwrap();
            let arguments = ["-shared", "-fPIC", "-O1", "-pthread", "-o"];
            let mut cc = Command::new("cc");
            let status = cc
                .args(arguments)
                .arg(&name)
                .arg(&source)
                .arg("-ldl")
                .status();
            assert!(
                status.unwrap().success(),
                "cc cannot compile {}",
                source.display()
            );
            std::fs::remove_file(source).unwrap();
            // Tests that run at the same time all make the same file.
            std::fs::rename(name, &library).unwrap();
        }
        Self { library }
    }

    /// Puts the library before a program that works on `folder`; the record goes to `trace`, which
    /// must be outside of it.
    pub fn apply(
        &self,
        program: &mut Command,
        folder: &Path,
        trace: Option<&Path>,
        failure: Option<Failure>,
    ) {
        program
            .env("LD_PRELOAD", &self.library)
            .env("FAULTS_DIR", folder);
        if let Some(trace) = trace {
            program.env("FAULTS_TRACE", trace);
        }
        if let Some(failure) = failure {
            program.env("FAULTS_FAIL", failure.to_string());
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FailureKind::Eio => "eio",
            FailureKind::Enospc => "enospc",
            FailureKind::Short => "short",
            FailureKind::Kill => "kill",
        };
        write!(f, "{} {} {kind}", self.at, self.count)
    }
}
