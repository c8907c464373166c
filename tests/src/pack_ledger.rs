//! A ledger of two accounts, several devices, idle days and changes of configuration, and evidence packs of it.
//!
//! Invariant: the same bytes on every run. What forges does what somebody could who holds the receipt key and not the
//! log's: files, manifest and its signature are made to fit again, the tree is not.
//! Not here: what is found out about a forged pack (`it`).

use crate::small_ledger::{Heads, ORIGIN, Recorder};
use chain_publisher::VerifySettings;
use chain_publisher::evidence::{Evidence, Trust};
use chain_publisher::pack::walk::{Piece, Walk};
use chain_publisher::pack::zip::{Archive, Crc32, ZipWriter};
use chain_publisher::pack::{
    DayLines, Days, FileOf, MANIFEST, MANIFEST_NOTE, Made, MakeError, Manifest, NODES, Order, PackReport,
    PackSource, Query, StreamIndex, Subject, derive, find_alarm, make, note_text, verify,
};
use chain_publisher::ports_source::{HeadFiles, PortsSource};
use commands::sequencer::{EventGroup, PendingReading, PendingValue, ReadingGroup, StreamPositions};
use domain::canonical::Canonical;
use domain::entry::NewEvent;
use domain::hash::{base64url, sha256, sha256_of};
use domain::ids::IdKind;
use domain::memory::MemoryLog;
use domain::note::{Note, Signer, SigningKey, VerifierKey};
use domain::ports::TileStore;
use domain::proof::Prover;
use domain::reading::TimeFrom;
use domain::registry::Registry;
use domain::tlog_proof::TlogProof;
use domain::{Date, Position, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

/// The software that its packs name.
pub const SOFTWARE: &str = "daybook test";

/// A recorded ledger that packs are made from.
pub struct PackLedger {
    /// The entries and their tree.
    pub log: Arc<MemoryLog>,
    /// The verifier key of the log.
    pub key: String,
    /// The latest checkpoint.
    pub checkpoint: Vec<u8>,
    /// The heads of closed days.
    pub heads: Heads,
    /// The latest configuration.
    pub registry: Registry,
    /// Signs receipts and packs.
    pub receipt_key: SigningKey,
    /// Signs checkpoints; a forger of packs has not got it.
    pub log_key: Arc<SigningKey>,
    positions: StreamPositions,
    lines: BTreeMap<Date, Vec<u8>>,
    _dir: tempfile::TempDir,
}

struct Positions<'a>(&'a StreamPositions);

impl StreamIndex for Positions<'_> {
    fn positions(&self, aggregate_type: &str, aggregate_id: &str) -> Vec<Position> {
        self.0.of(aggregate_type, aggregate_id)
    }
}

struct Lines<'a>(&'a BTreeMap<Date, Vec<u8>>);

impl DayLines for Lines<'_> {
    fn day_lines(&self, date: Date) -> Option<Vec<u8>> {
        self.0.get(&date).cloned()
    }
}

/// The `n`-th thing of its kind.
pub fn id(kind: IdKind, n: u8) -> String {
    kind.id(&[n; 16])
}

/// The `n`-th device.
pub fn device(n: u8) -> String {
    id(IdKind::Device, n)
}

/// The `n`-th site.
pub fn site(n: u8) -> String {
    id(IdKind::Site, n)
}

fn sealed() -> Value {
    json!({"sealed": {"key": "a", "nonce": "b", "ciphertext": "c"}})
}

