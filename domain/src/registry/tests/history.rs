//! Random histories: whatever happens, the registry is the fold of the ledger's entries.

use super::super::*;
use super::ledger::{Ledger, acc, at, dev, id};
use crate::aggregate::channel::{ChannelCommand, ChannelPatch};
use crate::aggregate::device::{DeviceCommand, DevicePatch};
use crate::aggregate::tokens::TokensCommand;
use crate::aggregate::user::UserCommand;
use crate::entry::Entry;
use crate::event::{Event, TokenIssued};
use crate::ids::IdKind;
use proptest::prelude::*;

/// One step of a random history.
#[derive(Debug, Clone)]
enum Act {
    User(u8, u8, bool),
    RemoveUser(u8, u8),
    Role(u8, u8, bool),
    Site(u8, u8),
    Device(u8, u8, u8, Option<u8>),
    Rename(u8, u8, u8, Option<Option<u8>>),
    Move(u8, u8, u8),
    RemoveDevice(u8, u8),
    Channel(u8, u8, u8, u8),
    Limits(u8, u8, i8),
    Token(u8, u8, u8),
    Rotate(u8, u8, u8, bool),
    Park(u8, u8, u8),
}

fn act() -> impl Strategy<Value = Act> {
    let few = || 1u8..5;
    let account = || 1u8..3;
    prop_oneof![
        (account(), few(), any::<bool>()).prop_map(|(a, n, o)| Act::User(a, n, o)),
        (account(), few()).prop_map(|(a, n)| Act::RemoveUser(a, n)),
        (account(), few(), any::<bool>()).prop_map(|(a, n, o)| Act::Role(a, n, o)),
        (account(), few()).prop_map(|(a, n)| Act::Site(a, n)),
        (account(), few(), few(), prop::option::of(few())).prop_map(|(a, n, l, e)| Act::Device(a, n, l, e)),
        (account(), few(), few(), prop::option::of(prop::option::of(few())))
            .prop_map(|(a, n, l, e)| Act::Rename(a, n, l, e)),
        (account(), few(), few()).prop_map(|(a, n, s)| Act::Move(a, n, s)),
        (account(), few()).prop_map(|(a, n)| Act::RemoveDevice(a, n)),
        (account(), few(), few(), few()).prop_map(|(a, d, n, k)| Act::Channel(a, d, n, k)),
        (account(), few(), any::<i8>()).prop_map(|(a, n, l)| Act::Limits(a, n, l)),
        (account(), few(), 1u8..12).prop_map(|(a, d, n)| Act::Token(a, d, n)),
        (account(), few(), 1u8..12, any::<bool>()).prop_map(|(a, d, n, o)| Act::Rotate(a, d, n, o)),
        (account(), few(), few()).prop_map(|(a, s, e)| Act::Park(a, s, e)),
    ]
}

fn eui(n: u8) -> String {
    format!("{n:016X}")
}

