//! Every setting: its unit, its default, why, and what breaks when it is too low or too high.
//!
//! Sources, later ones win: the defaults below, a TOML file (`--config`), the environment (`DAYBOOK_` and the
//! name in capitals), flags of the command line. An unknown name in the file is refused, so that a typing error
//! is not a silent default.
//! Not here: limits that are part of the format or of a contract (constants beside the code they bind).

use crate::mail::MailSettings;
use crate::notify::telegram::TelegramSettings;
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Environment variables with this prefix are settings.
const ENV_PREFIX: &str = "DAYBOOK_";

/// Every setting of the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The directory that holds everything: ledger, keys, read models. Default `daybook-data`, so that trying it
    /// out leaves one thing to delete.
    pub data: PathBuf,
    /// Address and port to listen on. Default `127.0.0.1:8420`: nothing is reachable from outside until somebody
    /// says so. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The ledger's name for ever, a scheme-less URL; only read before the first start. Default: made of the log
    /// key (`daybook.invalid/<16 hex digits>`), which is unique and promises no web site.
    pub origin: Option<String>,
    /// A directory outside `data` where the latest signed checkpoint is kept too, so that a restored copy of
    /// `data` is noticed. Default: below the user's state directory. It must not be on the same backup.
    pub anchor: Option<PathBuf>,
    /// A file that the private half of a recovery key is written to; only read at the first start, which names the
    /// public half in the ledger. Take the file off this machine then: with it, and nothing else, a lost or stolen log
    /// key is replaced (`daybook key recover`). Default: none, and then a lost log key ends the ledger.
    pub recovery_key_out: Option<PathBuf>,
    /// Whether checkpoints are signed with ML-DSA-44 beside Ed25519, against computers that break the latter: a new
    /// ledger begins with such a key; an older one gets it with `daybook key rotate --role post-quantum`. Default
    /// `false`: it adds 3.2 kB to every checkpoint and head, and few tools read it yet.
    pub post_quantum: bool,
    /// How this service is reached from outside, such as `https://daybook.example.eu`. Default: what the request
    /// says, or the listening address. Wrong, and the URLs handed to devices and in sign-in links are wrong.
    pub public_url: Option<String>,
    /// The e-mail address of the first owner; only read at the first start. Default `owner@localhost`.
    pub owner_email: String,
    /// PEM file with the certificate chain; with `tls_key`, HTTPS is spoken. Default: plain HTTP, for loopback
    /// or behind a proxy.
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's private key, readable by nobody else.
    pub tls_key: Option<PathBuf>,
    /// `1.2` lets old devices in, for ingest only. Default `1.3`: everything else is decades old.
    pub tls_min_ingest: TlsMin,
    /// Whether a proxy in front sets `X-Forwarded-For`, whose last address is then the peer's. Default `false`:
    /// believing it without a proxy lets anybody choose the address they are limited by.
    pub behind_proxy: bool,

    /// Open connections. Default 4,096: each costs about 20 kB; beyond it new ones wait in the kernel's queue.
    /// Too low, and devices see timeouts; too high, and an attacker gets the memory.
    pub connections_max: usize,
    /// Seconds for a TLS handshake, for a request's headers, and an idle connection. Default 20. Too low cuts
    /// radio links; too high lets slow senders hold connections.
    pub header_timeout_s: u64,
    /// Seconds for a request's body. Default 30; as above.
    pub body_timeout_s: u64,
    /// Bytes of a request's headers. Default 16 KiB; a browser with our cookies needs two.
    pub header_bytes_max: usize,
    /// Bytes of a request's body. Default 1 MiB; the largest management call needs 64 kB.
    pub body_bytes_max: usize,
    /// Bytes of an ingest request's body. Default 4 MiB: 1,000 reports of 32 measurements at 100 bytes.
    pub ingest_body_bytes_max: usize,
    /// Open `/v1/stream` connections. Default 256; each holds a connection and reads every commit.
    pub streams_max: usize,
    /// … of one account. Default 64: a page holds one a tab. Too low, and a team's pages stop moving; as high as
    /// `streams_max`, and one account can take every place.
    pub streams_account_max: usize,

    /// Requests a minute for one device token, and for one device behind an integration. Default 60, as the
    /// reference promises. 0 switches the limit off (for benchmarks and trusted networks).
    pub rate_per_minute: u32,
    /// How many of these may come at once. Default 60: a device that was offline may empty its buffer.
    pub rate_burst: u32,
    /// Requests a minute with a user's token, and those of a browser. Default 1,200; pages ask for a few at once.
    pub user_rate_per_minute: u32,
    /// Failed authentications a minute from one address before unknown tokens from there are refused unseen.
    /// Default 30: each costs a bcrypt of 70 ms, and one processor is all they may have. Verified tokens from
    /// the same address stay welcome.
    pub peer_failures_per_minute: u32,
    /// Verified tokens that are remembered. Default 65,536, about 10 MB; a fleet larger than this runs bcrypt
    /// for every request and stalls.
    pub tokens_cached_max: usize,

    /// Whether owners and auditors of the first account are ledger auditors, who see the entries of every account.
    /// Default `true`: the first account is theirs who run the ledger. Switch it off where accounts are customers
    /// and the first one is, too.
    pub first_account_audits: bool,
    /// Whether a report that an Efento gateway sent and that was refused is answered as taken (`Y`), so that it is
    /// never sent again. Default `false`: it stands in `N`. Switch it on for gateways that resend those for ever.
    pub efento_refused_as_taken: bool,

    /// Megabytes a second at which the service reads its own ledger again and verifies all of it. Default 8: a
    /// gigabyte in two minutes, at a few hundredths of a processor. 0 switches the self-audit off.
    pub self_audit_mb_per_s: u32,
    /// Seconds between two passes of the self-audit. Default 3,600.
    pub self_audit_pause_s: u64,

    /// Days for which the file of an evidence pack that was asked for over HTTP is kept. Default 7: it can be asked for
    /// again; what was issued stands in the ledger for ever. Too low, and slow receivers find it gone.
    pub evidence_keep_days: u32,
    /// Megabytes that the files of such packs may take together. Default 4,096; they lie on the ledger's disk, which
    /// they must not fill, and one that is being made needs its own size once more. Too low, and large packs fail.
    pub evidence_mb_max: u32,

    /// Where the head of each day goes beside this service: `[[publish]]` tables with `to`, a `name` of your own, and
    /// for `to = "directory"` a `path` for a static host, for `to = "git"` a `path` and perhaps `signing_key` (an SSH
    /// key's file) and `push` (a remote), for `to = "webhook"` a `url` and `secret_file`, for `to = "mail"` an
    /// `address`, one table a person, for `to = "mqtt"` a `broker` and perhaps `topic`, `credentials_file` and
    /// `ca_file`. Default: nowhere; whoever wants heads fetches them.
    pub publish: Vec<PublishTo>,
    /// Seconds after which a channel that failed is tried again; doubled each time, up to an hour. Default 30.
    pub publish_retry_s: u64,

    /// The directory of a `daybook publish`, a process of its own that holds the log key, signs this ledger's checkpoints
    /// and heads, and publishes them; this service then holds no log key and only reads there. Before the first start
    /// only; not with `post_quantum`; its log key is replaced in two steps (`daybook key rotate --publisher`). Default: none,
    /// and this service signs.
    pub signed_elsewhere: Option<PathBuf>,

    /// The URL of an RFC 3161 time-stamping authority that is asked for a time stamp over each day's head,
    /// `heads/YYYY/YYYY-MM-DD.tsr`. Default: none. One that is away stops nothing; it is asked again as channels are.
    pub tsa_url: Option<String>,
    /// URLs of OpenTimestamps calendars, such as `https://a.pool.opentimestamps.org`, to which the hash of each day's
    /// head goes behind a nonce, for `heads/YYYY/YYYY-MM-DD.ots`. Default: none.
    pub ots_calendars: Vec<String>,
    /// The server that e-mail goes out through: a `[mail]` table with `host`, `from`, and perhaps `port`, `tls`
    /// (`"starttls"`, `"implicit"`, or `"none"` to this machine only), `credentials_file` (user and password on two
    /// lines, mode 0600; or DAYBOOK_MAIL_USER and DAYBOOK_MAIL_PASSWORD in the environment), `ca_file`, `hello`,
    /// `timeout_s`. Default: none, and nothing is mailed.
    pub mail: Option<MailSettings>,

    /// Who alarms are from, where that is not `mail.from`: `Daybook alarms <alarms@example.eu>`. Default: `mail.from`.
    /// The mail server must let this user send as it.
    pub notify_mail_from: Option<String>,
    /// The bot that alarms go to Telegram by: a `[telegram]` table with `token_file` (mode 0600) and perhaps `api_url`.
    /// Default: none, and chats are told nothing.
    pub telegram: Option<TelegramSettings>,
    /// Whether webhooks of accounts may go to addresses of private networks and this machine, and without TLS. Default
    /// `false`: an account's owner could ask whatever this machine can reach. Switch it on where all of them are yours.
    pub notify_private_targets: bool,
    /// Seconds after which a notification that failed is tried again; doubled each time, up to an hour, thirty times.
    /// Default 30. Too low hammers a provider that is down; too high tells people late.
    pub notify_retry_s: u64,
    /// Seconds for which every message by e-mail or Telegram must have failed before the other way tells people so.
    /// Default 300, as the reference promises.
    pub notify_failing_s: u64,
    /// Days between two trials of the alarm path of contacts that want them. Default 30. 0 switches them off.
    pub challenge_days: u32,
    /// Minutes in which a trial is to be acknowledged. Default 30. Too low calls people bad who were only busy; too high
    /// finds out late that a way leads to nobody.
    pub challenge_minutes: u32,
    /// A URL outside that is asked while all is well, so that whoever waits for it can tell that it is not. Default:
    /// none, and a machine that is off tells nobody.
    pub dead_man_url: Option<String>,
    /// Seconds between two of these. Default 60.
    pub dead_man_s: u64,

    /// A file that names witnesses with their URLs, and the quorum (C2SP tlog-policy): each day's head, and the latest
    /// checkpoint every ten seconds, are offered to them. Default: none; then whoever relies on this ledger keeps
    /// heads of their own. A witness that is down stops nothing.
    pub witness_policy: Option<PathBuf>,

    /// Minutes for which a sign-in link works, once. Default 15.
    pub sign_in_minutes: u32,
    /// Days for which a browser stays signed in. Default 30.
    pub session_days: u32,
    /// Seconds a stop waits for requests under way. Default 10; then connections are closed, nothing that was
    /// acknowledged is lost.
    pub stop_grace_s: u64,
    /// What is logged, in `tracing`'s language. Default `info`.
    pub log: String,
    /// `text` for people, `json` for machines. Default `text`.
    pub log_format: LogFormat,
}