/// An event of an account, of which `owner` is what its stream is about.
fn event(
    account: Option<u8>,
    stream: (&'static str, &str),
    owner: &str,
    event_type: &'static str,
    payload: &Value,
) -> NewEvent {
    let mut metadata = json!({"actor": "system:test", "reason": {"code": "test"}});
    if let Some(account) = account {
        metadata["account"] = json!(id(IdKind::Account, account));
        metadata["owner"] = json!(owner);
    }
    NewEvent {
        aggregate_type: stream.0.into(),
        aggregate_id: stream.1.to_owned(),
        event_type: event_type.into(),
        event_version: "1.0".into(),
        payload: Canonical::of(payload).expect("canonical"),
        metadata: Canonical::of(&metadata).expect("canonical"),
        salt: None,
    }
}

fn account_of(account: u8) -> Vec<NewEvent> {
    let (name, place) = (id(IdKind::Account, account), site(account));
    let site_of =
        json!({"name": sealed(), "vertical": "haccp", "timezone": "Europe/Berlin", "address": null});
    vec![
        event(
            Some(account),
            ("account", &name),
            &name,
            "AccountOpened",
            &json!({"name": sealed()}),
        ),
        event(Some(account), ("site", &place), &place, "SiteCreated", &site_of),
    ]
}

fn device_of(account: u8, n: u8, at: u8) -> Vec<NewEvent> {
    let name = device(n);
    let registered = json!({"site": site(at), "local_id": format!("fridge{n}"), "name": sealed(), "model": "test",
        "dev_eui": null, "serial": null, "cadence_s": 60, "notes": null});
    let token = json!({"token": id(IdKind::Token, n), "kind": "device",
        "hash": "$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"});
    vec![
        event(
            Some(account),
            ("device", &name),
            &name,
            "DeviceRegistered",
            &registered,
        ),
        event(Some(account), ("tokens", &name), &name, "TokenIssued", &token),
    ]
}

fn reading(account: u8, n: u8, measured_at: Timestamp, value: f64) -> ReadingGroup {
    let of = |key: &'static str, unit: &'static str, value| PendingValue {
        key: key.into(),
        kind: key.into(),
        label: None,
        unit: unit.into(),
        value,
        auxiliary: false,
    };
    let mut values = vec![of("temperature", "Cel", value)];
    if n % 2 == 1 {
        values.insert(0, of("humidity", "%", 60.0));
    }
    ReadingGroup {
        account: id(IdKind::Account, account).into(),
        token: id(IdKind::Token, n).into(),
        metadata: format!("{{\"received_at\":\"{measured_at}\"}}").into_bytes(),
        idempotency: None,
        readings: vec![PendingReading {
            device: device(n).into(),
            number: None,
            measured_at,
            time_from: TimeFrom::Device,
            claimed_at: None,
            values,
            uplink: None,
        }],
        want_channels: false,
        want_entries: false,
    }
}

/// A file that device 1 is shown in.
pub const CLIP: &[u8] = b"a clip of what the camera saw";
/// A file that nobody attaches.
pub const CERTIFICATE: &[u8] = b"a certificate";

/// The registration of a file of device 1.
fn artefact_of(n: u8, file: &[u8], salt: &[u8]) -> NewEvent {
    let fact = json!({"artefact": {"media_type": "video/mp4", "salt": base64url(salt),
        "sha256": sha256_of(&[salt, file]).to_base64(), "size": file.len()},
        "device": device(1), "name": sealed()});
    let name = id(IdKind::Artefact, n);
    event(
        Some(1),
        ("artefact", &name),
        &device(1),
        "ArtefactRegistered",
        &fact,
    )
}

impl Recorder {
    async fn events(&self, events: Vec<NewEvent>) {
        self.clock.pass(1_000_000);
        let group = EventGroup {
            events: events.into_iter().map(|event| (event, None)).collect(),
            ..EventGroup::default()
        };
        self.sequencer.record(group).await.expect("recorded");
    }

    /// So many readings of these devices of the account, one a minute each.
    /// Records what is refused otherwise.
    async fn unjudged(&self, event: NewEvent) {
        self.clock.pass(1_000_000);
        let group = EventGroup {
            events: vec![(event, None)],
            carried_over: true,
            ..EventGroup::default()
        };
        self.sequencer.record(group).await.expect("recorded");
    }

    async fn readings(&self, account: u8, devices: &[u8], count: u32) {
        for n in 0..count {
            self.clock.pass(60_000_000);
            for device in devices {
                let value = f64::from(*device) + f64::from(n % 10) / 10.0;
                let group = reading(account, *device, domain::ports::Clock::now(&*self.clock), value);
                self.sequencer.record_readings(group).await.expect("recorded");
            }
        }
    }
}

impl PackLedger {
    /// Records it.
    ///
    /// Days from 2026-05-17: 17 and 18 busy; 19 idle; 20 device 3 moves from site 3 to site 1, device 1 changes; 21 only
    /// device 1 and account 2; a gap of ten idle days; 1 June busy; 2 June is begun.
    ///
    /// # Panics
    /// Where the sequencer refuses anything.
    pub fn record() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(record(7, Story::Plain))
    }

    /// The same up to 1 June, when a `RetentionApplied` names the readings of 18 May to `last`. Readings of those days are to
    /// be kept ten days, later ones longer: the 18th may go, the 25th may not. The bytes stay where they are: whoever shows them breaks the rules.
    ///
    /// # Panics
    /// Where the sequencer refuses anything.
    pub fn record_pruned(last: &'static str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .expect("a runtime")
            .block_on(record(7, Story::Pruned(last)))
    }

    /// The same up to 1 June, when these members `retention` are set one after the other, as they come: by one who has the
    /// log's key and no sequencer that refuses what shortens them. Readings are to be kept ten days before.
    ///
    /// # Panics
    /// Where one of them is no JSON.
    pub fn record_policies(policies: &'static [&'static str]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .expect("a runtime")
            .block_on(record(7, Story::Policies(policies)))
    }

    /// Another one, of one device with so many readings, one a minute.
    ///
    /// # Panics
    /// Where the sequencer refuses anything.
    pub fn record_long(readings: u32) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(record_long(readings))
    }

    /// The same, and alarms: the first of device 1's temperature, opened on 20 May and acknowledged on 21 May, with the
    /// channel's state and a rule of 17 May that was changed on 18 May; one of device 2's; and another of device 1's.
    ///
    /// # Panics
    /// Where the sequencer refuses anything.
    pub fn record_with_alarms() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(record(7, Story::Alarms))
    }

    /// The query of an alarm.
    ///
    /// # Panics
    /// Where there is none.
    pub fn alarm_query(&self, alarm: &str) -> Query {
        let found = find_alarm(&*self.log, &Positions(&self.positions), alarm).expect("an alarm");
        found.query(Days::default()).expect("its days")
    }

    /// The same facts, recorded and signed by somebody else's keys.
    ///
    /// # Panics
    /// Where the sequencer refuses anything.
    pub fn record_by(seed: u8) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(record(seed, Story::Plain))
    }

    /// Makes a pack.
    ///
    /// # Errors
    /// [`MakeError`].
    pub fn make(&self, query: &Query) -> Result<(Vec<u8>, Made), MakeError> {
        self.make_with(query, &[])
    }

    /// Makes a pack with files in it.
    ///
    /// # Errors
    /// [`MakeError`].
    pub fn make_with(&self, query: &Query, attachments: &[PathBuf]) -> Result<(Vec<u8>, Made), MakeError> {
        let (positions, lines) = (Positions(&self.positions), Lines(&self.lines));
        let source = PackSource {
            log: &*self.log,
            tiles: &*self.log,
            checkpoint: &self.checkpoint,
            heads: &self.heads,
            registry: &self.registry,
            streams: &positions,
            lines: &lines,
        };
        let order = Order {
            query,
            asker: "an auditor",
            software: SOFTWARE,
            signer: &self.receipt_key,
            scratch: self._dir.path(),
            attachments,
        };
        let mut out = Vec::new();
        let made = make(&source, &order, &mut out, &mut |_| ControlFlow::Continue(()))?;
        Ok((out, made))
    }

    /// The pack of a subject over some days of May and June 2026, as files.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn files(&self, subject: Subject, from: &str, to: &str) -> Files {
        let (bytes, _) = self.make(&query(subject, from, to)).expect("a pack");
        Files::of(&bytes)
    }

    /// The ledger as a source.
    pub fn source(&self) -> PortsSource<'_> {
        PortsSource {
            name: "a ledger of two accounts".to_owned(),
            log: &*self.log,
            tiles: &*self.log,
            size: domain::ports::EventLog::size(&*self.log),
            checkpoint: Some(self.checkpoint.clone()),
            key: Some(self.key.clone()),
            heads: &self.heads,
        }
    }

    /// The days that have a head.
    pub fn dates(&self) -> Vec<Date> {
        self.heads.dates().expect("heads in memory")
    }

    /// The head of a day.
    ///
    /// # Panics
    /// Where there is none.
    pub fn head(&self, date: &str) -> Vec<u8> {
        let date = Date::parse(date).expect("a day");
        self.heads.get(date).expect("readable").expect("a head")
    }

    /// Writes the nodes that the entries given now need, as the ledger has them.
    ///
    /// # Panics
    /// Where the pack has no form.
    pub fn renode(&self, files: &mut Files) {
        files.renode(&*self.log);
    }

    /// Makes manifest and signature fit the files again.
    ///
    /// # Panics
    /// Where the pack has no form.
    pub fn reseal(&self, files: &mut Files) {
        files.reseal(&self.receipt_key);
    }

    /// Removes lines of entries by position, and of what follows from them, and makes everything fit again.
    ///
    /// # Panics
    /// Where the pack has no form.
    pub fn without(&self, files: &mut Files, positions: &[u64]) {
        let gone: BTreeSet<u64> = positions.iter().copied().collect();
        files.lines("entries.ndjson", |line| !gone.contains(&position_of(line)));
        files.rederive();
        self.renode(files);
        self.reseal(files);
    }

    /// What an auditor has who kept the log's key and these heads or checkpoints.
    ///
    /// # Panics
    /// Where they are none.
    pub fn auditor(&self, kept: &[&[u8]]) -> VerifySettings {
        let evidence = kept.iter().enumerate().map(|(n, bytes)| {
            Evidence::parse(&format!("what was kept ({n})"), bytes).expect("it was kept whole")
        });
        VerifySettings {
            trust: Trust {
                keys: vec![VerifierKey::parse(&self.key).expect("a key")],
                ..Trust::default()
            },
            evidence: evidence.collect(),
            ..VerifySettings::default()
        }
    }
}

