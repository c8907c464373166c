//! The registry against its promises: a pure fold, walls between accounts, uniqueness, and nothing lost.

use super::*;
use crate::aggregate::account::AccountCommand;
use crate::aggregate::channel::{ChannelCommand, ChannelPatch, Limits, NewChannel};
use crate::aggregate::device::{DeviceCommand, DevicePatch, NewDevice};
use crate::aggregate::integration::IntegrationCommand;
use crate::aggregate::site::{SiteCommand, SitePatch};
use crate::aggregate::tokens::TokensCommand;
use crate::aggregate::user::UserCommand;
use crate::aggregate::{Aggregate, Stamp};
use crate::canonical::Canonical;
use crate::entry::{Entry, NewEvent, Placement, encode};
use crate::event::{Event, Metadata, Text, TokenIssued, UplinkParked};
use crate::ids::IdKind;
use crate::rejection::Rejection;
use crate::sealed::{SealPlace, seal};
use proptest::prelude::*;

const ORIGIN: &str = "daybook.test/log";

/// A ledger of configuration in memory: decides, checks, records, and keeps every entry's bytes.
#[derive(Default)]
struct Ledger {
    entries: Vec<Vec<u8>>,
    registry: Registry,
}

fn id(kind: IdKind, n: u8) -> String {
    kind.id(&[n; 16])
}

fn acc(n: u8) -> String {
    id(IdKind::Account, n)
}

fn dev(n: u8) -> String {
    id(IdKind::Device, n)
}

fn at(s: i64) -> Timestamp {
    Timestamp::from_micros(1_747_470_120_000_000 + s * 1_000_000).expect("in range")
}

fn seal_all(event: &mut Event, aggregate_type: &str, aggregate_id: &str, sequence: u64, salt: &str) {
    event
        .visit_texts(|pointer, text| {
            let Text::Plain(plain) = text else { return Ok(()) };
            let place = SealPlace {
                aggregate_type,
                aggregate_id,
                sequence,
                pointer,
                salt,
            };
            let value = plain.as_str().into();
            *text = Text::Sealed(seal(ORIGIN, &place, &value, &[7; 32], [0; 24])?);
            Ok::<(), crate::sealed::SealError>(())
        })
        .expect("sealed");
}

impl Ledger {
    /// With account 1: an owner 1, a site 1, a device 1 with a token.
    fn with_one_of_each() -> Self {
        let mut ledger = Self::default();
        ledger.open(1);
        ledger.site(1, 1).expect("created");
        ledger.device(1, 1, "fridge01", None, None).expect("registered");
        ledger.token(1, &dev(1), TokenKind::Device, 1).expect("issued");
        ledger
    }

    fn open(&mut self, account: u8) {
        let open = AccountCommand::Open {
            name: "An account".into(),
        };
        self.run::<aggregate::Account>(&acc(account), &acc(account), open)
            .expect("opened");
        self.user(account, account, "owner").expect("registered");
    }

