//! Rules of the aggregates: what is refused, and that every change carries what was there before.

use super::account::AccountCommand;
use super::channel::{ChannelCommand, ChannelPatch, NewCalibration, NewChannel, is_key_of};
use super::device::{DeviceCommand, DevicePatch, NewDevice};
use super::integration::IntegrationCommand;
use super::site::{SiteCommand, SitePatch};
use super::tokens::{LIVE_MAX, TokensCommand};
use super::user::UserCommand;
use super::*;
use crate::calibration::CALIBRATIONS_MAX;
use crate::event::{CalibrationSet, Change, Correction, TokenIssued, TokenKind, Vertical};
use crate::ids::IdKind;
use crate::rejection::Fault;
use crate::rule::presets::limits as preset;
use crate::sealed::{SealPlace, seal};
use crate::time::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

const KEY: [u8; 32] = [7; 32];
const ORIGIN: &str = "daybook.test/log";
const SALT: &str = "MDEyMzQ1Njc4OWFiY2RlZg";

/// A stream while it is tested: what was decided is sealed and applied, as the handlers do.
#[derive(Default)]
struct Stream<A> {
    state: A,
    events: Vec<Event>,
}

impl<A: Aggregate> Stream<A> {
    fn does(&mut self, command: A::Command) -> Result<Vec<Event>, &'static str> {
        let decided = self.state.decide(&command).map_err(|r| r.code)?;
        let mut recorded = Vec::new();
        for mut event in decided {
            let sequence = self.state.sequence() + 1;
            event
                .visit_texts(|pointer, text| sealed(text, A::TYPE, pointer, sequence))
                .expect("sealed");
            self.state.apply(&event, Stamp { sequence, salt: SALT });
            recorded.push(event.clone());
            self.events.push(event);
        }
        Ok(recorded)
    }

    fn refuses(&mut self, command: A::Command) -> &'static str {
        let before = self.events.len();
        let code = self.does(command).expect_err("must be refused");
        assert_eq!(self.events.len(), before);
        code
    }

    fn opened(&self, field: Option<&SealedField>) -> Option<String> {
        let value = field?.open(ORIGIN, A::TYPE, "x", &KEY).expect("opens");
        value.as_str().map(str::to_owned)
    }
}

fn sealed(text: &mut Text, aggregate_type: &str, pointer: &str, sequence: u64) -> Result<(), ()> {
    if let Text::Plain(plain) = text {
        let place = SealPlace {
            aggregate_type,
            aggregate_id: "x",
            sequence,
            pointer,
            salt: SALT,
        };
        let value = plain.as_str().into();
        *text = Text::Sealed(seal(ORIGIN, &place, &value, &KEY, [0; 24]).map_err(|_| ())?);
    }
    Ok(())
}

fn at(s: i64) -> Timestamp {
    Timestamp::from_micros(1_747_470_120_000_000 + s * 1_000_000).expect("in range")
}

fn site() -> Stream<Site> {
    let mut site = Stream::<Site>::default();
    site.does(SiteCommand::Create {
        name: "Kitchen".into(),
        vertical: "haccp".into(),
        timezone: "Europe/Berlin".into(),
        address: Some("Main street 1".into()),
    })
    .expect("created");
    site
}

fn device() -> Stream<Device> {
    let mut device = Stream::<Device>::default();
    device
        .does(DeviceCommand::Register(NewDevice {
            site: "site_a".into(),
            local_id: "fridge01".into(),
            name: "Fridge".into(),
            model: "shelly-h-t-gen3".into(),
            dev_eui: Some("0004a30b001b7ad1".into()),
            serial: Some("a4:cf:12:00:ff:01".into()),
            cadence_s: Some(600),
            notes: None,
        }))
        .expect("registered");
    device
}

fn channel() -> Stream<Channel> {
    let mut channel = Stream::<Channel>::default();
    channel
        .does(ChannelCommand::Register(NewChannel {
            device: "dev_a".into(),
            sensor: "snr_a".into(),
            key: "temperature/front".into(),
            kind: "temperature".into(),
            unit: "Cel".into(),
            label: Some("Front".into()),
            auxiliary: false,
            limits: preset(Vertical::Haccp, "temperature", None),
            derivation: None,
        }))
        .expect("registered");
    channel
}

