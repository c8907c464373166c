//! To look at, and for the goldens.

use domain::Date;

use super::super::sample::{now, root};
use super::view::{AuditRow, EntryPage, HeadRow, LedgerPage, PublicationRow, WitnessRow};
use crate::witnesses::HeadState;

pub fn ledger(days: i32) -> LedgerPage {
    let today = now().date();
    let heads: Vec<HeadRow> = (1..=days)
        .map(|back| HeadRow {
            date: Date::from_days(today.days() - back),
            idle_since: None,
            size: 1_190_000 - back as u64 * 18_211,
            root: root(back as u8),
            entries: if back == 9 { 0 } else { 18_210 },
            refused: (back as u64 * 5) % 17,
            state: match back {
                1 => HeadState::Sequenced,
                2 => HeadState::Integrated,
                3 => HeadState::Published,
                5 => HeadState::WitnessedLate,
                _ => HeadState::Witnessed,
            },
        })
        .collect();
    LedgerPage {
        origin: "daybook.example.eu/main".into(),
        base_url: "https://daybook.example.eu".into(),
        verifier_key: "daybook.example.eu/main+4c1f0a7b+AZ3nQ0mXv5cztbnfy4hjd6rpaeQ2V9xT0mP4sLw7Jd1R".into(),
        checkpoint: Some(format!(
            "daybook.example.eu/main\n1204332\n{}\n\n— daybook.example.eu/main TB8Ke0xVn1aN3cP5Jq4oXr7s9uWyBzDgFhIkLmEaQbScTdUeVfWgXhYiZjAkBlCmDnEoFpGqHrIsJtKuLvMwNxOy\n",
            root(1).to_base64()
        )),
        checkpoint_at: Some(now().plus_micros(-1_000_000)),
        today,
        today_from: 1_195_218,
        began: Some(Date::from_days(today.days() - days)),
        witnesses: vec![
            WitnessRow {
                name: "customer".into(),
                cosigned_at: Some(now().plus_micros(-4_000_000)),
                size: Some(1_204_332),
                up: true,
                alarm: false,
            },
            WitnessRow {
                name: "auditor".into(),
                cosigned_at: None,
                size: None,
                up: false,
                alarm: false,
            },
        ],
        heads_total: heads.len() as u64,
        heads,
        older_href: None,
        channels: if days > 0 { publications(today) } else { Vec::new() },
        audit: (days > 0).then(|| AuditRow {
            at: now().plus_micros(-40 * 60 * 1_000_000),
            size: 1_204_332,
            wrong: None,
        }),
    }
}

fn publications(today: Date) -> Vec<PublicationRow> {
    vec![
        PublicationRow {
            name: "static-site".into(),
            kind: "directory",
            last: Some(Date::from_days(today.days() - 1)),
            at: Some(now().plus_micros(-11 * 3600 * 1_000_000)),
            waiting: 0,
            failing: false,
            late: None,
        },
        PublicationRow {
            name: "auditor".into(),
            kind: "webhook",
            last: Some(Date::from_days(today.days() - 3)),
            at: None,
            waiting: 2,
            failing: true,
            late: None,
        },
    ]
}

/// A ledger whose self-audit found damage.
pub fn damaged_ledger() -> LedgerPage {
    let mut page = ledger(3);
    if let Some(audit) = &mut page.audit {
        audit.wrong = Some("TAMPERED at position 812,004: the entry hashes to another leaf".into());
    }
    page
}

pub fn entry() -> EntryPage {
    EntryPage {
        position: 1_204_331,
        leaf_hash: root(9),
        json: Some("{\n  \"aggregate_id\": \"dev_walkin\",\n  \"aggregate_type\": \"readings\",\n  \"event_type\": \"ReadingRecorded\",\n  \"payload\": {\n    \"values\": { \"temperature\": 6.3 }\n  },\n  \"position\": 1204331\n}".into()),
        absent: None,
        size: 1_204_332,
        root: root(1),
        path: (0..14).map(root).collect(),
        proof_href: "/v1/proofs/inclusion?position=1204331".into(),
    }
}
