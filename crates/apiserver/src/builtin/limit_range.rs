//! LimitRanges: what single objects of a namespace may ask for, and what they get unasked.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::NO_HOOKS;
use super::access::{list, map, text};
use super::column::Col;
use crate::kind::Hooks;
use crate::schema::cause;
use crate::schema::quantity::Quantity;
use crate::status::Cause;

pub(super) const COLUMNS: &[Col] = &[Col::new("Created At", "When it was created.", |range| {
    text(range, "/metadata/creationTimestamp").into()
})];

pub(super) const HOOKS: Hooks = Hooks {
    default: Some(default),
    validate: Some(validate),
    no_generation: true,
    ..NO_HOOKS
};

/// For containers, what is not said follows from what is: limits from the maximum, requests from
/// the limits, or else from the minimum.
fn default(range: &mut Value) {
    let spec = map(range, "spec");
    let items = spec.get_mut("limits").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten() {
        if text(item, "/type") == "Container" {
            fill_from(item, "default", "max");
            fill_from(item, "defaultRequest", "default");
            fill_from(item, "defaultRequest", "min");
        }
    }
}

fn fill_from(item: &mut Value, field: &str, source: &str) {
    let Some(source) = item.get(source).and_then(Value::as_object).cloned() else {
        return;
    };
    let target: &mut Map<_, _> = map(item, field);
    for (name, amount) in source {
        target.entry(name).or_insert(amount);
    }
}

fn validate(range: &Value, _: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut types = BTreeSet::new();
    for (index, item) in list(range, "/spec/limits").iter().enumerate() {
        let path = format!("spec.limits[{index}]");
        let kind = text(item, "/type");
        if !types.insert(kind) {
            causes.push(cause::duplicate(format!("{path}.type"), &kind.into()));
        }
        if kind == "Pod" {
            for field in ["default", "defaultRequest"] {
                if item.get(field).is_some() {
                    let detail = "may not be specified when `type` is 'Pod'";
                    causes.push(cause::forbidden(format!("{path}.{field}"), detail));
                }
            }
        }
        if kind == "PersistentVolumeClaim"
            && amounts(item, "min").is_none()
            && amounts(item, "max").is_none()
        {
            let detail =
                "either minimum or maximum storage value is required, but neither was provided";
            causes.push(cause::required(format!("{path}.limits"), detail));
        }
        order(item, &path, &mut causes);
    }
    causes
}

/// The amounts of an item, in the order that they must have.
const ORDER: [(&str, &str); 6] = [
    ("min", "max"),
    ("min", "defaultRequest"),
    ("defaultRequest", "max"),
    ("defaultRequest", "default"),
    ("min", "default"),
    ("default", "max"),
];

fn order(item: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (lower, upper) in ORDER {
        let Some(lowers) = amounts(item, lower) else {
            continue;
        };
        for (name, low) in lowers {
            let high = amounts(item, upper).and_then(|uppers| uppers.get(name));
            let value = |amount: &Value| amount.as_str()?.parse::<Quantity>().ok();
            let Some((high, low)) = high.and_then(|high| Some((value(high)?, value(low)?))) else {
                continue;
            };
            if low > high {
                let words = |field: &str| match field {
                    "defaultRequest" => "default request".to_owned(),
                    field => field.to_owned(),
                };
                let detail = format!(
                    "{} value {low} is greater than {} value {high}",
                    words(lower),
                    words(upper),
                );
                let field = format!("{path}.{lower}[{name}]");
                causes.push(cause::invalid(field, &low.to_string().into(), &detail));
            }
        }
    }
}

fn amounts<'a>(item: &'a Value, field: &str) -> Option<&'a Map<String, Value>> {
    item.get(field).and_then(Value::as_object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_get_what_follows_from_the_bounds() {
        let mut range = json!({"spec": {"limits": [{"type": "Container",
            "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]}});
        default(&mut range);
        let item = &range["spec"]["limits"][0];
        assert_eq!(item["default"], json!({"cpu": "2"}));
        assert_eq!(item["defaultRequest"], json!({"cpu": "2", "memory": "1Mi"}));
    }

    #[test]
    fn bounds_are_in_order_and_each_type_comes_once() {
        let range = json!({"spec": {"limits": [
            {"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}},
            {"type": "Container"}, {"type": "PersistentVolumeClaim"}]}});
        let faults: Vec<_> = validate(&range, None)
            .into_iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        assert_eq!(
            faults,
            [
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
                "spec.limits[1].type: Duplicate value: \"Container\"",
                "spec.limits[2].limits: Required value: either minimum or maximum storage value is \
                 required, but neither was provided",
            ]
        );
    }
}