/// A channel that heads are published on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "lowercase", deny_unknown_fields)]
pub enum PublishTo {
    /// A directory for a static host.
    Directory {
        /// The channel's name, for pages, metrics and entries.
        name: String,
        /// The directory.
        path: PathBuf,
    },
    /// A Git repository.
    Git {
        /// As above.
        name: String,
        /// The working tree; a repository is made where there is none.
        path: PathBuf,
        /// An SSH key that commits are signed with.
        signing_key: Option<PathBuf>,
        /// A remote's name or URL that is pushed to.
        push: Option<String>,
    },
    /// A signed POST.
    Webhook {
        /// As above.
        name: String,
        /// Where to.
        url: String,
        /// The file with the secret, `whsec_…`, readable by nobody else.
        secret_file: PathBuf,
        /// Certificates (PEM) of the authorities that may vouch for the receiver, instead of those that browsers trust.
        #[serde(default)]
        ca_file: Option<PathBuf>,
    },
    /// A message to one auditor, by the server of `[mail]`.
    Mail {
        /// As above; it stands in the ledger, so it names nobody.
        name: String,
        /// To whom.
        address: String,
    },
    /// Retained messages on an MQTT 5 broker.
    Mqtt {
        /// As above.
        name: String,
        /// `mqtts://HOST[:PORT]`, or `mqtt://` to this machine.
        broker: String,
        /// What topics begin with; by default `daybook`.
        #[serde(default)]
        topic: Option<String>,
        /// A file with user and password on two lines, readable by nobody else.
        #[serde(default)]
        credentials_file: Option<PathBuf>,
        /// Certificates (PEM) of the authorities that may vouch for the broker, instead of those that browsers trust.
        #[serde(default)]
        ca_file: Option<PathBuf>,
    },
}

