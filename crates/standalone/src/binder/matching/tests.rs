//! What any choice of a volume must satisfy.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::*;

const MODES: [&str; 3] = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"];

/// What matters of a volume, or of what a claim wants.
#[derive(Debug, Clone)]
struct Traits {
    gibibytes: u64,
    class: &'static str,
    volume_mode: &'static str,
    access_modes: Vec<&'static str>,
    tier: &'static str,
}

fn traits() -> impl Strategy<Value = Traits> {
    let parts = (
        1..5_u64,
        select(vec!["", "local"]),
        select(vec!["Filesystem", "Filesystem", "Block"]),
        subsequence(MODES.to_vec(), 1..=3),
        select(vec!["slow", "fast"]),
    );
    parts.prop_map(
        |(gibibytes, class, volume_mode, access_modes, tier)| Traits {
            gibibytes,
            class,
            volume_mode,
            access_modes,
            tier,
        },
    )
}

fn claim(wanted: &Traits, selects: bool) -> PersistentVolumeClaim {
    let selector = selects.then(|| json!({"matchLabels": {"tier": wanted.tier}}));
    serde_json::from_value(json!({
        "metadata": {"name": "c", "namespace": "ns", "uid": "u"},
        "spec": {
            "storageClassName": wanted.class, "volumeMode": wanted.volume_mode,
            "accessModes": wanted.access_modes, "selector": selector,
            "resources": {"requests": {"storage": format!("{}Gi", wanted.gibibytes)}},
        },
    }))
    .unwrap()
}

fn volume(name: usize, has: &Traits, claim_ref: &Value, phase: &str) -> Arc<PersistentVolume> {
    let volume = json!({
        "metadata": {"name": format!("v{name}"), "labels": {"tier": has.tier}},
        "spec": {
            "storageClassName": has.class, "volumeMode": has.volume_mode,
            "accessModes": has.access_modes, "claimRef": claim_ref,
            "capacity": {"storage": format!("{}Gi", has.gibibytes)},
        },
        "status": {"phase": phase},
    });
    Arc::new(serde_json::from_value(volume).unwrap())
}

fn suits(has: &Traits, wanted: &Traits, selects: bool) -> bool {
    has.gibibytes >= wanted.gibibytes
        && has.class == wanted.class
        && has.volume_mode == wanted.volume_mode
        && wanted
            .access_modes
            .iter()
            .all(|mode| has.access_modes.contains(mode))
        && (!selects || has.tier == wanted.tier)
}

proptest! {
    #[test]
    fn the_smallest_that_suits_is_chosen_and_none_otherwise(
        wanted in traits(),
        selects: bool,
        offers in proptest::collection::vec(
            (traits(), select(vec!["Available", "Available", "Released", "Pending"]), any::<bool>()),
            0..8,
        ),
    ) {
        let other = json!({"namespace": "ns", "name": "other", "uid": "o"});
        let volumes: Vec<_> = offers
            .iter()
            .enumerate()
            .map(|(name, (has, phase, taken))| {
                volume(name, has, if *taken { &other } else { &Value::Null }, phase)
            })
            .collect();
        let suiting = offers.iter().filter(|(has, phase, taken)| {
            !taken && *phase == "Available" && suits(has, &wanted, selects)
        });
        let least = suiting.map(|(has, ..)| has.gibibytes << 30).min();
        let claim = claim(&wanted, selects);
        let chosen = best(&claim, &volumes, false);
        prop_assert_eq!(chosen.map(|volume| claims::capacity_bytes(volume)), least);
        let fault = chosen.and_then(|volume| mismatch(volume, &claim));
        prop_assert_eq!(fault, None);
        prop_assert!(best(&claim, &volumes, true).is_none());
    }

    /// A reservation holds whatever else is on offer, if it is large enough and of the same mode.
    #[test]
    fn a_reservation_wins(wanted in traits(), mine in traits(), offer in traits()) {
        let reference = json!({"namespace": "ns", "name": "c"});
        let volumes = [
            volume(0, &offer, &Value::Null, "Available"),
            volume(1, &mine, &reference, "Available"),
        ];
        let fits = mine.gibibytes >= wanted.gibibytes && mine.volume_mode == wanted.volume_mode;
        let chosen = best(&claim(&wanted, false), &volumes, true);
        prop_assert_eq!(chosen.map(|volume| claims::name(&**volume)), fits.then_some("v1"));
    }
}