    fn user(&mut self, account: u8, n: u8, role: &str) -> Result<(), &'static str> {
        let register = UserCommand::Register {
            email: format!("user{n}@example.org"),
            email_index: format!("index{n}"),
            name: None,
            role: role.into(),
        };
        self.run::<aggregate::User>(&acc(account), &id(IdKind::User, n), register)
    }

    fn site(&mut self, account: u8, n: u8) -> Result<(), &'static str> {
        let create = SiteCommand::Create {
            name: "A site".into(),
            vertical: "haccp".into(),
            timezone: "UTC".into(),
            address: None,
        };
        self.run::<aggregate::Site>(&acc(account), &id(IdKind::Site, n), create)
    }

    /// In the site of the account's number.
    fn device(
        &mut self,
        account: u8,
        n: u8,
        local: &str,
        dev_eui: Option<&str>,
        serial: Option<&str>,
    ) -> Result<(), &'static str> {
        let register = DeviceCommand::Register(NewDevice {
            site: id(IdKind::Site, account),
            local_id: local.into(),
            name: "A device".into(),
            model: "test".into(),
            dev_eui: dev_eui.map(Into::into),
            serial: serial.map(Into::into),
            ..NewDevice::default()
        });
        self.run::<aggregate::Device>(&acc(account), &dev(n), register)
    }

    fn patch(&mut self, account: u8, n: u8, patch: DevicePatch) -> Result<(), &'static str> {
        self.run::<aggregate::Device>(&acc(account), &dev(n), DeviceCommand::Change(patch))
    }

    fn channel(&mut self, account: u8, device: &str, n: u8, key: &str) -> Result<(), &'static str> {
        let register = ChannelCommand::Register(NewChannel {
            device: device.into(),
            sensor: id(IdKind::Sensor, n),
            key: key.into(),
            kind: key.split('/').next().unwrap_or_default().into(),
            unit: "Cel".into(),
            ..NewChannel::default()
        });
        self.run::<aggregate::Channel>(&acc(account), &id(IdKind::Channel, n), register)
    }

    fn token(&mut self, account: u8, owner: &str, kind: TokenKind, n: u8) -> Result<(), &'static str> {
        let token = TokenIssued {
            hash: format!("hash{n}"),
            kind,
            token: id(IdKind::Token, n),
        };
        self.run::<aggregate::Tokens>(&acc(account), owner, TokensCommand::Issue { token, now: at(0) })
    }

    fn park(
        &mut self,
        account: u8,
        stream: u8,
        dev_eui: &str,
        owner: Option<&str>,
    ) -> Result<(), &'static str> {
        let event = Event::UplinkParked(UplinkParked {
            at: Some(at(5)),
            decoded: None,
            dev_eui: dev_eui.into(),
            f_cnt: 1,
            f_port: None,
            frame: None,
            received_at: at(6),
            session: None,
        });
        let (acc, stream) = (acc(account), id(IdKind::Stream, stream));
        let mut new = self.new_event(&acc, "tray", &stream, event, 1);
        let metadata = Metadata {
            account: Some(acc.clone()),
            owner: Some(owner.unwrap_or(&acc).to_owned()),
            ..Metadata::default()
        };
        new.metadata = metadata.write().expect("canonical");
        self.record(&[new]).map_err(|r| r.code)
    }

    /// Decides, checks and records.
    fn run<A: Aggregate>(
        &mut self,
        account: &str,
        id: &str,
        command: A::Command,
    ) -> Result<(), &'static str> {
        let events = self.decide::<A>(account, id, command)?;
        self.record(&events).map_err(|rejection| rejection.code)
    }

    fn decide<A: Aggregate>(
        &self,
        account: &str,
        id: &str,
        command: A::Command,
    ) -> Result<Vec<NewEvent>, &'static str> {
        let state = self.fold_stream::<A>(id);
        let events = state.decide(&command).map_err(|rejection| rejection.code)?;
        let sequence = state.sequence();
        Ok(events
            .into_iter()
            .enumerate()
            .map(|(n, event)| self.new_event(account, A::TYPE, id, event, sequence + n as u64 + 1))
            .collect())
    }

    fn new_event(
        &self,
        account: &str,
        aggregate_type: &'static str,
        id: &str,
        mut event: Event,
        sequence: u64,
    ) -> NewEvent {
        let salt = [sequence as u8; 16];
        seal_all(
            &mut event,
            aggregate_type,
            id,
            sequence,
            &crate::hash::base64url(&salt),
        );
        let metadata = Metadata {
            account: Some(account.into()),
            ..Metadata::default()
        };
        NewEvent {
            aggregate_type: aggregate_type.into(),
            aggregate_id: id.into(),
            event_type: event.event_type().into(),
            event_version: "1.0".into(),
            payload: event.payload(None).expect("sealed"),
            metadata: metadata.write().expect("canonical"),
            salt: Some(salt),
        }
    }

    fn record(&mut self, events: &[NewEvent]) -> Result<(), Rejection> {
        self.registry.check(events)?;
        for event in events {
            let placement = Placement {
                position: Position(self.entries.len() as u64),
                recorded_at: at(self.entries.len() as i64),
                sequence: self.registry.sequence(&event.aggregate_type, &event.aggregate_id) + 1,
                salt: event.salt.unwrap_or_default(),
            };
            let mut bytes = Vec::new();
            encode(&mut bytes, &placement, event).expect("within the format");
            self.registry
                .apply(&Entry::decode(&bytes).expect("decodes"))
                .expect("what was checked is taken");
            self.entries.push(bytes);
        }
        Ok(())
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries
            .iter()
            .map(|bytes| Entry::decode(bytes).expect("decodes"))
    }

    /// The state of one stream, folded from its entries alone.
    fn fold_stream<A: Aggregate>(&self, id: &str) -> A {
        let mut state = A::default();
        let stream = self
            .entries()
            .filter(|e| e.aggregate_type == A::TYPE && e.aggregate_id == id);
        for entry in stream {
            let event = Event::read(entry.event_type, entry.payload).expect("reads");
            state.apply(
                &event,
                Stamp {
                    sequence: entry.sequence,
                    salt: entry.salt,
                },
            );
        }
        state
    }
}

