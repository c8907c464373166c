//! New readings every second, each in its vendor's own words, until somebody stops it.
//!
//! Invariants: one thread; a device speaks at its own pace; what is refused is meant to be, or is told once.
//! Not here: what is measured (`simulate`), payloads (`vendor`).

use super::build::Stage;
use super::cast::{Device, STRANGER, Story};
use super::client::{Client, words};
use super::past::Span;
use super::simulate::{Plant, plain};
use super::vendor::{Message, Session, Token, message, uplink};
use domain::Timestamp;
use domain::ports::Clock;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often the device that nobody registered is heard, seconds.
const STRANGER_S: i64 = 45;
const SECOND_US: i64 = 1_000_000;

/// A device that speaks.
struct Voice {
    /// None for the stranger.
    device: Option<(&'static Device, Plant)>,
    token: String,
    every_us: i64,
    count: u32,
}

/// Everybody who speaks, and when.
pub struct Live {
    client: Client,
    voices: Vec<Voice>,
    due: BinaryHeap<Reverse<(Timestamp, usize)>>,
    session: Session,
    lorawan: String,
    efento: String,
    told: bool,
}

impl Live {
    /// Everybody on stage, `speed` times as often as they would. Plants go on from where the past ended.
    ///
    /// # Errors
    /// Where a time zone is not known.
    pub fn new(
        url: &str,
        stage: &Stage,
        seed: u64,
        span: Span,
        speed: f64,
        now: Timestamp,
    ) -> Result<Self, jiff::Error> {
        let pace = |seconds: i64| ((seconds * SECOND_US) as f64 / speed.max(0.01)) as i64;
        let mut voices = Vec::new();
        for (device, token) in &stage.devices {
            if device.speaks(span.now_s, span.now_s) || device.story == Story::Misspelt {
                voices.push(Voice {
                    device: Some((device, device.plant(seed, span.start_s, span.now_s)?)),
                    token: token.clone(),
                    every_us: pace(device.live_s),
                    count: 0,
                });
            }
        }
        voices.push(Voice {
            device: None,
            token: String::new(),
            every_us: pace(STRANGER_S),
            count: 0,
        });
        // Everybody begins within the first seconds, one after the other.
        let due = (0..voices.len())
            .map(|n| Reverse((now.plus_micros(n as i64 * SECOND_US / 4), n)))
            .collect();
        Ok(Self {
            client: Client::new(url),
            voices,
            due,
            session: Session {
                key_id: format!("demo-{}", now.as_micros()),
            },
            lorawan: stage.lorawan.clone(),
            efento: stage.efento.clone(),
            told: false,
        })
    }

    /// Speaks until `stop` says so or its other end is gone.
    pub fn run(mut self, clock: &dyn Clock, stop: &Receiver<()>) {
        while let Some(Reverse((at, who))) = self.due.pop() {
            let wait = at.since(clock.now()).max(0).unsigned_abs();
            match stop.recv_timeout(Duration::from_micros(wait)) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = clock.now();
            self.speak(who, now);
            let next = at.plus_micros(self.voices[who].every_us);
            self.due.push(Reverse((next.max(now), who)));
        }
    }

    fn speak(&mut self, who: usize, now: Timestamp) {
        let voice = &mut self.voices[who];
        voice.count += 1;
        let said = match &mut voice.device {
            Some((device, plant)) => {
                let values = plant.at(now.as_micros() / SECOND_US);
                message(device, &values, now, &self.session, voice.count)
            }
            None => {
                let warmth = 19.0 + f64::from(voice.count % 20) / 10.0;
                let values = [plain("temperature", warmth), plain("humidity", 47.0)];
                uplink(STRANGER, &values, now, &self.session, voice.count)
            }
        };
        let meant = voice
            .device
            .as_ref()
            .is_some_and(|(d, _)| d.story == Story::Misspelt);
        let token = voice.token.clone();
        if let Err(trouble) = self.send(&said, &token)
            && !meant
            && !self.told
        {
            self.told = true;
            tracing::warn!(trouble, "a reading of the demo was not taken");
        }
    }

    fn send(&self, said: &Message, own: &str) -> Result<(), String> {
        let with = |token: &str| {
            let sign = if said.target.contains('?') { '&' } else { '?' };
            format!("{}{sign}token={token}", said.target)
        };
        let bearer = format!("Bearer {own}");
        let (target, headers): (String, Vec<(&str, &str)>) = match said.token {
            Token::DeviceInQuery => (with(own), vec![("User-Agent", "Shelly/20230913-112531 (SHHT-1)")]),
            Token::Device => (said.target.clone(), vec![("Authorization", &bearer)]),
            Token::Lorawan => (with(&self.lorawan), Vec::new()),
            Token::Efento => (said.target.clone(), vec![("X-Api-Token", &self.efento)]),
        };
        let body = said.body.as_ref().map(ToString::to_string);
        let method = if body.is_some() { "POST" } else { "GET" };
        let (answer, _) = self
            .client
            .send(method, &target, &headers, body.as_ref().map(String::as_bytes))
            .map_err(|e| e.to_string())?;
        match answer.status {
            200..=299 => Ok(()),
            status => Err(format!("{status}: {}", words(&answer.body))),
        }
    }
}
