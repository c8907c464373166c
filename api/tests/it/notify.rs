//! Alarms reach people and their systems: real conversations with receivers, a mail server and a bot's API.
//!
//! The alarms are recorded as entries, as the engine does; what follows is the service's own doing.

use crate::service::Moved;
use api::app::{App, Outside};
use api::config::Settings;
use api::entropy::SeededEntropy;
use api::mail::{MailSettings, MailTls};
use api::notify::telegram::TelegramSettings;
use api::serve::serve;
use commands::sequencer::EventGroup;
use domain::entry::NewEvent;
use domain::event::contact::Hours;
use domain::event::{
    AlarmCleared, AlarmOpened, DeviceState, DeviceStateChanged, EVENT_VERSION, Event, Metadata, SilenceEnded,
    SilenceOpened, Thresholds,
};
use domain::ids::IdKind;
use domain::ports::Clock;
use domain::rule::{Band, Kind, Severity};
use domain::{Position, Timestamp};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tests::certificates::Certificates;
use tests::python;
use tests::receiver::{Answer, Came, Receiver};
use tests::smtp::{MailServer, link, words};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const START: &str = "2026-05-18T09:00:00Z";

/// A service in this process that tells people.
struct Telling {
    runtime: tokio::runtime::Runtime,
    app: Option<Arc<App>>,
    stop: Option<oneshot::Sender<()>>,
    url: String,
    token: String,
    clock: Arc<Moved>,
    agent: ureq::Agent,
    dir: Arc<tempfile::TempDir>,
    alarms: std::cell::Cell<u8>,
}

impl Telling {
    fn start(set: impl FnOnce(&mut Settings, &std::path::Path)) -> Self {
        Self::open(
            Arc::new(tempfile::tempdir().expect("a directory")),
            Moved::at(START),
            set,
        )
    }

    fn open(
        dir: Arc<tempfile::TempDir>,
        clock: Arc<Moved>,
        set: impl FnOnce(&mut Settings, &std::path::Path),
    ) -> Self {
        let mut settings = Settings {
            data: dir.path().join("data"),
            anchor: Some(dir.path().join("anchor")),
            notify_private_targets: true,
            notify_retry_s: 30,
            self_audit_mb_per_s: 0,
            user_rate_per_minute: 0,
            ..Settings::default()
        };
        set(&mut settings, dir.path());
        let outside = Outside {
            clock: clock.clone(),
            entropy: Arc::new(SeededEntropy::from_os().expect("randomness")),
            clock_accepted: false,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let (stop, stopped) = oneshot::channel();
        let (app, url) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let app = App::open(settings, outside).await.expect("opens");
            app.listens_on(address);
            let served = serve(Arc::clone(&app), listener, async move {
                // Dropping the sender stops it, too.
                let _ = stopped.await;
            });
            tokio::spawn(served);
            (app, format!("http://{address}"))
        });
        let token = std::fs::read_to_string(dir.path().join("data/owner-token")).expect("the owner's token");
        Self {
            runtime,
            app: Some(app),
            stop: Some(stop),
            url,
            token: token.trim().to_owned(),
            clock,
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .new_agent(),
            dir,
            alarms: std::cell::Cell::new(0),
        }
    }

    fn app(&self) -> &Arc<App> {
        self.app.as_ref().expect("it runs")
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.ask_of(method, path, body, None)
    }

    /// The same of what has that entity tag.
    fn ask_if_match(&self, method: &str, path: &str, tag: &str, body: &Value) -> (u16, Value) {
        self.ask_of(method, path, Some(body), Some(tag))
    }

    fn ask_of(&self, method: &str, path: &str, body: Option<&Value>, tag: Option<&str>) -> (u16, Value) {
        let url = format!("{}{path}", self.url);
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header("Authorization", format!("Bearer {}", self.token));
        if body.is_some() {
            request = request.header("Content-Type", "application/json");
        }
        if let Some(tag) = tag {
            request = request.header("If-Match", format!("\"{tag}\""));
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut answer = self
            .agent
            .run(request.body(text).expect("a request"))
            .expect("an answer");
        let bytes = answer.body_mut().read_to_vec().expect("a body");
        (
            answer.status().as_u16(),
            serde_json::from_slice(&bytes).unwrap_or_default(),
        )
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, value) = self.ask("POST", path, Some(body));
        assert!((200..300).contains(&status), "{path}: {status} {value}");
        value
    }

    fn get(&self, path: &str) -> Value {
        let (status, value) = self.ask("GET", path, None);
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// A page, as a browser without a session asks for it.
    fn page(&self, method: &str, url: &str, form: &str) -> (u16, String) {
        let path = &url[url
            .find("/a/")
            .or(url.find("/u/"))
            .or(url.find("/c/"))
            .expect("a link")..];
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.to_owned())
            .expect("a request");
        let mut answer = self.agent.run(request).expect("an answer");
        let text = answer.body_mut().read_to_string().expect("a page");
        (answer.status().as_u16(), text)
    }

    fn until<T>(&self, what: &str, there: impl Fn() -> Option<T>) -> T {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = there() {
                return found;
            }
            assert!(
                Instant::now() < until,
                "{what} never came: {}",
                self.get("/v1/outbound")
            );
            std::thread::yield_now();
        }
    }

    /// What was tried, oldest first, once so many outcomes are there.
    fn outbound(&self, query: &str, count: usize) -> Vec<Value> {
        self.until("the outcome", || {
            let mut all = self.get(&format!("/v1/outbound{query}"))["data"]
                .as_array()
                .cloned()?;
            all.reverse();
            (all.len() >= count).then_some(all)
        })
    }

    /// Waits until so many messages of this sort are recorded as sent: one that has arrived is not yet, and what comes
    /// next is counted from when it is.
    fn sent(&self, what: &str, count: usize) {
        self.until(what, || {
            let all = self.get("/v1/outbound?type=NotificationSent");
            let sent = all["data"].as_array()?.iter().filter(|one| one["what"] == what);
            (sent.count() >= count).then_some(())
        });
    }

    /// A site with a device and a channel: (site, device, channel).
    fn channel(&self, local: &str) -> (String, String, String) {
        let site = self.post("/v1/sites", &json!({"name": "Kitchen", "vertical": "climate"}));
        self.channel_at(site["id"].as_str().expect("an id"), local)
    }

    fn channel_at(&self, site: &str, local: &str) -> (String, String, String) {
        let device = self.post(
            "/v1/devices",
            &json!({"site_id": site, "local_id": local, "name": local, "model": "x"}),
        );
        let device = device["id"].as_str().expect("an id").to_owned();
        let sensor = self.post(
            &format!("/v1/devices/{device}/sensors"),
            &json!({"kind": "temperature", "label": "inside"}),
        );
        let channel = sensor["channel_id"].as_str().expect("an id").to_owned();
        (site.to_owned(), device, channel)
    }

    fn account(&self) -> String {
        self.get("/v1/account")["id"].as_str().expect("an id").to_owned()
    }

    fn record(&self, stream: &str, event: &Event) -> Position {
        let owner = match event {
            Event::AlarmOpened(opened) => Some(opened.channel.clone()),
            _ => None,
        };
        let metadata = Metadata {
            account: Some(self.account()),
            owner,
            actor: Some("system:rules".to_owned()),
            ..Metadata::default()
        };
        let new = NewEvent {
            aggregate_type: event.aggregate_type().into(),
            aggregate_id: stream.to_owned(),
            event_type: event.event_type().into(),
            event_version: EVENT_VERSION.into(),
            payload: event.payload(None).expect("canonical"),
            metadata: metadata.write().expect("canonical"),
            salt: None,
        };
        let group = EventGroup {
            events: vec![(new, None)],
            ..EventGroup::default()
        };
        let app = self.app();
        let recorded = self
            .runtime
            .block_on(app.sequencer().record(group))
            .expect("recorded");
        let position = Position(recorded.positions.end - 1);
        assert!(
            self.runtime
                .block_on(app.projector().wait_for(position, PATIENCE))
        );
        position
    }

    /// An alarm of a channel opens; its id.
    fn opens(&self, channel: &str) -> String {
        let number = self.alarms.get();
        self.alarms.set(number + 1);
        let alarm = IdKind::Alarm.id(&[number; 16]);
        let now = self.clock.now();
        self.record(
            &alarm,
            &Event::AlarmOpened(AlarmOpened {
                began_at: now.plus_micros(-900_000_000),
                channel: channel.to_owned(),
                decided_at: now,
                decided_by: Position(1),
                flapping: false,
                kind: Kind::Range,
                late: false,
                opened_at: now,
                readings: vec![Position(1)],
                rule: IdKind::Rule.id(&[1; 16]),
                rule_version: 1,
                severity: Severity::Alarm,
                thresholds: Thresholds {
                    band: Band {
                        ok_min: Some(-2.0),
                        ok_max: Some(5.0),
                        ..Band::default()
                    },
                    grace_min: 15,
                    min_interval_s: None,
                },
                value: Some(9.4),
                window: None,
            }),
        );
        alarm
    }

    fn clears(&self, alarm: &str) {
        self.record(
            alarm,
            &Event::AlarmCleared(AlarmCleared {
                cleared_at: self.clock.now(),
                decided_at: self.clock.now(),
                decided_by: Position(1),
                late: false,
                readings: vec![Position(1)],
                value_at: Some(4.0),
                withdrawn: false,
            }),
        );
    }

    fn pass(&self, seconds: u64) {
        self.clock.pass(seconds);
    }

    fn rows(&self) -> Vec<String> {
        let path = self.dir.path().join("data/projections.sqlite");
        let db = rusqlite::Connection::open(path).expect("opens");
        let mut statement = db
            .prepare("SELECT id || what || state || due_at || attempts || coalesce(done_at, '') FROM notifications ORDER BY id")
            .expect("prepared");
        let rows = statement.query_map([], |row| row.get(0)).expect("asked");
        rows.map(|row| row.expect("a row")).collect()
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(app) = self.app.take() {
            self.runtime.block_on(app.stop());
        }
    }
}

