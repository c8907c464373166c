//! The registry against its promises: walls between accounts, uniqueness, tokens, the tray, and nothing lost.

mod history;
mod ledger;

use super::*;
use crate::aggregate::account::AccountCommand;
use crate::aggregate::channel::{ChannelCommand, ChannelPatch, Limits};
use crate::aggregate::device::{DeviceCommand, DevicePatch, NewDevice};
use crate::aggregate::integration::IntegrationCommand;
use crate::aggregate::site::{SiteCommand, SitePatch};
use crate::aggregate::tokens::TokensCommand;
use crate::aggregate::user::UserCommand;
use crate::canonical::Canonical;
use crate::entry::{Entry, NewEvent};
use crate::event::TokenIssued;
use crate::ids::IdKind;
use crate::rule::{Function, presets};
use ledger::{Ledger, acc, at, dev, id, kinetic, trailing};

#[test]
fn what_was_carried_over_goes_on_saying_since_when_it_is_there() {
    let mut ledger = Ledger::with_one_of_each();
    let mut events = ledger
        .decide::<aggregate::Site>(
            &acc(1),
            &id(IdKind::Site, 9),
            SiteCommand::Create {
                address: None,
                name: "Cellar".into(),
                timezone: "UTC".into(),
                vertical: "haccp".into(),
            },
        )
        .expect("decided");
    let metadata = crate::event::Metadata {
        account: Some(acc(1)),
        carried_over: Some(crate::event::CarriedOver {
            leaf_hash: crate::hash::Hash([1; 32]),
            position: Position(7),
            recorded_at: at(-1_000),
        }),
        ..crate::event::Metadata::default()
    };
    events[0].metadata = metadata.write().expect("canonical");
    ledger.record(&events).expect("recorded");
    let site = ledger
        .registry
        .site(&acc(1), &id(IdKind::Site, 9))
        .expect("there");
    assert_eq!((site.created.at, site.changed.at), (at(-1_000), at(-1_000)));
    assert!(site.created.position > Position(0), "its place is in this ledger");
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
fn channels_of_past_days_are_bounded_by_device_and_by_account() {
    let mut ledger = Ledger::with_one_of_each();
    let devices = (TRAILING_PER_ACCOUNT_MAX / TRAILING_PER_DEVICE_MAX) as u8;
    for device in 2..=devices + 2 {
        let name = format!("hut{device}");
        ledger.device(1, device, &name, None, None).expect("registered");
        ledger
            .channel(1, &dev(device), 200 + device, "temperature")
            .expect("registered");
    }
    let mut n = 0;
    for device in 2..devices + 2 {
        for _ in 0..TRAILING_PER_DEVICE_MAX {
            ledger.trailing(&dev(device), n, 200 + device).expect("one more");
            n += 1;
        }
        let room = |ledger: &Ledger| {
            let found = ledger.registry.device(&acc(1), &dev(device)).expect("there");
            ledger.registry.trailing_room(found)
        };
        assert_eq!(room(&ledger), 0);
        assert_eq!(ledger.trailing(&dev(device), n, 202), Err("too_many_trailing"));
    }
    assert_eq!(
        ledger.trailing(&dev(devices + 2), n, 200 + devices + 2),
        Err("too_many_trailing")
    );
    // What is made otherwise is none more; what ended makes room, also for itself.
    ledger.derive(0, Some(kinetic(203))).expect("of another source");
    ledger.derive(0, None).expect("ended");
    ledger
        .trailing(&dev(devices + 2), n, 200 + devices + 2)
        .expect("room");
    assert_eq!(ledger.derive(0, Some(kinetic(203))), Err("too_many_trailing"));
    // Within a group, earlier events count.
    ledger.derive(1, None).expect("ended");
    ledger.derive(2, None).expect("ended");
    let begin = |ledger: &Ledger, n: u8| {
        let command = ChannelCommand::Derive(Some(kinetic(203)));
        ledger.decide::<aggregate::Channel>(&acc(1), &id(IdKind::Channel, n), command)
    };
    let mut group = Vec::new();
    for n in 0..3 {
        group.extend(begin(&ledger, n).expect("may be asked"));
    }
    assert_eq!(
        ledger.registry.check(&group).map_err(|r| r.code),
        Err("too_many_trailing")
    );
    assert_eq!(ledger.registry.check(&group[..2]), Ok(()));
}

#[test]
fn a_preset_brings_as_many_channels_of_past_days_as_there_is_room_for() {
    let mut ledger = Ledger::with_one_of_each();
    let (site, meter) = (id(IdKind::Site, 9), dev(9));
    let energy = SiteCommand::Create {
        name: "A hall".into(),
        vertical: "energy".into(),
        timezone: "UTC".into(),
        address: None,
    };
    ledger
        .run::<aggregate::Site>(&acc(1), &site, energy)
        .expect("created");
    let register = DeviceCommand::Register(NewDevice {
        site,
        local_id: "meter".into(),
        name: "A meter".into(),
        model: "test".into(),
        ..NewDevice::default()
    });
    ledger
        .run::<aggregate::Device>(&acc(1), &meter, register)
        .expect("registered");
    ledger.channel(1, &meter, 250, "temperature").expect("registered");
    let brings = |ledger: &Ledger| -> Vec<Function> {
        let found = ledger.registry.device(&acc(1), &meter).expect("there");
        let made = presets::completed(&ledger.registry, found, ("chn_new", "power", None));
        made.iter().map(|derivation| derivation.function).collect()
    };
    let all = [
        Function::NightsOverBaseline,
        Function::EnergyBaseline,
        Function::OverBaseline,
    ];
    for n in 0..TRAILING_PER_DEVICE_MAX {
        let room = (TRAILING_PER_DEVICE_MAX - n).min(all.len());
        assert_eq!(brings(&ledger), all[..room]);
        ledger.trailing(&meter, n as u8, 250).expect("one more");
    }
    assert_eq!(brings(&ledger), []);
}

#[test]
fn channels_of_past_days_beyond_the_limits_that_are_on_record_are_folded_and_end_one_by_one() {
    let mut ledger = Ledger::with_one_of_each();
    ledger
        .channel(1, &dev(1), 250, "temperature")
        .expect("registered");
    let most = TRAILING_PER_ACCOUNT_MAX as u8;
    // More than a device may have, and no more than may be made of one channel.
    let each = DERIVED_PER_SOURCE_MAX as u8 - 1;
    for n in 0..most + 2 {
        let device = 2 + n / each;
        if n % each == 0 {
            let name = format!("hut{device}");
            ledger.device(1, device, &name, None, None).expect("registered");
            ledger
                .channel(1, &dev(device), 200 + device, "temperature")
                .expect("registered");
        }
        let register = trailing(&dev(device), n, 200 + device);
        let events = ledger.decide::<aggregate::Channel>(&acc(1), &id(IdKind::Channel, n), register);
        ledger.have(&events.expect("may be asked"));
    }
    let room = |ledger: &Ledger, device: u8| {
        let found = ledger.registry.device(&acc(1), &dev(device)).expect("there");
        ledger.registry.trailing_room(found)
    };
    assert_eq!((room(&ledger, 1), room(&ledger, 2)), (0, 0));
    assert_eq!(ledger.trailing(&dev(1), most + 2, 250), Err("too_many_trailing"));
    // What is there may be made otherwise, and ended twice without a second one being missed.
    let mut other = kinetic(202);
    other.trailing_days = Some(30);
    ledger.derive(0, Some(other)).expect("is one already");
    for n in 0..3 {
        ledger.derive(n, None).expect("ended");
        let _ = ledger.derive(n, None);
    }
    assert_eq!((room(&ledger, 1), room(&ledger, 2)), (1, 0));
    for n in 3..most + 2 {
        ledger.derive(n, None).expect("ended");
    }
    assert_eq!(room(&ledger, 1), TRAILING_PER_DEVICE_MAX);
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
