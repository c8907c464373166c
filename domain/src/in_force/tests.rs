//! What was in force, folded from a small ledger.

use super::*;
use serde_json::json;

/// A small ledger, entry by entry, as the fold sees it.
#[derive(Default)]
struct Small {
    fold: InForce,
    count: u64,
    sequences: BTreeMap<String, u64>,
}

const DAY: &str = "2026-05-17T08:00:00.000000Z";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

impl Small {
    fn add(&mut self, stream: &str, event_type: &str, payload: Value) -> &mut Self {
        self.try_add(stream, event_type, payload).expect("an entry");
        self
    }

    fn try_add(&mut self, stream: &str, event_type: &str, payload: Value) -> Result<(), InForceError> {
        let sequence = self.sequences.entry(stream.to_owned()).or_default();
        *sequence += 1;
        let (aggregate_type, aggregate_id) = stream.split_once('/').expect("a stream");
        let entry = json!({
            "v": 1, "position": self.count, "recorded_at": DAY, "aggregate_type": aggregate_type,
            "aggregate_id": aggregate_id, "sequence": *sequence, "event_type": event_type,
            "event_version": "1.0", "salt": "AAAAAAAAAAAAAAAAAAAAAA", "payload": payload,
            "metadata": {"account": "acc_a", "actor": "usr_a", "owner": "acc_a"},
        });
        let bytes = crate::canonical::Canonical::of(&entry).expect("canonical");
        self.count += 1;
        self.fold.take(bytes.as_bytes())
    }
}

fn ids(items: &[&Item]) -> Vec<String> {
    items.iter().map(|item| item.aggregate_id.clone()).collect()
}

#[test]
fn a_device_is_where_its_moves_say_and_a_removed_one_nowhere() {
    let mut small = Small::default();
    for site in ["site_a", "site_b"] {
        small.add(&format!("site/{site}"), "SiteCreated", json!({"timezone": "UTC"}));
    }
    for device in ["dev_a", "dev_b", "dev_c"] {
        small.add(
            &format!("device/{device}"),
            "DeviceRegistered",
            json!({"site": "site_a", "model": "m"}),
        );
    }
    let moved =
        json!({"effective_at": "2026-05-17T09:00:00.000000Z", "from_site": "site_a", "to_site": "site_b"});
    small.add("device/dev_b", "DeviceMoved", moved);
    small.add("device/dev_c", "DeviceRemoved", json!({}));
    let devices = |site: &str, when: &str| {
        let found = small.fold.at_site(site, at(when)).expect("a site");
        ids(&found.devices)
    };
    assert_eq!(devices("site_a", "2026-05-17T08:59:59Z"), ["dev_a", "dev_b"]);
    assert_eq!(devices("site_a", "2026-05-17T09:00:00Z"), ["dev_a"]);
    assert_eq!(devices("site_b", "2026-05-17T09:00:00Z"), ["dev_b"]);
    assert!(small.fold.at_site("site_c", at(DAY)).is_none());
}

#[test]
fn changes_are_laid_over_and_each_value_knows_its_entries() {
    let mut small = Small::default();
    let sealed = json!({"sealed": {"key": "k", "nonce": "n", "ciphertext": "c"}});
    small.add(
        "channel/chn_a",
        "ChannelRegistered",
        json!({"device": "dev_a", "label": sealed, "ok_max": 5.0, "ok_min": null}),
    );
    small.add(
        "channel/chn_a",
        "ChannelChanged",
        json!({"changes": {"ok_max": {"old": 5.0, "new": 8.0}}, "reason_text": sealed}),
    );
    let channel = small.fold.item("channel", "chn_a").expect("a channel");
    assert_eq!(channel.value["ok_max"], json!(8));
    assert_eq!(
        channel.value["label"]["place"],
        json!({"pointer": "/label", "salt": "AAAAAAAAAAAAAAAAAAAAAA", "sequence": 1})
    );
    assert!(!channel.value.contains_key("reason_text"));
    let positions: Vec<u64> = channel.entries.iter().map(|entry| entry.position.get()).collect();
    assert_eq!(positions, [0, 1]);
}

#[test]
fn streams_that_nobody_here_knows_are_in_force_where_they_point_to() {
    let mut small = Small::default();
    small
        .add("site/site_a", "SiteCreated", json!({}))
        .add("site/site_b", "SiteCreated", json!({}))
        .add("device/dev_a", "DeviceRegistered", json!({"site": "site_a"}))
        .add(
            "rule/rul_a",
            "RuleCreated",
            json!({"scope": {"devices": ["dev_a"]}, "version": 1}),
        )
        .add("rule/rul_a", "RuleActivated", json!({"version": 2}))
        .add("rule/rul_b", "RuleCreated", json!({"site": "site_b"}))
        .add("rule/rul_c", "RuleCreated", json!({"above": 8}))
        .add("rule/rul_d", "RuleCreated", json!({"above": 9}))
        .add("rule/rul_d", "RuleRetired", json!({}))
        .add(
            "calibration/cal_a",
            "CalibrationRecorded",
            json!({"device": "dev_a", "offset": 0.1}),
        )
        .add("alarm/alm_a", "AlarmRaised", json!({"device": "dev_a"}));
    let found = small.fold.at_site("site_a", at(DAY)).expect("a site");
    assert_eq!(
        found.others.keys().copied().collect::<Vec<_>>(),
        ["calibration", "rule"]
    );
    assert_eq!(ids(&found.others["rule"]), ["rul_a", "rul_c"]);
    assert_eq!(found.others["rule"][0].value["version"], json!(2));
}

