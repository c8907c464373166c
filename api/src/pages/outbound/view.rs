//! What the outbound log shows, and the words for what was said and what came of it.
//!
//! Not here: markup, queries.

use domain::Timestamp;
use domain::event::contact::ContactKind;
use domain::event::notification::{
    NOTIFICATION_DIGESTED, NOTIFICATION_DROPPED, NOTIFICATION_FAILED, NOTIFICATION_REQUEUED,
    NOTIFICATION_SENT,
};

use super::super::marks::Mark;
use super::super::view::Link;
use super::super::words::Zone;

/// The page.
#[derive(Debug, Clone)]
pub struct OutboundPage {
    /// How each way does.
    pub ways: Vec<WayRow>,
    /// What is due, now or later.
    pub waiting: Vec<WaitingRow>,
    /// Whether more waits than is shown.
    pub more_waits: bool,
    /// Newest first.
    pub attempts: Vec<Attempt>,
    /// The address of what is older.
    pub older: Option<String>,
    /// What is asked for.
    pub filter: Filter,
    /// The account's contacts by id and name, those that were taken away too.
    pub contacts: Vec<(String, String)>,
    /// The zone in which times are typed.
    pub zone: Zone,
}

/// What is asked for, as it was typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// `con_…`
    pub contact: String,
    /// An event type.
    pub outcome: String,
    /// What was said.
    pub what: String,
    /// At or after, `2026-05-17T08:00`.
    pub since: String,
    /// Before.
    pub until: String,
    /// What was wrong with it.
    pub error: Option<String>,
}

impl Filter {
    /// Whether anything is asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// As a query, without what is empty.
    pub fn query(&self) -> Vec<(&'static str, &str)> {
        [
            ("contact", self.contact.as_str()),
            ("type", &self.outcome),
            ("what", &self.what),
            ("since", &self.since),
            ("until", &self.until),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect()
    }
}

/// How a way does.
#[derive(Debug, Clone)]
pub struct WayRow {
    /// Which.
    pub kind: ContactKind,
    /// A webhook's name and page; none for the others.
    pub contact: Option<Link>,
    /// Whether this service can go it: a mail server or a bot is set up.
    pub is_set_up: bool,
    /// When a message was last taken.
    pub taken_at: Option<Timestamp>,
    /// Since when every attempt was in vain.
    pub failing_since: Option<Timestamp>,
}

impl WayRow {
    /// How it stands.
    pub fn mark(&self) -> (Mark, &'static str) {
        match (self.failing_since, self.taken_at) {
            _ if !self.is_set_up => (Mark::Held, "not set up"),
            (Some(_), _) => (Mark::Failed, "failing"),
            (None, Some(_)) => (Mark::Done, "works"),
            (None, None) => (Mark::Unknown, "not tried yet"),
        }
    }
}

/// What is due, now or later.
#[derive(Debug, Clone)]
pub struct WaitingRow {
    /// To whom.
    pub contact: Link,
    /// By which way.
    pub kind: ContactKind,
    /// What it will say.
    pub what: String,
    /// The alarm's page.
    pub alarm: Option<String>,
    /// When it is due.
    pub due_at: Timestamp,
    /// Why it waits, a sentence.
    pub why: String,
}

/// One attempt, or what was decided instead of one.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its entry.
    pub position: u64,
    /// When.
    pub at: Timestamp,
    /// `ntf_…`
    pub notification: String,
    /// To whom.
    pub contact: Link,
    /// By which way.
    pub kind: ContactKind,
    /// What it said.
    pub what: String,
    /// The alarm's page.
    pub alarm: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// Which attempt.
    pub attempt: u32,
    /// What the provider answered, or why.
    pub code: String,
    /// By which the provider knows it.
    pub provider_id: Option<String>,
    /// Milliseconds since the entry that caused it.
    pub latency_ms: u64,
    /// Milliseconds that the attempt took.
    pub took_ms: u64,
    /// It may have arrived twice.
    pub repeated: bool,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it.
    Sent,
    /// It went out in another's message.
    Gathered,
    /// It failed, and is tried again.
    Again,
    /// It failed for good.
    Failed,
    /// It was not sent.
    Held,
    /// Somebody asked for it.
    Asked,
}

