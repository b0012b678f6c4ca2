//! Rules of roles: what one allows, and whether some rules contain others.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Attempt;

/// Everything, wherever a rule lists something.
const ALL: &str = "*";

/// A rule of `rbac.authorization.k8s.io/v1`: verbs on resources, or on paths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) non_resource_urls: Vec<String>,
}

/// The rules of a role; those that are not well-formed allow nothing.
pub(crate) fn rules_of(role: &Value) -> Vec<Rule> {
    let list = role.get("rules").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|rule| Rule::deserialize(rule).ok())
        .collect()
}

impl Rule {
    /// Everything that there is: every resource, and every path.
    pub(crate) fn everything() -> [Self; 2] {
        let all = || vec![ALL.to_owned()];
        let resources = Self {
            verbs: all(),
            api_groups: all(),
            resources: all(),
            ..Self::default()
        };
        let paths = Self {
            verbs: all(),
            non_resource_urls: all(),
            ..Self::default()
        };
        [resources, paths]
    }

    /// Whether the rule allows something.
    pub(crate) fn allows(&self, attempt: &Attempt<'_>) -> bool {
        match attempt {
            Attempt::Path { verb, path } => {
                lists(&self.verbs, verb)
                    && self
                        .non_resource_urls
                        .iter()
                        .any(|url| matches_path(url, path))
            }
            Attempt::Resource {
                verb,
                group,
                resource,
                subresource,
                name,
                ..
            } => {
                lists(&self.verbs, verb)
                    && lists(&self.api_groups, group)
                    && self
                        .resources
                        .iter()
                        .any(|rule| matches_resource(rule, resource, subresource))
                    && (self.resource_names.is_empty()
                        || self.resource_names.iter().any(|known| known == name))
            }
        }
    }

    /// How many single permissions the rule stands for.
    pub(super) fn count(&self) -> usize {
        let names = self.resource_names.len().max(1);
        let resources = [self.resources.len(), names];
        let resources = resources
            .into_iter()
            .fold(self.api_groups.len(), usize::saturating_mul);
        let each = resources.saturating_add(self.non_resource_urls.len());
        self.verbs.len().saturating_mul(each)
    }

    /// Single permissions that together say the same: one verb on one resource or path each.
    fn parts(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut parts = Vec::new();
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    let part = Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        parts.push(part);
                        continue;
                    }
                    parts.extend(self.resource_names.iter().map(|name| Self {
                        resource_names: one(name),
                        ..part.clone()
                    }));
                }
            }
            parts.extend(self.non_resource_urls.iter().map(|url| Self {
                verbs: one(verb),
                non_resource_urls: one(url),
                ..Self::default()
            }));
        }
        parts
    }

    /// Whether everything that a single permission allows is allowed here too.
    fn contains(&self, part: &Self) -> bool {
        let all = |own: &[String], wanted: &[String]| {
            own.iter().any(|own| own == ALL) || wanted.iter().all(|wanted| own.contains(wanted))
        };
        if !all(&self.verbs, &part.verbs) {
            return false;
        }
        if let Some(url) = part.non_resource_urls.first() {
            return self.non_resource_urls.iter().any(|own| {
                own == url
                    || own
                        .strip_suffix('*')
                        .is_some_and(|prefix| url.trim_end_matches('*').starts_with(prefix))
            });
        }
        let resource = |wanted: &String| {
            let below = wanted.split_once('/').map(|(_, below)| below);
            self.resources.iter().any(|own| {
                own == ALL
                    || own == wanted
                    || below.is_some_and(|below| own.strip_prefix("*/") == Some(below))
            })
        };
        let names = self.resource_names.is_empty()
            || (!part.resource_names.is_empty()
                && part
                    .resource_names
                    .iter()
                    .all(|name| self.resource_names.contains(name)));
        all(&self.api_groups, &part.api_groups) && part.resources.iter().all(resource) && names
    }
}

fn lists(list: &[String], wanted: &str) -> bool {
    list.iter().any(|entry| entry == ALL || entry == wanted)
}

fn matches_path(url: &str, path: &str) -> bool {
    url == path
        || url
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}

/// `pods`, `pods/log`, `*/log` or `*`.
fn matches_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == ALL {
        return true;
    }
    if subresource.is_empty() {
        return rule == resource;
    }
    rule.split_once('/')
        .is_some_and(|(of, below)| (of == resource || of == ALL) && below == subresource)
}

/// What `wanted` allows beyond `own`, in few rules.
pub(crate) fn missing(own: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(Rule::parts);
    let missing = parts.filter(|part| !own.iter().any(|own| own.contains(part)));
    let mut merged: Vec<Rule> = Vec::new();
    for part in missing {
        let same = merged.iter_mut().find(|rule| {
            rule.api_groups == part.api_groups
                && rule.resources == part.resources
                && rule.resource_names == part.resource_names
                && rule.non_resource_urls == part.non_resource_urls
        });
        match same {
            Some(rule) if rule.verbs.contains(&part.verbs[0]) => {}
            Some(rule) => rule.verbs.extend(part.verbs),
            None => merged.push(part),
        }
    }
    merged
}

/// Rules as Kubernetes shows them in refusals: sorted, one a line.
pub(crate) fn lines(rules: &[Rule]) -> String {
    let lines: BTreeSet<String> = rules.iter().map(ToString::to_string).collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let parts: Vec<_> = parts
            .into_iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quoted(list)))
            .collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

