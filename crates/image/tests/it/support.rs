//! Making images and importing them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use longshore_image::{HttpOptions, Job, Location, Plan, Progress, Report, Result, Source, Target};
use tempfile::TempDir;

/// A folder for one test.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn target(&self, capacity: u64) -> Target {
        let folder = self.path("volume");
        fs::create_dir_all(&folder).unwrap();
        let name = "disk.img".to_owned();
        Target {
            folder,
            name,
            capacity,
            grow_to: 0,
            preallocate: false,
        }
    }

    /// Imports from a path or URL onto a volume of 1 GiB.
    pub(crate) fn import(&self, location: &str) -> Result<(Plan, Report)> {
        import_to(location, &self.target(1 << 30))
    }

    /// What the volume holds.
    pub(crate) fn disk(&self) -> Vec<u8> {
        fs::read(self.path("volume/disk.img")).unwrap()
    }

    /// Whether a failed import left anything.
    pub(crate) fn is_clean(&self) -> bool {
        self.path("volume")
            .read_dir()
            .map_or(true, |entries| entries.count() == 0)
    }

    /// Writes `bytes` to a file and returns its path.
    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The bytes of the image that `qemu-img` makes of `raw` with these arguments.
    pub(crate) fn convert(&self, raw: &[u8], arguments: &[&str]) -> Vec<u8> {
        let (from, to) = (self.path("convert.raw"), self.path("convert.out"));
        fs::write(&from, raw).unwrap();
        let paths = [from.to_str().unwrap(), to.to_str().unwrap()];
        run(
            "qemu-img",
            &[&["convert", "-f", "raw"], arguments, &paths].concat(),
        );
        fs::read(&to).unwrap()
    }
}

/// Imports from a path or URL.
pub(crate) fn import_to(location: &str, target: &Target) -> Result<(Plan, Report)> {
    import_with(&options(), location, target)
}

/// Imports from a path or URL, with other patience.
pub(crate) fn import_with(
    options: &HttpOptions,
    location: &str,
    target: &Target,
) -> Result<(Plan, Report)> {
    let location: Location = location.parse()?;
    let progress = Progress::default();
    let job = Job::inspect(Source::open(&location, options)?, &progress)?;
    let plan = job.plan().clone();
    let report = job.run(target)?;
    assert!(progress.percent() > 99.9);
    Ok((plan, report))
}

/// Patience for tests: short pauses, so that every retry is exercised quickly.
pub(crate) fn options() -> HttpOptions {
    HttpOptions {
        stall_timeout: Duration::from_secs(2),
        attempts: 4,
        first_pause: Duration::from_millis(1),
        ..HttpOptions::default()
    }
}

/// What `qemu-img` takes the disk of an image to be.
pub(crate) fn judge(image: &Path) -> Vec<u8> {
    let out = image.with_extension("judged");
    let paths = [image.to_str().unwrap(), out.to_str().unwrap()];
    run(
        "qemu-img",
        &[&["convert", "-f", "qcow2", "-O", "raw"], &paths[..]].concat(),
    );
    fs::read(out).unwrap()
}

/// Runs a program that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = attempt(program, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
}

/// Runs a program, whatever comes of it.
pub(crate) fn attempt(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    assert!(output.is_ok(), "{program} cannot be run: {output:?}");
    output.unwrap()
}

/// Bytes that look like a disk: noise, text-like and zero stretches, the same for the same seed.
pub(crate) fn disk(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed | 1);
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let stretch = random.below(40_000) + 1;
        match random.below(3) {
            0 => bytes.extend((0..stretch).map(|_| random.byte())),
            1 => bytes.extend((0..stretch).map(|i| [1, 2, 3, 5][i % 4])),
            _ => bytes.extend(std::iter::repeat_n(0, stretch)),
        }
    }
    bytes.truncate(length);
    bytes
}

/// xorshift64: repeatable, and good enough to choose bytes.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}
