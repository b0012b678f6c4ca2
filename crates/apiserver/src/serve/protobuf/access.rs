//! The fields of kinds about who may do what.

use super::{Field, META, Shape};

/// The fields of a kind of the groups here, by its `apiVersion` and name.
pub(super) fn fields(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    Some(match (api_version, kind) {
        ("authentication.k8s.io/v1", "SelfSubjectReview") => SELF_SUBJECT_REVIEW,
        ("authentication.k8s.io/v1", "TokenRequest") => TOKEN_REQUEST,
        ("authentication.k8s.io/v1", "TokenReview") => TOKEN_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => SELF_ACCESS_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => RULES_REVIEW,
        ("authorization.k8s.io/v1", "LocalSubjectAccessReview" | "SubjectAccessReview") => {
            ACCESS_REVIEW
        }
        ("rbac.authorization.k8s.io/v1", "ClusterRole" | "Role") => ROLE,
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding" | "RoleBinding") => BINDING,
        _ => return None,
    })
}

const SELF_SUBJECT_REVIEW: &[Field] = &[(1, "metadata", Shape::Message(META))];
const TOKEN_REQUEST: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(TOKEN_REQUEST_SPEC)),
];
const TOKEN_REQUEST_SPEC: &[Field] = &[
    (1, "audiences", Shape::Texts),
    (3, "boundObjectRef", Shape::Message(BOUND_OBJECT)),
    (4, "expirationSeconds", Shape::Integer),
];
const BOUND_OBJECT: &[Field] = &[
    (1, "kind", Shape::Text),
    (2, "apiVersion", Shape::Text),
    (3, "name", Shape::Text),
    (4, "uid", Shape::Text),
];
const TOKEN_REVIEW: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(TOKEN_REVIEW_SPEC)),
];
const TOKEN_REVIEW_SPEC: &[Field] = &[(1, "token", Shape::Text), (2, "audiences", Shape::Texts)];

const SELF_ACCESS_REVIEW: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(ACCESS_REVIEW_SPEC)),
];
const ACCESS_REVIEW: &[Field] = SELF_ACCESS_REVIEW;
const ACCESS_REVIEW_SPEC: &[Field] = &[
    (1, "resourceAttributes", Shape::Message(RESOURCE)),
    (2, "nonResourceAttributes", Shape::Message(NON_RESOURCE)),
    (3, "user", Shape::Text),
    (4, "groups", Shape::Texts),
    (6, "uid", Shape::Text),
];
const RESOURCE: &[Field] = &[
    (1, "namespace", Shape::Text),
    (2, "verb", Shape::Text),
    (3, "group", Shape::Text),
    (4, "version", Shape::Text),
    (5, "resource", Shape::Text),
    (6, "subresource", Shape::Text),
    (7, "name", Shape::Text),
];
const NON_RESOURCE: &[Field] = &[(1, "path", Shape::Text), (2, "verb", Shape::Text)];
const RULES_REVIEW: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(&[(1, "namespace", Shape::Text)])),
];

const ROLE: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "rules", Shape::Messages(RULE)),
    (3, "aggregationRule", Shape::Message(AGGREGATION)),
];
const RULE: &[Field] = &[
    (1, "verbs", Shape::Texts),
    (2, "apiGroups", Shape::Texts),
    (3, "resources", Shape::Texts),
    (4, "resourceNames", Shape::Texts),
    (5, "nonResourceURLs", Shape::Texts),
];
const AGGREGATION: &[Field] = &[(1, "clusterRoleSelectors", Shape::Messages(SELECTOR))];
const SELECTOR: &[Field] = &[
    (1, "matchLabels", Shape::TextMap),
    (2, "matchExpressions", Shape::Messages(EXPRESSION)),
];
const EXPRESSION: &[Field] = &[
    (1, "key", Shape::Text),
    (2, "operator", Shape::Text),
    (3, "values", Shape::Texts),
];
const BINDING: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "subjects", Shape::Messages(SUBJECT)),
    (3, "roleRef", Shape::Message(ROLE_REFERENCE)),
];
const SUBJECT: &[Field] = &[
    (1, "kind", Shape::Text),
    (2, "apiGroup", Shape::Text),
    (3, "name", Shape::Text),
    (4, "namespace", Shape::Text),
];
const ROLE_REFERENCE: &[Field] = &[
    (1, "apiGroup", Shape::Text),
    (2, "kind", Shape::Text),
    (3, "name", Shape::Text),
];