impl PublishTo {
    /// The channel's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Directory { name, .. }
            | Self::Git { name, .. }
            | Self::Webhook { name, .. }
            | Self::Mail { name, .. }
            | Self::Mqtt { name, .. } => name,
        }
    }

    /// The kinds there are.
    const KINDS: [&str; 5] = ["directory", "git", "webhook", "mail", "mqtt"];

    /// What it is, in a word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "directory",
            Self::Git { .. } => "git",
            Self::Webhook { .. } => "webhook",
            Self::Mail { .. } => "mail",
            Self::Mqtt { .. } => "mqtt",
        }
    }
}

/// The kind of that name.
pub fn kind(name: &str) -> &'static str {
    let known = PublishTo::KINDS.into_iter().find(|kind| *kind == name);
    known.unwrap_or("other")
}

/// The least version of TLS that ingest routes accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TlsMin {
    /// TLS 1.2.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    Tls13,
}

impl<'de> Deserialize<'de> for TlsMin {
    /// From text, or from the number that the environment makes of it.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Text(String),
            Number(f64),
        }
        let text = match Spelled::deserialize(deserializer)? {
            Spelled::Text(text) => text,
            Spelled::Number(number) => number.to_string(),
        };
        match text.as_str() {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            other => Err(serde::de::Error::custom(format!(
                "{other} is neither 1.2 nor 1.3"
            ))),
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("daybook-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 8420)),
            origin: None,
            anchor: None,
            recovery_key_out: None,
            post_quantum: false,
            public_url: None,
            owner_email: "owner@localhost".to_owned(),
            tls_cert: None,
            tls_key: None,
            tls_min_ingest: TlsMin::Tls13,
            behind_proxy: false,
            connections_max: 4096,
            header_timeout_s: 20,
            body_timeout_s: 30,
            header_bytes_max: 16 << 10,
            body_bytes_max: 1 << 20,
            ingest_body_bytes_max: 4 << 20,
            streams_max: 256,
            streams_account_max: 64,
            rate_per_minute: 60,
            rate_burst: 60,
            user_rate_per_minute: 1200,
            peer_failures_per_minute: 30,
            tokens_cached_max: 65_536,
            first_account_audits: true,
            efento_refused_as_taken: false,
            self_audit_mb_per_s: 8,
            self_audit_pause_s: 3600,
            evidence_keep_days: 7,
            evidence_mb_max: 4096,
            publish: Vec::new(),
            publish_retry_s: 30,
            tsa_url: None,
            ots_calendars: Vec::new(),
            mail: None,
            notify_mail_from: None,
            telegram: None,
            notify_private_targets: false,
            notify_retry_s: 30,
            notify_failing_s: 300,
            challenge_days: 30,
            challenge_minutes: 30,
            dead_man_url: None,
            dead_man_s: 60,
            signed_elsewhere: None,
            witness_policy: None,
            sign_in_minutes: 15,
            session_days: 30,
            stop_grace_s: 10,
            log: "info".to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

/// A setting as the help shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name in the file; in the environment it stands in capitals behind `DAYBOOK_`.
    pub name: &'static str,
    /// What it is, its unit, its default and why.
    pub about: String,
}

/// Every setting with its words, read from the comments above: there is one place to keep them right.
pub fn described() -> Vec<Described> {
    let source = include_str!("config.rs");
    let fields = source
        .split_once("pub struct Settings {")
        .and_then(|(_, rest)| rest.split_once("\n}"))
        .map_or("", |(fields, _)| fields);
    let mut about = String::new();
    let mut all = Vec::new();
    for line in fields.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            about.push_str(words.trim());
            about.push(' ');
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
            let about = std::mem::take(&mut about).trim().replace('`', "");
            all.push(Described { name, about });
        }
    }
    all
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A source says something that is not a setting, or not its type.
    #[error("the configuration cannot be read: {}", one_line(.0))]
    Unreadable(#[from] Box<figment::Error>),
    /// Settings that contradict each other or cannot work.
    #[error("the configuration cannot be used: {0}")]
    Invalid(String),
}