#[test]
fn devices_are_found_by_whatever_payloads_call_them() {
    let mut ledger = Ledger::with_one_of_each();
    ledger
        .device(1, 2, "Hut.A:1", Some("0004A30B001B7AD1"), Some("A4CF1200FF01"))
        .expect("registered");
    let registry = &ledger.registry;
    for local in ["Hut.A:1", "hut.a:1", "HUT.A:1"] {
        assert_eq!(
            registry.device_by_local(&acc(1), local).map(|d| d.id.to_string()),
            Some(dev(2)),
            "{local}"
        );
    }
    for nobody in ["", "hut", "hut.a:1 ", &"x".repeat(64), &"x".repeat(65), "hüt"] {
        assert!(registry.device_by_local(&acc(1), nobody).is_none(), "{nobody}");
    }
    assert!(registry.device_by_dev_eui(&acc(1), "0004A30B001B7AD1").is_some());
    assert!(registry.device_by_serial(&acc(1), "A4CF1200FF01").is_some());
    let rename = DevicePatch {
        local_id: Some("hut-b".into()),
        dev_eui: Some(None),
        serial: Some(Some("B1".into())),
        ..DevicePatch::default()
    };
    ledger.patch(1, 2, rename).expect("changed");
    let registry = &ledger.registry;
    assert!(registry.device_by_local(&acc(1), "hut.a:1").is_none());
    assert!(registry.device_by_local(&acc(1), "HUT-B").is_some());
    assert!(registry.device_by_dev_eui(&acc(1), "0004A30B001B7AD1").is_none());
    assert!(registry.device_by_serial(&acc(1), "A4CF1200FF01").is_none());
    assert!(registry.device_by_serial(&acc(1), "B1").is_some());
}