/// A query.
///
/// # Panics
/// Where it is none.
pub fn query(subject: Subject, from: &str, to: &str) -> Query {
    let day = |text| Date::parse(text).expect("a day");
    Query::new(subject, day(from), day(to)).expect("a query")
}

/// Verifies a pack of which there is something to say.
///
/// # Panics
/// Where there is no verdict.
pub fn verdict(bytes: &[u8], settings: &VerifySettings) -> PackReport {
    verify("a pack", Cursor::new(bytes), settings, &mut |_| {}).expect("there is a verdict")
}

/// The position that a line of `entries.ndjson` has.
///
/// # Panics
/// Where it is none.
pub fn position_of(line: &[u8]) -> u64 {
    let value: Value = serde_json::from_slice(line).expect("JSON");
    value["position"].as_u64().expect("a position")
}

/// The files of a pack, in order.
#[derive(Debug, Clone)]
pub struct Files(pub Vec<(String, Vec<u8>)>);

impl Files {
    /// Of a pack.
    ///
    /// # Panics
    /// Where it is no archive.
    pub fn of(bytes: &[u8]) -> Self {
        let mut archive = Archive::open(Cursor::new(bytes)).expect("an archive");
        let names: Vec<String> = archive.files.iter().map(|file| file.name.clone()).collect();
        let mut files = Vec::new();
        for (n, name) in names.into_iter().enumerate() {
            let mut bytes = Vec::new();
            let mut content = archive.content(n).expect("readable");
            content.read_to_end(&mut bytes).expect("readable");
            files.push((name, bytes));
        }
        Self(files)
    }