fn issued(n: u8) -> TokenIssued {
    TokenIssued {
        hash: "$2b$10$hash".into(),
        kind: TokenKind::Device,
        token: IdKind::Token.id(&[n; 16]),
    }
}

/// Every `{"old", "new"}` of an event's payload, and that there is one beside each other.
fn changes(event: &Event) -> Vec<(String, Value, Value)> {
    let value = event.to_value().expect("sealed");
    let changes = value["changes"].as_object().expect("changes").clone();
    changes
        .into_iter()
        .map(|(field, change)| {
            let change = change.as_object().expect("a change");
            assert_eq!(change.len(), 2, "{field} must have old and new");
            (field, change["old"].clone(), change["new"].clone())
        })
        .collect()
}

#[test]
fn an_account_is_opened_once_renamed_suspended_and_resumed() {
    let mut account = Stream::<Account>::default();
    assert_eq!(account.refuses(AccountCommand::Suspend), "account_not_found");
    account
        .does(AccountCommand::Open { name: "Ada's".into() })
        .expect("opened");
    assert_eq!(
        account.refuses(AccountCommand::Open { name: "x".into() }),
        "already_exists"
    );
    assert_eq!(
        account.refuses(AccountCommand::Rename { name: "".into() }),
        "invalid_name"
    );
    let renamed = account
        .does(AccountCommand::Rename { name: "Bob's".into() })
        .expect("renamed");
    let (field, old, new) = &changes(&renamed[0])[0];
    assert_eq!(field, "name");
    assert_eq!(old["place"]["pointer"], "/name");
    assert_eq!(old["place"]["sequence"], 1);
    assert!(new["sealed"].is_object());
    assert_eq!(
        account.opened(account.state.name.as_ref()).as_deref(),
        Some("Bob's")
    );
    assert_eq!(account.does(AccountCommand::Resume), Ok(vec![]));
    assert_eq!(account.does(AccountCommand::Suspend).map(|e| e.len()), Ok(1));
    assert_eq!(account.does(AccountCommand::Suspend), Ok(vec![]));
    assert!(account.state.suspended);
    account.does(AccountCommand::Resume).expect("resumed");
    assert!(!account.state.suspended);
}

#[test]
fn an_old_sealed_value_still_opens_where_it_was_sealed() {
    let mut site = site();
    let patch = SitePatch {
        name: Some("Bar".into()),
        address: Some(None),
        ..SitePatch::default()
    };
    let changed = site.does(SiteCommand::Change(patch)).expect("changed");
    for (field, old, new) in changes(&changed[0]) {
        let old: SealedField = serde_json::from_value(old).expect("a sealed value with its place");
        let opened = old.open(ORIGIN, "site", "x", &KEY).expect("opens");
        match field.as_str() {
            "name" => assert_eq!(opened, "Kitchen"),
            "address" => {
                assert_eq!(opened, "Main street 1");
                assert_eq!(new, Value::Null);
            }
            other => panic!("{other} was not changed"),
        }
    }
    assert_eq!(site.state.address, None);
    assert_eq!(site.opened(site.state.name.as_ref()).as_deref(), Some("Bar"));
}

#[test]
fn sites_have_a_known_vertical_and_time_zone() {
    let mut site = site();
    let zone = SitePatch {
        timezone: Some("Mars/Base".into()),
        ..SitePatch::default()
    };
    assert_eq!(site.refuses(SiteCommand::Change(zone)), "invalid_timezone");
    let vertical = SitePatch {
        vertical: Some("bakery".into()),
        ..SitePatch::default()
    };
    assert_eq!(site.refuses(SiteCommand::Change(vertical)), "invalid_vertical");
    let both = SitePatch {
        vertical: Some("climate".into()),
        timezone: Some("Europe/Lisbon".into()),
        ..SitePatch::default()
    };
    let changed = site.does(SiteCommand::Change(both.clone())).expect("changed");
    assert_eq!(
        changes(&changed[0]),
        vec![
            ("timezone".into(), "Europe/Berlin".into(), "Europe/Lisbon".into()),
            ("vertical".into(), "haccp".into(), "climate".into()),
        ]
    );
    assert_eq!(site.does(SiteCommand::Change(both)), Ok(vec![]));
    let nobody = SiteCommand::Change(SitePatch::default());
    assert_eq!(Stream::<Site>::default().refuses(nobody), "site_not_found");
}

