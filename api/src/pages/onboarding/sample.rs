//! To look at, and for the goldens.

use super::super::sample::{before, channel, now, zone};
use super::super::view::{FreshToken, Limits};
use super::view::{FirstReading, Onboarding, OnboardingStatus, WebhookStep};

pub const TOKEN: &str = "ds_live_k3v7q2mxw5cztbnfy4hjd6rpae_Q2V9xT0mP4sLw7Jd1RzKcYb8NfUaGhE3iMoXnBvCqTs";

pub fn onboarding(step: FirstReading) -> Onboarding {
    Onboarding {
        device: "dev_new".into(),
        name: "Pastry fridge".into(),
        local_id: "pastry-fridge".into(),
        dev_eui: None,
        model: "shelly-h-t-gen3".into(),
        token: Some(FreshToken {
            secret: TOKEN.into(),
            opens: "the ingest address of this device only".into(),
        }),
        base_url: "https://daybook.example.eu".into(),
        lorawan: WebhookStep::Missing,
        status: OnboardingStatus {
            device: "dev_new".into(),
            now: now(),
            zone: zone(),
            step,
        },
    }
}

pub fn waiting() -> FirstReading {
    FirstReading::Waiting { since: before(1) }
}

pub fn landed() -> FirstReading {
    FirstReading::Landed {
        at: now().plus_micros(-3_000_000),
        position: 1_204_333,
        channels: vec![
            channel("a", "temperature", "Cel", Some((0, 4.2)), Limits::default()),
            channel("b", "humidity", "%", Some((0, 68.0)), Limits::default()),
        ],
    }
}
