//! A ledger of configuration in memory, for the registry's tests.

use super::super::*;
use crate::aggregate::account::AccountCommand;
use crate::aggregate::channel::{ChannelCommand, NewChannel};
use crate::aggregate::device::{DeviceCommand, DevicePatch, NewDevice};
use crate::aggregate::site::SiteCommand;
use crate::aggregate::tokens::TokensCommand;
use crate::aggregate::user::UserCommand;
use crate::aggregate::{Aggregate, Stamp};
use crate::entry::{Entry, NewEvent, Placement, encode};
use crate::event::{Event, Metadata, Text, TokenIssued, UplinkParked};
use crate::ids::IdKind;
use crate::rejection::Rejection;
use crate::rule::{Derivation, Function};
use crate::sealed::{SealPlace, seal};

const ORIGIN: &str = "daybook.test/log";

/// A ledger of configuration in memory: decides, checks, records, and keeps every entry's bytes.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) entries: Vec<Vec<u8>>,
    pub(super) registry: Registry,
}

pub(super) fn id(kind: IdKind, n: u8) -> String {
    kind.id(&[n; 16])
}

pub(super) fn acc(n: u8) -> String {
    id(IdKind::Account, n)
}

pub(super) fn dev(n: u8) -> String {
    id(IdKind::Device, n)
}

pub(super) fn at(s: i64) -> Timestamp {
    Timestamp::from_micros(1_747_470_120_000_000 + s * 1_000_000).expect("in range")
}

pub(super) fn seal_all(
    event: &mut Event,
    aggregate_type: &str,
    aggregate_id: &str,
    sequence: u64,
    salt: &str,
) {
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

/// A mean kinetic temperature of that channel.
pub(super) fn kinetic(source: u8) -> Derivation {
    Derivation {
        function: Function::MeanKineticTemperature,
        max_age_s: None,
        sources: vec![id(IdKind::Channel, source)],
        trailing_days: Some(90),
    }
}

/// What begins a channel that is one, on the device.
pub(super) fn trailing(device: &str, n: u8, source: u8) -> ChannelCommand {
    ChannelCommand::Register(NewChannel {
        device: device.into(),
        sensor: id(IdKind::Sensor, n),
        key: format!("temperature/mean-{n}"),
        kind: "temperature".into(),
        unit: "Cel".into(),
        derivation: Some(kinetic(source)),
        ..NewChannel::default()
    })
}

impl Ledger {
    /// With account 1: an owner 1, a site 1, a device 1 with a token.
    pub(super) fn with_one_of_each() -> Self {
        let mut ledger = Self::default();
        ledger.open(1);
        ledger.site(1, 1).expect("created");
        ledger.device(1, 1, "fridge01", None, None).expect("registered");
        ledger.token(1, &dev(1), TokenKind::Device, 1).expect("issued");
        ledger
    }

    pub(super) fn open(&mut self, account: u8) {
        let open = AccountCommand::Open {
            name: "An account".into(),
        };
        self.run::<aggregate::Account>(&acc(account), &acc(account), open)
            .expect("opened");
        self.user(account, account, "owner").expect("registered");
    }

    pub(super) fn user(&mut self, account: u8, n: u8, role: &str) -> Result<(), &'static str> {
        let register = UserCommand::Register {
            email: format!("user{n}@example.org"),
            email_index: format!("index{n}"),
            name: None,
            role: role.into(),
        };
        self.run::<aggregate::User>(&acc(account), &id(IdKind::User, n), register)
    }

    pub(super) fn site(&mut self, account: u8, n: u8) -> Result<(), &'static str> {
        let create = SiteCommand::Create {
            name: "A site".into(),
            vertical: "haccp".into(),
            timezone: "UTC".into(),
            address: None,
        };
        self.run::<aggregate::Site>(&acc(account), &id(IdKind::Site, n), create)
    }

    /// In the site of the account's number.
    pub(super) fn device(
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

    pub(super) fn patch(&mut self, account: u8, n: u8, patch: DevicePatch) -> Result<(), &'static str> {
        self.run::<aggregate::Device>(&acc(account), &dev(n), DeviceCommand::Change(patch))
    }

    pub(super) fn channel(
        &mut self,
        account: u8,
        device: &str,
        n: u8,
        key: &str,
    ) -> Result<(), &'static str> {
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

    /// A mean kinetic temperature of the source, on the device.
    pub(super) fn trailing(&mut self, device: &str, n: u8, source: u8) -> Result<(), &'static str> {
        let register = trailing(device, n, source);
        self.run::<aggregate::Channel>(&acc(1), &id(IdKind::Channel, n), register)
    }

    /// Ends what a derived channel is made of, or begins it again.
    pub(super) fn derive(&mut self, n: u8, derivation: Option<Derivation>) -> Result<(), &'static str> {
        let command = ChannelCommand::Derive(derivation);
        self.run::<aggregate::Channel>(&acc(1), &id(IdKind::Channel, n), command)
    }

    pub(super) fn token(
        &mut self,
        account: u8,
        owner: &str,
        kind: TokenKind,
        n: u8,
    ) -> Result<(), &'static str> {
        let token = TokenIssued {
            hash: format!("hash{n}"),
            kind,
            token: id(IdKind::Token, n),
        };
        self.run::<aggregate::Tokens>(&acc(account), owner, TokensCommand::Issue { token, now: at(0) })
    }

    pub(super) fn park(
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
    pub(super) fn run<A: Aggregate>(
        &mut self,
        account: &str,
        id: &str,
        command: A::Command,
    ) -> Result<(), &'static str> {
        let events = self.decide::<A>(account, id, command)?;
        self.record(&events).map_err(|rejection| rejection.code)
    }

    pub(super) fn decide<A: Aggregate>(
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

    pub(super) fn new_event(
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

    pub(super) fn record(&mut self, events: &[NewEvent]) -> Result<(), Rejection> {
        self.registry.check(events)?;
        self.have(events);
        Ok(())
    }

    /// Has events on record that nothing was asked about, as from before a limit.
    pub(super) fn have(&mut self, events: &[NewEvent]) {
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
                .expect("what is on record is taken");
            self.entries.push(bytes);
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries
            .iter()
            .map(|bytes| Entry::decode(bytes).expect("decodes"))
    }

    /// The state of one stream, folded from its entries alone.
    pub(super) fn fold_stream<A: Aggregate>(&self, id: &str) -> A {
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