#[test]
fn model_and_site_of_a_device_are_not_edited() {
    let mut device = device();
    let model = DevicePatch {
        model: Some("other".into()),
        ..DevicePatch::default()
    };
    assert_eq!(device.refuses(DeviceCommand::Change(model)), "immutable_field");
    let site = DevicePatch {
        site_id: Some("site_b".into()),
        ..DevicePatch::default()
    };
    assert_eq!(device.refuses(DeviceCommand::Change(site)), "immutable_field");
    let same = DevicePatch {
        model: Some("shelly-h-t-gen3".into()),
        site_id: Some("site_a".into()),
        ..DevicePatch::default()
    };
    assert_eq!(device.does(DeviceCommand::Change(same)), Ok(vec![]));
}

#[test]
fn identifiers_of_a_device_are_normalised_and_their_old_values_kept() {
    let mut device = device();
    assert_eq!(device.state.dev_eui.as_deref(), Some("0004A30B001B7AD1"));
    assert_eq!(device.state.serial.as_deref(), Some("A4CF1200FF01"));
    let same = DevicePatch {
        dev_eui: Some(Some("00-04-A3-0B-00-1B-7A-D1".into())),
        cadence_s: Some(Some(600)),
        ..DevicePatch::default()
    };
    assert_eq!(device.does(DeviceCommand::Change(same)), Ok(vec![]));
    let patch = DevicePatch {
        dev_eui: Some(None),
        serial: Some(Some("b".into())),
        local_id: Some("fridge02".into()),
        cadence_s: Some(None),
        notes: Some(Some("behind the door".into())),
        ..DevicePatch::default()
    };
    let changed = device.does(DeviceCommand::Change(patch)).expect("changed");
    let changes = changes(&changed[0]);
    let of = |name: &str| {
        changes
            .iter()
            .find(|(field, ..)| field == name)
            .cloned()
            .expect("changed")
    };
    assert_eq!(
        of("dev_eui"),
        ("dev_eui".into(), "0004A30B001B7AD1".into(), Value::Null)
    );
    assert_eq!(of("serial"), ("serial".into(), "A4CF1200FF01".into(), "B".into()));
    assert_eq!(
        of("local_id"),
        ("local_id".into(), "fridge01".into(), "fridge02".into())
    );
    assert_eq!(of("cadence_s"), ("cadence_s".into(), 600.into(), Value::Null));
    assert_eq!(of("notes").1, Value::Null);
    for (patch, code) in [
        (
            DevicePatch {
                dev_eui: Some(Some("12".into())),
                ..DevicePatch::default()
            },
            "invalid_dev_eui",
        ),
        (
            DevicePatch {
                local_id: Some("a b".into()),
                ..DevicePatch::default()
            },
            "invalid_local_id",
        ),
        (
            DevicePatch {
                cadence_s: Some(Some(0)),
                ..DevicePatch::default()
            },
            "invalid_cadence",
        ),
        (
            DevicePatch {
                cadence_s: Some(Some(604_801)),
                ..DevicePatch::default()
            },
            "invalid_cadence",
        ),
        (
            DevicePatch {
                name: Some("\u{7}".into()),
                ..DevicePatch::default()
            },
            "invalid_name",
        ),
    ] {
        assert_eq!(device.refuses(DeviceCommand::Change(patch)), code);
    }
}

#[test]
fn a_move_lies_in_the_past_after_the_last_and_leaves_history_where_it_was() {
    let mut device = device();
    let go = |to: &str, when: i64| DeviceCommand::Move {
        to_site: to.into(),
        effective_at: at(when),
        now: at(100),
    };
    assert_eq!(device.refuses(go("site_b", 101)), "invalid_effective_at");
    assert_eq!(device.does(go("site_a", 50)), Ok(vec![]));
    device.does(go("site_b", 50)).expect("moved");
    assert_eq!(device.refuses(go("site_c", 50)), "invalid_effective_at");
    device.does(go("site_a", 70)).expect("moved back");
    assert_eq!(device.state.site, "site_a");
    for (when, site) in [
        (49, "site_a"),
        (50, "site_b"),
        (69, "site_b"),
        (70, "site_a"),
        (500, "site_a"),
    ] {
        assert_eq!(device.state.site_at(at(when)), site, "{when}");
    }
}

