//! Which Pods a quota is about.

use serde_json::Value;

use super::is_compute;
use crate::builtin::pod::qos_class;
use crate::meta::text;

/// A property of Pods that a quota can be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Pods that end after some time.
    Terminating,
    /// Pods that may run for ever.
    NotTerminating,
    /// Pods that ask for nothing.
    BestEffort,
    /// Pods that ask for something.
    NotBestEffort,
    /// Pods of some priority classes.
    PriorityClass,
    /// Pods that look at Pods of other namespaces for their place.
    CrossNamespacePodAffinity,
}

impl Scope {
    /// The scope of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "Terminating" => Self::Terminating,
            "NotTerminating" => Self::NotTerminating,
            "BestEffort" => Self::BestEffort,
            "NotBestEffort" => Self::NotBestEffort,
            "PriorityClass" => Self::PriorityClass,
            "CrossNamespacePodAffinity" => Self::CrossNamespacePodAffinity,
            _ => return None,
        })
    }

    /// Whether a quota of this scope can bound what `name` stands for.
    pub(crate) fn covers(self, name: &str) -> bool {
        name == "pods" || name == "count/pods" || self != Self::BestEffort && is_compute(name)
    }
}

/// One condition of a quota on Pods.
#[derive(Debug)]
pub(super) struct Term<'a> {
    scope: Option<Scope>,
    operator: &'a str,
    values: Vec<&'a str>,
}

/// All conditions of a quota, in whichever way they are written.
pub(super) fn terms(quota: &Value) -> Vec<Term<'_>> {
    let list = |pointer| {
        let list = quota.pointer(pointer).and_then(Value::as_array);
        list.into_iter().flatten()
    };
    let plain = list("/spec/scopes").map(|scope| Term {
        scope: scope.as_str().and_then(Scope::parse),
        operator: "Exists",
        values: Vec::new(),
    });
    let selected = list("/spec/scopeSelector/matchExpressions").map(|term| Term {
        scope: Scope::parse(text(term, "/scopeName")),
        operator: text(term, "/operator"),
        values: term["values"]
            .as_array()
            .map(|values| values.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default(),
    });
    plain.chain(selected).collect()
}

impl Term<'_> {
    /// Whether a Pod is in the scope.
    pub(super) fn holds(&self, pod: &Value) -> bool {
        let ends = || {
            pod.pointer("/spec/activeDeadlineSeconds")
                .is_some_and(Value::is_number)
        };
        let best_effort = || qos_class(pod.get("spec").unwrap_or(&Value::Null)) == "BestEffort";
        match self.scope {
            Some(Scope::Terminating) => ends(),
            Some(Scope::NotTerminating) => !ends(),
            Some(Scope::BestEffort) => best_effort(),
            Some(Scope::NotBestEffort) => !best_effort(),
            Some(Scope::PriorityClass) => self.is_class(text(pod, "/spec/priorityClassName")),
            Some(Scope::CrossNamespacePodAffinity) => looks_abroad(pod),
            None => false,
        }
    }

    fn is_class(&self, class: &str) -> bool {
        match self.operator {
            "In" => self.values.contains(&class),
            "NotIn" => !self.values.contains(&class),
            "DoesNotExist" => class.is_empty(),
            _ => !class.is_empty(),
        }
    }
}

fn looks_abroad(pod: &Value) -> bool {
    let abroad = |term: &Value| {
        let term = term.get("podAffinityTerm").unwrap_or(term);
        let named = term["namespaces"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
        named || term.get("namespaceSelector").is_some_and(Value::is_object)
    };
    let lists = ["podAffinity", "podAntiAffinity"]
        .into_iter()
        .flat_map(|affinity| {
            [
                "requiredDuringSchedulingIgnoredDuringExecution",
                "preferredDuringSchedulingIgnoredDuringExecution",
            ]
            .map(|list| format!("/spec/affinity/{affinity}/{list}"))
        });
    lists.into_iter().any(|list| {
        let terms = pod.pointer(&list).and_then(Value::as_array);
        terms.into_iter().flatten().any(abroad)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn in_scope(spec: Value, pod: &Value) -> bool {
        super::super::is_in_scope(&json!({"spec": spec}), "pods", pod)
    }

    #[test]
    fn pods_are_in_scope_by_what_they_say() {
        let best_effort = json!({"spec": {"containers": [{}], "activeDeadlineSeconds": 5}});
        let burstable =
            json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        assert!(in_scope(
            json!({"scopes": ["BestEffort", "Terminating"]}),
            &best_effort
        ));
        assert!(!in_scope(
            json!({"scopes": ["BestEffort", "NotTerminating"]}),
            &best_effort
        ));
        assert!(in_scope(
            json!({"scopes": ["NotBestEffort", "NotTerminating"]}),
            &burstable
        ));
        let quota = json!({"spec": {"scopes": ["BestEffort"]}});
        assert!(!super::super::is_in_scope(&quota, "configmaps", &json!({})));
    }

    #[test]
    fn classes_are_compared() {
        let pod = |class: &str| json!({"spec": {"priorityClassName": class}});
        let quota = |operator: &str, values: &[&str]| {
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
        };
        assert!(in_scope(quota("In", &["high"]), &pod("high")));
        assert!(!in_scope(quota("In", &["high"]), &pod("low")));
        assert!(in_scope(quota("NotIn", &["high"]), &json!({})));
        assert!(in_scope(quota("Exists", &[]), &pod("low")));
        assert!(!in_scope(quota("Exists", &[]), &json!({})));
    }

    #[test]
    fn affinity_may_reach_into_other_namespaces() {
        let pod = json!({"spec": {"affinity": {"podAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"podAffinityTerm": {"namespaces": ["other"]}}]}}}});
        assert!(in_scope(
            json!({"scopes": ["CrossNamespacePodAffinity"]}),
            &pod
        ));
        assert!(!in_scope(
            json!({"scopes": ["CrossNamespacePodAffinity"]}),
            &json!({})
        ));
    }
}
