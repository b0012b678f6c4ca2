//! The fields of what `kubectl create deployment`, `job`, `quota`, `service`, `priorityclass` and
//! `poddisruptionbudget` send. Where a client says more than these, its body is refused rather than
//! half read.

use super::{CLOSED, Field, META, Shape};

/// The fields of a kind of the groups here, by its `apiVersion` and name.
pub(super) fn fields(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    Some(match (api_version, kind) {
        ("v1", "ResourceQuota") => QUOTA,
        ("v1", "Service") => SERVICE,
        ("apps/v1", "Deployment") => DEPLOYMENT,
        ("batch/v1", "Job") => JOB,
        ("policy/v1", "PodDisruptionBudget") => BUDGET,
        ("scheduling.k8s.io/v1", "PriorityClass") => PRIORITY_CLASS,
        _ => return None,
    })
}

const QUOTA: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(QUOTA_SPEC)),
];
const QUOTA_SPEC: &[Field] = &[
    (1, "hard", Shape::Quantities),
    (2, "scopes", Shape::Texts),
    CLOSED,
];

const SERVICE: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(SERVICE_SPEC)),
];
const SERVICE_SPEC: &[Field] = &[
    (1, "ports", Shape::Messages(SERVICE_PORT)),
    (2, "selector", Shape::TextMap),
    (3, "clusterIP", Shape::Text),
    (4, "type", Shape::Text),
    (5, "externalIPs", Shape::Texts),
    (7, "sessionAffinity", Shape::Text),
    (8, "loadBalancerIP", Shape::Text),
    (10, "externalName", Shape::Text),
    CLOSED,
];
const SERVICE_PORT: &[Field] = &[
    (1, "name", Shape::Text),
    (2, "protocol", Shape::Text),
    (3, "port", Shape::Integer),
    (4, "targetPort", Shape::IntOrText),
    (5, "nodePort", Shape::Count),
    CLOSED,
];

const DEPLOYMENT: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(DEPLOYMENT_SPEC)),
];
const DEPLOYMENT_SPEC: &[Field] = &[
    (1, "replicas", Shape::Integer),
    (2, "selector", Shape::Message(SELECTOR)),
    (3, "template", Shape::Message(TEMPLATE)),
    (4, "strategy", Shape::Message(STRATEGY)),
    (5, "minReadySeconds", Shape::Count),
    (6, "revisionHistoryLimit", Shape::Integer),
    (9, "progressDeadlineSeconds", Shape::Integer),
    CLOSED,
];
const STRATEGY: &[Field] = &[(1, "type", Shape::Text), CLOSED];
const SELECTOR: &[Field] = &[
    (1, "matchLabels", Shape::TextMap),
    (2, "matchExpressions", Shape::Messages(REQUIREMENT)),
];
const REQUIREMENT: &[Field] = &[
    (1, "key", Shape::Text),
    (2, "operator", Shape::Text),
    (3, "values", Shape::Texts),
];

const JOB: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(JOB_SPEC)),
];
const JOB_SPEC: &[Field] = &[
    (1, "parallelism", Shape::Integer),
    (2, "completions", Shape::Integer),
    (3, "activeDeadlineSeconds", Shape::Integer),
    (6, "template", Shape::Message(TEMPLATE)),
    (7, "backoffLimit", Shape::Integer),
    (8, "ttlSecondsAfterFinished", Shape::Integer),
    (9, "completionMode", Shape::Text),
    (10, "suspend", Shape::Boolean),
    CLOSED,
];

const TEMPLATE: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(POD_SPEC)),
];
const POD_SPEC: &[Field] = &[
    (2, "containers", Shape::Messages(CONTAINER)),
    (3, "restartPolicy", Shape::Text),
    (4, "terminationGracePeriodSeconds", Shape::Integer),
    (5, "activeDeadlineSeconds", Shape::Integer),
    (6, "dnsPolicy", Shape::Text),
    (7, "nodeSelector", Shape::TextMap),
    (8, "serviceAccountName", Shape::Text),
    CLOSED,
];
const CONTAINER: &[Field] = &[
    (1, "name", Shape::Text),
    (2, "image", Shape::Text),
    (3, "command", Shape::Texts),
    (4, "args", Shape::Texts),
    (5, "workingDir", Shape::Text),
    (6, "ports", Shape::Messages(CONTAINER_PORT)),
    (7, "env", Shape::Messages(VARIABLE)),
    (8, "resources", Shape::Message(RESOURCES)),
    (14, "imagePullPolicy", Shape::Text),
    CLOSED,
];
const CONTAINER_PORT: &[Field] = &[
    (1, "name", Shape::Text),
    (2, "hostPort", Shape::Count),
    (3, "containerPort", Shape::Integer),
    (4, "protocol", Shape::Text),
    (5, "hostIP", Shape::Text),
];
const VARIABLE: &[Field] = &[(1, "name", Shape::Text), (2, "value", Shape::Text), CLOSED];
const RESOURCES: &[Field] = &[
    (1, "limits", Shape::Quantities),
    (2, "requests", Shape::Quantities),
    CLOSED,
];

const BUDGET: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "spec", Shape::Message(BUDGET_SPEC)),
];
const BUDGET_SPEC: &[Field] = &[
    (1, "minAvailable", Shape::IntOrText),
    (2, "selector", Shape::Message(SELECTOR)),
    (3, "maxUnavailable", Shape::IntOrText),
    CLOSED,
];

const PRIORITY_CLASS: &[Field] = &[
    (1, "metadata", Shape::Message(META)),
    (2, "value", Shape::Integer),
    (3, "globalDefault", Shape::Boolean),
    (4, "description", Shape::Text),
    (5, "preemptionPolicy", Shape::Text),
    CLOSED,
];