    /// As a pack.
    ///
    /// # Panics
    /// Where memory takes nothing.
    pub fn zip(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut zip = ZipWriter::new(&mut out);
        for (name, bytes) in &self.0 {
            let mut crc32 = Crc32::new();
            crc32.update(bytes);
            zip.add(name, bytes.len() as u64, crc32.finish(), &mut &bytes[..])
                .expect("written");
        }
        zip.finish().expect("written");
        out
    }

    /// A file's bytes.
    ///
    /// # Panics
    /// Where there is none.
    pub fn file(&mut self, name: &str) -> &mut Vec<u8> {
        let file = self.0.iter_mut().find(|(found, _)| found == name);
        &mut file.unwrap_or_else(|| panic!("there is no {name}")).1
    }

    /// Gives a file another name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn rename(&mut self, name: &str, to: &str) {
        let file = self.0.iter_mut().find(|(found, _)| found == name);
        to.clone_into(&mut file.unwrap_or_else(|| panic!("there is no {name}")).0);
    }

    /// Keeps some lines of a file.
    pub fn lines(&mut self, name: &str, keep: impl Fn(&[u8]) -> bool) {
        let file = self.file(name);
        let lines = file.split_inclusive(|b| *b == b'\n');
        let kept = lines.filter(|line| keep(line.strip_suffix(b"\n").unwrap_or(line)));
        *file = kept.flatten().copied().collect();
    }

    /// Replaces the first occurrence of a text in a file.
    ///
    /// # Panics
    /// Where there is none.
    pub fn replace(&mut self, name: &str, old: &str, new: &str) {
        let file = self.file(name);
        let text = String::from_utf8(file.clone()).expect("text");
        assert!(text.contains(old), "{name} has no {old}");
        *file = text.replacen(old, new, 1).into_bytes();
    }

    /// With the sizes and hashes that a manifest needs, where there is one; it is not signed again.
    #[must_use]
    pub fn resummed(mut self) -> Self {
        let Some((_, bytes)) = self.0.iter().find(|(name, _)| name == MANIFEST) else {
            return self;
        };
        let Ok(mut manifest) = Manifest::decode(bytes) else {
            return self;
        };
        for (name, bytes) in &self.0 {
            if let Some(file) = manifest.files.get_mut(name) {
                file.bytes = bytes.len() as u64;
                file.sha256 = sha256(bytes);
            }
        }
        if let Ok(bytes) = manifest.encode() {
            *self.file(MANIFEST) = bytes;
        }
        self
    }

    /// The manifest.
    ///
    /// # Panics
    /// Where it is none.
    pub fn manifest(&mut self) -> Manifest {
        Manifest::decode(self.file(MANIFEST)).expect("a manifest")
    }

    /// Makes again what follows from the entries.
    ///
    /// # Panics
    /// Where they are none.
    pub fn rederive(&mut self) {
        let query = self.manifest().query;
        let (csv, config) = derive(&query, self.file("entries.ndjson")).expect("entries");
        *self.file("readings.csv") = csv;
        *self.file("config.json") = config;
    }

    /// The nodes that fit the entries and heads of the pack.
    ///
    /// # Panics
    /// Where the pack has no form.
    pub fn renode(&mut self, tiles: &dyn TileStore) {
        let manifest = self.manifest();
        let borders = self.heads().iter().map(|(_, head)| head.size().get()).collect();
        let mut walk = Walk::new(manifest.size, borders);
        let mut given = self.positions().into_iter().peekable();
        let (mut prover, mut nodes) = (Prover::new(0), BTreeMap::new());
        while let Some(piece) = walk.next(given.peek().copied()) {
            match piece {
                Piece::Leaf(_) => {
                    given.next();
                }
                Piece::Node { level, index } => {
                    let hash = prover
                        .subtree(tiles, level, index, manifest.size)
                        .expect("a node");
                    let line = format!("{{\"hash\":\"{hash}\",\"index\":{index},\"level\":{level}}}\n");
                    nodes.insert((level, index), line);
                }
            }
        }
        *self.file(NODES) = nodes.into_values().collect::<String>().into_bytes();
    }

    /// Makes manifest and signature fit the files again.
    ///
    /// # Panics
    /// Where the pack has no form.
    pub fn reseal(&mut self, signer: &dyn Signer) {
        let mut manifest = self.manifest();
        let lines = |bytes: &[u8]| bytes.iter().filter(|b| **b == b'\n').count() as u64;
        let is_stub = |line: &&[u8]| line.starts_with(b"{\"leaf_hash\"");
        let entries = self.file("entries.ndjson").clone();
        manifest.counts.stubs = entries.split(|b| *b == b'\n').filter(is_stub).count() as u64;
        manifest.counts.entries = lines(&entries) - manifest.counts.stubs;
        manifest.counts.nodes = lines(self.file(NODES));
        manifest.counts.streams = lines(self.file("streams.ndjson"));
        manifest.counts.heads = self.heads().len() as u64;
        let others = self
            .0
            .iter()
            .filter(|(name, _)| name != MANIFEST && name != MANIFEST_NOTE);
        manifest.files = others
            .map(|(name, bytes)| {
                let file = FileOf {
                    bytes: bytes.len() as u64,
                    sha256: sha256(bytes),
                };
                (name.clone(), file)
            })
            .collect();
        let bytes = manifest.encode().expect("canonical");
        let text = note_text(&manifest.origin, &sha256(&bytes));
        let note = Note::sign(&text, &[signer]).expect("signed");
        *self.file(MANIFEST) = bytes;
        *self.file(MANIFEST_NOTE) = note.encode().into_bytes();
    }

    /// The heads by day.
    ///
    /// # Panics
    /// Where one is none.
    pub fn heads(&self) -> Vec<(String, TlogProof)> {
        let heads = self.0.iter().filter(|(name, _)| name.starts_with("heads/"));
        heads
            .map(|(name, bytes)| (name.clone(), TlogProof::parse(bytes).expect("a head")))
            .collect()
    }

    /// The positions of the entries.
    pub fn positions(&mut self) -> Vec<u64> {
        let lines = self.file("entries.ndjson").split(|b| *b == b'\n');
        lines.filter(|line| !line.is_empty()).map(position_of).collect()
    }

    /// The entries whose line holds that text: position and line.
    pub fn entries_with(&mut self, text: &str) -> Vec<(u64, String)> {
        let file = String::from_utf8(self.file("entries.ndjson").clone()).expect("text");
        let lines = file.lines().filter(|line| line.contains(text));
        lines
            .map(|line| (position_of(line.as_bytes()), line.to_owned()))
            .collect()
    }
}

