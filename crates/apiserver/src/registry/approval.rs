//! The groups of the Kubernetes community, in which a definition names the review that let it in.
//!
//! Rules: Kubernetes enhancement 2337, "Protecting the k8s.io API groups".

use serde_json::Value;

use crate::meta::text;
use crate::schema::cause;
use crate::status::Cause;

const ANNOTATION: &str = "api-approved.kubernetes.io";
const PROPOSAL: &str = "https://github.com/kubernetes/enhancements/pull/1111";

/// What a definition says of its review.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Approval<'a> {
    /// Its group needs none.
    NotNeeded,
    Missing,
    /// An annotation that is neither a link nor a reason.
    Unclear(&'a str),
    Approved(&'a str),
    Unapproved(&'a str),
}

impl<'a> Approval<'a> {
    /// Reads the annotation of a definition.
    pub(crate) fn of(crd: &'a Value) -> Self {
        let group = text(crd, "/spec/group");
        let protected = ["k8s.io", "kubernetes.io"].iter().any(|domain| {
            let inside = group.strip_suffix(domain);
            inside.is_some_and(|inside| inside.is_empty() || inside.ends_with('.'))
        });
        if !protected {
            return Self::NotNeeded;
        }
        match crd["metadata"]["annotations"][ANNOTATION].as_str() {
            None | Some("") => Self::Missing,
            Some(given) if given.starts_with("unapproved") => Self::Unapproved(given),
            Some(link) if link.starts_with("https://") || link.starts_with("http://") => {
                Self::Approved(link)
            }
            Some(other) => Self::Unclear(other),
        }
    }
}

/// What is wrong with a definition's word on its review.
pub(crate) fn fault(crd: &Value) -> Option<Cause> {
    let field = format!("metadata.annotations[{ANNOTATION}]");
    match Approval::of(crd) {
        Approval::Missing => {
            let detail = format!(
                "protected groups must have approval annotation \"{ANNOTATION}\", see {PROPOSAL}"
            );
            Some(cause::required(field, &detail))
        }
        Approval::Unclear(given) => {
            let detail = format!(
                "protected groups must have approval annotation \"{ANNOTATION}\" with either a \
                 URL or a reason starting with \"unapproved\", see {PROPOSAL}"
            );
            Some(cause::invalid(field, &given.into(), &detail))
        }
        Approval::NotNeeded | Approval::Approved(_) | Approval::Unapproved(_) => None,
    }
}
