//! The syntax rules of names, labels and annotations (Kubernetes, "Object Names and IDs",
//! RFC 1123). Each function returns every rule that a text breaks.

use std::sync::LazyLock;

use regex::Regex;

/// Longest DNS subdomain.
const SUBDOMAIN_MAX: usize = 253;
/// Longest DNS label, label value, and name part of a label key.
const LABEL_MAX: usize = 63;

const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const HOST: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const QUALIFIED: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const CONFIG_KEY: &str = "[-._a-zA-Z0-9]+";
const LABEL_VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

#[expect(
    clippy::expect_used,
    reason = "the expressions are constants, compiled in a test"
)]
fn whole(expression: &str) -> Regex {
    Regex::new(&format!("^(?:{expression})$")).expect("a constant expression")
}

/// A rule: the expression, what it means, and an example.
struct Rule {
    expression: &'static str,
    regex: LazyLock<Regex>,
    meaning: &'static str,
    examples: &'static str,
}

static SUBDOMAIN_RULE: Rule = Rule {
    expression: SUBDOMAIN,
    regex: LazyLock::new(|| whole(SUBDOMAIN)),
    meaning: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
              '-' or '.', and must start and end with an alphanumeric character",
    examples: "e.g. 'example.com'",
};
static LABEL_RULE: Rule = Rule {
    expression: LABEL,
    regex: LazyLock::new(|| whole(LABEL)),
    meaning: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or \
              '-', and must start and end with an alphanumeric character",
    examples: "e.g. 'my-name',  or '123-abc'",
};
static HOST_RULE: Rule = Rule {
    expression: HOST,
    regex: LazyLock::new(|| whole(HOST)),
    meaning: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
              with an alphabetic character, and end with an alphanumeric character",
    examples: "e.g. 'my-name',  or 'abc-123'",
};
static QUALIFIED_RULE: Rule = Rule {
    expression: QUALIFIED,
    regex: LazyLock::new(|| whole(QUALIFIED)),
    meaning: "must consist of alphanumeric characters, '-', '_' or '.', and must start \
              and end with an alphanumeric character",
    examples: "e.g. 'MyName',  or 'my.name',  or '123-abc'",
};
static CONFIG_KEY_RULE: Rule = Rule {
    expression: CONFIG_KEY,
    regex: LazyLock::new(|| whole(CONFIG_KEY)),
    meaning: "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    examples: "e.g. 'key.name',  or 'KEY_NAME',  or 'key-name'",
};
static LABEL_VALUE_RULE: Rule = Rule {
    expression: LABEL_VALUE,
    regex: LazyLock::new(|| whole(LABEL_VALUE)),
    meaning: "a valid label must be an empty string or consist of alphanumeric characters, '-', \
              '_' or '.', and must start and end with an alphanumeric character",
    examples: "e.g. 'MyValue',  or 'my_value',  or '12345'",
};

impl Rule {
    fn check(&self, text: &str, max: usize, faults: &mut Vec<String>) {
        if text.len() > max {
            faults.push(format!("must be no more than {max} characters"));
        }
        if !self.regex.is_match(text) {
            faults.push(self.fault());
        }
    }

    fn fault(&self) -> String {
        let Self {
            expression,
            meaning,
            examples,
            ..
        } = self;
        format!("{meaning} ({examples}, regex used for validation is '{expression}')")
    }
}

/// The rule of most object names.
pub fn subdomain(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    SUBDOMAIN_RULE.check(text, SUBDOMAIN_MAX, &mut faults);
    faults
}

/// The rule of namespaces and of the parts of a host name.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    LABEL_RULE.check(text, LABEL_MAX, &mut faults);
    faults
}

/// The rule of Services, whose names begin the names of hosts (RFC 1035).
pub fn host_label(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    HOST_RULE.check(text, LABEL_MAX, &mut faults);
    faults
}

/// The rule of names that only have to fit into a path, such as those of roles.
pub fn path_segment(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if text == "." || text == ".." {
        faults.push(format!("may not be '{text}'"));
    }
    for part in ["/", "%"] {
        if text.contains(part) {
            faults.push(format!("may not contain '{part}'"));
        }
    }
    faults
}

/// The rule of the keys of `ConfigMap`s and `Secret`s, which become file names.
pub fn config_key(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    CONFIG_KEY_RULE.check(text, SUBDOMAIN_MAX, &mut faults);
    if text == "." || text == ".." {
        faults.push(format!("must not be '{text}'"));
    } else if text.starts_with("..") {
        faults.push("must not start with '..'".into());
    }
    faults
}

/// The rule of label keys, annotation keys and finalizers: `[prefix/]name`.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            faults.push(format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')",
                QUALIFIED_RULE.fault()
            ));
            return faults;
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".into());
            } else {
                let broken = subdomain(prefix);
                faults.extend(
                    broken
                        .into_iter()
                        .map(|fault| format!("prefix part {fault}")),
                );
            }
            name
        }
    };
    let mut broken = Vec::new();
    if name.is_empty() {
        broken.push("must be non-empty".into());
    }
    QUALIFIED_RULE.check(name, LABEL_MAX, &mut broken);
    faults.extend(broken.into_iter().map(|fault| format!("name part {fault}")));
    faults
}

/// The rule of label values.
pub fn label_value(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    LABEL_VALUE_RULE.check(text, LABEL_MAX, &mut faults);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        for good in ["a", "a-b", "a.b", "1", "example.com"] {
            assert_eq!(subdomain(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a.", "a..b", "a/b"] {
            assert_eq!(subdomain(bad).len(), 1, "{bad}");
        }
        assert_eq!(
            subdomain(&"a".repeat(254)),
            ["must be no more than 253 characters"]
        );
        assert!(dns_label("a.b")[0].starts_with("a lowercase RFC 1123 label must consist of"));
        assert!(path_segment("system:node").is_empty());
        assert_eq!(path_segment("a/b"), ["may not contain '/'"]);
        assert!(qualified_name("cdi.kubevirt.io/storage.import").is_empty());
        assert!(qualified_name("Name_1").is_empty());
        for bad in ["", "/a", "a/", "A/a", "a/b/c", "a b"] {
            assert!(!qualified_name(bad).is_empty(), "{bad}");
        }
        for good in ["a", ".a", "tls.crt", "KEY_1", "-"] {
            assert_eq!(config_key(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", ".", "..", "..a", "a/b", "a b"] {
            assert_eq!(config_key(bad).len(), 1, "{bad}");
        }
        assert!(label_value("").is_empty());
        assert!(!label_value("-").is_empty());
    }
}