#[test]
fn a_removed_device_takes_no_commands() {
    let mut device = device();
    device.does(DeviceCommand::Remove).expect("removed");
    assert_eq!(device.refuses(DeviceCommand::Remove), "device_not_found");
    assert_eq!(
        device.refuses(DeviceCommand::Change(DevicePatch::default())),
        "device_not_found"
    );
}

#[test]
fn limits_can_be_met_and_grace_is_at_most_six_hours() {
    let mut channel = channel();
    let limits = |min, max, grace| {
        ChannelCommand::Change(ChannelPatch {
            ok_min: min,
            ok_max: max,
            grace_min: grace,
            ..ChannelPatch::default()
        })
    };
    assert_eq!(
        channel.refuses(limits(Some(Some(6.0)), Some(Some(5.0)), None)),
        "invalid_range"
    );
    // One limit alone is held against the other one that stands.
    assert_eq!(
        channel.refuses(limits(Some(Some(5.1)), None, None)),
        "invalid_range"
    );
    assert_eq!(
        channel.refuses(limits(None, Some(Some(-2.1)), None)),
        "invalid_range"
    );
    assert_eq!(
        channel.refuses(limits(Some(Some(f64::NAN)), None, None)),
        "invalid_range"
    );
    assert_eq!(
        channel.refuses(limits(None, Some(Some(f64::INFINITY)), None)),
        "invalid_range"
    );
    assert_eq!(
        channel.refuses(limits(None, None, Some(Some(361)))),
        "grace_too_long"
    );
    let changed = channel
        .does(limits(Some(Some(5.0)), None, Some(Some(360))))
        .expect("changed");
    assert_eq!(
        changes(&changed[0]),
        vec![
            ("grace_min".into(), 15.into(), 360.into()),
            ("ok_min".into(), (-2.0).into(), 5.0.into()),
        ]
    );
    let cleared = channel
        .does(limits(Some(None), Some(None), Some(None)))
        .expect("cleared");
    assert_eq!(changes(&cleared[0]).len(), 3);
    assert_eq!(channel.state.limits, Limits::default());
    assert_eq!(channel.does(limits(Some(None), None, None)), Ok(vec![]));
}

#[test]
fn labels_and_units_of_a_channel_change_with_their_old_values() {
    let mut channel = channel();
    let patch = ChannelPatch {
        label: Some(Some("Back".into())),
        unit: Some("[degF]".into()),
        ..ChannelPatch::default()
    };
    let changed = channel.does(ChannelCommand::Change(patch)).expect("changed");
    let changes = changes(&changed[0]);
    assert_eq!(changes[0].1["place"]["pointer"], "/label");
    assert_eq!(changes[1], ("unit".into(), "Cel".into(), "[degF]".into()));
    let bad = ChannelPatch {
        unit: Some("".into()),
        ..ChannelPatch::default()
    };
    assert_eq!(channel.refuses(ChannelCommand::Change(bad)), "invalid_unit");
    assert_eq!(
        Stream::<Channel>::default().refuses(ChannelCommand::Change(ChannelPatch::default())),
        "channel_not_found"
    );
}

#[test]
fn a_channel_has_so_many_calibrations_in_force_and_no_more() {
    let mut channel = channel();
    let from = |s: i64| {
        ChannelCommand::Calibrate(NewCalibration {
            correction: Some(Correction::Offset(0.5)),
            valid_from: Timestamp::default().plus_micros(s * 1_000_000),
            due: None,
            certificate: None,
        })
    };
    for n in 0..CALIBRATIONS_MAX as i64 {
        channel.does(from(10 * n)).expect("one more");
    }
    assert_eq!(channel.refuses(from(1_000_000)), "too_many_calibrations");
    // One of the newest's own time takes its place, and one of an earlier time that of all after it.
    channel.does(from(1_990)).expect("said again");
    assert_eq!(channel.refuses(from(1_991)), "too_many_calibrations");
    channel.does(from(995)).expect("instead of all after it");
    assert_eq!(channel.state.calibrated_from.len(), 101);
    channel.does(from(1_000_000)).expect("there is room again");
}