fn ok() -> Receiver {
    Receiver::start(|_, _| Answer::status(204))
}

fn verified(secret: &str, came: &[Came]) -> Vec<String> {
    let python = python::with("webhooks", &["standardwebhooks==1.0.0"]).expect("the library");
    let mut child = Command::new(python)
        .arg(python::script("webhook_verify.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    for one in came {
        let line = json!({
            "secret": secret,
            "id": one.header("webhook-id"),
            "timestamp": one.header("webhook-timestamp"),
            "signature": one.header("webhook-signature"),
            "reference": one.header("x-opensense-signature"),
            "body": one.body,
        });
        writeln!(stdin, "{line}").expect("written");
    }
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_webhook_gets_each_event_signed_and_in_order_and_again_what_it_did_not_take() {
    let telling = Telling::start(|_, _| {});
    let receiver = ok();
    let made = telling.post(
        "/v1/webhooks",
        &json!({
            "name": "plant", "url": format!("{}/hook?key=of-the-receiver", receiver.url),
            "preferences": {"reference_headers": true},
        }),
    );
    let secret = made["secret"].as_str().expect("shown once").to_owned();
    assert!(
        !made["address"]
            .as_str()
            .expect("shown")
            .contains("of-the-receiver")
    );
    let id = made["id"].as_str().expect("an id");
    assert!(telling.get(&format!("/v1/contacts/{id}")).get("secret").is_none());
    let (site, device, channel) = telling.channel("fridge");
    // Busy, then out of order, then hasty, then well.
    receiver.answer(|_, before| match before {
        0 => Answer::status(500),
        1 => Answer::HangUp,
        2 => Answer::Say(429, vec![("retry-after", "600".to_owned())], String::new()),
        _ => Answer::status(204),
    });
    let alarm = telling.opens(&channel);
    for (attempt, wait) in [(1, 60), (2, 120), (3, 700)] {
        telling.outbound("", attempt);
        telling.pass(wait);
    }
    let came = receiver.until("/hook", 4);
    let ids: Vec<&str> = came.iter().map(|one| one.header("webhook-id")).collect();
    assert!(
        ids.iter().all(|one| *one == ids[0] && one.starts_with("wh_")),
        "{ids:?}"
    );
    let body = came[3].json();
    assert_eq!(body["delivery"]["attempt"], 4);
    assert_eq!(body["delivery"]["id"], ids[0]);
    assert_eq!(came[3].header("x-opensense-delivery-id"), ids[0]);
    let event = &body["event"];
    assert_eq!(event["kind"], "alarm_opened");
    assert_eq!(
        (&event["site_id"], &event["device_id"], &event["channel_id"]),
        (&json!(site), &json!(device), &json!(channel))
    );
    assert_eq!(event["thresholds"], json!({"ok_min": -2.0, "ok_max": 5.0}));
    assert_eq!(event["value_at"], 9.4);
    telling.clears(&alarm);
    let came = receiver.until("/hook", 5);
    assert_eq!(came[4].json()["event"]["kind"], "alarm_cleared");
    assert_eq!(verified(&secret, &came), ["ok"; 5]);
    assert!(verified("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &came)[0].starts_with("wrong"));
    let sent = telling.outbound("", 5);
    let codes: Vec<&str> = sent
        .iter()
        .map(|one| one["code"].as_str().expect("a code"))
        .collect();
    assert_eq!(
        codes,
        ["500", "connection_failed", "429", "204", "204"],
        "{sent:?}"
    );
    // A client's error is final; it goes again when somebody asks, under the same id.
    receiver.answer(|_, _| Answer::status(410));
    telling.opens(&channel);
    let sent = telling.outbound("?type=NotificationFailed", 4);
    let dead = sent.last().expect("the newest");
    assert_eq!((&dead["code"], &dead["next_at"]), (&json!("410"), &Value::Null));
    receiver.answer(|_, _| Answer::status(200));
    let notification = dead["notification_id"].as_str().expect("an id");
    telling.post(&format!("/v1/outbound/{notification}/redeliver"), &json!({}));
    let came = receiver.until("/hook", 7);
    assert_eq!(came[5].header("webhook-id"), came[6].header("webhook-id"));
    // Another secret signs from now on.
    let rotated = telling.post(&format!("/v1/webhooks/{id}/rotate-secret"), &json!({}));
    telling.post(&format!("/v1/contacts/{id}/test"), &json!({}));
    let came = receiver.until("/hook", 8);
    assert_eq!(came[7].json()["event"]["kind"], "test");
    assert!(verified(&secret, &came[7..])[0].starts_with("wrong"));
    assert_eq!(
        verified(rotated["secret"].as_str().expect("shown once"), &came[7..]),
        ["ok"]
    );
}

#[test]
fn a_webhook_reaches_nothing_private_and_follows_three_redirects_at_most() {
    let telling = Telling::start(|settings, _| settings.notify_private_targets = false);
    let receiver = ok();
    for url in [receiver.url.replace("http://", "https://"), receiver.url.clone()] {
        let made = telling.post("/v1/webhooks", &json!({"name": "inside", "url": url}));
        telling.post(
            &format!("/v1/contacts/{}/test", made["id"].as_str().expect("an id")),
            &json!({}),
        );
    }
    let sent = telling.outbound("?type=NotificationFailed", 2);
    let codes: Vec<&str> = sent
        .iter()
        .map(|one| one["code"].as_str().expect("a code"))
        .collect();
    assert!(
        codes.contains(&"target_not_allowed") && codes.contains(&"https_only"),
        "{codes:?}"
    );
    assert!(receiver.came("/").is_empty());
    drop(telling);

    let telling = Telling::start(|_, _| {});
    let receiver = Receiver::start(|came, _| {
        let hop: u32 = came.path.trim_start_matches("/hop").parse().unwrap_or(0);
        match came.path.as_str() {
            "/hop3" => Answer::status(200),
            "/down" => Answer::Say(
                302,
                vec![("location", "file:///etc/passwd".to_owned())],
                String::new(),
            ),
            path if path.starts_with("/for-ever") => {
                Answer::Say(307, vec![("location", "/for-ever".to_owned())], String::new())
            }
            _ => Answer::Say(307, vec![("location", format!("/hop{}", hop + 1))], String::new()),
        }
    });
    for path in ["/hop0", "/for-ever", "/down"] {
        let made = telling.post(
            "/v1/webhooks",
            &json!({"name": "hops", "url": format!("{}{path}", receiver.url)}),
        );
        telling.post(
            &format!("/v1/contacts/{}/test", made["id"].as_str().expect("an id")),
            &json!({}),
        );
    }
    telling.outbound("?type=NotificationSent", 1);
    telling.outbound("?type=NotificationFailed", 2);
    assert_eq!(receiver.came("/hop").len(), 4);
    assert_eq!(receiver.came("/for-ever").len(), 4);
    let last = receiver.came("/hop3");
    assert_eq!(last[0].json()["event"]["kind"], "test");
}

#[test]
fn one_receiver_that_hangs_delays_no_other() {
    let telling = Telling::start(|_, _| {});
    let (hangs, well) = (
        Receiver::start(|_, _| Answer::Hang(Duration::from_secs(120))),
        ok(),
    );
    for receiver in [&hangs, &well] {
        telling.post(
            "/v1/webhooks",
            &json!({"name": "one", "url": format!("{}/hook", receiver.url)}),
        );
    }
    let (_, _, channel) = telling.channel("fridge");
    let alarm = telling.opens(&channel);
    hangs.until("/hook", 1);
    telling.clears(&alarm);
    well.until("/hook", 2);
    assert_eq!(hangs.came("/hook").len(), 1, "one at a time");
}

fn mailing(settings: &mut Settings, port: u16) {
    settings.mail = Some(MailSettings {
        host: "localhost".to_owned(),
        port: Some(port),
        tls: MailTls::None,
        from: "Daybook <log@example.eu>".to_owned(),
        credentials_file: None,
        ca_file: None,
        hello: None,
        timeout_s: 20,
    });
    settings.notify_mail_from = Some("Daybook alarms <alarms@example.eu>".to_owned());
}

fn mail_server(dir: &std::path::Path) -> MailServer {
    let certificates = Certificates::make(dir, "good");
    MailServer::start(&dir.join("mails"), "none", &certificates).expect("a mail server")
}

#[test]
fn a_mailbox_confirms_is_told_acknowledges_once_and_leaves_with_one_click() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = mail_server(dir.path());
    let telling = Telling::start(|settings, _| mailing(settings, server.port));
    let taken = |count: usize| {
        telling.until("the mail", || {
            Some(server.taken()).filter(|all| all.len() >= count)
        })
    };
    let you = telling.get("/v1/account")["you"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let made = telling.post(
        "/v1/contacts",
        &json!({"kind": "email", "name": "Kim", "address": "kim@example.eu", "user_id": you}),
    );
    let id = made["id"].as_str().expect("an id").to_owned();
    assert_eq!(made["state"], "pending");
    let (_, _, channel) = telling.channel("fridge");
    telling.opens(&channel);
    let confirm = link(&taken(1)[0].message, "c");
    assert_eq!(telling.page("GET", &confirm, "").0, 200);
    assert_eq!(
        telling.get(&format!("/v1/contacts/{id}"))["state"],
        "pending",
        "looking changes nothing"
    );
    assert_eq!(telling.page("POST", &confirm, "").0, 200);
    assert_eq!(telling.get(&format!("/v1/contacts/{id}"))["state"], "active");
    // What was opened before it was confirmed is not told.
    let alarm = telling.opens(&channel);
    let mail = taken(2)[1].message.clone();
    assert!(
        mail.contains("From: \"Daybook alarms\" <alarms@example.eu>"),
        "{mail}"
    );
    assert!(mail.contains("Subject: [ALARM] Kitchen fridge inside"), "{mail}");
    assert!(
        mail.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"),
        "{mail}"
    );
    assert!(mail.contains("multipart/alternative"), "{mail}");
    assert_eq!(server.taken().len(), 2);
    let acknowledge = link(&mail, "a");
    let (status, page) = telling.page("GET", &acknowledge, "");
    assert_eq!(status, 200);
    assert!(page.contains("9.4") && page.contains("Kitchen"), "{page}");
    let acknowledged = || {
        let path = format!("/v1/entries?stream=alarm/{alarm}");
        let url = format!("{}{path}", telling.url);
        let mut answer = telling
            .agent
            .get(url)
            .header("Authorization", format!("Bearer {}", telling.token))
            .call()
            .expect("an answer");
        let text = answer.body_mut().read_to_string().expect("text");
        text.lines()
            .filter(|line| line.contains("AlarmAcknowledged"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert!(acknowledged().is_empty(), "looking changes nothing");
    assert_eq!(telling.page("POST", &acknowledge, "reason=nothing").0, 422);
    assert_eq!(telling.page("POST", &acknowledge, "reason=other").0, 422);
    assert_eq!(
        telling
            .page("POST", &acknowledge, "reason=door_open&text=for+the+delivery")
            .0,
        200
    );
    // The same again is the same; anything else is not taken any more.
    assert_eq!(
        telling
            .page("POST", &acknowledge, "reason=door_open&text=for+the+delivery")
            .0,
        200
    );
    assert_eq!(telling.page("POST", &acknowledge, "reason=in_use").0, 409);
    let entries = acknowledged();
    assert_eq!(entries.len(), 1);
    // Whose it is said to be is no proof: it is not that person's own mailbox.
    assert!(
        entries[0].contains(&format!("\"actor\":\"{id}\"")) && !entries[0].contains(&you),
        "{}",
        entries[0]
    );
    let mut forged = acknowledge.clone().into_bytes();
    let last = forged.len() - 1;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("ASCII");
    assert_eq!(telling.page("POST", &forged, "reason=seen").0, 404);
    assert_eq!(telling.page("GET", &forged, "").0, 404);
    telling.opens(&channel);
    let late = link(&taken(3)[2].message, "a");
    telling.pass(25 * 3600);
    assert_eq!(telling.page("POST", &late, "reason=seen").0, 404, "it is over");
    // A link for leaving acknowledges nothing, and one for acknowledging does not leave.
    let leave = link(&mail, "u");
    assert_eq!(
        telling
            .page("POST", &leave.replace("/u/", "/a/"), "reason=seen")
            .0,
        404
    );
    assert_eq!(telling.page("GET", &leave, "").0, 200);
    assert_eq!(telling.page("POST", &leave, "List-Unsubscribe=One-Click").0, 200);
    assert_eq!(
        telling.get(&format!("/v1/contacts/{id}"))["state"],
        "unsubscribed"
    );
    telling.opens(&channel);
    assert_eq!(
        telling.page("POST", &confirm, "").0,
        404,
        "an old mail does not bring it back"
    );
    let (status, _) = telling.ask("POST", &format!("/v1/contacts/{id}/confirm"), Some(&json!({})));
    assert_eq!(status, 409, "who unsubscribed is not asked again");
    // Nor by taking the contact away and adding it anew.
    let kim = json!({"kind": "email", "name": "Kim", "address": "kim@example.eu"});
    let (status, refused) = telling.ask("POST", "/v1/contacts", Some(&kim));
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("contact_exists")),
        "{refused}"
    );
    assert_eq!(server.taken().len(), 3);
    // They come back by their own link, from the page alone: a mail program's one click only leaves.
    let (status, page) = telling.page("GET", &leave, "");
    assert!(status == 200 && page.contains("Get messages again"), "{page}");
    assert_eq!(telling.page("POST", &leave, "List-Unsubscribe=One-Click").0, 200);
    assert_eq!(
        telling.get(&format!("/v1/contacts/{id}"))["state"],
        "unsubscribed"
    );
    assert_eq!(telling.page("POST", &leave, "again=yes").0, 200);
    assert_eq!(telling.get(&format!("/v1/contacts/{id}"))["state"], "active");
    assert_eq!(telling.page("POST", &leave, "").0, 200);
    assert_eq!(telling.ask("DELETE", &format!("/v1/contacts/{id}"), None).0, 204);
    let (status, refused) = telling.ask("POST", "/v1/contacts", Some(&kim));
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("contact_unsubscribed")),
        "{refused}"
    );
    assert_eq!(
        telling.page("POST", &leave, "again=yes").0,
        404,
        "it was taken away"
    );
}

#[test]
fn whoever_acknowledges_from_their_own_mailbox_is_recorded_as_themselves() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = mail_server(dir.path());
    let telling = Telling::start(|settings, _| mailing(settings, server.port));
    let kim = telling.post(
        "/v1/users",
        &json!({"email": "kim@example.eu", "name": "Kim", "role": "operator"}),
    );
    let kim = kim["id"].as_str().expect("an id").to_owned();
    let made = telling.post(
        "/v1/contacts",
        &json!({"kind": "email", "name": "Kim", "address": "Kim@Example.eu", "user_id": kim}),
    );
    let taken = |count: usize| {
        telling.until("the mail", || {
            Some(server.taken()).filter(|all| all.len() >= count)
        })
    };
    telling.page("POST", &link(&taken(1)[0].message, "c"), "");
    let (_, _, channel) = telling.channel("fridge");
    let alarm = telling.opens(&channel);
    let acknowledge = link(&taken(2)[1].message, "a");
    assert_eq!(telling.page("POST", &acknowledge, "reason=door_open").0, 200);
    let shown = telling.get(&format!("/v1/events/{alarm}"));
    assert_eq!(
        (&shown["acknowledged"], &shown["acknowledged_by"]),
        (&json!(true), &json!(kim)),
        "{shown}"
    );
    // Whoever is no user any more is recorded as the contact that they still are.
    assert_eq!(telling.ask("DELETE", &format!("/v1/users/{kim}"), None).0, 204);
    let alarm = telling.opens(&channel);
    let acknowledge = link(&taken(3)[2].message, "a");
    assert_eq!(telling.page("POST", &acknowledge, "reason=door_open").0, 200);
    assert_eq!(
        telling.get(&format!("/v1/events/{alarm}"))["acknowledged_by"],
        made["id"]
    );
}

#[test]
fn ten_mails_an_hour_then_one_digest_and_a_mailbox_that_refuses_bounces() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = mail_server(dir.path());
    let telling = Telling::start(|settings, _| mailing(settings, server.port));
    let made = telling.post(
        "/v1/contacts",
        &json!({"kind": "email", "name": "Kim", "address": "kim@example.eu"}),
    );
    let id = made["id"].as_str().expect("an id").to_owned();
    let taken = |count: usize| {
        telling.until("the mail", || {
            Some(server.taken()).filter(|all| all.len() >= count)
        })
    };
    telling.page("POST", &link(&taken(1)[0].message, "c"), "");
    telling.outbound("", 1);
    let channels: Vec<String> = (0..13)
        .map(|n| telling.channel(&format!("fridge{n}")).2)
        .collect();
    for (n, channel) in channels.iter().enumerate() {
        telling.opens(channel);
        if n < 9 {
            telling.outbound("?type=NotificationSent", n + 2);
        }
    }
    telling.pass(1_800);
    telling.opens(&channels[0]);
    assert_eq!(server.taken().len(), 10);
    telling.pass(1_801);
    let mails = taken(11);
    assert!(
        words(&mails[10].message).contains("5 messages"),
        "{}",
        mails[10].message
    );
    let digested = telling.outbound("?type=NotificationDigested", 4);
    assert!(
        digested
            .iter()
            .all(|one| one["provider_id"] == digested[0]["provider_id"])
    );
    assert_eq!(server.taken().len(), 11);
    server.behave("rcpt-5xx");
    telling.opens(&channels[1]);
    telling.until("the bounce", || {
        (telling.get(&format!("/v1/contacts/{id}"))["state"] == "bouncing").then_some(())
    });
    let failed = telling.outbound("?type=NotificationFailed", 1);
    assert_eq!(
        (&failed[0]["code"], &failed[0]["next_at"]),
        (&json!("550"), &Value::Null)
    );
    assert!(!telling.get("/v1/outbound").to_string().contains("kim@"));
}

/// A bot's API whose updates and manners the test says.
fn bot(updates: Arc<std::sync::Mutex<Vec<Value>>>) -> Receiver {
    Receiver::start(move |came, _| api_answer(came, &updates, 200))
}

fn api_answer(came: &Came, updates: &std::sync::Mutex<Vec<Value>>, send: u16) -> Answer {
    let say = |status, value: Value| Answer::Say(status, vec![], value.to_string());
    if came.path.ends_with("/getUpdates") {
        let from = came.json()["offset"].as_i64().unwrap_or(0);
        let all = updates.lock().expect("not poisoned");
        let new: Vec<&Value> = all
            .iter()
            .filter(|one| one["update_id"].as_i64() >= Some(from))
            .collect();
        if new.is_empty() {
            // As the real one holds the question.
            std::thread::sleep(Duration::from_millis(50));
        }
        return say(200, json!({"ok": true, "result": new}));
    }
    match send {
        200 => say(200, json!({"ok": true, "result": {"message_id": 42}})),
        429 => say(
            429,
            json!({"ok": false, "error_code": 429, "parameters": {"retry_after": 7}}),
        ),
        other => say(
            other,
            json!({"ok": false, "error_code": other, "description": "Forbidden: bot was blocked"}),
        ),
    }
}

fn chatting(settings: &mut Settings, dir: &std::path::Path, url: &str) {
    let token_file = dir.join("bot.token");
    std::fs::write(&token_file, "123:secret-of-the-bot\n").expect("written");
    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).expect("set");
    settings.telegram = Some(TelegramSettings {
        token_file,
        api_url: url.to_owned(),
    });
}