/// What is recorded.
#[derive(PartialEq, Eq)]
enum Story {
    Plain,
    Alarms,
    /// A `RetentionApplied` names the readings up to that day.
    Pruned(&'static str),
    /// These members `retention` are set, one after the other.
    Policies(&'static [&'static str]),
}

/// A rule of a channel: made, or changed.
fn rule_of(channel: &str, version: u32) -> NewEvent {
    let rule = id(IdKind::Rule, 9);
    let definition = |ok_max| json!({"grace_min": 0, "kind": "range", "ok_max": ok_max});
    let (event_type, definition) = match version {
        1 => ("RuleCreated", definition(5)),
        _ => ("RuleChanged", json!({"new": definition(8), "old": definition(5)})),
    };
    let fact = json!({"channel": channel, "definition": definition, "reason_text": sealed(), "tzdb": "2025b",
        "version": version});
    event(Some(1), ("rule", &rule), channel, event_type, &fact)
}

/// An alarm of the channel of that device's temperature.
fn alarm_of(channel: &str, n: u8, at: Timestamp) -> Vec<NewEvent> {
    let alarm = id(IdKind::Alarm, n);
    let opened = json!({"began_at": at, "channel": channel, "decided_at": at, "decided_by": 9, "kind": "range",
        "opened_at": at, "readings": [9], "rule": id(IdKind::Rule, n), "rule_version": 1, "severity": "alarm",
        "thresholds": {"grace_min": 0}, "value": 9.0});
    let state = json!({"at": at, "decided_by": 9, "from": "ok", "rule": null, "to": "alarm"});
    vec![
        event(Some(1), ("alarm", &alarm), channel, "AlarmOpened", &opened),
        event(
            Some(1),
            ("state", channel),
            channel,
            "ChannelStateChanged",
            &state,
        ),
    ]
}