#[test]
fn calibrations_beyond_the_limit_that_are_on_record_are_in_force_and_only_no_more_are_taken() {
    let mut channel = channel();
    let from = |s: i64| Timestamp::default().plus_micros(s * 1_000_000);
    let most = CALIBRATIONS_MAX as i64;
    for n in 0..most + 50 {
        let set = Event::CalibrationSet(CalibrationSet {
            certificate: None,
            correction: Change {
                old: None,
                new: Some(Correction::Offset(n as f64)),
            },
            due: None,
            valid_from: from(n),
        });
        let sequence = channel.state.sequence() + 1;
        channel.state.apply(&set, Stamp { sequence, salt: SALT });
    }
    assert_eq!(channel.state.calibrated_from.len(), CALIBRATIONS_MAX + 50);
    let set = |valid_from| {
        ChannelCommand::Calibrate(NewCalibration {
            correction: None,
            valid_from,
            due: None,
            certificate: None,
        })
    };
    for beyond in [most, most + 49, most + 50] {
        assert_eq!(channel.refuses(set(from(beyond))), "too_many_calibrations");
    }
    channel
        .does(set(from(most - 1)))
        .expect("instead of all after it");
    assert_eq!(channel.state.calibrated_from.len(), CALIBRATIONS_MAX);
}

#[test]
fn a_channel_is_of_a_known_kind_and_its_key_says_so() {
    let new = |kind: &str, key: &str| {
        ChannelCommand::Register(NewChannel {
            kind: kind.into(),
            key: key.into(),
            unit: "Cel".into(),
            ..NewChannel::default()
        })
    };
    let mut channel = Stream::<Channel>::default();
    assert_eq!(channel.refuses(new("mood", "mood")), "unknown_kind");
    assert_eq!(channel.refuses(new("temperature", "humidity")), "invalid_key");
    assert_eq!(channel.refuses(new("temperature", "temperature/")), "invalid_key");
    assert!(is_key_of("temperature", "temperature"));
    assert!(is_key_of("temperature/a.b_c-1", "temperature"));
    assert!(!is_key_of("temperatures", "temperature"));
    assert!(!is_key_of("temperature/A", "temperature"));
    assert!(!is_key_of(
        &format!("temperature/{}", "a".repeat(65)),
        "temperature"
    ));
}

#[test]
fn verticals_begin_with_their_limits() {
    let limits = |vertical, kind, label| {
        let found = preset(vertical, kind, label);
        (found.ok_min, found.ok_max, found.grace_min)
    };
    let nothing = (None, None, None);
    assert_eq!(
        limits(Vertical::Haccp, "temperature", None),
        (Some(-2.0), Some(5.0), Some(15))
    );
    assert_eq!(limits(Vertical::Haccp, "humidity", None), nothing);
    assert_eq!(limits(Vertical::Legionella, "temperature", None), nothing);
    assert_eq!(
        limits(Vertical::Legionella, "temperature", Some("storage_top")),
        (Some(60.0), None, Some(60))
    );
    assert_eq!(
        limits(Vertical::Legionella, "temperature", Some("Storage_Bottom")),
        (Some(55.0), None, Some(120))
    );
    assert_eq!(
        limits(Vertical::Legionella, "temperature", Some("cold_supply")),
        (None, Some(25.0), Some(60))
    );
    assert_eq!(
        limits(Vertical::ServerRoom, "temperature", None),
        (Some(18.0), Some(27.0), Some(10))
    );
    assert_eq!(
        limits(Vertical::ServerRoom, "temperature", Some("Rack 1 intake")),
        (Some(18.0), Some(27.0), Some(10))
    );
    assert_eq!(
        limits(Vertical::ServerRoom, "temperature", Some("exhaust")),
        nothing
    );
    assert_eq!(
        limits(Vertical::ServerRoom, "humidity", None),
        (Some(20.0), Some(80.0), Some(30))
    );
    assert_eq!(
        limits(Vertical::Climate, "co2", None),
        (None, Some(1_000.0), Some(15))
    );
    assert_eq!(limits(Vertical::Energy, "power", None), nothing);
    for vertical in Vertical::ALL {
        assert_eq!(Vertical::parse(vertical.as_str()), Some(vertical));
        assert_eq!(serde_json::to_value(vertical).expect("JSON"), vertical.as_str());
        for kind in crate::kinds::KINDS {
            assert_eq!(preset(vertical, kind.name, None).check(), Ok(()));
        }
    }
}