/// A list of strings as Go prints it: `["a" "b"]`.
pub(crate) fn quoted(list: &[String]) -> String {
    let quoted: Vec<_> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        Rule {
            verbs: texts(verbs),
            api_groups: texts(groups),
            resources: texts(resources),
            resource_names: texts(names),
            ..Rule::default()
        }
    }

    fn urls(verbs: &[&str], urls: &[&str]) -> Rule {
        Rule {
            verbs: texts(verbs),
            non_resource_urls: texts(urls),
            ..Rule::default()
        }
    }

    fn path<'a>(verb: &'a str, path: &'a str) -> Attempt<'a> {
        Attempt::Path { verb, path }
    }

    #[test]
    fn paths_may_end_in_a_star() {
        let rule = urls(&["get"], &["/healthz", "/apis/*"]);
        assert!(rule.allows(&path("get", "/healthz")));
        assert!(rule.allows(&path("get", "/apis/batch")));
        assert!(!rule.allows(&path("get", "/apis")));
        assert!(!rule.allows(&path("get", "/healthz/ping")));
        assert!(!rule.allows(&path("post", "/healthz")));
        assert!(urls(&["*"], &["*"]).allows(&path("delete", "/x")));
    }

    #[test]
    fn what_is_missing_is_told_in_few_rules() {
        let own = [
            rule(&["get"], &[""], &["pods", "*/status"], &[]),
            rule(&["*"], &["apps"], &["*"], &[]),
            rule(&["update"], &[""], &["configmaps"], &["a"]),
            urls(&["get"], &["/api*"]),
        ];
        let none: Vec<Rule> = Vec::new();
        let granted = [
            rule(&["get"], &[""], &["pods", "pods/status"], &["x"]),
            rule(&["list", "x"], &["apps"], &["deployments/scale"], &[]),
            rule(&["update"], &[""], &["configmaps"], &["a"]),
            urls(&["get"], &["/api", "/apis/*"]),
        ];
        assert_eq!(missing(&own, &granted), none);
        let refused = [
            rule(&["get", "list"], &[""], &["pods"], &[]),
            rule(&["watch"], &[""], &["pods"], &[]),
            rule(&["update"], &[""], &["configmaps"], &["a", "b"]),
            urls(&["get"], &["/healthz"]),
        ];
        assert_eq!(
            lines(&missing(&own, &refused)),
            "{APIGroups:[\"\"], Resources:[\"configmaps\"], ResourceNames:[\"b\"], \
             Verbs:[\"update\"]}\n\
             {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"watch\"]}\n\
             {NonResourceURLs:[\"/healthz\"], Verbs:[\"get\"]}"
        );
    }

    const VERBS: [&str; 3] = ["get", "list", "*"];
    const GROUPS: [&str; 3] = ["", "apps", "*"];
    const RESOURCES: [&str; 6] = ["pods", "pods/log", "*/log", "jobs", "jobs/log", "*"];
    const NAMES: [&str; 2] = ["a", "b"];

    fn any_rule() -> impl Strategy<Value = Rule> {
        let pick = |list: &'static [&'static str], least: usize| {
            subsequence(list.to_vec(), least..=list.len()).prop_map(|list| texts(&list))
        };
        let names = pick(&NAMES, 0);
        (
            pick(&VERBS, 1),
            pick(&GROUPS, 1),
            pick(&RESOURCES, 1),
            names,
        )
            .prop_map(|(verbs, api_groups, resources, resource_names)| Rule {
                verbs,
                api_groups,
                resources,
                resource_names,
                non_resource_urls: Vec::new(),
            })
    }

    /// The documented meaning, written down without a thought for speed.
    fn naive(
        rule: &Rule,
        verb: &str,
        group: &str,
        resource: &str,
        below: &str,
        name: &str,
    ) -> bool {
        let has = |list: &[String], text: &str| list.contains(&text.to_owned());
        let full = if below.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}/{below}")
        };
        let any_of = format!("*/{below}");
        (has(&rule.verbs, verb) || has(&rule.verbs, "*"))
            && (has(&rule.api_groups, group) || has(&rule.api_groups, "*"))
            && (has(&rule.resources, &full)
                || has(&rule.resources, "*")
                || (!below.is_empty() && has(&rule.resources, &any_of)))
            && (rule.resource_names.is_empty() || has(&rule.resource_names, name))
    }

    proptest! {
        #[test]
        fn a_rule_allows_what_its_lists_say(
            rule in any_rule(),
            verb in select(&["get", "list", "delete"][..]),
            group in select(&["", "apps", "batch"][..]),
            resource in select(&["pods", "jobs", "secrets"][..]),
            subresource in select(&["", "log", "status"][..]),
            name in select(&["", "a", "c"][..]),
        ) {
            let attempt =
                Attempt::Resource { verb, group, resource, subresource, namespace: "", name };
            let expected = naive(&rule, verb, group, resource, subresource, name);
            prop_assert_eq!(rule.allows(&attempt), expected);
        }

        #[test]
        fn who_holds_a_rule_holds_what_it_allows(
            own in proptest::collection::vec(any_rule(), 0..3),
            wanted in any_rule(),
            verb in select(&["get", "list", "delete"][..]),
            group in select(&["", "apps", "batch"][..]),
            resource in select(&["pods", "jobs", "secrets"][..]),
            subresource in select(&["", "log", "status"][..]),
            name in select(&["", "a", "c"][..]),
        ) {
            prop_assert!(missing(std::slice::from_ref(&wanted), std::slice::from_ref(&wanted))
                .is_empty());
            let attempt =
                Attempt::Resource { verb, group, resource, subresource, namespace: "", name };
            let allowed = |rules: &[Rule]| rules.iter().any(|rule| rule.allows(&attempt));
            let lacking = missing(&own, std::slice::from_ref(&wanted));
            if lacking.is_empty() && wanted.allows(&attempt) {
                prop_assert!(allowed(&own));
            }
            // With what is missing, nothing is missing any more.
            let together = [own, lacking].concat();
            prop_assert!(missing(&together, &[wanted]).is_empty());
        }
    }
}