#[test]
fn accounts_are_walls() {
    let mut ledger = Ledger::with_one_of_each();
    ledger.open(2);
    ledger.site(2, 2).expect("created");
    ledger.channel(1, &dev(1), 1, "temperature").expect("registered");
    ledger
        .run::<aggregate::Integration>(
            &acc(1),
            &id(IdKind::Integration, 1),
            IntegrationCommand::Create {
                kind: "lorawan".into(),
                name: "TTN".into(),
            },
        )
        .expect("created");
    ledger.park(1, 1, "00000000000000AA", None).expect("parked");
    let registry = &ledger.registry;
    for (mine, account) in [(true, acc(1)), (false, acc(2))] {
        assert_eq!(registry.device(&account, &dev(1)).is_some(), mine);
        assert_eq!(registry.device_by_local(&account, "fridge01").is_some(), mine);
        assert_eq!(registry.site(&account, &id(IdKind::Site, 1)).is_some(), mine);
        assert_eq!(registry.user(&account, &id(IdKind::User, 1)).is_some(), mine);
        assert_eq!(
            registry.channel(&account, &id(IdKind::Channel, 1)).is_some(),
            mine
        );
        assert_eq!(
            registry
                .channel_by_sensor(&account, &id(IdKind::Sensor, 1))
                .is_some(),
            mine
        );
        assert_eq!(
            registry
                .integration(&account, &id(IdKind::Integration, 1))
                .is_some(),
            mine
        );
        assert_eq!(registry.tray(&account, "00000000000000AA").is_some(), mine);
        assert_eq!(registry.devices(&account, None).count(), usize::from(mine));
        assert_eq!(registry.trays(&account, None).count(), usize::from(mine));
        assert_eq!(registry.integrations(&account, None).count(), usize::from(mine));
    }
    assert_eq!(registry.account_of(&id(IdKind::Sensor, 1)), Some(acc(1).as_str()));
    // The same local id is free in the other account, but nothing can be put into it from outside.
    ledger
        .device(2, 2, "fridge01", None, None)
        .expect("another account's");
    assert_eq!(ledger.channel(2, &dev(1), 2, "humidity"), Err("device_not_found"));
    assert_eq!(
        ledger.patch(
            2,
            1,
            DevicePatch {
                local_id: Some("x".into()),
                ..DevicePatch::default()
            }
        ),
        Err("device_not_found")
    );
    assert_eq!(
        ledger.token(2, &dev(1), TokenKind::Device, 7),
        Err("token_not_found")
    );
    let to_foreign = DeviceCommand::Move {
        to_site: id(IdKind::Site, 1),
        effective_at: at(1),
        now: at(9),
    };
    assert_eq!(
        ledger.run::<aggregate::Device>(&acc(2), &dev(2), to_foreign),
        Err("site_not_found")
    );
    let foreign_site = SiteCommand::Change(SitePatch {
        timezone: Some("Europe/Rome".into()),
        ..SitePatch::default()
    });
    assert_eq!(
        ledger.run::<aggregate::Site>(&acc(2), &id(IdKind::Site, 1), foreign_site),
        Err("site_not_found")
    );
    let foreign_channel = ChannelCommand::Change(ChannelPatch {
        ok_min: Some(Some(0.0)),
        ..ChannelPatch::default()
    });
    assert_eq!(
        ledger.run::<aggregate::Channel>(&acc(2), &id(IdKind::Channel, 1), foreign_channel),
        Err("channel_not_found")
    );
    assert_eq!(
        ledger.run::<aggregate::User>(&acc(2), &id(IdKind::User, 1), UserCommand::Remove),
        Err("user_not_found")
    );
    let revoke = TokensCommand::RevokeAll;
    assert_eq!(
        ledger.run::<aggregate::Tokens>(&acc(2), &dev(1), revoke),
        Err("token_not_found")
    );
    assert_eq!(
        ledger.park(2, 1, "00000000000000AA", None),
        Err("account_not_found")
    );
}

#[test]
fn names_are_unique_and_free_again_after_a_removal() {
    let mut ledger = Ledger::with_one_of_each();
    let (eui, serial) = (Some("00000000000000AA"), Some("S1"));
    ledger.device(1, 2, "b", eui, serial).expect("registered");
    assert_eq!(ledger.device(1, 3, "FRIDGE01", None, None), Err("local_id_taken"));
    assert_eq!(ledger.device(1, 3, "c", eui, None), Err("dev_eui_taken"));
    assert_eq!(ledger.device(1, 3, "c", None, serial), Err("serial_taken"));
    assert_eq!(ledger.user(1, 9, "auditor"), Ok(()));
    assert_eq!(ledger.user(1, 9, "auditor"), Err("already_exists"));
    let same_address = UserCommand::Register {
        email: "x@example.org".into(),
        email_index: "index9".into(),
        name: None,
        role: "auditor".into(),
    };
    assert_eq!(
        ledger.run::<aggregate::User>(&acc(1), &id(IdKind::User, 10), same_address.clone()),
        Err("email_taken")
    );
    let local = |name: &str| DevicePatch {
        local_id: Some(name.into()),
        ..DevicePatch::default()
    };
    assert_eq!(ledger.patch(1, 2, local("Fridge01")), Err("local_id_taken"));
    assert_eq!(ledger.patch(1, 1, local("FRIDGE01")), Ok(()));
    ledger
        .run::<aggregate::Device>(&acc(1), &dev(2), DeviceCommand::Remove)
        .expect("removed");
    assert_eq!(ledger.device(1, 3, "B", eui, serial), Ok(()));
    ledger
        .run::<aggregate::User>(&acc(1), &id(IdKind::User, 9), UserCommand::Remove)
        .expect("removed");
    assert_eq!(
        ledger.run::<aggregate::User>(&acc(1), &id(IdKind::User, 10), same_address),
        Ok(())
    );
    assert_eq!(ledger.channel(1, &dev(1), 1, "temperature"), Ok(()));
    assert_eq!(
        ledger.channel(1, &dev(1), 2, "temperature"),
        Err("channel_exists")
    );
    assert_eq!(
        ledger.channel(1, &dev(2), 2, "temperature"),
        Err("device_not_found")
    );
    assert_eq!(
        ledger.token(1, &dev(2), TokenKind::Device, 3),
        Err("owner_not_found")
    );
    assert_eq!(
        ledger.token(1, &dev(1), TokenKind::User, 3),
        Err("owner_not_found")
    );
    assert_eq!(
        ledger.token(1, &dev(3), TokenKind::Device, 1),
        Err("already_exists")
    );
}

