//! Which crate may know which. The picture is in ARCHITECTURE.md.

use std::collections::BTreeSet;

use super::metadata::{Metadata, Package};

/// Each crate of the product, and the crates of the product that it may know. What only its tests
/// need does not count.
const LAYERS: &[(&str, &[&str])] = &[
    ("longshore-sys", &[]),
    ("longshore-csi", &[]),
    ("longshore-api", &[]),
    ("longshore-apiserver", &[]),
    ("longshore-image", &["longshore-sys"]),
    ("longshore-hostpath", &["longshore-csi", "longshore-sys"]),
    ("longshore-controllers", &["longshore-api"]),
    (
        "longshore-worker",
        &["longshore-api", "longshore-image", "longshore-sys"],
    ),
    (
        "longshore-standalone",
        &["longshore-apiserver", "longshore-csi", "longshore-sys"],
    ),
    (
        "longshore",
        &[
            "longshore-api",
            "longshore-apiserver",
            "longshore-controllers",
            "longshore-csi",
            "longshore-hostpath",
            "longshore-image",
            "longshore-standalone",
            "longshore-sys",
            "longshore-worker",
        ],
    ),
];

/// What helps development, is no part of the product, and may know all of it.
const TOOLS: &[&str] = &["faults", "testkit", "xtask"];

/// Dependencies that point the wrong way.
pub(super) fn faults(metadata: &Metadata) -> Vec<String> {
    let names: BTreeSet<&str> = metadata
        .members()
        .map(|package| package.name.as_str())
        .collect();
    metadata
        .members()
        .flat_map(|package| faults_of(package, &names))
        .collect()
}

fn faults_of(package: &Package, members: &BTreeSet<&str>) -> Vec<String> {
    let name = package.name.as_str();
    if TOOLS.contains(&name) {
        return Vec::new();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
        return vec![format!(
            "{name}: has no place among the layers of xtask/src/check/layers.rs"
        )];
    };
    let needed = package
        .dependencies
        .iter()
        .filter(|needed| needed.kind.as_deref() != Some("dev"));
    let known = needed
        .map(|needed| needed.name.as_str())
        .filter(|known| members.contains(known));
    known
        .filter(|known| !allowed.contains(known))
        .map(|known| format!("{name}: must not know {known}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::metadata::Dependency;

    #[test]
    fn the_workspace_keeps_to_the_layers() {
        let faults = faults(&Metadata::load().unwrap());
        assert!(faults.is_empty(), "{faults:#?}");
    }

    #[test]
    fn only_what_the_product_needs_counts() {
        let dependency = |name: &str, kind: Option<&str>| Dependency {
            name: name.to_owned(),
            kind: kind.map(str::to_owned),
        };
        let package = |name: &str, dependencies| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            license: None,
            dependencies,
        };
        let members = BTreeSet::from(["longshore-api", "longshore-apiserver", "longshore-new"]);
        let wrong = package(
            "longshore-apiserver",
            vec![dependency("longshore-api", None)],
        );
        assert_eq!(
            faults_of(&wrong, &members),
            ["longshore-apiserver: must not know longshore-api"]
        );
        let tests = vec![
            dependency("longshore-api", Some("dev")),
            dependency("serde", None),
        ];
        assert!(faults_of(&package("longshore-apiserver", tests), &members).is_empty());
        assert_eq!(
            faults_of(&package("longshore-new", Vec::new()), &members).len(),
            1
        );
    }
}
