//! Rules about the files themselves.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

/// Files that are longer are read by nobody.
const LONGEST: usize = 900;

/// What the deciding half of the controllers must do without, so that it can be tested by examples:
/// text in its code, and why it must not be there.
const IMPURE: [(&str, &str); 6] = [
    ("async ", "waits"),
    (".await", "waits"),
    ("::now(", "reads a clock"),
    ("Uuid::new", "is random"),
    ("std::fs", "reads files"),
    ("kube::Client", "talks to the API server"),
];

/// What is not finished is not merged.
const UNFINISHED: [&str; 4] = [
    "todo!(",
    "unimplemented!(",
    "#[ignore",
    concat!("FIX", "ME"),
];

/// Faults of the files below `root` that are, or could be, under version control.
pub(super) fn faults(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files(root)? {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("rs" | "sh" | "md")) {
            continue;
        }
        let text = std::fs::read_to_string(root.join(&path))
            .with_context(|| format!("failed to read {}", path.display()))?;
        faults.extend(faults_of(&path, &text));
    }
    Ok(faults)
}

/// The files that git knows, or would take.
fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let output = Command::new("git").arg("-C").arg(root).args(list).output();
    let output = output.context("failed to run git")?;
    ensure!(
        output.status.success(),
        "git cannot list the files of {}",
        root.display()
    );
    let names = String::from_utf8(output.stdout)?;
    let paths = names.split_terminator('\0').map(PathBuf::from);
    Ok(paths.filter(|path| root.join(path).is_file()).collect())
}

fn faults_of(path: &Path, text: &str) -> Vec<String> {
    let name = path.display();
    let mut faults = Vec::new();
    let length = text.lines().count();
    if length > LONGEST {
        faults.push(format!(
            "{name}: has {length} lines, more than {LONGEST}: split it"
        ));
    }
    let is_code = path.extension().is_some_and(|extension| extension == "rs");
    if is_code && !path.ends_with("xtask/src/check/tree.rs") {
        for part in UNFINISHED.iter().filter(|part| text.contains(**part)) {
            faults.push(format!("{name}: contains {part}"));
        }
    }
    if is_code && path.starts_with("crates/controllers/src/plan") {
        let code = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default());
        let code: Vec<&str> = code.collect();
        for (part, why) in IMPURE {
            if code.iter().any(|line| line.contains(part)) {
                faults.push(format!(
                    "{name}: contains {part:?}, which {why}: plans are pure"
                ));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_keeps_the_rules() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let faults = faults(root).unwrap();
        assert!(faults.is_empty(), "{faults:#?}");
    }

    #[test]
    fn faults_are_found() {
        let plan = Path::new("crates/controllers/src/plan/claim.rs");
        assert_eq!(faults_of(plan, "let now = Timestamp::now();").len(), 1);
        assert!(faults_of(plan, "// Timestamp::now() is not for here").is_empty());
        assert_eq!(faults_of(Path::new("a.rs"), "fn a() { todo!() }").len(), 1);
        assert_eq!(faults_of(Path::new("a.md"), &"line\n".repeat(901)).len(), 1);
    }
}