/// The errors of the sources, each on the line that a command's failure is.
fn one_line(errors: &figment::Error) -> String {
    let errors: Vec<String> = errors
        .clone()
        .into_iter()
        .map(|error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    errors.join("; ")
}

impl Settings {
    /// Reads every source; `flags` are those of the command line, absent ones left out.
    ///
    /// # Errors
    /// [`ConfigError`], naming the source and the setting.
    pub fn load(file: Option<&Path>, flags: &impl Serialize) -> Result<Self, ConfigError> {
        let mut sources = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            sources = sources.merge(Toml::file_exact(file));
        }
        let settings: Self = sources
            .merge(Env::prefixed(ENV_PREFIX).ignore(&["config"]).filter(is_setting))
            .merge(Serialized::defaults(flags))
            .extract()
            .map_err(Box::new)?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |reason: &str| Err(ConfigError::Invalid(reason.to_owned()));
        for (at, to) in self.publish.iter().enumerate() {
            let name = to.name();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
            if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
                return invalid("a publish table's name is 1 to 64 letters, digits, '.', '_' and '-'");
            }
            if self.publish[..at].iter().any(|other| other.name() == name) {
                return invalid("two publish tables have one name");
            }
            if let PublishTo::Webhook { url, .. } = to
                && !(url.starts_with("https://") || url.starts_with("http://"))
            {
                return invalid("a webhook's url begins with https:// or http://");
            }
            if let PublishTo::Mail { address, .. } = to {
                if self.mail.is_none() {
                    return invalid("to = \"mail\" needs the server: a [mail] table");
                }
                if address.parse::<lettre::message::Mailbox>().is_err() {
                    return invalid("the address of a publish table with to = \"mail\" is none");
                }
            }
        }
        if self.signed_elsewhere.is_some() && !self.publish.is_empty() {
            return invalid("publish tables belong to the settings of whoever signs (signed_elsewhere)");
        }
        if self.evidence_keep_days == 0 || self.evidence_mb_max == 0 {
            return invalid("evidence_keep_days and evidence_mb_max must be at least 1");
        }
        let anchors = self.tsa_url.iter().chain(&self.ots_calendars);
        for url in anchors {
            if !(url.starts_with("https://") || url.starts_with("http://")) {
                return invalid("tsa_url and ots_calendars begin with https:// or http://");
            }
        }
        if let Some(mail) = &self.mail {
            mail.check().map_err(ConfigError::Invalid)?;
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return invalid("tls_cert and tls_key belong together: give both or none");
        }
        if self.tls_min_ingest == TlsMin::Tls12 && self.tls_cert.is_none() {
            return invalid("tls_min_ingest means something only with tls_cert and tls_key");
        }
        if self.connections_max == 0 || self.header_timeout_s == 0 || self.body_timeout_s == 0 {
            return invalid("connections_max, header_timeout_s and body_timeout_s must be at least 1");
        }
        if self.header_bytes_max < 8 << 10 {
            return invalid("header_bytes_max must be at least 8192 bytes");
        }
        if let Some(origin) = &self.origin
            && !domain::checkpoint::is_origin(origin)
        {
            return invalid(
                "origin must be a scheme-less URL such as daybook.example.eu/main, at most 255 bytes, without \
                 spaces or +",
            );
        }
        if self.rate_per_minute > 0 && self.rate_burst == 0 {
            return invalid("rate_burst must be at least 1");
        }
        if let Some(url) = &self.public_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            return invalid("public_url must begin with https:// or http://");
        }
        Ok(())
    }

    /// Whether we speak TLS ourselves.
    pub fn tls(&self) -> bool {
        self.tls_cert.is_some()
    }
}