async fn record(seed: u8, story: Story) -> PackLedger {
    let recorder = Recorder::start(seed);
    let receipt_key = SigningKey::from_seed(&format!("{ORIGIN}/receipt"), &[seed + 100; 32]).expect("a name");
    let vkey = recorder.key.verifier_key().to_string();
    let created = json!({"origin": ORIGIN, "format": 1, "log_keys": [vkey],
        "receipt_keys": [receipt_key.verifier_key().to_string()], "policy": format!("log {vkey}\nquorum none\n"),
        "retention": {"reading": 10}});
    recorder
        .events(vec![event(
            None,
            ("ledger", "main"),
            "",
            "LedgerCreated",
            &created,
        )])
        .await;
    let site_three =
        json!({"name": sealed(), "vertical": "climate", "timezone": "Europe/Berlin", "address": null});
    let mut events = account_of(1);
    events.push(event(
        Some(1),
        ("site", &site(3)),
        &site(3),
        "SiteCreated",
        &site_three,
    ));
    events.extend(account_of(2));
    events.extend(
        [
            device_of(1, 1, 1),
            device_of(1, 2, 1),
            device_of(1, 3, 3),
            device_of(2, 4, 2),
        ]
        .concat(),
    );
    recorder.events(events).await;
    let temperature = |n| {
        let registry = recorder.registry.read();
        let device = registry.device_anywhere(&device(n)).expect("a device");
        let channel = registry.channel_by_key(device, "temperature");
        channel.expect("a channel").id.to_string()
    };
    // 17 and 18 May.
    for version in [1, 2] {
        recorder.readings(1, &[1, 2, 3], 4).await;
        recorder.readings(2, &[4], 3).await;
        if story == Story::Alarms {
            recorder.events(vec![rule_of(&temperature(1), version)]).await;
        }
        recorder.midnight();
    }
    // 19 May is idle.
    recorder.midnight();
    let (one, three) = (device(1), device(3));
    let moved =
        json!({"from_site": site(3), "to_site": site(1), "effective_at": "2026-05-20T00:00:00.000000Z"});
    let changed = json!({"changes": {"cadence_s": {"old": 60, "new": 120}}});
    recorder
        .events(vec![event(
            Some(1),
            ("device", &three),
            &three,
            "DeviceMoved",
            &moved,
        )])
        .await;
    recorder.readings(1, &[1, 3], 3).await;
    recorder
        .events(vec![event(
            Some(1),
            ("device", &one),
            &one,
            "DeviceChanged",
            &changed,
        )])
        .await;
    recorder.readings(1, &[1, 2], 2).await;
    if story == Story::Alarms {
        let now = domain::ports::Clock::now(&*recorder.clock);
        for (n, device) in [(1, 1), (2, 2), (3, 1)] {
            recorder.events(alarm_of(&temperature(device), n, now)).await;
        }
    }
    recorder.midnight();
    // 21 May.
    recorder.readings(1, &[1], 3).await;
    if story == Story::Alarms {
        let (alarm, channel) = (id(IdKind::Alarm, 1), temperature(1));
        let seen = json!({"reason": "seen", "text": sealed()});
        let event = event(Some(1), ("alarm", &alarm), &channel, "AlarmAcknowledged", &seen);
        recorder.events(vec![event]).await;
    }
    recorder.readings(2, &[4], 2).await;
    // A clip and a certificate of device 1.
    recorder
        .events(vec![
            artefact_of(1, CLIP, &[9; 16]),
            artefact_of(2, CERTIFICATE, &[]),
        ])
        .await;
    for _ in 0..11 {
        recorder.midnight();
    }
    // 1 June.
    if let Story::Pruned(last) = story {
        let count = if last == "2026-05-18" { 15 } else { 30 };
        let applied = json!({"class": "reading", "days": {"first": "2026-05-18", "last": last}, "count": count,
            "policy": 0, "holds": [], "reason": "test"});
        let longer = json!({"retention": {"reading": 400}});
        let of_ledger = |event_type, fact| event(None, ("ledger", "main"), "", event_type, fact);
        let longer = of_ledger("RetentionPolicySet", &longer);
        recorder.events(vec![longer]).await;
        recorder
            .events(vec![of_ledger("RetentionApplied", &applied)])
            .await;
    }
    if let Story::Policies(policies) = story {
        for policy in policies {
            let retention: Value = serde_json::from_str(policy).expect("JSON");
            let set = json!({"retention": retention});
            let set = event(None, ("ledger", "main"), "", "RetentionPolicySet", &set);
            recorder.unjudged(set).await;
        }
    }
    recorder.readings(1, &[1, 2, 3], 2).await;
    recorder.readings(2, &[4], 2).await;
    recorder.midnight();
    // 2 June is begun.
    recorder.readings(1, &[1, 2], 2).await;
    finished(recorder, receipt_key, vkey).await
}