fn linked(telling: &Telling, updates: &std::sync::Mutex<Vec<Value>>, name: &str, chat: i64) -> String {
    let made = telling.post("/v1/contacts", &json!({"kind": "telegram", "name": name}));
    let id = made["id"].as_str().expect("an id").to_owned();
    let code = made["link_code"].as_str().expect("a code").to_owned();
    {
        let mut all = updates.lock().expect("not poisoned");
        let number = all.len() + 1;
        all.push(
            json!({"update_id": number, "message": {"chat": {"id": chat}, "text": format!("/link {code}")}}),
        );
    }
    telling.until("the link", || {
        (telling.get(&format!("/v1/contacts/{id}"))["state"] == "active").then_some(())
    });
    id
}

#[test]
fn a_chat_is_linked_told_waits_as_it_is_asked_to_acknowledges_and_blocks() {
    let updates = Arc::new(std::sync::Mutex::new(Vec::new()));
    let api = bot(updates.clone());
    let telling = Telling::start(|settings, dir| chatting(settings, dir, &api.url));
    let id = linked(&telling, &updates, "kitchen", -77);
    let (_, _, channel) = telling.channel("fridge");
    let sent = |count: usize| api.until("/bot123:secret-of-the-bot/sendMessage", count);
    // The bot's answer to the code.
    assert_eq!(sent(1)[0].json()["chat_id"], "-77");
    let kept = updates.clone();
    api.answer(move |came, _| api_answer(came, &kept, 429));
    let alarm = telling.opens(&channel);
    let failed = telling.outbound("?type=NotificationFailed", 1);
    assert_eq!(failed[0]["code"], "429");
    let kept = updates.clone();
    api.answer(move |came, _| api_answer(came, &kept, 200));
    telling.pass(60);
    let told = sent(3)[2].json();
    let text = told["text"].as_str().expect("text");
    assert!(text.starts_with("🔴 ALARM — fridge inside at 9.4"), "{text}");
    assert!(text.contains("Kitchen · fridge inside"), "{text}");
    let done = telling.outbound("?type=NotificationSent", 1);
    assert_eq!(done[0]["provider_id"], "42");
    // Within ten seconds there is no second message; two that wait too long are one.
    telling.opens(&channel);
    telling.pass(5);
    telling.opens(&channel);
    telling.pass(130);
    let summed = sent(4)[3].json();
    assert!(
        summed["text"].as_str().expect("text").contains("2 messages"),
        "{summed}"
    );
    telling.outbound("?type=NotificationDropped", 1);
    // A button of another chat, and a made-up one, acknowledge nothing.
    let button = told["reply_markup"]["inline_keyboard"][0][0]["callback_data"]
        .as_str()
        .expect("a button")
        .to_owned();
    assert!(button.len() <= 64);
    let press = |chat: i64, data: &str| {
        let mut all = updates.lock().expect("not poisoned");
        let number = all.len() + 1;
        all.push(json!({"update_id": number, "callback_query": {
            "id": number.to_string(), "data": data, "message": {"chat": {"id": chat}},
        }}));
    };
    let answers = |count: usize| api.until("/bot123:secret-of-the-bot/answerCallbackQuery", count);
    press(-78, &button);
    press(-77, "made.up");
    press(-77, &button);
    press(-77, &button);
    let said = answers(4);
    let said: Vec<String> = said
        .iter()
        .map(|one| one.json()["text"].as_str().expect("text").to_owned())
        .collect();
    assert!(
        said[0].contains("not linked") && said[1].contains("not known"),
        "{said:?}"
    );
    assert_eq!(
        (said[2].as_str(), said[3].as_str()),
        ("Acknowledged.", "It was acknowledged already.")
    );
    let timeline = telling.get(&format!("/v1/timeline?subject={alarm}")).to_string();
    assert!(
        timeline.contains("AlarmAcknowledged") && timeline.contains(&id),
        "{timeline}"
    );
    let kept = updates.clone();
    api.answer(move |came, _| api_answer(came, &kept, 403));
    telling.opens(&channel);
    telling.pass(20);
    telling.until("the bounce", || {
        (telling.get(&format!("/v1/contacts/{id}"))["state"] == "bouncing").then_some(())
    });
}

