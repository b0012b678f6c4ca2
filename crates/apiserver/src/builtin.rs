//! The kinds that are compiled in.
//!
//! To add one: a row in `rows`, and a module beside this one if it has columns of its own,
//! defaults or rules. Facts about its lists go to `merge_keys`.

use std::sync::{Arc, LazyLock};

use schemars::generate::SchemaSettings;

use crate::access::review::Review;
use crate::kind::{Hooks, Kind};
use crate::schema::{Definitions, Schema, meta};

mod access;
mod claim;
mod column;
mod config;
mod crd;
mod csi;
mod event;
mod lease;
mod limit_range;
pub(crate) mod merge_keys;
mod namespace;
mod network;
mod node;
pub(crate) mod pod;
mod rbac;
mod resource_quota;
mod rows;
pub(crate) mod scheduling;
mod storage_class;
mod volume;
pub(crate) mod workload;

use rows::{ROWS, TOKEN_REQUEST};

/// The hooks of a kind that needs none.
const NO_HOOKS: Hooks = Hooks {
    default: None,
    validate: None,
    fields: None,
    no_generation: false,
    stored_as: None,
    review: None,
};

/// The hooks of a kind whose objects are answered and not stored.
const fn question(review: Review) -> Hooks {
    Hooks {
        review: Some(review),
        no_generation: true,
        ..NO_HOOKS
    }
}

/// The schemas of `ROWS` and, last, of `TOKEN_REQUEST`, and the definitions that they share.
static SCHEMAS: LazyLock<(Vec<Schema>, Arc<Definitions>)> = LazyLock::new(schemas);

/// The kind of what is sent to `serviceaccounts/token`.
pub(crate) fn token_request() -> &'static Kind {
    static KIND: LazyLock<Kind> = LazyLock::new(|| {
        let (roots, definitions) = &*SCHEMAS;
        TOKEN_REQUEST.kind(&roots[ROWS.len()], definitions)
    });
    &KIND
}

/// The built-in kinds. Their schemas share one set of definitions, made at the first call.
pub fn kinds() -> Vec<Kind> {
    let (roots, definitions) = &*SCHEMAS;
    ROWS.iter()
        .zip(roots)
        .map(|(row, root)| row.kind(root, definitions))
        .collect()
}

fn schemas() -> (Vec<Schema>, Arc<Definitions>) {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let references: Vec<_> = ROWS
        .iter()
        .chain([&TOKEN_REQUEST])
        .map(|row| crate::schema::read((row.document)(&mut generator).to_value()))
        .collect();
    let mut definitions = meta::definitions(&mut generator);
    // The crate's types always have `metadata`; the API does not ask for it.
    for definition in definitions.values_mut() {
        definition.required.retain(|name| name != "metadata");
    }
    merge_keys::annotate(&mut definitions);
    crd::loosen(&mut definitions);
    let roots = references
        .iter()
        .map(|reference| reference.resolve(&definitions).clone())
        .collect();
    (roots, Arc::new(definitions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_share_their_definitions_and_have_schemas() {
        let kinds = kinds();
        assert_eq!(kinds.len(), ROWS.len());
        for kind in &kinds {
            assert!(Arc::ptr_eq(&kind.definitions, &kinds[0].definitions));
            assert!(
                kind.schema.properties.contains_key("metadata"),
                "{}",
                kind.kind
            );
            assert!(kind.schema.description.is_some(), "{}", kind.kind);
            assert_eq!(
                kind.schema.properties.contains_key("status"),
                kind.status_subresource || kind.hooks.review.is_some()
            );
        }
    }

    #[test]
    fn what_defaults_make_is_valid() {
        for kind in kinds() {
            let Some(default) = kind.hooks.default else {
                continue;
            };
            let mut object = serde_json::json!({"metadata": {"name": "x"}});
            default(&mut object);
            let unknown = crate::schema::prune(&kind.schema, &kind.definitions, &mut object);
            assert_eq!(unknown, Vec::<String>::new(), "{}", kind.kind);
            crate::schema::decode(&kind, &mut object).unwrap();
        }
    }
}