#[test]
fn a_silence_holds_until_it_is_over_and_one_to_come_is_said() {
    let mut small = Small::default();
    small
        .add("site/site_a", "SiteCreated", json!({}))
        .add("device/dev_a", "DeviceRegistered", json!({"site": "site_a"}))
        .add("channel/chn_a", "ChannelRegistered", json!({"device": "dev_a"}));
    for (id, from, to) in [
        (
            "sil_a",
            "2026-05-17T09:00:00.000000Z",
            "2026-05-17T10:00:00.000000Z",
        ),
        (
            "sil_b",
            "2026-05-17T09:00:00.000000Z",
            "2026-05-17T12:00:00.000000Z",
        ),
        (
            "sil_c",
            "2026-05-18T09:00:00.000000Z",
            "2026-05-18T10:00:00.000000Z",
        ),
    ] {
        let payload = json!({"channel": "chn_a", "from": from, "to": to});
        small.add(&format!("silence/{id}"), "SilenceOpened", payload);
    }
    let silences = |when: &str| {
        let found = small.fold.at_site("site_a", at(when)).expect("a site");
        found
            .others
            .get("silence")
            .map(|silences| ids(silences))
            .unwrap_or_default()
    };
    assert_eq!(silences("2026-05-17T09:59:59Z"), ["sil_a", "sil_b", "sil_c"]);
    assert_eq!(silences("2026-05-17T10:00:00Z"), ["sil_b", "sil_c"]);
    assert!(silences("2026-05-18T10:00:00Z").is_empty());
}

#[test]
fn what_says_what_it_was_and_is_holds_as_it_is() {
    let mut small = Small::default();
    small
        .add(
            "rule/rul_a",
            "RuleCreated",
            json!({"definition": {"ok_max": 5}, "version": 1}),
        )
        .add(
            "rule/rul_a",
            "RuleChanged",
            json!({"definition": {"old": {"ok_max": 5}, "new": {"ok_max": 8}}, "version": 2}),
        );
    let rule = small.fold.item("rule", "rul_a").expect("it is there");
    assert_eq!(rule.value["definition"], json!({"ok_max": 8}));
    assert_eq!(rule.value["version"], json!(2));
}

#[test]
fn a_token_is_good_until_its_end_and_its_hash_is_nowhere() {
    let mut small = Small::default();
    small
        .add("site/site_a", "SiteCreated", json!({}))
        .add("user/usr_a", "UserRegistered", json!({"role": "owner"}))
        .add("user/usr_a", "SignedIn", json!({"secret": 1}))
        .add(
            "tokens/usr_a",
            "TokenIssued",
            json!({"token": "t1", "kind": "user", "hash": "$2b$10$secret"}),
        )
        .add(
            "tokens/usr_a",
            "TokenExpirySet",
            json!({"token": "t1", "expires_at": "2026-05-17T09:00:00.000000Z"}),
        )
        .add(
            "tokens/usr_a",
            "TokenIssued",
            json!({"token": "t2", "kind": "user", "hash": "$2b$10$secret"}),
        )
        .add("tokens/usr_a", "TokenRevoked", json!({"token": "t2"}));
    let good = |when: &str| {
        let found = small.fold.at_site("site_a", at(when)).expect("a site");
        found
            .tokens
            .iter()
            .map(|token| token.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(good("2026-05-17T08:59:59Z"), ["t1"]);
    assert!(good("2026-05-17T09:00:00Z").is_empty());
    assert!(!format!("{:?}", small.fold).contains("secret"));
}

#[test]
fn a_stream_that_lacks_an_entry_is_no_answer() {
    let mut small = Small::default();
    small.add("site/site_a", "SiteCreated", json!({}));
    small.sequences.insert("site/site_a".to_owned(), 2);
    let third = small.try_add("site/site_a", "SiteChanged", json!({"changes": {}}));
    assert!(
        third
            .expect_err("the second is missing")
            .reason
            .contains("sequence 3")
    );
}

#[test]
fn the_ledgers_own_rules_are_those_set_last() {
    let mut small = Small::default();
    small
        .add(
            "ledger/main",
            "LedgerCreated",
            json!({"retention": {"reading": null}, "policy": "a", "log_keys": ["k"]}),
        )
        .add(
            "ledger/main",
            "SoftwareStarted",
            json!({"version": "1", "binary_sha256": "x", "tzdb": "t", "classes": {}}),
        )
        .add(
            "ledger/main",
            "SoftwareStarted",
            json!({"version": "2", "binary_sha256": "y", "tzdb": "t", "classes": {}}),
        )
        .add("ledger/main", "WitnessPolicySet", json!({"policy": "b"}))
        .add("ledger/main", "DayClosed", json!({"date": "2026-05-17"}));
    let ledger = small.fold.ledger();
    assert_eq!(
        ledger.software.as_ref().expect("software").value["version"],
        json!("2")
    );
    let witnesses = ledger.witnesses.as_ref().expect("a policy");
    assert_eq!(
        (&witnesses.value, witnesses.entry.position.get()),
        (&json!("b"), 3)
    );
    assert_eq!(
        ledger.retention.as_ref().expect("retention").entry.position.get(),
        0
    );
}

#[test]
fn every_stream_of_the_catalogue_is_a_fact_or_says_what_holds() {
    let configuration = [
        "account",
        "channel",
        "contact",
        "device",
        "integration",
        "rule",
        "silence",
        "site",
        "tokens",
        "user",
    ];
    let catalogue = include_str!("../../../docs/events.md");
    let types = catalogue
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('/').map(|(kind, _)| kind));
    let mut found = 0;
    for kind in types {
        found += 1;
        assert_eq!(is_configuration(kind), configuration.contains(&kind), "{kind}");
    }
    assert!(found > configuration.len(), "the catalogue is read");
}
