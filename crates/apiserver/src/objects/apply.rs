//! Server-side apply, and who owns what other writes change.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Call, Document, FieldValidation, Objects, Origin, Part};
use crate::apply::{Owners, Shape, Versions, Writer, check};
use crate::convert;
use crate::kind::Kind;
use crate::meta;
use crate::schema;
use crate::status::Status;
use crate::store::Object;

/// How often creation and change are tried in turn, when others create and delete the object.
const ATTEMPTS: usize = 8;

impl Objects {
    /// Makes an object what a configuration wants, and returns it as it is stored; also whether it
    /// is new.
    pub(crate) async fn apply(
        &self,
        call: &mut Call,
        document: Document,
        force: bool,
    ) -> Result<(Arc<Object>, bool), Status> {
        let mut warnings = Vec::new();
        let config = configuration(call, document, &mut warnings)?;
        let asked = call.clone();
        let mut applied = Err(Status::modified(&call.kind, &call.name));
        for _ in 0..ATTEMPTS {
            let exists = self.get(&call.kind, &call.namespace, &call.name).is_ok();
            applied = if exists || call.part != Part::Main {
                let propose = |live: &Value| self.applied(&asked, live, &config, force);
                let update = self.update(call, Origin::Apply, propose).await;
                update.map(|object| (object, false))
            } else {
                let created = self.create_applied(call, &config, force).await;
                created.map(|object| (object, true))
            };
            let overtaken = matches!(&applied, Err(status)
                if status.reason == "AlreadyExists" || (exists && status.reason == "NotFound"));
            if !overtaken {
                break;
            }
        }
        call.warnings.append(&mut warnings);
        applied
    }

    async fn create_applied(
        &self,
        call: &mut Call,
        config: &Value,
        force: bool,
    ) -> Result<Arc<Object>, Status> {
        self.require("create", call)?;
        let uid = meta::uid(config);
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was \
                 found"
            );
            return Err(Status::conflict(&call.kind, &call.name, &why));
        }
        let document = self.applied(call, &json!({}), config, force)?;
        self.create_from(call, Origin::Apply, document).await
    }

    /// The live state with a configuration applied, and its owners in `metadata.managedFields`.
    fn applied(
        &self,
        call: &Call,
        live: &Value,
        config: &Value,
        force: bool,
    ) -> Result<Document, Status> {
        let mut live = live.clone();
        let owners = Owners::parse(&meta::take_managed_fields(&mut live)).unwrap_or_default();
        let (time, find) = (meta::now(), self.finder(&call.kind));
        let versions = Versions {
            kind: &call.kind,
            find: &find,
        };
        let (mut object, owners) =
            owners.apply(&versions, &live, config, &writer(call, &time), force)?;
        meta::set_managed_fields(&mut object, owners.to_value());
        Ok(Document::from(object))
    }

    /// `metadata.managedFields` of an object that a client has made.
    pub(super) fn owners_of_new(&self, call: &Call, object: &Value, claimed: &Value) -> Value {
        let owners = Owners::parse(claimed).unwrap_or_default();
        if owners.is_empty() {
            let time = meta::now();
            return Owners::of_new(&call.kind, object, &writer(call, &time)).to_value();
        }
        self.updated(call, owners, &json!({}), object)
    }

    /// `metadata.managedFields` after a change of an object, given those before it and those that
    /// the client sent. What it says about them itself counts, if it makes sense; a list of one
    /// empty entry gives up all ownership.
    pub(super) fn owners_of_change(
        &self,
        call: &Call,
        (old, new): (&Value, &Value),
        present: &Value,
        claimed: &Value,
    ) -> Value {
        let writes_metadata = call.part == Part::Main;
        if writes_metadata && *claimed == json!([{}]) {
            return Value::Null;
        }
        let parse = |list: &Value| Owners::parse(list).ok().filter(|owners| !owners.is_empty());
        let sent = claimed != present && writes_metadata;
        let sent = if sent { parse(claimed) } else { None };
        if sent.is_none() && old == new {
            return present.clone();
        }
        match sent.or_else(|| parse(present)) {
            Some(owners) => self.updated(call, owners, old, new),
            // Objects from before ownership was tracked are untracked until somebody applies.
            None => Value::Null,
        }
    }

    fn updated(&self, call: &Call, mut owners: Owners, old: &Value, new: &Value) -> Value {
        let (time, find) = (meta::now(), self.finder(&call.kind));
        let versions = Versions {
            kind: &call.kind,
            find: &find,
        };
        owners.update(&versions, old, new, &writer(call, &time));
        owners.to_value()
    }

    /// Finds the other versions of a kind.
    fn finder(&self, kind: &Kind) -> impl Fn(&str) -> Option<Arc<Kind>> + Sync + use<> {
        let catalog = self.registry.catalog();
        let storage = convert::storage_resource(kind);
        move |api_version: &str| {
            let mut kinds = catalog.kinds.iter();
            let found = kinds.find(|kind| {
                kind.api_version() == api_version && convert::storage_resource(kind) == storage
            });
            found.cloned()
        }
    }
}

