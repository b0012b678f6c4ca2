//! Templates of Pods: whether two are the same, and a short name for each.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::json;

/// Label of the Pods and ReplicaSets of one template of a Deployment.
pub(super) const DEPLOYMENT_HASH: &str = "pod-template-hash";

/// Digits of a hash in names: no vowels, so that no words come out.
const DIGITS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A template without the label that tells it from others.
pub(super) fn plain(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template
        .metadata
        .as_mut()
        .and_then(|meta| meta.labels.as_mut())
    {
        labels.remove(DEPLOYMENT_HASH);
    }
    template
}

/// A name for a template; `collisions` gives it another one when that is taken.
pub(super) fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    // FNV-1a: the same in every release, which a hash of the standard library need not be.
    let text = format!("{}{collisions}", json!(plain(template)));
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let digit = |byte: u8| char::from(DIGITS[usize::from(byte) % DIGITS.len()]);
    hash.to_string().bytes().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(labels: serde_json::Value, image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "a", "image": image}]}}))
        .unwrap()
    }

    #[test]
    fn the_name_follows_the_template_alone() {
        let bare = template(json!({"app": "x"}), "1");
        let labelled = template(json!({"app": "x", DEPLOYMENT_HASH: "abc"}), "1");
        assert_eq!(hash(&bare, 0), hash(&labelled, 0));
        assert_eq!(plain(&labelled), bare);
        assert_ne!(hash(&bare, 0), hash(&bare, 1));
        assert_ne!(hash(&bare, 0), hash(&template(json!({"app": "x"}), "2"), 0));
    }
}
