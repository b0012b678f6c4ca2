//! Objects as tables: what `kubectl get` prints (Kubernetes API concepts, "Receiving resources as
//! Tables").

use serde_json::{Value, json};

use crate::kind::{Cell, Column, Kind};

pub mod age;
mod jsonpath;

/// How much of each object goes along with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

/// A `meta.k8s.io/v1` Table with a row for each object; `list_meta` becomes its metadata.
///
/// A column called `Name` stands for the usual first column, wherever the kind puts it.
pub fn render(kind: &Kind, objects: &[&Value], list_meta: Value, include: IncludeObject) -> Value {
    let own_name = kind.columns.iter().any(|column| column.name == "Name");
    let mut definitions = Vec::with_capacity(kind.columns.len() + 1);
    if !own_name {
        definitions.push(json!({"name": "Name", "type": "string", "format": "name",
            "description": "Name must be unique within a namespace.", "priority": 0}));
    }
    definitions.extend(kind.columns.iter().map(definition));
    let paths: Vec<_> = kind.columns.iter().map(compiled).collect();
    let rows = objects.iter().map(|object| {
        let mut cells = Vec::with_capacity(definitions.len());
        if !own_name {
            cells.push(
                object
                    .pointer("/metadata/name")
                    .cloned()
                    .unwrap_or_default(),
            );
        }
        let columns = kind.columns.iter().zip(&paths);
        cells.extend(columns.map(|(column, path)| cell(column, path.as_ref(), object)));
        json!({"cells": cells, "object": included(object, include)})
    });
    let rows: Vec<_> = rows.collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta,
        "columnDefinitions": definitions, "rows": rows})
}

fn definition(column: &Column) -> Value {
    json!({"name": column.name, "type": column.type_, "format": column.format,
        "description": column.description, "priority": column.priority})
}

/// Whether a text is a path that columns understand.
pub(crate) fn is_path(text: &str) -> bool {
    jsonpath::Path::parse(text).is_some()
}

fn compiled(column: &Column) -> Option<jsonpath::Path> {
    match &column.cell {
        Cell::Path(path) => jsonpath::Path::parse(path),
        Cell::Compute(_) => None,
    }
}

fn cell(column: &Column, path: Option<&jsonpath::Path>, object: &Value) -> Value {
    match (&column.cell, path) {
        (Cell::Compute(compute), _) => compute(object),
        (Cell::Path(_), Some(path)) => custom(column, &path.find(object)),
        (Cell::Path(_), None) => Value::Null,
    }
}

/// A cell of a custom resource: the first value found, if it has the column's type.
fn custom(column: &Column, found: &[&Value]) -> Value {
    let Some(&first) = found.first().filter(|value| !value.is_null()) else {
        return Value::Null;
    };
    match (column.type_.as_str(), first) {
        ("integer", Value::Number(number)) => {
            number.as_i64().map_or_else(|| Value::Null, Value::from)
        }
        ("string", Value::String(_))
        | ("number", Value::Number(_))
        | ("boolean", Value::Bool(_)) => first.clone(),
        ("string", other) => other.to_string().into(),
        ("date", Value::String(time)) if age::is_time(time) => age::since(time).into(),
        ("date", _) => "<invalid>".into(),
        _ => Value::Null,
    }
}

fn included(object: &Value, include: IncludeObject) -> Value {
    match include {
        IncludeObject::None => Value::Null,
        IncludeObject::Metadata => json!({"kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")}),
        IncludeObject::Object => object.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_: &str, path: &str) -> Column {
        Column {
            name: name.to_owned(),
            type_: type_.to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            cell: Cell::Path(path.to_owned()),
        }
    }

    fn kind(name: &str) -> Kind {
        crate::builtin::kinds()
            .into_iter()
            .find(|kind| kind.kind == name)
            .unwrap()
    }

    #[test]
    fn columns_of_custom_resources() {
        let columns = vec![
            column("Phase", "string", ".status.phase"),
            column("Count", "integer", ".status.count"),
            column(
                "Ready",
                "string",
                r#".status.conditions[?(@.type=="Ready")].status"#,
            ),
            column("Missing", "string", ".status.missing"),
            column("Wrong", "integer", ".status.phase"),
            column("List", "string", ".status.conditions"),
            column("When", "date", ".status.phase"),
            column("Never", "date", ".status.never"),
        ];
        let kind = Kind {
            columns,
            ..kind("Pod")
        };
        let object = json!({"metadata": {"name": "a"}, "status": {"phase": "Done", "count": 3,
            "conditions": [{"type": "Ready", "status": "True"}]}});
        let table = render(
            &kind,
            &[&object],
            json!({"resourceVersion": "7"}),
            IncludeObject::None,
        );
        assert_eq!(
            table["rows"],
            json!([{"object": null, "cells": ["a", "Done", 3, "True", null, null,
                r#"[{"status":"True","type":"Ready"}]"#, "<invalid>", null]}])
        );
        assert_eq!(table["metadata"]["resourceVersion"], "7");
        assert_eq!(table["columnDefinitions"][0]["format"], "name");
    }

    #[test]
    fn a_kind_can_have_its_own_name_column() {
        let kind = kind("StorageClass");
        let class = json!({"metadata": {"name": "local", "annotations": {
            "storageclass.kubernetes.io/is-default-class": "true"}}});
        let table = render(&kind, &[&class], json!({}), IncludeObject::Metadata);
        assert_eq!(table["rows"][0]["cells"][0], "local (default)");
        assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "local");
        assert_eq!(
            table["columnDefinitions"].as_array().unwrap().len(),
            kind.columns.len()
        );
    }

    #[test]
    fn every_built_in_kind_has_as_many_cells_as_columns() {
        for kind in crate::builtin::kinds() {
            let object = json!({"metadata": {"name": "x"}});
            let table = render(&kind, &[&object], json!({}), IncludeObject::Object);
            let columns = table["columnDefinitions"].as_array().unwrap().len();
            assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns);
            assert_eq!(table["rows"][0]["object"], object, "{}", kind.kind);
        }
    }
}