#[test]
fn later_steps_are_called_only_while_nobody_acknowledged_and_by_their_hours() {
    let updates = Arc::new(std::sync::Mutex::new(Vec::new()));
    let api = bot(updates.clone());
    let telling = Telling::start(|settings, dir| chatting(settings, dir, &api.url));
    let (_, _, channel) = telling.channel("fridge");
    let first = linked(&telling, &updates, "first", 1);
    let second = linked(&telling, &updates, "second", 2);
    let night = linked(&telling, &updates, "night", 3);
    let set = |id: &str, preferences: Value| {
        let (status, value) = telling.ask(
            "PATCH",
            &format!("/v1/contacts/{id}"),
            Some(&json!({"preferences": preferences})),
        );
        assert_eq!(status, 200, "{value}");
    };
    set(&second, json!({"after_min": 10}));
    // Monday, 09:00: the night's watch sleeps.
    let hours = serde_json::to_value(Hours {
        days: vec![1, 2, 3, 4, 5, 6, 7],
        from: "20:00".into(),
        to: "06:00".into(),
        outside: false,
    })
    .expect("JSON");
    set(&night, json!({"hours": hours}));
    let told = |id: &str| {
        telling.get(&format!("/v1/outbound?contact={id}&type=NotificationSent"))["data"]
            .as_array()
            .map_or(0, Vec::len)
    };
    let alarm = telling.opens(&channel);
    telling.until("the first", || (told(&first) == 1).then_some(()));
    let dropped = telling.outbound(&format!("?contact={night}"), 1);
    assert_eq!(dropped[0]["code"], "off_duty");
    assert_eq!(told(&second), 0);
    telling.pass(601);
    telling.until("the second", || (told(&second) == 1).then_some(()));
    telling.clears(&alarm);
    telling.pass(20);
    telling.until("that it is over", || {
        (told(&first) == 2 && told(&second) == 2).then_some(())
    });
    // Acknowledged: the second is left in peace.
    let alarm = telling.opens(&channel);
    telling.pass(20);
    telling.until("the first", || (told(&first) == 3).then_some(()));
    let acknowledged = Event::AlarmAcknowledged(domain::event::AlarmAcknowledged {
        corrective_action: None,
        reason: "seen".into(),
        signature: None,
        text: None,
    });
    telling.record(&alarm, &acknowledged);
    telling.pass(1_200);
    telling.opens(&channel);
    telling.until("the first", || (told(&first) == 4).then_some(()));
    assert_eq!(told(&second), 2);
    // Folded again, the rows are the same and nobody is told twice.
    let before = telling.rows();
    let messages = api.came("/bot123:secret-of-the-bot/sendMessage").len();
    telling
        .runtime
        .block_on(telling.app().rebuild(|_, _| {}))
        .expect("rebuilt");
    assert_eq!(telling.rows(), before);
    telling.opens(&channel);
    telling.pass(20);
    telling.until("the first", || (told(&first) == 5).then_some(()));
    assert_eq!(
        api.came("/bot123:secret-of-the-bot/sendMessage").len(),
        messages + 1
    );
}

