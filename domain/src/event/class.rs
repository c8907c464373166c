//! Classes of events: what retention treats alike, and who may see it (FORMAT §2).
//!
//! Invariants: every event type has one class; the table is sorted; the one in force stands in `LedgerCreated` and
//! `SoftwareStarted`. Not here: how long a class is kept (`LedgerCreated.retention`).

/// How long an entry is kept, and who may see it, goes by its class (FORMAT §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// About the ledger itself: never pruned.
    Ledger,
    /// Configuration, alarms, rights, signatures: kept for ever.
    Audit,
    /// What devices measured.
    Reading,
    /// What was sent out.
    Outbound,
    /// Who came in, and who was refused.
    Access,
    /// What the service did by itself.
    Automation,
}

/// Every class, in the order in which days and tables list them.
pub const CLASSES: [Class; 6] = [
    Class::Ledger,
    Class::Audit,
    Class::Reading,
    Class::Outbound,
    Class::Access,
    Class::Automation,
];

impl Class {
    /// As written in payloads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Audit => "audit",
            Self::Reading => "reading",
            Self::Outbound => "outbound",
            Self::Access => "access",
            Self::Automation => "automation",
        }
    }

    /// Its place in [`CLASSES`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The class of that name.
    pub fn parse(name: &str) -> Option<Self> {
        CLASSES.into_iter().find(|class| class.as_str() == name)
    }
}

/// Every event type that the format defines or this software writes, with its class, sorted by name.
pub const CLASS_TABLE: &[(&str, Class)] = &[
    ("AccountOpened", Class::Audit),
    ("AccountRenamed", Class::Audit),
    ("AccountResumed", Class::Audit),
    ("AccountSuspended", Class::Audit),
    ("AlarmAcknowledged", Class::Audit),
    ("AlarmCleared", Class::Audit),
    ("AlarmClosed", Class::Audit),
    ("AlarmCommented", Class::Audit),
    ("AlarmEscalated", Class::Audit),
    ("AlarmOpened", Class::Audit),
    ("AlarmRaised", Class::Audit),
    ("AlarmReopened", Class::Audit),
    ("AlarmReopenedByPerson", Class::Audit),
    ("ArtefactRegistered", Class::Audit),
    ("CalibrationSet", Class::Audit),
    ("ChannelChanged", Class::Audit),
    ("ChannelNotificationsSet", Class::Audit),
    ("ChannelRegistered", Class::Audit),
    ("ChannelStateChanged", Class::Automation),
    ("ClockAccepted", Class::Ledger),
    ("ClockObserved", Class::Ledger),
    ("ConfigurationCarriedOver", Class::Ledger),
    ("ContactAdded", Class::Audit),
    ("ContactBounced", Class::Audit),
    ("ContactChanged", Class::Audit),
    ("ContactConfirmed", Class::Audit),
    ("ContactLinked", Class::Audit),
    ("ContactRemoved", Class::Audit),
    ("ContactUnsubscribed", Class::Audit),
    ("DayClosed", Class::Ledger),
    ("DeadlineReached", Class::Automation),
    ("DerivationSet", Class::Audit),
    ("DeviceChanged", Class::Audit),
    ("DeviceMoved", Class::Audit),
    ("DeviceRegistered", Class::Audit),
    ("DeviceRemoved", Class::Audit),
    ("DeviceStateChanged", Class::Automation),
    ("EvidencePackIssued", Class::Audit),
    ("HeadAnchored", Class::Outbound),
    ("HeadNotAnchored", Class::Outbound),
    ("HeadNotPublished", Class::Outbound),
    ("HeadPublished", Class::Outbound),
    ("HoldPlaced", Class::Ledger),
    ("HoldReleased", Class::Ledger),
    ("IntegrationCreated", Class::Audit),
    ("IntegrationRemoved", Class::Audit),
    ("KeyRotated", Class::Ledger),
    ("LedgerCreated", Class::Ledger),
    ("NotificationDigested", Class::Outbound),
    ("NotificationDropped", Class::Outbound),
    ("NotificationFailed", Class::Outbound),
    ("NotificationRequeued", Class::Outbound),
    ("NotificationSent", Class::Outbound),
    ("ReadingAnnotated", Class::Audit),
    ("ReadingConflict", Class::Reading),
    ("ReadingRecorded", Class::Reading),
    ("RequestsRefused", Class::Access),
    ("RetentionApplied", Class::Ledger),
    ("RetentionPolicySet", Class::Ledger),
    ("RuleChanged", Class::Audit),
    ("RuleCreated", Class::Audit),
    ("RuleRemoved", Class::Audit),
    ("RulesRecomputed", Class::Audit),
    ("SignInLinkIssued", Class::Access),
    ("SignedIn", Class::Access),
    ("SilenceEnded", Class::Audit),
    ("SilenceOpened", Class::Audit),
    ("SiteChanged", Class::Audit),
    ("SiteCreated", Class::Audit),
    ("SiteNotificationsSet", Class::Audit),
    ("SoftwareStarted", Class::Ledger),
    ("SubjectKeyDestroyed", Class::Ledger),
    ("TailCut", Class::Ledger),
    ("TokenExpirySet", Class::Audit),
    ("TokenIssued", Class::Audit),
    ("TokenRevoked", Class::Audit),
    ("UplinkParked", Class::Reading),
    ("UserChanged", Class::Audit),
    ("UserRegistered", Class::Audit),
    ("UserRemoved", Class::Audit),
    ("WebhookSecretRotated", Class::Audit),
    ("WitnessPolicySet", Class::Ledger),
];

/// The class of an event type; `None` for one that is not in the table.
pub fn class_of(event_type: &str) -> Option<Class> {
    CLASS_TABLE
        .binary_search_by(|(name, _)| (*name).cmp(event_type))
        .ok()
        .map(|i| CLASS_TABLE[i].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_class_is_found() {
        assert!(CLASS_TABLE.windows(2).all(|w| w[0].0 < w[1].0));
        for (name, class) in CLASS_TABLE {
            assert!(crate::entry::is_event_type(name));
            assert_eq!(class_of(name), Some(*class));
        }
        assert_eq!(class_of("NobodyKnows"), None);
        for (index, class) in CLASSES.into_iter().enumerate() {
            assert_eq!(class.index(), index);
            assert_eq!(Class::parse(class.as_str()), Some(class));
        }
        assert_eq!(Class::parse("Ledger"), None);
    }

    #[test]
    fn the_catalogue_names_each_event_once_with_the_class_that_it_has() {
        let catalogue = include_str!("../../../docs/events.md");
        let mut told = Vec::new();
        for line in catalogue.lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, _, events, class, ..] = cells[..] else {
                continue;
            };
            // The heading and its rule have no class.
            let Some(class) = Class::parse(class) else {
                continue;
            };
            let names = events
                .split(',')
                .map(|name| name.trim().trim_matches('`').to_owned());
            told.extend(names.map(|name| (name, class)));
        }
        told.sort_unstable();
        let known: Vec<(String, Class)> = CLASS_TABLE
            .iter()
            .map(|(name, class)| ((*name).to_owned(), *class))
            .collect();
        assert_eq!(told, known);
    }
}