/// Foreign variables with our prefix (a service manager's, a test harness') are nobody's setting.
fn is_setting(name: &figment::value::UncasedStr) -> bool {
    serde_json::to_value(Settings::default())
        .ok()
        .and_then(|value| {
            value
                .as_object()
                .map(|o| o.contains_key(&name.as_str().to_lowercase()))
        })
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), text).expect("written");
        file
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let file = file("rate_per_minute = 7\nlisten = \"127.0.0.1:1\"\n");
        let settings = Settings::load(Some(file.path()), &json!({"listen": "127.0.0.1:2"})).expect("loads");
        assert_eq!(settings.rate_per_minute, 7);
        assert_eq!(settings.listen.port(), 2);
        assert_eq!(settings.rate_burst, 60);
    }

    #[test]
    fn a_typing_error_and_a_missing_file_are_refused() {
        let typo = file("rate_per_minut = 7\n");
        let error = Settings::load(Some(typo.path()), &json!({})).expect_err("refused");
        assert!(error.to_string().contains("rate_per_minut"), "{error}");
        assert!(Settings::load(Some(Path::new("/nonexistent.toml")), &json!({})).is_err());
    }

    #[test]
    fn every_setting_is_described_with_its_default() {
        let settings = serde_json::to_value(Settings::default()).expect("JSON");
        let names: Vec<&str> = described().iter().map(|setting| setting.name).collect();
        let fields = settings.as_object().expect("an object");
        assert_eq!(names.len(), fields.len());
        for setting in described() {
            assert!(fields.contains_key(setting.name), "{}", setting.name);
            let told = setting.about.contains("Default") || setting.name.starts_with("tls_key");
            assert!(told, "{}: {}", setting.name, setting.about);
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for flags in [
            json!({"tls_cert": "a.pem"}),
            json!({"tls_min_ingest": "1.2"}),
            json!({"connections_max": 0}),
            json!({"rate_burst": 0}),
            json!({"public_url": "daybook.example"}),
        ] {
            assert!(Settings::load(None, &flags).is_err(), "{flags}");
        }
    }
}