#[test]
fn within_a_group_earlier_events_count() {
    let mut ledger = Ledger::with_one_of_each();
    let register = |n: u8, local: &str| NewDevice {
        site: id(IdKind::Site, 1),
        local_id: local.into(),
        name: format!("device {n}"),
        model: "test".into(),
        ..NewDevice::default()
    };
    let decide = |ledger: &Ledger, n, command| {
        ledger
            .decide::<aggregate::Device>(&acc(1), &dev(n), command)
            .expect("decided")
    };
    let twice = [
        decide(&ledger, 2, DeviceCommand::Register(register(2, "same"))),
        decide(&ledger, 3, DeviceCommand::Register(register(3, "SAME"))),
    ]
    .concat();
    assert_eq!(ledger.record(&twice).map_err(|r| r.code), Err("local_id_taken"));
    assert!(
        ledger.registry.device(&acc(1), &dev(2)).is_none(),
        "a group is recorded whole or not at all"
    );
    // One gives its name up, the other takes it, in one group.
    let rename = DevicePatch {
        local_id: Some("old".into()),
        ..DevicePatch::default()
    };
    let swapped = [
        decide(&ledger, 1, DeviceCommand::Change(rename)),
        decide(&ledger, 2, DeviceCommand::Register(register(2, "fridge01"))),
    ]
    .concat();
    ledger.record(&swapped).expect("recorded");
    assert_eq!(
        ledger
            .registry
            .device_by_local(&acc(1), "fridge01")
            .map(|d| d.id.to_string()),
        Some(dev(2))
    );
    assert_eq!(
        ledger
            .registry
            .device_by_local(&acc(1), "old")
            .map(|d| d.id.to_string()),
        Some(dev(1))
    );
}

#[test]
fn an_account_keeps_an_owner() {
    let mut ledger = Ledger::with_one_of_each();
    let user = |n| id(IdKind::User, n);
    let role = |role: &str| UserCommand::Change {
        email: None,
        name: None,
        role: Some(role.into()),
    };
    let run = |ledger: &mut Ledger, n, command| ledger.run::<aggregate::User>(&acc(1), &user(n), command);
    assert_eq!(run(&mut ledger, 1, UserCommand::Remove), Err("last_owner"));
    assert_eq!(run(&mut ledger, 1, role("auditor")), Err("last_owner"));
    ledger.user(1, 2, "auditor").expect("registered");
    assert_eq!(run(&mut ledger, 1, UserCommand::Remove), Err("last_owner"));
    run(&mut ledger, 2, role("owner")).expect("made owner");
    run(&mut ledger, 1, UserCommand::Remove).expect("removed");
    assert_eq!(run(&mut ledger, 2, role("auditor")), Err("last_owner"));
    assert_eq!(
        ledger.registry.user_by_email("index1").map(|u| u.id.to_string()),
        None
    );
    assert_eq!(ledger.registry.users(&acc(1), None).count(), 1);
}

