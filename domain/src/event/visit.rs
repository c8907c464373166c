//! Which members of each payload are texts, by their JSON pointers.
//!
//! Invariant: every [`Text`] of a payload is shown, so that none is left unsealed; old values are not, because they
//! are sealed already. Not here: the payloads themselves (`payload`).

use super::alarm::{
    AlarmAcknowledged, AlarmCleared, AlarmClosed, AlarmCommented, AlarmEscalated, AlarmOpened, AlarmRaised,
    AlarmReopened, AlarmReopenedByPerson,
};
use super::contact::{
    ChannelNotificationsSet, ContactAdded, ContactBounced, ContactChanged, ContactLinked,
    SiteNotificationsSet, WebhookSecretRotated,
};
use super::payload::{
    AccountChanges, AccountOpened, ArtefactRegistered, Changed, ChannelChanges, ChannelRegistered,
    DeviceChanges, DeviceMoved, DeviceRegistered, EvidencePackIssued, IntegrationCreated, Nothing,
    SiteChanges, SiteCreated, TextChange, TokenExpirySet, TokenIssued, TokenRevoked, UplinkParked,
    UserChanges, UserRegistered,
};
use super::rule::{
    CalibrationSet, ChannelStateChanged, DeadlineReached, DerivationSet, DeviceStateChanged,
    ReadingAnnotated, RuleChanged, RuleCreated, RulesRecomputed, SilenceEnded, SilenceOpened,
};
use super::text::Text;
use crate::sealed::SealedField;

/// Payloads that may hold texts.
pub(super) trait VisitTexts {
    /// Shows every new text with its JSON pointer.
    fn visit(&mut self, _each: &mut dyn FnMut(&'static str, &mut Text)) {}

    /// Drops text changes that change nothing; gives whether anything is left.
    fn drop_unchanged(&mut self, _same: &mut dyn FnMut(&SealedField, &str) -> bool) -> bool {
        true
    }
}

macro_rules! without_texts {
    ($($payload:ty),+) => { $( impl VisitTexts for $payload {} )+ };
}

without_texts!(
    Nothing,
    DeviceMoved,
    TokenIssued,
    TokenExpirySet,
    TokenRevoked,
    UplinkParked,
    DerivationSet,
    RuleChanged,
    RulesRecomputed,
    SilenceEnded,
    ChannelStateChanged,
    DeadlineReached,
    DeviceStateChanged,
    AlarmOpened,
    AlarmEscalated,
    AlarmCleared,
    AlarmRaised,
    AlarmReopened,
    ContactChanged,
    ContactBounced,
    ChannelNotificationsSet,
    SiteNotificationsSet
);

impl VisitTexts for ContactAdded {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.address, "/address", each);
        each("/name", &mut self.name);
        maybe(&mut self.secret, "/secret", each);
    }
}

impl VisitTexts for ContactLinked {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        each("/address", &mut self.address);
    }
}

impl VisitTexts for WebhookSecretRotated {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        each("/secret", &mut self.secret);
    }
}

impl VisitTexts for RuleCreated {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.name, "/name", each);
    }
}

impl VisitTexts for CalibrationSet {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.certificate, "/certificate", each);
    }
}

impl VisitTexts for ReadingAnnotated {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        each("/note", &mut self.note);
    }
}

impl VisitTexts for SilenceOpened {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.text, "/text", each);
    }
}

impl VisitTexts for AlarmAcknowledged {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.corrective_action, "/corrective_action", each);
        maybe(&mut self.text, "/text", each);
    }
}

impl VisitTexts for AlarmCommented {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        each("/text", &mut self.text);
    }
}

impl VisitTexts for AlarmClosed {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.text, "/text", each);
    }
}

impl VisitTexts for AlarmReopenedByPerson {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.text, "/text", each);
    }
}

impl VisitTexts for AccountOpened {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        each("/name", &mut self.name);
    }
}