#[test]
fn users_have_addresses_and_roles() {
    let mut user = Stream::<User>::default();
    let register = |email: &str, role: &str| UserCommand::Register {
        email: email.into(),
        email_index: "index".into(),
        name: Some("Ada".into()),
        role: role.into(),
    };
    assert_eq!(user.refuses(register("nobody", "owner")), "invalid_email");
    assert_eq!(
        user.refuses(register("ada@example.org", "Owner!")),
        "invalid_role"
    );
    user.does(register("ada@example.org", "owner"))
        .expect("registered");
    assert_eq!(
        user.refuses(register("ada@example.org", "owner")),
        "already_exists"
    );
    assert!(user.state.is_owner());
    let change = UserCommand::Change {
        email: Some(("ada@example.com".into(), "other".into())),
        name: Some(None),
        role: Some("auditor".into()),
    };
    let changed = user.does(change.clone()).expect("changed");
    let fields: Vec<String> = changes(&changed[0])
        .into_iter()
        .map(|(field, ..)| field)
        .collect();
    assert_eq!(fields, ["email", "email_index", "name", "role"]);
    assert_eq!(user.does(change), Ok(vec![]));
    assert!(!user.state.is_owner());
    user.does(UserCommand::SignIn).expect("signed in");
    user.does(UserCommand::Remove).expect("removed");
    assert_eq!(user.refuses(UserCommand::SignIn), "user_not_found");
    assert_eq!(user.refuses(UserCommand::Remove), "user_not_found");
}

#[test]
fn a_rotation_ends_old_tokens_at_once_or_after_an_overlap() {
    let mut tokens = Stream::<Tokens>::default();
    tokens
        .does(TokensCommand::Issue {
            token: issued(1),
            now: at(0),
        })
        .expect("issued");
    assert_eq!(
        tokens.refuses(TokensCommand::Issue {
            token: issued(1),
            now: at(0)
        }),
        "already_exists"
    );
    let rotate = |n, old: Option<u8>, overlap_s, now| TokensCommand::Rotate {
        token: issued(n),
        old: old.map(|n| issued(n).token),
        overlap_s,
        now: at(now),
    };
    assert_eq!(tokens.refuses(rotate(2, None, 604_801, 0)), "overlap_too_long");
    tokens.does(rotate(2, None, 60, 0)).expect("rotated");
    let live = |tokens: &Stream<Tokens>, n: u8, s| {
        tokens
            .state
            .find(&issued(n).token)
            .is_some_and(|t| t.is_live(at(s)))
    };
    assert!(live(&tokens, 1, 59) && !live(&tokens, 1, 60) && live(&tokens, 2, 60));
    // A later rotation never lengthens what was given.
    tokens.does(rotate(3, None, 600, 30)).expect("rotated");
    assert!(!live(&tokens, 1, 60) && live(&tokens, 2, 629) && !live(&tokens, 2, 630));
    tokens.does(rotate(4, None, 0, 40)).expect("rotated");
    assert!(!live(&tokens, 1, 40) && !live(&tokens, 2, 40) && !live(&tokens, 3, 40) && live(&tokens, 4, 40));
    assert_eq!(tokens.refuses(rotate(5, Some(1), 0, 50)), "token_not_found");
    tokens
        .does(TokensCommand::Revoke {
            token: issued(4).token,
        })
        .expect("revoked");
    assert_eq!(
        tokens.does(TokensCommand::Revoke {
            token: issued(4).token
        }),
        Ok(vec![])
    );
    assert_eq!(
        tokens.refuses(TokensCommand::Revoke {
            token: issued(9).token
        }),
        "token_not_found"
    );
}