fn writer<'a>(call: &'a Call, time: &'a str) -> Writer<'a> {
    Writer {
        manager: &call.manager,
        subresource: call.part.subresource(),
        time,
    }
}

/// Checks what a client wants to apply, and takes from it what the request may write.
fn configuration(
    call: &Call,
    document: Document,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let kind: &Kind = &call.kind;
    let Document {
        value: mut config,
        duplicates,
    } = document;
    check_type(kind, &config)?;
    match call.validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => warnings.extend(duplicates),
        FieldValidation::Strict if duplicates.is_empty() => {}
        FieldValidation::Strict => {
            let faults = duplicates.join(", ");
            return Err(Status::bad_request(format!(
                "error strict decoding YAML: {faults}"
            )));
        }
    }
    if config["metadata"]
        .get("managedFields")
        .is_some_and(|owners| !owners.is_null())
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let name = meta::name(&config);
    if name.is_empty() {
        meta::metadata_mut(&mut config).insert("name".into(), call.name.as_str().into());
    } else if name != call.name {
        return Err(super::update::other_name(name, call));
    }
    retain_part(call, &mut config);
    check_fields(call, &config)?;
    schema::decode(kind, &mut config)?;
    Ok(config)
}

fn check_type(kind: &Kind, config: &Value) -> Result<(), Status> {
    if !config.is_object() {
        return Err(Status::bad_request(
            "error decoding YAML: the configuration must be an object",
        ));
    }
    let text = |field: &str| config[field].as_str().unwrap_or_default();
    let (api_version, name) = (text("apiVersion"), text("kind"));
    if api_version != kind.api_version() || name != kind.kind {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        return Err(Status::bad_request(format!(
            "invalid object type: {group}/{version}, Kind={name}"
        )));
    }
    Ok(())
}

/// Through a subresource only that is applied, and without it all the rest.
fn retain_part(call: &Call, config: &mut Value) {
    let Some(fields) = config.as_object_mut() else {
        return;
    };
    match call.part {
        Part::Main if call.kind.status_subresource => fields.retain(|name, _| name != "status"),
        Part::Main => {}
        Part::Status | Part::Finalize | Part::Binding => {
            let part = if call.part == Part::Status {
                "status"
            } else {
                "spec"
            };
            let kept = ["apiVersion", "kind", "metadata", part];
            fields.retain(|name, _| kept.contains(&name.as_str()));
            let kept = ["name", "namespace", "uid", "resourceVersion"];
            meta::metadata_mut(config).retain(|name, _| kept.contains(&name.as_str()));
        }
    }
}

fn check_fields(call: &Call, config: &Value) -> Result<(), Status> {
    let kind: &Kind = &call.kind;
    let faults = check(Shape::of(kind), config);
    let faults = match faults.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        several => format!("errors:\n  {}", several.join("\n  ")),
    };
    Err(Status::bad_request(format!(
        "failed to create typed patch object ({}/{}; {}/{}, Kind={}): {faults}",
        call.namespace, call.name, kind.group, kind.version, kind.kind
    )))
}