impl VisitTexts for UserRegistered {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        each("/email", &mut self.email);
        maybe(&mut self.name, "/name", each);
    }
}

impl VisitTexts for SiteCreated {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.address, "/address", each);
        each("/name", &mut self.name);
    }
}

impl VisitTexts for DeviceRegistered {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        each("/name", &mut self.name);
        maybe(&mut self.notes, "/notes", each);
    }
}

impl VisitTexts for ChannelRegistered {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.label, "/label", each);
    }
}

impl VisitTexts for IntegrationCreated {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        each("/name", &mut self.name);
    }
}

impl VisitTexts for ArtefactRegistered {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.details, "/details", each);
        each("/name", &mut self.name);
    }
}

impl VisitTexts for EvidencePackIssued {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        each("/asker", &mut self.asker);
    }
}

impl VisitTexts for Changed<AccountChanges> {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        maybe(&mut self.changes.name.new, NEW_NAME, each);
    }

    fn drop_unchanged(&mut self, same: &mut dyn FnMut(&SealedField, &str) -> bool) -> bool {
        !changes_nothing(&self.changes.name, same)
    }
}

impl VisitTexts for Changed<UserChanges> {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        change(&mut self.changes.email, "/changes/email/new", each);
        change(&mut self.changes.name, NEW_NAME, each);
    }

    fn drop_unchanged(&mut self, same: &mut dyn FnMut(&SealedField, &str) -> bool) -> bool {
        drop_text(&mut self.changes.email, same);
        drop_text(&mut self.changes.name, same);
        self.changes != UserChanges::default()
    }
}

impl VisitTexts for Changed<SiteChanges> {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        change(&mut self.changes.address, "/changes/address/new", each);
        change(&mut self.changes.name, NEW_NAME, each);
    }

    fn drop_unchanged(&mut self, same: &mut dyn FnMut(&SealedField, &str) -> bool) -> bool {
        drop_text(&mut self.changes.address, same);
        drop_text(&mut self.changes.name, same);
        self.changes != SiteChanges::default()
    }
}

impl VisitTexts for Changed<DeviceChanges> {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        change(&mut self.changes.name, NEW_NAME, each);
        change(&mut self.changes.notes, "/changes/notes/new", each);
    }

    fn drop_unchanged(&mut self, same: &mut dyn FnMut(&SealedField, &str) -> bool) -> bool {
        drop_text(&mut self.changes.name, same);
        drop_text(&mut self.changes.notes, same);
        self.changes != DeviceChanges::default()
    }
}

impl VisitTexts for Changed<ChannelChanges> {
    fn visit(&mut self, each: &mut dyn FnMut(&'static str, &mut Text)) {
        change(&mut self.changes.label, "/changes/label/new", each);
    }

    fn drop_unchanged(&mut self, same: &mut dyn FnMut(&SealedField, &str) -> bool) -> bool {
        drop_text(&mut self.changes.label, same);
        self.changes != ChannelChanges::default()
    }
}

const NEW_NAME: &str = "/changes/name/new";

fn maybe(text: &mut Option<Text>, pointer: &'static str, each: &mut dyn FnMut(&'static str, &mut Text)) {
    if let Some(text) = text {
        each(pointer, text);
    }
}

fn change(
    change: &mut Option<TextChange>,
    pointer: &'static str,
    each: &mut dyn FnMut(&'static str, &mut Text),
) {
    if let Some(change) = change {
        maybe(&mut change.new, pointer, each);
    }
}

fn drop_text(change: &mut Option<TextChange>, same: &mut dyn FnMut(&SealedField, &str) -> bool) {
    if change
        .as_ref()
        .is_some_and(|change| changes_nothing(change, same))
    {
        *change = None;
    }
}

fn changes_nothing(change: &TextChange, same: &mut dyn FnMut(&SealedField, &str) -> bool) -> bool {
    match (&change.old, &change.new) {
        (Some(old), Some(Text::Plain(new))) => same(old, new),
        (None, None) => true,
        _ => false,
    }
}