impl Ledger {
    fn act(&mut self, act: &Act) -> Result<(), &'static str> {
        let user = |n| id(IdKind::User, n);
        let role = |owner: bool| if owner { "owner" } else { "auditor" };
        match act.clone() {
            Act::User(a, n, owner) => self.user(a, n, role(owner)),
            Act::RemoveUser(a, n) => self.run::<aggregate::User>(&acc(a), &user(n), UserCommand::Remove),
            Act::Role(a, n, owner) => {
                let change = UserCommand::Change {
                    email: None,
                    name: None,
                    role: Some(role(owner).into()),
                };
                self.run::<aggregate::User>(&acc(a), &user(n), change)
            }
            Act::Site(a, n) => self.site(a, n),
            Act::Device(a, n, l, e) => self.device(a, n, &format!("L{l}"), e.map(eui).as_deref(), None),
            Act::Rename(a, n, l, e) => self.patch(
                a,
                n,
                DevicePatch {
                    local_id: Some(format!("l{l}")),
                    dev_eui: e.map(|e| e.map(eui)),
                    ..DevicePatch::default()
                },
            ),
            Act::Move(a, n, s) => {
                let now = at(self.entries.len() as i64);
                let command = DeviceCommand::Move {
                    to_site: id(IdKind::Site, s),
                    effective_at: now,
                    now,
                };
                self.run::<aggregate::Device>(&acc(a), &dev(n), command)
            }
            Act::RemoveDevice(a, n) => self.run::<aggregate::Device>(&acc(a), &dev(n), DeviceCommand::Remove),
            Act::Channel(a, d, n, k) => self.channel(a, &dev(d), n, &format!("temperature/{k}")),
            Act::Limits(a, n, l) => {
                let patch = ChannelPatch {
                    ok_min: Some(Some(f64::from(l))),
                    ..ChannelPatch::default()
                };
                self.run::<aggregate::Channel>(
                    &acc(a),
                    &id(IdKind::Channel, n),
                    ChannelCommand::Change(patch),
                )
            }
            Act::Token(a, d, n) => self.token(a, &dev(d), TokenKind::Device, n),
            Act::Rotate(a, d, n, overlap) => {
                let token = TokenIssued {
                    hash: "h".into(),
                    kind: TokenKind::Device,
                    token: id(IdKind::Token, n),
                };
                let overlap_s = if overlap { 60 } else { 0 };
                let now = at(self.entries.len() as i64);
                let command = TokensCommand::Rotate {
                    token,
                    old: None,
                    overlap_s,
                    now,
                };
                self.run::<aggregate::Tokens>(&acc(a), &dev(d), command)
            }
            Act::Park(a, s, e) => {
                let device = self
                    .registry
                    .device_by_dev_eui(&acc(a), &eui(e))
                    .map(|d| d.id.to_string());
                let tray = match &device {
                    Some(_) => s + 100,
                    None => s,
                };
                let known = self
                    .registry
                    .tray(&acc(a), &eui(e))
                    .map(|tray| tray.id.to_string());
                if known.is_some_and(|known| known != id(IdKind::Stream, tray)) {
                    return Ok(());
                }
                self.park(a, tray, &eui(e), device.as_deref())
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_history_folds_to_its_aggregates_states(acts in prop::collection::vec(act(), 1..80)) {
        let mut ledger = Ledger::default();
        ledger.open(1);
        ledger.open(2);
        // A tray belongs to one DevEUI; histories that mix them up are not what ingest writes.
        for act in &acts {
            let before = ledger.entries.len();
            if ledger.act(act).is_err() {
                prop_assert_eq!(ledger.entries.len(), before);
            }
        }
        let registry = &ledger.registry;
        let again = Registry::fold(ledger.entries()).expect("folds");
        for n in 0u8..12 {
            for account in [acc(1), acc(2)] {
                if let Some(device) = registry.device(&account, &dev(n)) {
                    prop_assert_eq!(&device.state, &ledger.fold_stream::<aggregate::Device>(&dev(n)));
                    prop_assert_eq!(Some(device.config), again.device(&account, &dev(n)).map(|d| d.config));
                    let newest = ledger
                        .entries()
                        .filter(|e| {
                            let own = e.aggregate_type == "device" && e.aggregate_id == dev(n);
                            let channel = registry.channel(&account, e.aggregate_id);
                            own || channel.is_some_and(|c| c.state.device == dev(n))
                        })
                        .map(|e| e.position)
                        .max();
                    prop_assert_eq!(Some(device.config), newest);
                    // Found by its names exactly while it is in service, and by nobody else's.
                    let found = registry.device_by_local(&account, &device.state.local_id).map(|d| d.id.clone());
                    let same = found.as_ref() == Some(&device.id);
                    prop_assert_eq!(same, !device.state.removed);
                    if let (Some(eui), false) = (&device.state.dev_eui, device.state.removed) {
                        let found = registry.device_by_dev_eui(&account, eui).map(|d| d.id.clone());
                        prop_assert_eq!(found.as_ref(), Some(&device.id));
                        prop_assert!(registry.tray(&account, eui).is_none());
                    }
                }
                if let Some(user) = registry.user(&account, &id(IdKind::User, n)) {
                    prop_assert_eq!(&user.state, &ledger.fold_stream::<aggregate::User>(&user.id));
                    let found = registry.user_by_email(&user.state.email_index).map(|u| u.id.clone());
                    prop_assert_eq!(found.as_ref() == Some(&user.id), !user.state.removed);
                }
                if let Some(channel) = registry.channel(&account, &id(IdKind::Channel, n)) {
                    prop_assert_eq!(&channel.state, &ledger.fold_stream::<aggregate::Channel>(&channel.id));
                }
                if let Some(site) = registry.site(&account, &id(IdKind::Site, n)) {
                    prop_assert_eq!(&site.state, &ledger.fold_stream::<aggregate::Site>(&site.id));
                }
            }
            let tokens = ledger.fold_stream::<aggregate::Tokens>(&dev(n));
            let seen: Vec<String> = registry.tokens(&dev(n)).map(|t| t.id.to_owned()).collect();
            prop_assert_eq!(seen, tokens.tokens.iter().map(|t| t.id.clone()).collect::<Vec<_>>());
            for token in &tokens.tokens {
                let found = registry.token(&token.id).expect("there");
                prop_assert_eq!((found.revoked, found.expires_at, found.hash), (token.revoked, token.expires_at, token.hash.as_str()));
            }
        }
        for account in [acc(1), acc(2)] {
            let owners = registry.users(&account, None).filter(|u| u.state.is_owner()).count();
            prop_assert!(owners >= 1);
            prop_assert_eq!(registry.account(&account).map(|a| a.owners), Some(owners));
            let waiting = registry.trays(&account, None).count();
            prop_assert_eq!(registry.account(&account).map(|a| a.waiting_count), Some(waiting));
        }
        for entry in ledger.entries() {
            prop_assert!(registry.sequence(entry.aggregate_type, entry.aggregate_id) >= entry.sequence);
        }
        prop_assert_eq!(again.size(), registry.size());
    }

    #[test]
    fn any_payload_in_any_stream_is_refused_or_taken_without_a_panic(
        which in 0..Event::TYPES.len(),
        stream in prop::sample::select(vec!["account", "user", "site", "device", "channel", "tokens", "integration", "tray"]),
        payload in "\\{(\"(site|device|name|key|token|changes|dev_eui)\":(\"x\"|1|null|\\{\\}))?\\}",
    ) {
        let mut ledger = Ledger::with_one_of_each();
        let metadata = format!("{{\"account\":\"{}\"}}", acc(1));
        let entry = Entry {
            position: Position(50),
            recorded_at: at(50),
            aggregate_type: stream,
            aggregate_id: "x",
            sequence: 1,
            event_type: Event::TYPES[which],
            event_version: "1.0",
            salt: "MDEyMzQ1Njc4OWFiY2RlZg",
            payload: payload.as_bytes(),
            metadata: metadata.as_bytes(),
        };
        let _ = ledger.registry.apply(&entry);
    }
}