impl Outcome {
    /// Of an event; `again` where it has a next time.
    pub fn of(event_type: &str, again: Option<Timestamp>) -> Self {
        match event_type {
            NOTIFICATION_SENT => Self::Sent,
            NOTIFICATION_DIGESTED => Self::Gathered,
            NOTIFICATION_DROPPED => Self::Held,
            NOTIFICATION_FAILED if again.is_some() => Self::Again,
            NOTIFICATION_FAILED => Self::Failed,
            _ => Self::Asked,
        }
    }

    /// Shape, colour and word.
    pub const fn mark(self) -> (Mark, &'static str) {
        match self {
            Self::Sent => (Mark::Done, "taken"),
            Self::Gathered => (Mark::Gathered, "in a digest"),
            Self::Again => (Mark::Again, "failed, tried again"),
            Self::Failed => (Mark::Failed, "failed"),
            Self::Held => (Mark::Held, "not sent"),
            Self::Asked => (Mark::Unknown, "asked for"),
        }
    }

    /// Whether it makes sense to ask for it once more.
    pub const fn may_go_again(self) -> bool {
        matches!(self, Self::Sent | Self::Failed | Self::Held)
    }
}

/// What a filter offers: event type and word.
pub const OUTCOMES: [(&str, &str); 5] = [
    (NOTIFICATION_SENT, "taken"),
    (NOTIFICATION_FAILED, "failed"),
    (NOTIFICATION_DROPPED, "not sent"),
    (NOTIFICATION_DIGESTED, "in a digest"),
    (NOTIFICATION_REQUEUED, "asked for"),
];

/// What can be said, by code and word.
pub const WHAT: [(&str, &str); 19] = [
    ("alarm_opened", "alarm opened"),
    ("alarm_escalated", "alarm got worse"),
    ("alarm_reopened", "alarm not over after all"),
    ("alarm_ack", "alarm acknowledged"),
    ("alarm_cleared", "alarm over"),
    ("alarm_closed", "alarm closed"),
    ("alarm_silenced", "alarm while silenced"),
    ("device_offline", "device silent"),
    ("device_online", "device back"),
    ("silence_opened", "silence began"),
    ("silence_closed", "silence over"),
    ("report_ready", "report ready"),
    ("path_failed", "a way fails"),
    ("daily", "daily digest"),
    ("challenge", "trial alarm"),
    ("challenge_failed", "trial alarm unanswered"),
    ("confirm", "request to confirm"),
    ("test", "test"),
    ("redeliver", "sent again"),
];

/// What was said, in words; its code where there are none.
pub fn what_words(what: &str) -> &str {
    WHAT.iter()
        .find(|(code, _)| *code == what)
        .map_or(what, |(_, words)| words)
}

/// What a code means, a sentence; `None` where it says all there is, such as `204`.
pub fn code_words(code: &str) -> Option<&'static str> {
    Some(match code {
        "timeout" => "The receiver did not answer in time.",
        "host_not_found" => "There is no host of that name.",
        "connection_failed" => "The receiver takes no connection.",
        "https_only" => "Only https addresses are sent to.",
        "target_not_allowed" => {
            "The address is one of a private network, which this service does not send to."
        }
        "tls" => "The receiver's certificate is not valid.",
        "bad_url" => "The address is none.",
        "bad_answer" => "The answer was no HTTP.",
        "bad_redirect" => "It redirects to nowhere.",
        "too_many_redirects" => "It redirects too often.",
        "no_secret" => "Its secret cannot be read.",
        "no_mail" => "This service has no mail server.",
        "no_bot" => "This service has no bot.",
        "off_duty" => "It was off duty, and somebody else was told.",
        "pending" => "It was not confirmed or linked.",
        "unsubscribed" => "It had unsubscribed.",
        "bouncing" => "Its address refuses messages.",
        "removed" | "no_contact" => "The contact was removed.",
        "erased" => "Its address was erased.",
        "overflow" => "Too much waited; a summary said it.",
        "redeliver" | "test" | "confirm" => "Somebody asked for it.",
        "401" | "403" | "404" | "410" => "The receiver refused it, and would again.",
        "429" => "The receiver asks for fewer messages.",
        "500" | "502" | "503" | "504" => "The receiver has a fault of its own.",
        _ => return None,
    })
}