#[test]
fn config_names_the_newest_entry_of_a_device_and_its_channels() {
    let mut ledger = Ledger::with_one_of_each();
    let config = |ledger: &Ledger| ledger.registry.device(&acc(1), &dev(1)).map(|d| d.config.get());
    assert_eq!(config(&ledger), Some(3));
    ledger.channel(1, &dev(1), 1, "temperature").expect("registered");
    assert_eq!(config(&ledger), Some(5));
    ledger.site(1, 9).expect("created");
    ledger.token(1, &dev(1), TokenKind::Device, 8).expect("issued");
    assert_eq!(config(&ledger), Some(5));
    let limits = ChannelPatch {
        ok_max: Some(Some(5.0)),
        ..ChannelPatch::default()
    };
    ledger
        .run::<aggregate::Channel>(&acc(1), &id(IdKind::Channel, 1), ChannelCommand::Change(limits))
        .expect("changed");
    assert_eq!(config(&ledger), Some(8));
    let patch = DevicePatch {
        cadence_s: Some(Some(60)),
        ..DevicePatch::default()
    };
    ledger.patch(1, 1, patch).expect("changed");
    assert_eq!(config(&ledger), Some(9));
}

#[test]
fn a_token_lets_in_until_it_is_ended_or_its_owner_is_gone() {
    let mut ledger = Ledger::with_one_of_each();
    let token = id(IdKind::Token, 1);
    let admitted = ledger.registry.admit(&token, at(0)).expect("let in");
    assert_eq!(
        (admitted.owner, admitted.account, admitted.role),
        (dev(1).as_str(), acc(1).as_str(), None)
    );
    assert_eq!(ledger.registry.admit("nobody", at(0)), Err(NotAdmitted::Unknown));
    let run = |ledger: &mut Ledger, command| ledger.run::<aggregate::Account>(&acc(1), &acc(1), command);
    run(&mut ledger, AccountCommand::Suspend).expect("suspended");
    assert_eq!(ledger.registry.admit(&token, at(0)), Err(NotAdmitted::Suspended));
    run(&mut ledger, AccountCommand::Resume).expect("resumed");
    let rotate = |n, overlap_s| TokensCommand::Rotate {
        token: TokenIssued {
            hash: "h".into(),
            kind: TokenKind::Device,
            token: id(IdKind::Token, n),
        },
        old: None,
        overlap_s,
        now: at(0),
    };
    ledger
        .run::<aggregate::Tokens>(&acc(1), &dev(1), rotate(2, 60))
        .expect("rotated");
    assert!(ledger.registry.admit(&token, at(59)).is_ok());
    assert_eq!(ledger.registry.admit(&token, at(60)), Err(NotAdmitted::Expired));
    ledger
        .run::<aggregate::Tokens>(&acc(1), &dev(1), rotate(3, 0))
        .expect("rotated");
    assert_eq!(
        ledger.registry.admit(&id(IdKind::Token, 2), at(1)),
        Err(NotAdmitted::Revoked)
    );
    assert_eq!(ledger.registry.admit(&token, at(1)), Err(NotAdmitted::Revoked));
    assert!(ledger.registry.admit(&id(IdKind::Token, 3), at(1)).is_ok());
    assert_eq!(ledger.registry.tokens(&dev(1)).count(), 3);
    ledger
        .run::<aggregate::Device>(&acc(1), &dev(1), DeviceCommand::Remove)
        .expect("removed");
    assert_eq!(
        ledger.registry.admit(&id(IdKind::Token, 3), at(1)),
        Err(NotAdmitted::Revoked)
    );
    ledger
        .token(1, &id(IdKind::User, 1), TokenKind::User, 4)
        .expect("issued");
    assert_eq!(
        ledger
            .registry
            .admit(&id(IdKind::Token, 4), at(1))
            .map(|a| a.role),
        Ok(Some("owner"))
    );
}

