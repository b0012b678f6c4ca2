//! What keeps Pods of one template running: Deployments, ReplicaSets, DaemonSets and their
//! revisions.

pub(crate) mod job;

use serde_json::{Map, Value, json};

use super::NO_HOOKS;
use super::access::{fill, list, map, text};
use super::column::{AGE, Col};
use super::pod;
use crate::kind::Hooks;
use crate::schema::cause;
use crate::selector::LabelSelector;
use crate::status::Cause;

/// The wide columns of everything that has a template.
pub(super) const CONTAINERS: Col = Col::new("Containers", "Names of the containers.", |object| {
    of_containers(object, "/name").into()
})
.wide();
pub(super) const IMAGES: Col = Col::new("Images", "Images of the containers.", |object| {
    of_containers(object, "/image").into()
})
.wide();
pub(super) const SELECTOR: Col = Col::new("Selector", "Which Pods belong to it.", |object| {
    selector_text(object.pointer("/spec/selector")).into()
})
.wide();

pub(super) const DEPLOYMENT_COLUMNS: &[Col] = &[
    Col::new("Ready", "Pods that are ready, of those wanted.", |object| {
        let (ready, wanted) = (number(object, "/status/readyReplicas"), replicas(object));
        format!("{ready}/{wanted}").into()
    }),
    Col::new("Up-to-date", "Pods of the present template.", |object| {
        number(object, "/status/updatedReplicas").into()
    })
    .of("integer"),
    Col::new(
        "Available",
        "Pods that have been ready long enough.",
        |object| number(object, "/status/availableReplicas").into(),
    )
    .of("integer"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const DEPLOYMENT_HOOKS: Hooks = Hooks {
    default: Some(|object| {
        let spec = map(object, "spec");
        fill(spec, "replicas", 1);
        fill(spec, "revisionHistoryLimit", 10);
        fill(spec, "progressDeadlineSeconds", 600);
        fill(spec, "strategy", json!({}));
        strategy(
            &mut spec["strategy"],
            &[("maxUnavailable", json!("25%")), ("maxSurge", json!("25%"))],
        );
        template(spec);
    }),
    validate: Some(|object, old| {
        let mut causes = always(object, old);
        causes.extend(choice(
            object,
            "spec.strategy.type",
            ["Recreate", "RollingUpdate"],
        ));
        causes.extend(not_negative(object, "replicas"));
        causes.extend(rolling(object, "spec.strategy"));
        causes
    }),
    ..NO_HOOKS
};

pub(super) const REPLICA_SET_COLUMNS: &[Col] = &[
    Col::new("Desired", "Pods that are wanted.", |object| {
        replicas(object).into()
    })
    .of("integer"),
    Col::new("Current", "Pods that there are.", |object| {
        number(object, "/status/replicas").into()
    })
    .of("integer"),
    Col::new("Ready", "Pods that are ready.", |object| {
        number(object, "/status/readyReplicas").into()
    })
    .of("integer"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const REPLICA_SET_HOOKS: Hooks = Hooks {
    default: Some(|object| {
        let spec = map(object, "spec");
        fill(spec, "replicas", 1);
        template(spec);
        fill(map(object, "status"), "replicas", 0);
    }),
    validate: Some(|object, old| {
        let mut causes = always(object, old);
        causes.extend(not_negative(object, "replicas"));
        causes
    }),
    fields: Some(|object| {
        vec![(
            "status.replicas",
            number(object, "/status/replicas").to_string(),
        )]
    }),
    ..NO_HOOKS
};

pub(super) const DAEMON_SET_COLUMNS: &[Col] = &[
    Col::new("Desired", "Nodes that want a Pod.", |object| {
        number(object, "/status/desiredNumberScheduled").into()
    })
    .of("integer"),
    Col::new("Current", "Nodes that want a Pod and have one.", |object| {
        number(object, "/status/currentNumberScheduled").into()
    })
    .of("integer"),
    Col::new("Ready", "Nodes whose Pod is ready.", |object| {
        number(object, "/status/numberReady").into()
    })
    .of("integer"),
    Col::new(
        "Up-to-date",
        "Nodes whose Pod is of the present template.",
        |object| number(object, "/status/updatedNumberScheduled").into(),
    )
    .of("integer"),
    Col::new(
        "Available",
        "Nodes whose Pod has been ready long enough.",
        |object| number(object, "/status/numberAvailable").into(),
    )
    .of("integer"),
    Col::new(
        "Node Selector",
        "Labels of the nodes that want a Pod.",
        |object| labels_text(object.pointer("/spec/template/spec/nodeSelector")).into(),
    ),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const DAEMON_SET_HOOKS: Hooks = Hooks {
    default: Some(|object| {
        let spec = map(object, "spec");
        fill(spec, "revisionHistoryLimit", 10);
        fill(spec, "updateStrategy", json!({}));
        strategy(
            &mut spec["updateStrategy"],
            &[("maxUnavailable", json!(1)), ("maxSurge", json!(0))],
        );
        template(spec);
        let status = map(object, "status");
        for field in [
            "currentNumberScheduled",
            "desiredNumberScheduled",
            "numberMisscheduled",
            "numberReady",
        ] {
            fill(status, field, 0);
        }
    }),
    validate: Some(|object, old| {
        let mut causes = always(object, old);
        causes.extend(choice(
            object,
            "spec.updateStrategy.type",
            ["OnDelete", "RollingUpdate"],
        ));
        causes.extend(rolling(object, "spec.updateStrategy"));
        causes
    }),
    ..NO_HOOKS
};

pub(super) const REVISION_COLUMNS: &[Col] = &[
    Col::new("Controller", "What it is a revision of.", |revision| {
        let mut owners = list(revision, "/metadata/ownerReferences").iter();
        let controller = owners.find(|owner| owner["controller"] == true);
        let controller = controller.map(|owner| {
            let group = text(owner, "/apiVersion").split_once('/');
            let group = group.map_or(String::new(), |(group, _)| format!(".{group}"));
            let kind = text(owner, "/kind").to_lowercase();
            format!("{kind}{group}/{}", text(owner, "/name"))
        });
        controller.unwrap_or_else(|| "<none>".to_owned()).into()
    }),
    Col::new("Revision", "Its number.", |revision| {
        number(revision, "/revision").to_string().into()
    }),
    AGE,
];

pub(super) const REVISION_HOOKS: Hooks = Hooks {
    validate: Some(|revision, old| match old {
        Some(old) if old.get("data") != revision.get("data") => {
            let data = revision.get("data").unwrap_or(&Value::Null);
            vec![cause::invalid("data", data, "field is immutable")]
        }
        _ => Vec::new(),
    }),
    no_generation: true,
    ..NO_HOOKS
};

pub(super) fn number(object: &Value, pointer: &str) -> i64 {
    object
        .pointer(pointer)
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

fn replicas(object: &Value) -> i64 {
    number(object, "/spec/replicas")
}

fn of_containers(object: &Value, pointer: &str) -> String {
    let containers = list(object, "/spec/template/spec/containers").iter();
    let texts: Vec<_> = containers
        .map(|container| text(container, pointer))
        .collect();
    texts.join(",")
}

/// A map of labels as kubectl prints it.
pub(super) fn labels_text(labels: Option<&Value>) -> String {
    let labels = labels.and_then(Value::as_object);
    let pair =
        |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    let pairs: Vec<_> = labels.into_iter().flatten().map(pair).collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

/// A `LabelSelector` as kubectl prints it.
fn selector_text(selector: Option<&Value>) -> String {
    let Some(selector) = selector else {
        return "<none>".to_owned();
    };
    let expression = |term: &Value| {
        let (key, values) = (text(term, "/key"), list(term, "/values").iter());
        let values: Vec<_> = values.filter_map(Value::as_str).collect();
        match text(term, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        }
    };
    let expressions: Vec<_> = list(selector, "/matchExpressions")
        .iter()
        .map(expression)
        .collect();
    let labels = selector
        .get("matchLabels")
        .filter(|labels| **labels != json!({}));
    match (labels, expressions.is_empty()) {
        (None, true) => "<none>".to_owned(),
        (None, false) => expressions.join(","),
        (labels, true) => labels_text(labels),
        (labels, false) => format!("{},{}", labels_text(labels), expressions.join(",")),
    }
}

/// Fills the type of an update strategy, and the bounds of a rolling one.
fn strategy(strategy: &mut Value, bounds: &[(&str, Value)]) {
    let Some(fields) = strategy.as_object_mut() else {
        return;
    };
    fill(fields, "type", "RollingUpdate");
    if fields["type"] == "RollingUpdate" {
        let rolling = map(strategy, "rollingUpdate");
        for (name, bound) in bounds {
            fill(rolling, name, bound.clone());
        }
    }
}

/// Fills the defaults of the Pods in `spec.template`.
pub(super) fn template(spec: &mut Map<String, Value>) {
    if let Some(template @ Value::Object(_)) = spec.get_mut("template") {
        let metadata = map(template, "metadata");
        metadata.remove("creationTimestamp");
        pod::default_spec(map(template, "spec"));
    }
}

/// The faults of something whose Pods run for ever.
fn always(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = templated(object, old);
    let policy = object.pointer("/spec/template/spec/restartPolicy");
    if let Some(policy) = policy.filter(|policy| **policy != "Always") {
        let path = "spec.template.spec.restartPolicy";
        causes.push(cause::unsupported(path, policy, ["Always"]));
    }
    causes
}

/// The faults of a selector and a template, which fit each other.
fn templated(object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let wanted = object.pointer("/spec/selector").unwrap_or(&Value::Null);
    let selects = |part| {
        wanted
            .get(part)
            .is_some_and(|part| *part != json!({}) && *part != json!([]))
    };
    if !wanted.is_null() && !selects("matchLabels") && !selects("matchExpressions") {
        let detail = "empty selector is invalid for deployment";
        causes.push(cause::invalid("spec.selector", wanted, detail));
    } else if !wanted.is_null() {
        let template = object.pointer("/spec/template").unwrap_or(&Value::Null);
        let selector = LabelSelector::parse(&selector_text(Some(wanted)));
        if selector.is_ok_and(|selector| !selector.matches(template)) {
            let none = json!({});
            let labels = template.pointer("/metadata/labels").unwrap_or(&none);
            let detail = "`selector` does not match template `labels`";
            causes.push(cause::invalid(
                "spec.template.metadata.labels",
                labels,
                detail,
            ));
        }
    }
    if let Some(old) = old
        && old.pointer("/spec/selector") != object.pointer("/spec/selector")
    {
        causes.push(cause::invalid(
            "spec.selector",
            wanted,
            "field is immutable",
        ));
    }
    causes.extend(pod_template(object));
    causes
}

/// The faults of the Pods that `spec.template` would make.
fn pod_template(object: &Value) -> Vec<Cause> {
    let Some(template) = object.pointer("/spec/template") else {
        return Vec::new();
    };
    let mut causes = pod::validate_new(template);
    for cause in &mut causes {
        cause.field = format!("spec.template.{}", cause.field);
    }
    causes
}

fn choice(object: &Value, path: &str, known: [&str; 2]) -> Vec<Cause> {
    let value = object.pointer(&format!("/{}", path.replace('.', "/")));
    let unknown = value.filter(|value| !known.iter().any(|known| *value == known));
    let unknown = unknown.map(|value| cause::unsupported(path, value, known));
    unknown.into_iter().collect()
}

fn not_negative(object: &Value, field: &str) -> Option<Cause> {
    let value = object.pointer(&format!("/spec/{field}"))?;
    let detail = "must be greater than or equal to 0";
    (value.as_i64()? < 0).then(|| cause::invalid(format!("spec.{field}"), value, detail))
}

/// A rolling update needs room on one side.
fn rolling(object: &Value, path: &str) -> Option<Cause> {
    let pointer = format!("/{}/rollingUpdate", path.replace('.', "/"));
    let bounds = object.pointer(&pointer)?;
    let is_zero = |bound: &Value| *bound == 0 || *bound == "0%" || *bound == "0";
    (is_zero(&bounds["maxUnavailable"]) && is_zero(&bounds["maxSurge"])).then(|| {
        cause::invalid(
            format!("{path}.rollingUpdate.maxUnavailable"),
            &bounds["maxUnavailable"],
            "may not be 0 when `maxSurge` is 0",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        let mut object = json!({"metadata": {"name": "x"}, "spec": {
            "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}},
                "spec": {"containers": [{"name": "a", "image": "i:1"}]}}}});
        DEPLOYMENT_HOOKS.default.unwrap()(&mut object);
        object
    }

    fn faults(object: &Value, old: Option<&Value>) -> Vec<String> {
        DEPLOYMENT_HOOKS.validate.unwrap()(object, old)
            .into_iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect()
    }

    #[test]
    fn a_small_deployment_becomes_a_whole_one() {
        let object = deployment();
        assert_eq!(faults(&object, None), Vec::<String>::new());
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(
            spec["strategy"],
            json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
        );
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
        assert_eq!(spec["template"]["spec"].get("serviceAccountName"), None);
    }

    #[test]
    fn selector_and_template_fit_and_the_selector_stays() {
        let old = deployment();
        let mut new = old.clone();
        new["spec"]["template"]["metadata"]["labels"] = json!({"app": "y"});
        new["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
        assert_eq!(
            faults(&new, Some(&old)),
            [
                "spec.template.metadata.labels: Invalid value: map[string]interface {}{\"app\":\"y\"}: \
             `selector` does not match template `labels`",
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ]
        );
        new = old.clone();
        new["spec"]["selector"]["matchLabels"] = json!({});
        assert!(faults(&new, Some(&old))[1].ends_with("field is immutable"));
    }

    #[test]
    fn selectors_are_shown_in_short() {
        let selector = json!({"matchLabels": {"a": "1"}, "matchExpressions": [
            {"key": "b", "operator": "In", "values": ["x", "y"]}, {"key": "c", "operator": "Exists"}]});
        assert_eq!(selector_text(Some(&selector)), "a=1,b in (x,y),c");
        assert_eq!(selector_text(None), "<none>");
    }
}