#[test]
fn a_silence_is_said_when_it_is_over_and_a_silent_site_is_one_message() {
    let updates = Arc::new(std::sync::Mutex::new(Vec::new()));
    let api = bot(updates.clone());
    let telling = Telling::start(|settings, dir| chatting(settings, dir, &api.url));
    let (site, device, channel) = telling.channel("fridge");
    let (_, other, _) = telling.channel_at(&site, "freezer");
    linked(&telling, &updates, "kitchen", 1);
    let texts = || -> Vec<String> {
        let came = api.came("/bot123:secret-of-the-bot/sendMessage");
        came.iter()
            .skip(1)
            .map(|one| one.json()["text"].as_str().expect("text").to_owned())
            .collect()
    };
    let silence = IdKind::Silence.id(&[1; 16]);
    let now = telling.clock.now();
    telling.record(
        &silence,
        &Event::SilenceOpened(SilenceOpened {
            channel: channel.clone(),
            from: now,
            text: None,
            to: now.plus_micros(3_600_000_000),
        }),
    );
    telling.opens(&channel);
    telling.pass(600);
    telling.record(
        &silence,
        &Event::SilenceEnded(SilenceEnded {
            channel: channel.clone(),
            at: telling.clock.now(),
        }),
    );
    telling.until("what was silenced", || (texts().len() == 1).then_some(()));
    assert!(texts()[0].starts_with("⚫ SILENCED"), "{:?}", texts());
    let offline = |at: Timestamp| {
        Event::DeviceStateChanged(DeviceStateChanged {
            at,
            decided_by: Position(1),
            last_at: Some(at.plus_micros(-600_000_000)),
            state: DeviceState::Offline,
        })
    };
    telling.pass(60);
    telling.record(&device, &offline(telling.clock.now()));
    telling.record(&other, &offline(telling.clock.now()));
    telling.pass(61);
    telling.until("the site", || (texts().len() == 2).then_some(()));
    assert!(texts()[1].starts_with("📡 OFFLINE — Kitchen"), "{:?}", texts());
}

