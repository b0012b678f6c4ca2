//! `metadata`, which every kind has whatever its own schema says, and what goes over the wire beside
//! objects.

use std::sync::LazyLock;

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, ObjectMeta, Status};
use schemars::generate::SchemaSettings;

use super::{Definitions, Schema, Type, read};
use crate::builtin::merge_keys;

/// The name of `ObjectMeta` among the definitions.
pub const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The name of `ListMeta` among what is [`shared`].
pub(crate) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// The name of `DeleteOptions` among what is [`shared`].
pub(crate) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";

/// The name of `Status` among what is [`shared`].
pub(crate) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

/// The schemas of what requests and answers carry beside objects, with all that they refer to.
pub(crate) fn shared() -> &'static Definitions {
    static SHARED: LazyLock<Definitions> = LazyLock::new(|| {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        generator.subschema_for::<ListMeta>();
        generator.subschema_for::<DeleteOptions>();
        generator.subschema_for::<Status>();
        generator.subschema_for::<Scale>();
        generator.subschema_for::<TokenRequest>();
        generator.subschema_for::<Binding>();
        let mut definitions = definitions(&mut generator);
        merge_keys::annotate(&mut definitions);
        definitions
    });
    &SHARED
}

/// The schema of `metadata`, and the definitions that it refers to.
pub fn object_meta() -> (&'static Schema, &'static Definitions) {
    static OBJECT_META_SCHEMA: LazyLock<(Schema, Definitions)> = LazyLock::new(|| {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let root = read(generator.subschema_for::<ObjectMeta>().to_value());
        let mut definitions = definitions(&mut generator);
        merge_keys::annotate(&mut definitions);
        (root, definitions)
    });
    let (schema, definitions) = &*OBJECT_META_SCHEMA;
    (schema, definitions)
}

/// What a generator has collected.
pub(crate) fn definitions(generator: &mut schemars::SchemaGenerator) -> Definitions {
    let documents = generator.take_definitions(false);
    documents
        .into_iter()
        .map(|(name, document)| (name, opened(read(document))))
        .collect()
}

/// Free-form objects (`FieldsV1`, `RawExtension`) come without any fields: everything is kept.
fn opened(schema: Schema) -> Schema {
    let bare = schema.properties.is_empty() && schema.additional_properties.is_none();
    let free = matches!(schema.type_, None | Some(Type::Object)) && !schema.int_or_string;
    Schema {
        preserve_unknown: bare && free,
        ..schema
    }
}
