//! Label selectors and node selectors.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels of an object.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether labels satisfy a label selector. An empty selector matches everything.
pub(crate) fn label_selector_matches(selector: &LabelSelector, labels: &Labels) -> bool {
    let exact = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.iter().flatten();
    exact
        .into_iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && expressions.into_iter().all(|expression| {
            let values = expression.values.as_deref().unwrap_or_default();
            requirement_matches(&expression.operator, values, labels.get(&expression.key))
        })
}

/// Whether a node satisfies a node selector: any of its terms. No terms match nothing.
pub(crate) fn node_selector_matches(selector: &NodeSelector, name: &str, labels: &Labels) -> bool {
    selector
        .node_selector_terms
        .iter()
        .any(|term| node_term_matches(term, name, labels))
}

/// Whether a node satisfies one term of a node selector. An empty term matches nothing.
pub(crate) fn node_term_matches(term: &NodeSelectorTerm, name: &str, labels: &Labels) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let name = name.to_owned();
    let field = |requirement: &NodeSelectorRequirement| {
        (requirement.key == "metadata.name").then_some(&name)
    };
    expressions
        .iter()
        .all(|requirement| node_requirement_matches(requirement, labels.get(&requirement.key)))
        && fields
            .iter()
            .all(|requirement| node_requirement_matches(requirement, field(requirement)))
}

fn node_requirement_matches(requirement: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    requirement_matches(&requirement.operator, values, value)
}

fn requirement_matches(operator: &str, values: &[String], value: Option<&String>) -> bool {
    match operator {
        "In" => value.is_some_and(|value| values.contains(value)),
        "NotIn" => value.is_none_or(|value| !values.contains(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(values, value).is_some_and(|(limit, value)| value > limit),
        "Lt" => compare(values, value).is_some_and(|(limit, value)| value < limit),
        _ => false,
    }
}

/// The limit and the value as integers, when both are.
fn compare(values: &[String], value: Option<&String>) -> Option<(i64, i64)> {
    let [limit] = values else { return None };
    Some((limit.parse().ok()?, value?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn operators() {
        let values = |list: &[&str]| list.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let some = "7".to_owned();
        let cases = [
            ("In", values(&["7"]), Some(&some), true),
            ("In", values(&["8"]), Some(&some), false),
            ("In", values(&["7"]), None, false),
            ("NotIn", values(&["7"]), None, true),
            ("NotIn", values(&["7"]), Some(&some), false),
            ("Exists", values(&[]), Some(&some), true),
            ("DoesNotExist", values(&[]), Some(&some), false),
            ("Gt", values(&["6"]), Some(&some), true),
            ("Lt", values(&["6"]), Some(&some), false),
            ("Like", values(&["7"]), Some(&some), false),
        ];
        for (operator, values, value, expected) in cases {
            assert_eq!(
                requirement_matches(operator, &values, value),
                expected,
                "{operator}"
            );
        }
    }

    #[test]
    fn node_terms_are_alternatives_and_an_empty_term_matches_nothing() {
        let zone = |value: &str| NodeSelectorTerm {
            match_expressions: Some(vec![NodeSelectorRequirement {
                key: "zone".into(),
                operator: "In".into(),
                values: Some(vec![value.into()]),
            }]),
            ..NodeSelectorTerm::default()
        };
        let by_name = NodeSelectorTerm {
            match_fields: Some(vec![NodeSelectorRequirement {
                key: "metadata.name".into(),
                operator: "In".into(),
                values: Some(vec!["n1".into()]),
            }]),
            ..NodeSelectorTerm::default()
        };
        let select = |terms| NodeSelector {
            node_selector_terms: terms,
        };
        let node = labels(&[("zone", "b")]);
        assert!(node_selector_matches(
            &select(vec![zone("a"), zone("b")]),
            "n1",
            &node
        ));
        assert!(!node_selector_matches(
            &select(vec![zone("a")]),
            "n1",
            &node
        ));
        assert!(node_selector_matches(
            &select(vec![by_name.clone()]),
            "n1",
            &node
        ));
        assert!(!node_selector_matches(&select(vec![by_name]), "n2", &node));
        assert!(!node_selector_matches(
            &select(vec![NodeSelectorTerm::default()]),
            "n1",
            &node
        ));
    }

    #[test]
    fn label_selectors_need_everything() {
        let selector = LabelSelector {
            match_labels: Some(labels(&[("a", "1"), ("b", "2")])),
            ..LabelSelector::default()
        };
        assert!(label_selector_matches(
            &selector,
            &labels(&[("a", "1"), ("b", "2"), ("c", "3")])
        ));
        assert!(!label_selector_matches(&selector, &labels(&[("a", "1")])));
        assert!(label_selector_matches(
            &LabelSelector::default(),
            &labels(&[])
        ));
    }
}