#[test]
fn a_way_that_fails_for_five_minutes_is_an_alarm_that_the_other_tells_and_that_ends_when_it_works() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = mail_server(dir.path());
    let updates = Arc::new(std::sync::Mutex::new(Vec::new()));
    let api = bot(updates.clone());
    let mut telling = Telling::start(|settings, dir| {
        mailing(settings, server.port);
        chatting(settings, dir, &api.url);
    });
    telling.post(
        "/v1/contacts",
        &json!({"kind": "email", "name": "Kim", "address": "kim@example.eu"}),
    );
    let mails = telling.until("the mail", || Some(server.taken()).filter(|all| !all.is_empty()));
    telling.page("POST", &link(&mails[0].message, "c"), "");
    let chat = linked(&telling, &updates, "kitchen", 1);
    let (status, _) = telling.ask(
        "PATCH",
        &format!("/v1/contacts/{chat}"),
        Some(&json!({"preferences": {"after_min": 60}})),
    );
    assert_eq!(status, 200);
    server.behave("rcpt-4xx");
    let (_, _, channel) = telling.channel("fridge");
    telling.opens(&channel);
    telling.outbound("?type=NotificationFailed", 1);
    // That the way fails is in the ledger: a restart forgets nothing of it.
    let (directory, clock) = (telling.dir.clone(), telling.clock.clone());
    drop(telling);
    clock.pass(160);
    telling = Telling::open(directory, clock, |settings, dir| {
        mailing(settings, server.port);
        chatting(settings, dir, &api.url);
    });
    telling.outbound("?type=NotificationFailed", 2);
    let paths = || -> Vec<Value> {
        let events = telling.get("/v1/events")["data"].as_array().cloned();
        let path = |event: &Value| event["kind"] == "path";
        events.expect("a list").into_iter().filter(path).collect()
    };
    assert_eq!(paths(), [] as [Value; 0], "not for five minutes yet");
    telling.pass(160);
    let texts = || -> Vec<String> {
        let came = api.came("/bot123:secret-of-the-bot/sendMessage");
        came.iter()
            .skip(1)
            .map(|one| one.json()["text"].as_str().expect("text").to_owned())
            .collect()
    };
    telling.until("that mail fails", || {
        texts()
            .iter()
            .any(|text| text.contains("by email have failed for 5\u{a0}min"))
            .then_some(())
    });
    telling.sent("path_failed", 1);
    telling.pass(30);
    // It is not waited for the hour any more.
    telling.until("the alarm", || {
        texts()
            .iter()
            .any(|text| text.contains("fridge inside at 9.4"))
            .then_some(())
    });
    let alarm = paths()[0].clone();
    assert_eq!(
        (&alarm["state"], &alarm["severity"], &alarm["cause"]["via"]),
        (&json!("alarm"), &json!("alarm"), &json!("email")),
        "{alarm}"
    );
    assert_eq!(
        (&alarm["channel_id"], &alarm["challenge"]),
        (&Value::Null, &json!(false))
    );
    let path = format!("/v1/events/{}", alarm["id"].as_str().expect("an id"));
    let acknowledged = telling.post(
        &format!("{path}/ack"),
        &json!({"reason": {"code": "seen"}, "note": "the provider is called"}),
    );
    assert_eq!(acknowledged["state"], "acknowledged");
    // It is one alarm, however long the way fails, and it ends with the first message that is taken.
    telling.pass(600);
    telling.outbound("?type=NotificationFailed", 3);
    assert_eq!(paths().len(), 1);
    server.behave("ok");
    telling.pass(1_200);
    telling.until("the end", || {
        (telling.get(&path)["state"] == "cleared").then_some(())
    });
    telling.pass(30);
    telling.until("that it is over", || {
        texts()
            .iter()
            .any(|text| text.contains("by email arrive again"))
            .then_some(())
    });
    assert_eq!(paths().len(), 1);
}

