//! Events of the configuration, rules, alarms and the tray: which there are, and their payloads as types.
//!
//! Invariants: what [`Event::payload`] writes, [`Event::read`] reads;
//! free text and personal data never reach a payload in the clear ([`Text`]); every change carries the old value.
//! Source: FORMAT §2, docs/events.md (the catalogue).
//! Not here: readings, which have their own codec (`reading`), what the ledger says of itself (`day`).

pub mod alarm;
pub mod class;
pub mod contact;
pub mod metadata;
pub mod notification;
pub mod payload;
pub mod rule;
pub mod text;
mod visit;

pub use alarm::{
    AlarmAcknowledged, AlarmCleared, AlarmClosed, AlarmCommented, AlarmEscalated, AlarmOpened, AlarmRaised,
    AlarmReopened, AlarmReopenedByPerson, Cause, InWindow, Signature, Thresholds,
};
pub use class::{CLASS_TABLE, CLASSES, Class, class_of};
pub use contact::{
    ChannelNotificationsSet, ContactAdded, ContactBounced, ContactChanged, ContactLinked,
    SiteNotificationsSet, WebhookSecretRotated,
};
pub use metadata::{CarriedOver, Causation, Metadata, Reason};
pub use payload::{
    AccountChanges, AccountOpened, ArtefactFile, ArtefactRegistered, Change, Changed, ChannelChanges,
    ChannelRegistered, DeviceChanges, DeviceMoved, DeviceRegistered, EncryptedPack, EvidencePackIssued,
    IntegrationCreated, IntegrationKind, Nothing, PackQuery, ParkedMeasurement, SiteChanges, SiteCreated,
    TextChange, TokenExpirySet, TokenIssued, TokenKind, TokenRevoked, UplinkParked, UserChanges,
    UserRegistered, Vertical,
};
pub use rule::{
    CalibrationSet, ChannelStateChanged, Correction, DeadlineReached, DerivationSet, DeviceState,
    DeviceStateChanged, ReadingAnnotated, RuleChanged, RuleCreated, RuleVersion, RulesRecomputed,
    SilenceEnded, SilenceOpened,
};
pub use text::Text;

use crate::canonical::{Canonical, CanonicalError};
use serde_json::Value;
use visit::VisitTexts;

/// The version of every payload's shape today.
pub const EVENT_VERSION: &str = "1.0";

