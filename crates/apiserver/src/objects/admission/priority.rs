//! The priority of Pods, from their `PriorityClass`.

use serde_json::{Value, json};

use super::super::{Call, Objects};
use super::name;
use crate::builtin::scheduling::SYSTEM_CLASSES;
use crate::meta;
use crate::status::Status;
use crate::store::Key;

const CLASSES: &str = "priorityclasses.scheduling.k8s.io";

impl Objects {
    /// Makes the classes that a new server has.
    pub(crate) async fn make_system_classes(&self) -> Result<(), Status> {
        let catalog = self.registry.catalog();
        let Some(kind) = catalog.get("scheduling.k8s.io", "v1", "priorityclasses") else {
            return Ok(());
        };
        for (name, value, description) in SYSTEM_CLASSES {
            if self.class(name).is_some() {
                continue;
            }
            let class = json!({"metadata": {"name": name}, "value": value,
                "description": description});
            let mut call = Call::system(kind, "", name);
            self.create(&mut call, class.into()).await?;
        }
        Ok(())
    }

    /// Gives a new Pod the priority of its class, or of the default one.
    pub(super) fn prioritize(&self, call: &Call, pod: &mut Value) -> Result<(), Status> {
        let refuse = |why: &str| Err(Status::forbidden(&call.kind, name(pod), why));
        let asked = meta::text(pod, "/spec/priorityClassName");
        let class = match asked {
            "" => self.default_class(),
            asked => match self.class(asked) {
                None => return refuse(&format!("no PriorityClass with name {asked} was found")),
                class => class,
            },
        };
        let class = class.unwrap_or_else(|| json!({"metadata": {"name": ""}}));
        let priority = class["value"].as_i64().unwrap_or_default();
        if let Some(given) = pod.pointer("/spec/priority").and_then(Value::as_i64)
            && given != priority
        {
            return refuse(&format!(
                "the integer value of priority ({given}) must not be provided in pod spec; \
                 priority admission controller computed {priority} from the given PriorityClass \
                 name"
            ));
        }
        let class_name = meta::name(&class);
        let spec = meta::child_mut(pod, "spec");
        if !class_name.is_empty() {
            spec.insert("priorityClassName".into(), class_name.into());
        }
        spec.insert("priority".into(), priority.into());
        let policy = class.get("preemptionPolicy").cloned();
        let policy = policy.unwrap_or_else(|| "PreemptLowerPriority".into());
        spec.entry("preemptionPolicy").or_insert(policy);
        Ok(())
    }

    /// At most one class is for Pods that name none.
    pub(super) fn check_default_class(&self, call: &Call, class: &Value) -> Result<(), Status> {
        if class["globalDefault"] != true {
            return Ok(());
        }
        match self.default_class() {
            Some(other) if meta::name(&other) != meta::name(class) => {
                let why = format!(
                    "PriorityClass {} is already marked as default. Only one default can exist",
                    meta::name(&other)
                );
                Err(Status::forbidden(&call.kind, meta::name(class), &why))
            }
            _ => Ok(()),
        }
    }

    fn class(&self, name: &str) -> Option<Value> {
        let key = Key {
            resource: CLASSES.into(),
            namespace: String::new(),
            name: name.into(),
        };
        self.store.get(&key).map(|class| class.value())
    }

    fn default_class(&self) -> Option<Value> {
        let classes = self.store.list(CLASSES, None);
        let mut classes = classes.iter().map(|class| class.value());
        classes.find(|class| class["globalDefault"] == true)
    }
}