/// One device of one account, and so many readings, one a minute from the first day on; the last day is closed.
async fn record_long(readings: u32) -> PackLedger {
    let recorder = Recorder::start(7);
    let receipt_key = SigningKey::from_seed(&format!("{ORIGIN}/receipt"), &[107; 32]).expect("a name");
    let vkey = recorder.key.verifier_key().to_string();
    let created = json!({"origin": ORIGIN, "format": 1, "log_keys": [vkey],
        "receipt_keys": [receipt_key.verifier_key().to_string()], "policy": ""});
    let created = event(None, ("ledger", "main"), "", "LedgerCreated", &created);
    recorder.events(vec![created]).await;
    recorder
        .events([account_of(1), device_of(1, 1, 1)].concat())
        .await;
    recorder.readings(1, &[1], readings).await;
    recorder.midnight();
    recorder.readings(1, &[1], 1).await;
    finished(recorder, receipt_key, vkey).await
}

async fn finished(recorder: Recorder, receipt_key: SigningKey, vkey: String) -> PackLedger {
    recorder.sequencer.stop().await;
    let positions = recorder.sequencer.positions().clone();
    let registry = recorder.registry.read().clone();
    let (checkpoint, kept) = (recorder.checkpoint(), recorder.kept.clone());
    drop(recorder.sequencer);
    let lines = kept.lines.lock().clone();
    PackLedger {
        log: recorder.log,
        key: vkey,
        checkpoint,
        heads: Heads(recorder.heads),
        registry,
        receipt_key,
        log_key: recorder.key,
        positions,
        lines,
        _dir: recorder.dir,
    }
}
