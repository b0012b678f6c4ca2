//! ClusterRoles that are made of others, which their `aggregationRule` selects by labels.

use serde_json::Value;

use crate::meta;
use crate::selector::LabelSelector;

/// The rules that a role should have, if it is made of others and has other ones.
pub(crate) fn outdated(role: &Value, all: &[Value]) -> Option<Vec<Value>> {
    let selectors = role
        .pointer("/aggregationRule/clusterRoleSelectors")?
        .as_array()?;
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors {
        // What cannot be read selects nothing.
        let Some(selector) = LabelSelector::from_value(selector) else {
            continue;
        };
        let selected = all
            .iter()
            .filter(|other| meta::name(other) != meta::name(role) && selector.matches(other));
        for rule in selected.flat_map(list) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    (rules != list(role)).then_some(rules)
}

fn list(role: &Value) -> &[Value] {
    role.get("rules")
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_rule_of_the_selected_roles_comes_once() {
        let role = |name: &str, label: &str, rules: Value| json!({"metadata": {"name": name, "labels": {"to": label}}, "rules": rules});
        let all = [
            role("a", "x", json!([{"verbs": ["get"]}])),
            role("b", "x", json!([{"verbs": ["list"]}, {"verbs": ["get"]}])),
            role("c", "y", json!([{"verbs": ["watch"]}])),
        ];
        let mut whole = role("whole", "x", json!([{"verbs": ["old"]}]));
        assert_eq!(outdated(&whole, &all), None);
        whole["aggregationRule"] = json!({"clusterRoleSelectors": [
            {"matchLabels": {"to": "x"}},
            {"matchExpressions": [{"key": "to", "operator": "In", "values": ["x", "z"]}]},
        ]});
        let expected = json!([{"verbs": ["get"]}, {"verbs": ["list"]}]);
        assert_eq!(
            outdated(&whole, &all).map(Value::from),
            Some(expected.clone())
        );
        whole["rules"] = expected;
        assert_eq!(outdated(&whole, &all), None);
    }
}
