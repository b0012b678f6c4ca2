//! Which objects of a resource a request is about.

use std::collections::HashMap;

use serde::Deserialize;

use super::query::Query;
use crate::convert;
use crate::kind::Kind;
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::Status;
use crate::store::Object;

/// Selectors and namespace of a list, a watch or a collection's deletion.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// None for all namespaces.
    pub(crate) namespace: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

/// What a label selector has to read of an object.
#[derive(Debug, Deserialize)]
struct Labelled {
    metadata: Labels,
}

#[derive(Debug, Deserialize)]
struct Labels {
    #[serde(default)]
    labels: HashMap<String, String>,
}

impl Filter {
    pub(crate) fn parse(kind: &Kind, namespace: &str, query: &Query) -> Result<Self, Status> {
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default()).map_err(
            |error| Status::bad_request(format!("unable to parse requirement: {error}")),
        )?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .and_then(|fields| fields.check(kind).map(|()| fields))
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let namespace = (kind.namespaced && !namespace.is_empty()).then(|| namespace.to_owned());
        Ok(Self {
            namespace,
            labels,
            fields,
        })
    }

    /// Limits it to one object, unless `name` is empty.
    #[must_use]
    pub(crate) fn with_name(mut self, name: &str) -> Self {
        if !name.is_empty() {
            self.fields = self.fields.and_name(name);
        }
        self
    }

    /// Whether it selects by more than the namespace.
    pub(crate) fn is_selective(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    /// Whether a stored object is meant. Reads no more of it than the selectors need.
    pub(crate) fn matches(&self, kind: &Kind, stored: &Object) -> bool {
        let home = self.namespace.as_deref();
        if home.is_some_and(|namespace| namespace != stored.namespace()) {
            return false;
        }
        if !self.fields.is_of_place() {
            let object = convert::served(kind, stored);
            return self.labels.matches(&object) && self.fields.matches(kind, &object);
        }
        self.fields.matches_place(stored.namespace(), stored.name())
            && (self.labels.is_empty() || self.matches_labels(stored))
    }

    fn matches_labels(&self, stored: &Object) -> bool {
        match serde_json::from_slice::<Labelled>(stored.text()) {
            Ok(Labelled { metadata }) => {
                let label = |key: &str| metadata.labels.get(key).map(String::as_str);
                self.labels.accepts(label)
            }
            // Labels of another shape than usual.
            Err(_) => self.labels.matches(&stored.value()),
        }
    }
}