#[test]
fn a_day_that_was_closed_is_told_with_its_head_and_a_trial_wants_an_answer() {
    let updates = Arc::new(std::sync::Mutex::new(Vec::new()));
    let api = bot(updates.clone());
    let watch = ok();
    let telling = Telling::start(|settings, dir| {
        chatting(settings, dir, &api.url);
        settings.dead_man_url = Some(format!("{}/ping", watch.url));
        settings.public_url = Some("https://daybook.example.eu".to_owned());
    });
    watch.until("/ping", 1);
    let (_, _, channel) = telling.channel("fridge");
    let chat = linked(&telling, &updates, "kitchen", 1);
    let path = format!("/v1/contacts/{chat}");
    let set = |preferences: Value| {
        let (status, value) = telling.ask("PATCH", &path, Some(&json!({"preferences": preferences})));
        assert_eq!(status, 200, "{value}");
    };
    set(json!({"daily_digest": true}));
    let came = || api.came("/bot123:secret-of-the-bot/sendMessage");
    let told = |words: &str| {
        let has = |one: &Value| one["text"].as_str().is_some_and(|text| text.contains(words));
        telling.until(words, || came().into_iter().map(|one| one.json()).find(has))
    };
    telling.pass(16 * 3600);
    let alarm = telling.opens(&channel);
    told("fridge inside at 9.4");
    telling.clears(&alarm);
    telling.pass(61);
    let digest = told("2026-05-18 in your sites");
    let text = digest["text"].as_str().expect("text");
    assert!(text.contains("c2sp.org/tlog-proof@v1"), "{text}");
    telling.sent("daily", 1);
    telling.pass(20);
    set(json!({"challenge": true}));
    // The whole way: an alarm that is marked as a trial, its message, its link, and what came of it.
    let trial = told("TEST ALARM");
    let trials = || -> Vec<Value> {
        let events = telling.get("/v1/events")["data"].as_array().cloned();
        let trial = |event: &Value| event["challenge"] == true;
        events.expect("a list").into_iter().filter(trial).collect()
    };
    assert_eq!(trials()[0]["state"], "alarm");
    assert_eq!(trials()[0]["cause"]["contact"], json!(chat));
    let link = trial["reply_markup"]["inline_keyboard"][1][0]["url"]
        .as_str()
        .expect("a link")
        .to_owned();
    assert_eq!(telling.page("GET", &link, "").0, 200);
    assert_eq!(telling.page("POST", &link, "reason=seen").0, 200);
    let ended = |count: usize, reason: &str| {
        telling.until("the end of the trial", || {
            let trials = trials();
            let newest = trials.first().filter(|_| trials.len() == count)?;
            let id = newest["id"].as_str()?;
            let timeline = telling.get(&format!("/v1/events/{id}"))["timeline"].to_string();
            (newest["state"] == "closed" && timeline.contains(&format!("\"reason\":\"{reason}\"")))
                .then_some(())
        })
    };
    ended(1, "answered");
    // The same again changes nothing, and nothing else is taken.
    assert_eq!(telling.page("POST", &link, "reason=seen").0, 200);
    assert_eq!(telling.page("POST", &link, "reason=door_open").0, 409);
    assert_eq!(trials().len(), 1);
    // The next round: nobody answers, the other is told, and who was taken away answers nothing.
    let other = linked(&telling, &updates, "other", 2);
    telling.pass(30 * 86_400);
    let count = |words: &str| {
        let has = |one: &Came| {
            one.json()["text"]
                .as_str()
                .is_some_and(|text| text.contains(words))
        };
        came().iter().filter(|one| has(one)).count()
    };
    telling.until("the second trial", || (count("TEST ALARM") == 2).then_some(()));
    telling.sent("challenge", 2);
    let mut second = came().into_iter().map(|one| one.json()).filter(|one| {
        one["text"]
            .as_str()
            .is_some_and(|text| text.contains("TEST ALARM"))
    });
    let second = second.next_back().expect("it came")["reply_markup"]["inline_keyboard"][1][0]["url"]
        .as_str()
        .expect("a link")
        .to_owned();
    telling.pass(31 * 60);
    ended(2, "unanswered");
    telling.pass(20);
    let failed = told("did not acknowledge a trial alarm in time");
    assert_eq!(failed["chat_id"], "2", "{failed}");
    assert_eq!(telling.page("POST", &second, "reason=seen").0, 409, "it is over");
    assert_eq!(telling.ask("DELETE", &path, None).0, 204);
    assert_eq!(
        telling.page("POST", &second, "reason=seen").0,
        404,
        "it was taken away"
    );
    let _ = other;
}

#[test]
fn who_is_called_while_the_site_is_closed_is_left_in_peace_while_it_is_open() {
    let updates = Arc::new(std::sync::Mutex::new(Vec::new()));
    let api = bot(updates.clone());
    let telling = Telling::start(|settings, dir| chatting(settings, dir, &api.url));
    let (site, _, channel) = telling.channel("fridge");
    let staff = linked(&telling, &updates, "staff", 1);
    let guard = linked(&telling, &updates, "guard", 2);
    for (contact, on) in [(&staff, "open"), (&guard, "closed")] {
        let (status, value) = telling.ask(
            "PATCH",
            &format!("/v1/contacts/{contact}"),
            Some(&json!({"preferences": {"site_hours": on}})),
        );
        assert_eq!(status, 200, "{value}");
    }
    let told = |id: &str| {
        telling.get(&format!("/v1/outbound?contact={id}&type=NotificationSent"))["data"]
            .as_array()
            .map_or(0, Vec::len)
    };
    // Nothing is said of the site: both are told.
    telling.opens(&channel);
    telling.until("both", || (told(&staff) == 1 && told(&guard) == 1).then_some(()));
    let hours = |value: Value| {
        telling.ask(
            "PATCH",
            &format!("/v1/sites/{site}"),
            Some(&json!({"opening_hours": value})),
        )
    };
    let (status, refused) = hours(json!([{"days": [1], "from": "9", "to": "17:00"}]));
    assert_eq!(
        (status, &refused["error"]["code"]),
        (422, &json!("invalid_opening_hours")),
        "{refused}"
    );
    // Monday, 09:00.
    let (status, set) = hours(json!([{"days": [1, 2, 3, 4, 5], "from": "08:00", "to": "18:00"}]));
    assert_eq!(
        (status, &set["opening_hours"][0]["from"]),
        (200, &json!("08:00")),
        "{set}"
    );
    telling.pass(20);
    telling.opens(&channel);
    telling.until("the staff", || (told(&staff) == 2).then_some(()));
    let dropped = telling.outbound(&format!("?contact={guard}&type=NotificationDropped"), 1);
    assert_eq!(dropped[0]["code"], "off_duty");
    telling.pass(12 * 3600);
    telling.opens(&channel);
    telling.until("the guard", || (told(&guard) == 2).then_some(()));
    telling.outbound(&format!("?contact={staff}&type=NotificationDropped"), 1);
    assert_eq!((told(&staff), told(&guard)), (2, 2));
    let (status, both) = telling.ask(
        "PATCH",
        &format!("/v1/contacts/{staff}"),
        Some(&json!({"preferences": {"hours": {"days": [1], "from": "08:00", "to": "09:00"}}})),
    );
    assert_eq!(
        (status, &both["error"]["code"]),
        (422, &json!("invalid_preferences")),
        "{both}"
    );
}

