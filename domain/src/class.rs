//! Classes of entries: what retention treats alike (FORMAT §2).
//!
//! Invariant: every event type has one class; the table in force stands in `LedgerCreated` and `SoftwareStarted`.
//! Not here: payloads (`event`), how long a class is kept (`LedgerCreated.retention`).

/// A class of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// What the ledger says of itself: never pruned.
    Ledger,
    /// Configuration, alarms, access rights, signatures: for ever.
    Audit,
    /// Readings, conflicts, parked uplinks.
    Reading,
    /// Attempts to tell somebody something.
    Outbound,
    /// Who came in, who was refused.
    Access,
    /// What automations did.
    Automation,
}

impl Class {
    /// All classes, in the format's order.
    pub const ALL: [Self; 6] = [
        Self::Ledger,
        Self::Audit,
        Self::Reading,
        Self::Outbound,
        Self::Access,
        Self::Automation,
    ];

    /// As written in entries.
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

    /// The class of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == name)
    }

    /// The class of an event type. What is not in the table is configuration, which is kept for ever.
    pub fn of(event_type: &str) -> Self {
        TABLE
            .iter()
            .find(|(name, _)| *name == event_type)
            .map_or(Self::Audit, |(_, class)| *class)
    }
}

/// Event types that are not `audit`, most frequent first.
pub const TABLE: &[(&str, Class)] = &[
    ("ReadingRecorded", Class::Reading),
    ("ReadingConflict", Class::Reading),
    ("UplinkParked", Class::Reading),
    ("RequestsRefused", Class::Access),
    ("SignInLinkIssued", Class::Access),
    ("SignedIn", Class::Access),
    ("LedgerCreated", Class::Ledger),
    ("SoftwareStarted", Class::Ledger),
    ("KeyRotated", Class::Ledger),
    ("WitnessPolicySet", Class::Ledger),
    ("RetentionPolicySet", Class::Ledger),
    ("RetentionApplied", Class::Ledger),
    ("DayClosed", Class::Ledger),
    ("HoldPlaced", Class::Ledger),
    ("HoldReleased", Class::Ledger),
    ("SubjectKeyDestroyed", Class::Ledger),
    ("ClockObserved", Class::Ledger),
    ("ClockAccepted", Class::Ledger),
    ("TailCut", Class::Ledger),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_names_and_every_type_has_one() {
        assert!(Class::ALL.iter().all(|c| Class::parse(c.as_str()) == Some(*c)));
        assert_eq!(Class::of("ReadingRecorded"), Class::Reading);
        assert_eq!(Class::of("DeviceRegistered"), Class::Audit);
        assert_eq!(
            Class::ALL.iter().position(|c| *c == Class::Access),
            Some(Class::Access as usize)
        );
    }
}