/// Why a payload is not what its event type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// An event type of this stream that this software does not know.
    #[error("the event type {0} is not known to this version of the software: use a newer one")]
    Unknown(String),
    /// The payload's members are not those of its type.
    #[error("the payload of {event_type} is not what the catalogue says: {reason}")]
    Payload {
        /// The type it claims.
        event_type: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Free text that nobody sealed.
    #[error("free text must be sealed before it is written")]
    InTheClear,
    /// A number or nesting that canonical JSON cannot hold.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

macro_rules! events {
    ($( $(#[$doc:meta])* $name:ident($payload:ty) in $stream:literal; )+) => {
        /// An event of the configuration's streams, of rules and alarms, or of the tray.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event {
            $( $(#[$doc])* $name($payload), )+
        }

        impl Event {
            /// Every type, as written in an entry.
            pub const TYPES: &'static [&'static str] = &[$( stringify!($name), )+];

            /// Its type, as written in an entry.
            pub const fn event_type(&self) -> &'static str {
                match self { $( Self::$name(_) => stringify!($name), )+ }
            }

            /// The type of its stream.
            pub const fn aggregate_type(&self) -> &'static str {
                match self { $( Self::$name(_) => $stream, )+ }
            }

            /// Its payload as JSON.
            ///
            /// # Errors
            /// [`EventError::InTheClear`] where a text was not sealed.
            pub fn to_value(&self) -> Result<Value, EventError> {
                match self { $( Self::$name(payload) => serde_json::to_value(payload), )+ }
                    .map_err(|_| EventError::InTheClear)
            }

            /// Reads a payload. Members that are not known are passed over, so that they can be added.
            ///
            /// # Errors
            /// [`EventError::Unknown`] for another event type, [`EventError::Payload`] for another shape.
            pub fn read(event_type: &str, payload: &[u8]) -> Result<Self, EventError> {
                match event_type {
                    $( stringify!($name) => serde_json::from_slice(payload)
                        .map(Self::$name)
                        .map_err(|e| EventError::Payload {
                            event_type: stringify!($name), reason: e.to_string(),
                        }), )+
                    other => Err(EventError::Unknown(other.chars().take(64).collect())),
                }
            }

            fn texts(&mut self) -> &mut dyn VisitTexts {
                match self { $( Self::$name(payload) => payload, )+ }
            }
        }
    };
}

events! {
    /// Recorded when an account begins.
    AccountOpened(AccountOpened) in "account";
    /// Recorded when its name is changed.
    AccountRenamed(Changed<AccountChanges>) in "account";
    /// Recorded when its devices and people are shut out.
    AccountSuspended(Nothing) in "account";
    /// Recorded when they are let in again.
    AccountResumed(Nothing) in "account";
    /// Recorded when a person gets access.
    UserRegistered(UserRegistered) in "user";
    /// Recorded when a person's name, address or role is changed.
    UserChanged(Changed<UserChanges>) in "user";
    /// Recorded when a person loses access.
    UserRemoved(Nothing) in "user";
    /// Recorded when a sign-in link was made for a person.
    SignInLinkIssued(Nothing) in "user";
    /// Recorded when a person signed in.
    SignedIn(Nothing) in "user";
    /// Recorded when a site begins.
    SiteCreated(SiteCreated) in "site";
    /// Recorded when a site's description is changed.
    SiteChanged(Changed<SiteChanges>) in "site";
    /// Recorded when a device becomes known.
    DeviceRegistered(DeviceRegistered) in "device";
    /// Recorded when its description or identifiers are changed.
    DeviceChanged(Changed<DeviceChanges>) in "device";
    /// Recorded when it is moved to another site.
    DeviceMoved(DeviceMoved) in "device";
    /// Recorded when it is taken out of service; what it measured stays.
    DeviceRemoved(Nothing) in "device";
    /// Recorded when a device's first value of a kind and label arrives, or a person sets it up.
    ChannelRegistered(ChannelRegistered) in "channel";
    /// Recorded when a channel's limits, label or unit are changed.
    ChannelChanged(Changed<ChannelChanges>) in "channel";
    /// Recorded when a channel's values are corrected from some time on, or no longer.
    CalibrationSet(CalibrationSet) in "channel";
    /// Recorded when a channel's values are made of other channels' from here on, or no longer.
    DerivationSet(DerivationSet) in "channel";
    /// Recorded when a reading gets a note.
    ReadingAnnotated(ReadingAnnotated) in "annotations";
    /// Recorded when a rule begins.
    RuleCreated(RuleCreated) in "rule";
    /// Recorded when a rule gets another version.
    RuleChanged(RuleChanged) in "rule";
    /// Recorded when a rule ends; what it decided stays.
    RuleRemoved(Nothing) in "rule";
    /// Recorded when values were wrong for longer than a rule's grace.
    AlarmOpened(AlarmOpened) in "alarm";
    /// Recorded when a way of notification fails, or the way of alarms to a contact is tried.
    AlarmRaised(AlarmRaised) in "alarm";
    /// Recorded when an open alarm gets worse.
    AlarmEscalated(AlarmEscalated) in "alarm";
    /// Recorded when a person has seen an alarm.
    AlarmAcknowledged(AlarmAcknowledged) in "alarm";
    /// Recorded when a person says something about an alarm.
    AlarmCommented(AlarmCommented) in "alarm";
    /// Recorded when values were right for long enough.
    AlarmCleared(AlarmCleared) in "alarm";
    /// Recorded when readings that came late show that a cleared alarm had not ended.
    AlarmReopened(AlarmReopened) in "alarm";
    /// Recorded when a person does not take an alarm for over.
    AlarmReopenedByPerson(AlarmReopenedByPerson) in "alarm";
    /// Recorded when an alarm ends otherwise than by its values.
    AlarmClosed(AlarmClosed) in "alarm";
    /// Recorded when nobody is to be told of a channel's alarms for a time.
    SilenceOpened(SilenceOpened) in "silence";
    /// Recorded when a silence ends before its time.
    SilenceEnded(SilenceEnded) in "silence";
    /// Recorded when the state of a channel, as its rules see it, changes.
    ChannelStateChanged(ChannelStateChanged) in "state";
    /// Recorded when a device falls silent or reports again.
    DeviceStateChanged(DeviceStateChanged) in "state";
    /// Recorded when a deadline of the rules passed and nothing else was recorded.
    DeadlineReached(DeadlineReached) in "state";
    /// Recorded when a channel's rules were tried again on what the ledger holds.
    RulesRecomputed(RulesRecomputed) in "state";
    /// Recorded when a token is made; only its hash stands here.
    TokenIssued(TokenIssued) in "tokens";
    /// Recorded when a token is given an end, as in a rotation with overlap.
    TokenExpirySet(TokenExpirySet) in "tokens";
    /// Recorded when a token ends at once.
    TokenRevoked(TokenRevoked) in "tokens";
    /// Recorded when a webhook is set up.
    IntegrationCreated(IntegrationCreated) in "integration";
    /// Recorded when a webhook is taken away.
    IntegrationRemoved(Nothing) in "integration";
    /// Recorded when somebody or something is to be told of alarms.
    ContactAdded(ContactAdded) in "contact";
    /// Recorded when it is told other things, or otherwise.
    ContactChanged(ContactChanged) in "contact";
    /// Recorded when its mailbox opened the link that it was sent.
    ContactConfirmed(Nothing) in "contact";
    /// Recorded when a chat said its code.
    ContactLinked(ContactLinked) in "contact";
    /// Recorded when it does not want to be told any more.
    ContactUnsubscribed(Nothing) in "contact";
    /// Recorded when its address refused a message for good.
    ContactBounced(ContactBounced) in "contact";
    /// Recorded when its deliveries are signed with another secret from here on.
    WebhookSecretRotated(WebhookSecretRotated) in "contact";
    /// Recorded when it was taken away.
    ContactRemoved(Nothing) in "contact";
    /// Recorded when who is told of a channel's alarms, or how often, is changed.
    ChannelNotificationsSet(ChannelNotificationsSet) in "channel";
    /// Recorded when whether a site's messages are gathered is changed.
    SiteNotificationsSet(SiteNotificationsSet) in "site";
    /// Recorded when an uplink came from a device nobody registered, or that nobody can decode yet.
    UplinkParked(UplinkParked) in "tray";
    /// Recorded when somebody registers a file that is kept elsewhere, by its hash.
    ArtefactRegistered(ArtefactRegistered) in "artefact";
    /// Recorded when an evidence pack was made, before it is handed out.
    EvidencePackIssued(EvidencePackIssued) in "pack";
}

impl Event {
    /// Its payload in canonical form, with the free text of its reason, if any, as `reason_text`.
    ///
    /// # Errors
    /// [`EventError::InTheClear`] where a text was not sealed, [`EventError::Canonical`] where a number does not fit.
    pub fn payload(&self, reason_text: Option<&Text>) -> Result<Canonical, EventError> {
        let mut value = self.to_value()?;
        if let (Some(text), Some(members)) = (reason_text, value.as_object_mut()) {
            let text = serde_json::to_value(text).map_err(|_| EventError::InTheClear)?;
            members.insert("reason_text".to_owned(), text);
        }
        Ok(Canonical::of(&value)?)
    }

    /// Shows every text that is new in this event, with its JSON pointer, to `each`, which may replace it.
    ///
    /// # Errors
    /// What `each` returns.
    pub fn visit_texts<E>(
        &mut self,
        mut each: impl FnMut(&'static str, &mut Text) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut outcome = Ok(());
        self.texts().visit(&mut |pointer, text| {
            if outcome.is_ok() {
                outcome = each(pointer, text);
            }
        });
        outcome
    }

    /// Drops text changes for which `same` says that the old value reads as the new one. Gives whether anything
    /// is left of the event.
    pub fn drop_unchanged(
        &mut self,
        same: &mut dyn FnMut(&crate::sealed::SealedField, &str) -> bool,
    ) -> bool {
        self.texts().drop_unchanged(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_event_has_its_class_and_stream() {
        let removed = Event::DeviceRemoved(Nothing {});
        assert_eq!(removed.aggregate_type(), "device");
        assert_eq!(removed.payload(None).expect("canonical").as_bytes(), b"{}");
        for name in Event::TYPES {
            assert!(crate::entry::is_event_type(name), "{name}");
            let class = match *name {
                "UplinkParked" => Class::Reading,
                "SignInLinkIssued" | "SignedIn" => Class::Access,
                "ChannelStateChanged" | "DeadlineReached" | "DeviceStateChanged" => Class::Automation,
                _ => Class::Audit,
            };
            assert_eq!(class_of(name), Some(class), "{name}");
        }
    }

    #[test]
    fn text_in_the_clear_is_never_written() {
        let event = Event::AccountOpened(AccountOpened {
            name: Text::Plain("Kitchen".into()),
        });
        assert_eq!(event.payload(None), Err(EventError::InTheClear));
        let nothing = Event::AccountSuspended(Nothing {});
        assert_eq!(
            nothing.payload(Some(&Text::Plain("because".into()))),
            Err(EventError::InTheClear)
        );
        assert!(!format!("{event:?}").contains("Kitchen"));
    }

    proptest! {
        #[test]
        fn any_payload_of_any_type_is_read_without_a_panic(
            which in 0..Event::TYPES.len(),
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "\\{\"(changes|name|token|hash|site|key|kind|frame)\":(\\{|\\[|\"|1|null)*[}\\]\"]*".prop_map(String::into_bytes),
            ],
        ) {
            let _ = Event::read(Event::TYPES[which], &bytes);
        }
    }
}