#[test]
fn parked_uplinks_wait_until_a_device_has_their_dev_eui() {
    let mut ledger = Ledger::with_one_of_each();
    let eui = "00000000000000AA";
    for _ in 0..3 {
        ledger.park(1, 1, eui, None).expect("parked");
    }
    let tray = ledger.registry.tray(&acc(1), eui).expect("waits");
    assert_eq!(
        (tray.uplinks.len(), tray.sequence, tray.adopted_by.is_none()),
        (3, 3, true)
    );
    ledger.device(1, 2, "hut", Some(eui), None).expect("adopted");
    assert!(ledger.registry.tray(&acc(1), eui).is_none());
    assert_eq!(ledger.registry.trays(&acc(1), None).count(), 0);
    assert_eq!(ledger.park(1, 1, eui, None), Err("device_adopted"));
    let adopted = ledger
        .registry
        .tray_by_id(&acc(1), &id(IdKind::Stream, 1))
        .expect("there");
    assert_eq!(adopted.adopted_by.as_deref(), Some(dev(2).as_str()));
    // A frame that nobody can decode waits with its device.
    ledger.park(1, 2, eui, Some(&dev(2))).expect("parked");
    let device = ledger.registry.device(&acc(1), &dev(2)).expect("there");
    assert_eq!(
        ledger.registry.tray_of(device).map(|tray| tray.uplinks.len()),
        Some(1)
    );
    assert!(ledger.registry.tray(&acc(1), eui).is_none());
    // Once the device is gone, its frames wait in a tray of their own.
    ledger
        .run::<aggregate::Device>(&acc(1), &dev(2), DeviceCommand::Remove)
        .expect("removed");
    ledger.park(1, 3, eui, None).expect("parked");
    assert_eq!(
        ledger.registry.tray(&acc(1), eui).map(|tray| tray.uplinks.len()),
        Some(1)
    );
}

#[test]
fn the_tray_is_bounded() {
    let mut ledger = Ledger::with_one_of_each();
    for _ in 0..TRAY_UPLINKS_MAX {
        ledger.park(1, 0, "00000000000000AA", None).expect("parked");
    }
    assert_eq!(ledger.park(1, 0, "00000000000000AA", None), Err("tray_full"));
    for n in 1..TRAY_DEVICES_MAX as u8 {
        ledger.park(1, n, &format!("{n:016X}"), None).expect("parked");
    }
    assert_eq!(ledger.park(1, 250, "FFFFFFFFFFFFFFFF", None), Err("tray_full"));
    assert_eq!(ledger.park(1, 5, "00000000000000AA", None), Err("bad_event"));
    ledger.open(2);
    assert_eq!(ledger.park(2, 251, "FFFFFFFFFFFFFFFF", None), Ok(()));
}

#[test]
fn channels_of_a_device_are_bounded_and_listed_by_key() {
    let mut ledger = Ledger::with_one_of_each();
    for n in 0..CHANNELS_PER_DEVICE_MAX as u8 {
        ledger
            .channel(1, &dev(1), n, &format!("temperature/{}", 255 - n))
            .expect("registered");
    }
    assert_eq!(
        ledger.channel(1, &dev(1), 200, "humidity"),
        Err("too_many_channels")
    );
    let device = ledger.registry.device(&acc(1), &dev(1)).expect("there");
    let keys: Vec<&str> = ledger
        .registry
        .channels(device)
        .map(|c| c.state.key.as_str())
        .collect();
    assert!(keys.is_sorted() && keys.len() == CHANNELS_PER_DEVICE_MAX);
    assert!(
        ledger
            .registry
            .channel_by_key(device, "temperature/200")
            .is_some()
    );
    assert!(ledger.registry.channel_by_key(device, "temperature").is_none());
}

#[test]
fn lists_go_on_after_a_cursor_in_order_of_creation() {
    let mut ledger = Ledger::with_one_of_each();
    for n in 2..12 {
        ledger
            .device(1, n, &format!("d{n}"), None, None)
            .expect("registered");
    }
    ledger
        .run::<aggregate::Device>(&acc(1), &dev(5), DeviceCommand::Remove)
        .expect("removed");
    let mut cursor = None;
    let mut seen = Vec::new();
    loop {
        let page: Vec<&Device> = ledger.registry.devices(&acc(1), cursor).take(3).collect();
        let Some(last) = page.last() else { break };
        cursor = Some(last.created.position);
        seen.extend(page.iter().map(|d| d.id.to_string()));
    }
    let expected: Vec<String> = (1..12).filter(|n| *n != 5).map(dev).collect();
    assert_eq!(seen, expected);
    assert_eq!(ledger.registry.devices_ever(&acc(1), None).count(), 11);
}