#[test]
fn a_person_opens_an_alarm_again_and_whoever_is_told_of_alarms_is_told_once_more() {
    let updates = Arc::new(std::sync::Mutex::new(Vec::new()));
    let api = bot(updates.clone());
    let telling = Telling::start(|settings, dir| chatting(settings, dir, &api.url));
    let (_, _, channel) = telling.channel("fridge");
    linked(&telling, &updates, "kitchen", 1);
    // A chat is one contact of an account, whatever code it says.
    let second = telling.post("/v1/contacts", &json!({"kind": "telegram", "name": "again"}));
    let texts = || -> Vec<String> {
        let came = api.came("/bot123:secret-of-the-bot/sendMessage");
        came.iter()
            .skip(1)
            .map(|one| one.json()["text"].as_str().expect("text").to_owned())
            .collect()
    };
    updates.lock().expect("not poisoned").push(json!({
        "update_id": 77, "message": {"chat": {"id": 1}, "text": second["link_code"]},
    }));
    telling.until("the refusal", || {
        texts().iter().any(|text| text.contains("no code")).then_some(())
    });
    let alarm = telling.opens(&channel);
    telling.pass(20);
    telling.until("the alarm", || {
        texts().iter().any(|text| text.contains("at 9.4")).then_some(())
    });
    telling.sent("alarm_opened", 1);
    telling.clears(&alarm);
    let path = format!("/v1/events/{alarm}");
    let again = json!({"reason": {"code": "not_over", "text": "the door is open still"}});
    let (status, refused) = telling.ask("POST", &format!("{path}/reopen"), Some(&json!({})));
    assert_eq!(
        (status, &refused["error"]["code"]),
        (422, &json!("reason_required")),
        "{refused}"
    );
    let open = telling.post(&format!("{path}/reopen"), &again);
    assert_eq!(
        (&open["state"], &open["ended_at"]),
        (&json!("alarm"), &Value::Null),
        "{open}"
    );
    let (status, refused) = telling.ask("POST", &format!("{path}/reopen"), Some(&again));
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("alarm_open")),
        "{refused}"
    );
    telling.pass(40);
    telling.until("the reopening", || {
        texts()
            .iter()
            .any(|text| text.contains("not over after all"))
            .then_some(())
    });
    // Closed by a person, and opened again.
    telling.post(&format!("{path}/close"), &json!({"reason": "false_alarm"}));
    let open = telling.post(&format!("{path}/reopen"), &json!({"reason": "closed_by_mistake"}));
    assert_eq!(open["state"], "alarm");
    let timeline = open["timeline"].to_string();
    assert!(timeline.contains("AlarmReopenedByPerson"), "{timeline}");
}

#[test]
fn an_acknowledgement_is_signed_by_a_code_from_the_signers_mailbox_once_and_for_what_was_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = mail_server(dir.path());
    let telling = Telling::start(|settings, _| mailing(settings, server.port));
    let you = telling.get("/v1/account")["you"]["id"].clone();
    let (_, _, channel) = telling.channel("fridge");
    let alarm = telling.opens(&channel);
    let path = format!("/v1/events/{alarm}");
    let code = |act: &str| -> String {
        let before = server.taken().len();
        let asked = telling.post(
            &format!("{path}/sign"),
            &json!({"act": act, "meaning": "reviewed"}),
        );
        assert_eq!(asked["method"], "mail_code");
        let mails = telling.until("the code", || {
            Some(server.taken()).filter(|all| all.len() > before)
        });
        let text = words(&mails[before].message);
        assert!(
            text.contains("daybook/shown/v1") && text.contains(&alarm),
            "{text}"
        );
        let at = text.find("The code is ").expect("a code") + "The code is ".len();
        text[at..at + 8].to_owned()
    };
    let act = |act: &str, code: &str| {
        let body = json!({"reason": {"code": "door_open"}, "signature": {"code": code}});
        telling.ask("POST", &format!("{path}/{act}"), Some(&body))
    };
    let refused = |answer: (u16, Value)| {
        assert_eq!(
            (answer.0, &answer.1["error"]["code"]),
            (403, &json!("signing_refused")),
            "{}",
            answer.1
        );
    };
    let first = code("acknowledge");
    refused(act("ack", "no code"));
    refused(act("close", &first));
    let (status, signed) = act("ack", &first);
    assert_eq!(status, 200, "{signed}");
    refused(act("ack", &first));
    let timeline = signed["timeline"].as_array().expect("a timeline");
    let entry = timeline.last().expect("an entry");
    let signature = &entry["payload"]["signature"];
    assert_eq!(
        (&signature["signer"], &signature["meaning"], &signature["method"]),
        (&you, &json!("reviewed"), &json!("mail_code")),
        "{entry}"
    );
    assert_eq!(signature["shown_sha256"].as_str().map(str::len), Some(43));
    // What was shown is not what the alarm is any more.
    let second = code("close");
    telling.post(&format!("{path}/comment"), &json!({"note": "one thing more"}));
    refused(act("close", &second));
    // Nor is a code good for long, or for many tries.
    let third = code("close");
    telling.pass(601);
    refused(act("close", &third));
    let fourth = code("close");
    for _ in 0..5 {
        refused(act("close", "00000000"));
    }
    refused(act("close", &fourth));
    let fifth = code("close");
    let stale = json!({"reason": {"code": "door_open"}, "signature": {"code": fifth}});
    let (status, answer) = telling.ask_if_match("POST", &format!("{path}/close"), "99", &stale);
    assert_eq!(
        status, 412,
        "another alarm was looked at, and the code stays good: {answer}"
    );
    let (status, closed) = act("close", &fifth);
    assert_eq!((status, &closed["state"]), (200, &json!("closed")), "{closed}");
    // Of what is closed nothing would be recorded.
    let body = json!({"act": "close", "meaning": "reviewed"});
    let (status, answer) = telling.ask("POST", &format!("{path}/sign"), Some(&body));
    assert_eq!(
        (status, &answer["error"]["code"]),
        (409, &json!("alarm_closed")),
        "{answer}"
    );
}
