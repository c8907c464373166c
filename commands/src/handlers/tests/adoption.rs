//! Adopting parked devices: nothing that was sent is lost.

use super::super::testing::{World, reason};
use super::{entries_of, refused};
use domain::Timestamp;
use domain::event::Event;
use domain::event::payload::{ParkedMeasurement, UplinkParked};
use domain::registry::Registry;
use domain::rejection::Fault;

fn parked(f_cnt: u32, at: Option<&str>, decoded: Option<Vec<ParkedMeasurement>>) -> Event {
    let time = |text: &str| Timestamp::parse_rfc3339(text).expect("valid");
    Event::UplinkParked(UplinkParked {
        at: at.map(time),
        decoded,
        dev_eui: "0004A30B001B7AD1".into(),
        f_cnt,
        f_port: Some(2),
        frame: Some("AQI=".into()),
        received_at: time("2026-05-17T09:59:00Z"),
        session: Some("s".into()),
    })
}

fn measured(kind: &str, label: Option<&str>, value: f64) -> ParkedMeasurement {
    ParkedMeasurement {
        auxiliary: false,
        kind: kind.into(),
        label: label.map(Into::into),
        unit: None,
        value,
    }
}

#[tokio::test]
async fn an_adopted_device_keeps_what_it_sent_before() {
    let world = World::new().await;
    let site = world.site().await;
    let account = world.owner.account.clone();
    let stream = domain::ids::IdKind::Stream.id(&[8; 16]);
    // The later one arrives first; one has no network time; one nobody could decode.
    let uplinks = [
        parked(
            2,
            Some("2026-05-17T09:10:00Z"),
            Some(vec![
                measured("temperature", None, 4.5),
                measured("battery", None, 90.0),
            ]),
        ),
        parked(
            1,
            Some("2026-05-17T09:00:00Z"),
            Some(vec![
                measured("temperature", None, 4.25),
                measured("temperature", Some("probe"), -18.0),
            ]),
        ),
        parked(3, None, Some(vec![measured("temperature", None, 5.0)])),
        parked(4, Some("2026-05-17T09:30:00Z"), None),
    ];
    let first = world.entries().await.len() as u64;
    for uplink in uplinks {
        world.record(&stream, uplink, &account).await;
    }
    let device = |eui: &str| domain::aggregate::device::NewDevice {
        dev_eui: Some(eui.into()),
        ..world.new_device(&site, "hut01")
    };
    let nobody = world
        .management
        .adopt(&world.owner, &reason(), device("FFFFFFFFFFFFFFFF"))
        .await;
    assert_eq!(refused(nobody), ("uplink_not_found", Fault::NotFound));
    let eve = world.stranger().await;
    let foreign = world
        .management
        .adopt(&eve, &reason(), device("0004A30B001B7AD1"))
        .await;
    assert_eq!(refused(foreign), ("site_not_found", Fault::NotFound));
    let adopted = world
        .management
        .adopt(&world.owner, &reason(), device("00:04:a3:0b:00:1b:7a:d1"))
        .await
        .expect("adopted");
    assert_eq!((adopted.readings, adopted.left), (3, 1));
    let recorded = world.recorded(adopted.device.positions.clone()).await;
    let types: Vec<&str> = recorded.iter().map(|(t, ..)| t.as_str()).collect();
    assert_eq!(&types[..2], ["DeviceRegistered", "TokenIssued"]);
    let readings: Vec<_> = recorded.iter().filter(|(t, ..)| t == "ReadingRecorded").collect();
    assert_eq!(readings.len(), 3);
    let times: Vec<&str> = readings
        .iter()
        .filter_map(|(_, p, _)| p["measured_at"].as_str())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(readings[0].1["values"]["temperature"], 4.25);
    assert_eq!(readings[0].1["time_from"], "network");
    assert_eq!(readings[2].1["time_from"], "received");
    assert_eq!(readings[0].2["causation_id"], first + 1);
    assert_eq!(readings[2].2["causation_id"], first + 2);
    for (_, _, metadata) in &readings {
        assert_eq!(
            metadata["received_at"], "2026-05-17T09:59:00.000000Z",
            "it arrived when it was parked, not when it was adopted"
        );
    }
    for (_, payload, _) in &readings {
        let config = payload["config"].as_u64().expect("a position");
        assert!(adopted.device.positions.contains(&config));
    }
    let entries = world.entries().await;
    let folded = Registry::fold(entries_of(&entries)).expect("folds");
    let registry = world.registry.read();
    assert_eq!(
        folded.sequence("tray", &stream),
        registry.sequence("tray", &stream)
    );
    let found = registry
        .device_by_dev_eui(&account, "0004A30B001B7AD1")
        .expect("known now");
    assert_eq!(registry.channels(found).count(), 3);
    assert_eq!(registry.trays(&account, None).count(), 0);
}

#[tokio::test]
async fn a_repeated_adoption_answers_the_counts_of_the_first() {
    let world = World::new().await;
    let site = world.site().await;
    let account = world.owner.account.clone();
    let stream = domain::ids::IdKind::Stream.id(&[8; 16]);
    let uplinks = [
        parked(1, None, Some(vec![measured("temperature", None, 4.0)])),
        parked(2, None, None),
    ];
    for uplink in uplinks {
        world.record(&stream, uplink, &account).await;
    }
    let mut owner = world.owner.clone();
    owner.idempotency = Some(crate::sequencer::Idempotency {
        key: domain::hash::sha256(b"key"),
        request: domain::hash::sha256(b"request"),
    });
    let adopt = || {
        let device = domain::aggregate::device::NewDevice {
            dev_eui: Some("0004A30B001B7AD1".into()),
            ..world.new_device(&site, "hut01")
        };
        let (management, owner) = (&world.management, &owner);
        async move { management.adopt(owner, &reason(), device).await }
    };
    let (first, again) = (adopt().await.expect("adopted"), adopt().await.expect("answered"));
    assert!(again.device.replayed && !first.device.replayed);
    assert_eq!((first.readings, first.left), (1, 1));
    assert_eq!((again.readings, again.left), (1, 1));
    assert_eq!(again.device.id, first.device.id);
    assert_eq!(again.device.token_id, first.device.token_id);
}

#[tokio::test]
async fn a_network_servers_clock_that_cannot_be_is_not_believed_when_adopted() {
    let world = World::new().await;
    let site = world.site().await;
    let account = world.owner.account.clone();
    let stream = domain::ids::IdKind::Stream.id(&[8; 16]);
    let decoded = Some(vec![measured("temperature", None, 4.0)]);
    world
        .record(
            &stream,
            parked(1, Some("2036-01-01T00:00:00Z"), decoded),
            &account,
        )
        .await;
    let device = domain::aggregate::device::NewDevice {
        dev_eui: Some("0004A30B001B7AD1".into()),
        ..world.new_device(&site, "hut01")
    };
    let adopted = world.management.adopt(&world.owner, &reason(), device).await;
    let positions = adopted.expect("adopted").device.positions;
    let recorded = world.recorded(positions).await;
    let (_, reading, _) = recorded
        .iter()
        .find(|(t, ..)| t == "ReadingRecorded")
        .expect("a reading");
    assert_eq!(reading["measured_at"], "2026-05-17T09:59:00.000000Z");
    assert_eq!(reading["time_from"], "received");
    assert_eq!(reading["claimed_at"], "2036-01-01T00:00:00.000000Z");
}