#[test]
fn folding_up_to_a_position_gives_what_was_in_force_there() {
    let mut ledger = Ledger::with_one_of_each();
    let before = ledger.entries.len();
    let patch = DevicePatch {
        local_id: Some("later".into()),
        ..DevicePatch::default()
    };
    ledger.patch(1, 1, patch).expect("changed");
    let then = Registry::fold(ledger.entries().take(before)).expect("folds");
    assert!(then.device_by_local(&acc(1), "fridge01").is_some());
    assert_eq!(then.size().get(), before as u64);
    let now = Registry::fold(ledger.entries()).expect("folds");
    assert!(now.device_by_local(&acc(1), "later").is_some());
}

#[test]
fn what_does_not_follow_stops_the_fold() {
    let ledger = Ledger::with_one_of_each();
    let mut again = Registry::fold(ledger.entries()).expect("folds");
    let first = ledger.entries().next().expect("there");
    assert!(matches!(
        again.apply(&first),
        Err(RegistryError::Inconsistent { .. })
    ));
    // Without its account, nothing folds.
    assert!(Registry::fold(ledger.entries().skip(1)).is_err());
    let repeated = ledger.entries().chain(ledger.entries().next().map(|e| Entry {
        position: Position(99),
        ..e
    }));
    assert!(Registry::fold(repeated).is_err());
    // Streams of other types pass by, whatever they say.
    let other = Entry {
        aggregate_type: "alarm",
        event_type: "Whatever",
        position: Position(99),
        ..first
    };
    assert_eq!(again.apply(&other), Ok(()));
    assert_eq!(again.size().get(), 100);
    let newer = Entry {
        event_type: "SiteTurned",
        position: Position(100),
        ..first
    };
    assert!(matches!(again.apply(&newer), Err(RegistryError::Event { .. })));
}

#[test]
fn a_group_of_another_shape_is_refused() {
    let ledger = Ledger::with_one_of_each();
    let good = ledger
        .decide::<aggregate::Device>(&acc(1), &dev(1), DeviceCommand::Remove)
        .expect("decided")
        .remove(0);
    assert_eq!(ledger.registry.check(std::slice::from_ref(&good)), Ok(()));
    let elsewhere = NewEvent {
        aggregate_type: "site".into(),
        ..good.clone()
    };
    assert_eq!(
        ledger.registry.check(&[elsewhere]).map_err(|r| r.code),
        Err("bad_event")
    );
    let nobodys = NewEvent {
        metadata: Canonical::empty_object(),
        ..good.clone()
    };
    assert_eq!(
        ledger.registry.check(&[nobodys]).map_err(|r| r.code),
        Err("bad_event")
    );
    let foreign = NewEvent {
        event_type: "DayClosed".into(),
        aggregate_type: "ledger".into(),
        ..good
    };
    assert_eq!(ledger.registry.check(&[foreign]), Ok(()));
}

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

#[test]
fn limits_of_a_channel_are_read_without_opening_anything() {
    let mut ledger = Ledger::with_one_of_each();
    ledger.channel(1, &dev(1), 1, "temperature").expect("registered");
    let device = ledger.registry.device(&acc(1), &dev(1)).expect("there");
    let channel = ledger
        .registry
        .channel_by_key(device, "temperature")
        .expect("there");
    assert_eq!(channel.state.limits, Limits::default());
    assert!(!channel.state.limits.is_outside(1e9));
    let limits = Limits {
        ok_min: Some(-2.0),
        ok_max: Some(5.0),
        grace_min: None,
    };
    assert!(
        limits.is_outside(-2.1)
            && !limits.is_outside(-2.0)
            && !limits.is_outside(5.0)
            && limits.is_outside(5.1)
    );
}
