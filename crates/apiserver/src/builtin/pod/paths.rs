//! The paths in a Pod: none may lead out of the folder that it is meant for.

use serde_json::Value;

use super::super::access::{list, text};
use crate::schema::cause;
use crate::status::Cause;

/// Checks where a volume puts its files.
pub(super) fn volume(causes: &mut Vec<Cause>, path: &str, volume: &Value) {
    for name in ["configMap", "secret", "downwardAPI"] {
        items(causes, &format!("{path}.{name}"), volume.get(name));
    }
    let sources = list(volume, "/projected/sources");
    for (index, source) in sources.iter().enumerate() {
        let path = format!("{path}.projected.sources[{index}]");
        for name in ["configMap", "secret", "downwardAPI"] {
            items(causes, &format!("{path}.{name}"), source.get(name));
        }
        if let Some(token) = source.get("serviceAccountToken") {
            file(causes, &format!("{path}.serviceAccountToken.path"), token);
        }
    }
}

fn items(causes: &mut Vec<Cause>, path: &str, source: Option<&Value>) {
    let Some(source) = source else { return };
    for (index, item) in list(source, "/items").iter().enumerate() {
        file(causes, &format!("{path}.items[{index}].path"), item);
    }
}

/// Checks the `path` of a file in a volume. Names that start with `..` are the volume's own.
fn file(causes: &mut Vec<Cause>, field: &str, item: &Value) {
    // The schema asks for the field itself.
    let Some(path) = item.get("path").and_then(Value::as_str) else {
        return;
    };
    if path.is_empty() {
        causes.push(cause::required(field, ""));
    }
    descending(causes, field, path);
    if path.starts_with("..") && path != ".." && !path.starts_with("../") {
        causes.push(cause::invalid(
            field,
            &path.into(),
            "must not start with '..'",
        ));
    }
}

/// Checks where a container sees its volumes.
pub(super) fn mounts(causes: &mut Vec<Cause>, path: &str, container: &Value) {
    let mounts = list(container, "/volumeMounts");
    for (index, mount) in mounts.iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let field = format!("{path}.mountPath");
        let target = text(mount, "/mountPath");
        let mut invalid = |detail| causes.push(cause::invalid(&*field, &target.into(), detail));
        if target.contains(':') {
            invalid("must not contain ':'");
        }
        if mounts[..index]
            .iter()
            .any(|m| text(m, "/mountPath") == target)
        {
            invalid("must be unique");
        }
        if target.is_empty() && mount.get("mountPath").is_some() {
            causes.push(cause::required(&*field, ""));
        }
        descending(causes, &format!("{path}.subPath"), text(mount, "/subPath"));
    }
}

/// A path below some folder.
fn descending(causes: &mut Vec<Cause>, field: &str, path: &str) {
    let mut invalid = |detail| causes.push(cause::invalid(field, &path.into(), detail));
    if path.starts_with('/') {
        invalid("must be a relative path");
    }
    if path.split('/').any(|part| part == "..") {
        invalid("must not contain '..'");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(causes: Vec<Cause>) -> Vec<String> {
        let show = |cause: Cause| format!("{}: {}", cause.field, cause.message);
        causes.into_iter().map(show).collect()
    }

    #[test]
    fn files_stay_in_their_volume() {
        let mut causes = Vec::new();
        let sound = json!({"configMap": {"items": [{"key": "a", "path": "x/y..z"}]}});
        volume(&mut causes, "v", &sound);
        assert_eq!(causes, Vec::new());
        volume(
            &mut causes,
            "v",
            &json!({
                "secret": {"items": [{"key": "a", "path": "/etc/a"}, {"key": "b", "path": "a/../b"}]},
                "projected": {"sources": [
                    {"downwardAPI": {"items": [{"path": ""}]}},
                    {"serviceAccountToken": {"path": "..data"}}]},
            }),
        );
        assert_eq!(
            shown(causes),
            [
                r#"v.secret.items[0].path: Invalid value: "/etc/a": must be a relative path"#,
                r#"v.secret.items[1].path: Invalid value: "a/../b": must not contain '..'"#,
                "v.projected.sources[0].downwardAPI.items[0].path: Required value",
                r#"v.projected.sources[1].serviceAccountToken.path: Invalid value: "..data": must not start with '..'"#,
            ]
        );
    }

    #[test]
    fn mounts_have_places_of_their_own() {
        let mut causes = Vec::new();
        let container = json!({"volumeMounts": [
            {"mountPath": "/a"}, {"mountPath": "/a"}, {"mountPath": "/b:ro", "subPath": "../c"}]});
        mounts(&mut causes, "c", &container);
        assert_eq!(
            shown(causes),
            [
                r#"c.volumeMounts[1].mountPath: Invalid value: "/a": must be unique"#,
                r#"c.volumeMounts[2].mountPath: Invalid value: "/b:ro": must not contain ':'"#,
                r#"c.volumeMounts[2].subPath: Invalid value: "../c": must not contain '..'"#,
            ]
        );
    }
}