#[test]
fn live_tokens_of_an_owner_are_bounded() {
    let mut tokens = Stream::<Tokens>::default();
    for n in 0..LIVE_MAX as u8 {
        tokens
            .does(TokensCommand::Issue {
                token: issued(n),
                now: at(0),
            })
            .expect("issued");
    }
    let more = TokensCommand::Issue {
        token: issued(99),
        now: at(0),
    };
    assert_eq!(tokens.refuses(more), "too_many_tokens");
    let all = TokensCommand::Rotate {
        token: issued(99),
        old: None,
        overlap_s: 0,
        now: at(0),
    };
    tokens.does(all).expect("rotated");
    tokens.does(TokensCommand::RevokeAll).expect("revoked");
    assert!(tokens.state.tokens.iter().all(|t| !t.is_live(at(0))));
    assert_eq!(tokens.does(TokensCommand::RevokeAll), Ok(vec![]));
}

#[test]
fn integrations_are_of_known_kinds() {
    let mut integration = Stream::<Integration>::default();
    let create = |kind: &str| IntegrationCommand::Create {
        kind: kind.into(),
        name: "TTN".into(),
    };
    assert_eq!(integration.refuses(create("carrier-pigeon")), "invalid_kind");
    assert_eq!(
        integration.refuses(IntegrationCommand::Remove),
        "integration_not_found"
    );
    integration.does(create("lorawan")).expect("created");
    integration.does(IntegrationCommand::Remove).expect("removed");
    assert_eq!(
        integration.refuses(IntegrationCommand::Remove),
        "integration_not_found"
    );
}

#[test]
fn refusals_of_what_is_not_there_are_404() {
    let rejection = Device::default()
        .decide(&DeviceCommand::Remove)
        .expect_err("refused");
    assert_eq!(rejection.fault, Fault::NotFound);
}

proptest! {
    #[test]
    fn every_change_carries_the_old_value_and_the_state_becomes_the_new_one(
        patches in prop::collection::vec(
            (
                prop::option::of(prop::option::of(-50.0..50.0f64)),
                prop::option::of(prop::option::of(-50.0..50.0f64)),
                prop::option::of(prop::option::of(0u32..400)),
                prop::option::of(prop::option::of("[a-z]{1,8}")),
            ),
            1..12,
        ),
    ) {
        let mut channel = channel();
        for (ok_min, ok_max, grace_min, label) in patches {
            let before = channel.state.clone();
            let patch = ChannelPatch { ok_min, ok_max, grace_min, label, unit: None };
            let Ok(events) = channel.does(ChannelCommand::Change(patch)) else {
                prop_assert_eq!(&channel.state, &before);
                continue;
            };
            for event in &events {
                for (field, old, new) in changes(event) {
                    let (was, is) = match field.as_str() {
                        "ok_min" => (serde_json::to_value(before.limits.ok_min), serde_json::to_value(channel.state.limits.ok_min)),
                        "ok_max" => (serde_json::to_value(before.limits.ok_max), serde_json::to_value(channel.state.limits.ok_max)),
                        "grace_min" => (serde_json::to_value(before.limits.grace_min), serde_json::to_value(channel.state.limits.grace_min)),
                        "label" => {
                            prop_assert_eq!(&old, &serde_json::to_value(&before.label).expect("JSON"));
                            continue;
                        }
                        other => panic!("{other}"),
                    };
                    prop_assert_eq!(&old, &was.expect("JSON"));
                    prop_assert_eq!(&new, &is.expect("JSON"));
                    prop_assert_ne!(old, new);
                }
            }
            prop_assert_eq!(channel.state.limits.check(), Ok(()));
        }
        // What was recorded reads back as it was, and folds to the same state.
        let mut again = Channel::default();
        for (n, event) in channel.events.iter().enumerate() {
            let payload = event.payload(None).expect("canonical");
            let read = Event::read(event.event_type(), payload.as_bytes()).expect("reads");
            prop_assert_eq!(&read, event);
            again.apply(&read, Stamp { sequence: n as u64 + 1, salt: SALT });
        }
        prop_assert_eq!(again, channel.state);
    }
}
