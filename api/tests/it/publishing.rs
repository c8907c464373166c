//! Thirty days of heads on every channel, with outages of each and a restart.

use crate::service::Service;
use api::config::PublishTo;
use api::mail::{MailSettings, MailTls};
use api::publishing::ChannelState;
use domain::entry::Entry;
use domain::tlog_proof::TlogProof;
use domain::{Date, Position};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tests::PATIENCE;
use tests::certificates::Certificates;
use tests::mosquitto::{self, Broker};
use tests::smtp::{self, MailServer};

const DAYS: usize = 30;
/// Whose mailbox a channel is.
const AUDITOR: &str = "kim@example.eu";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A delivery: id, time, signature, body, and whether it was taken.
type Delivery = (String, String, String, Vec<u8>, bool);

/// A receiver that answers 500 while it is out of order.
struct Receiver {
    url: String,
    out_of_order: Arc<AtomicBool>,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
}

impl Receiver {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!(
            "http://{}/hook?key=secret-of-the-url",
            listener.local_addr().expect("an address")
        );
        let (out_of_order, deliveries) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let receiver = Self {
            url,
            out_of_order,
            deliveries,
        };
        let (broken, kept) = (receiver.out_of_order.clone(), receiver.deliveries.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
                let (mut length, mut header) = (0, std::collections::HashMap::new());
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("a line");
                    let Some((name, value)) = line.trim().split_once(": ") else {
                        if line.trim().is_empty() {
                            break;
                        }
                        continue;
                    };
                    if name.eq_ignore_ascii_case("content-length") {
                        length = value.parse().expect("a length");
                    }
                    header.insert(name.to_lowercase(), value.to_owned());
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                let taken = !broken.load(Ordering::SeqCst);
                let of = |name: &str| header.get(name).cloned().unwrap_or_default();
                kept.lock().expect("not poisoned").push((
                    of("webhook-id"),
                    of("webhook-timestamp"),
                    of("webhook-signature"),
                    body,
                    taken,
                ));
                let status = if taken { "204 No Content" } else { "500 Broken" };
                // The sender may have gone.
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                );
            }
        });
        receiver
    }
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(args)
        .output()
        .expect("git runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

fn channels(scratch: &Path, url: &str, broker: u16) -> Vec<PublishTo> {
    vec![
        PublishTo::Directory {
            name: "static".into(),
            path: scratch.join("static"),
        },
        PublishTo::Git {
            name: "git".into(),
            path: scratch.join("repository"),
            signing_key: signs().then(|| scratch.join("signer")),
            push: Some(scratch.join("remote.git").display().to_string()),
        },
        PublishTo::Webhook {
            name: "hook".into(),
            url: url.into(),
            secret_file: scratch.join("hook.secret"),
            ca_file: None,
        },
        PublishTo::Mail {
            name: "auditor-1".into(),
            address: AUDITOR.into(),
        },
        PublishTo::Mqtt {
            name: "topics".into(),
            broker: format!("mqtts://localhost:{broker}"),
            topic: None,
            credentials_file: Some(scratch.join("credentials")),
            ca_file: Some(scratch.join("tls-authority.pem")),
        },
    ]
}

fn mail_settings(scratch: &Path, server: &MailServer) -> MailSettings {
    MailSettings {
        host: "localhost".into(),
        port: Some(server.port),
        tls: MailTls::Starttls,
        from: "Daybook <log@example.eu>".into(),
        credentials_file: Some(scratch.join("credentials")),
        ca_file: Some(scratch.join("tls-authority.pem")),
        hello: None,
        timeout_s: 20,
    }
}

/// The lines of a message's header or body that begin so, without that.
fn after<'a>(message: &'a str, begin: &str) -> Vec<&'a str> {
    message
        .lines()
        .filter_map(|line| line.strip_prefix(begin))
        .map(str::trim)
        .collect()
}

/// The parts of a message that are attached, decoded.
fn attached(message: &str) -> Vec<Vec<u8>> {
    use base64::Engine;
    let parts = message.split("Content-Disposition: attachment").skip(1);
    parts
        .map(|part| {
            let body = part.replace("\r\n", "\n");
            let (_, body) = body.split_once("\n\n").expect("a body");
            let (body, _) = body.split_once("\n--").expect("an end");
            let text: String = body.split_whitespace().collect();
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .expect("base64")
        })
        .collect()
}

fn prepare(scratch: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let secret = scratch.join("hook.secret");
    std::fs::write(&secret, SECRET).expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(
        (smtp::USER, smtp::PASSWORD),
        (mosquitto::USER, mosquitto::PASSWORD)
    );
    let credentials = scratch.join("credentials");
    std::fs::write(&credentials, format!("{}\n{}\n", smtp::USER, smtp::PASSWORD)).expect("written");
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o600)).expect("set");
    if signs() {
        make_signer(scratch);
    }
    let made = Command::new("git")
        .args(["init", "--quiet", "--bare", "--initial-branch=main"])
        .arg(scratch.join("remote.git"))
        .status()
        .expect("git runs");
    assert!(made.success());
}

/// Whether there is an SSH to sign with (Debian: openssh-client).
fn signs() -> bool {
    let there = Command::new("ssh-keygen").arg("-?").output().is_ok();
    if !there {
        eprintln!("no ssh-keygen here: commits are not signed");
    }
    there
}

fn make_signer(scratch: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "log", "-f"])
        .arg(scratch.join("signer"))
        .status()
        .expect("ssh-keygen runs");
    assert!(made.success());
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn heads(service: &Service) -> usize {
    service
        .app
        .as_ref()
        .expect("it runs")
        .heads()
        .dates()
        .expect("listed")
        .len()
}

/// Something stands where a channel writes, so that it cannot.
fn block(path: &Path) {
    let aside = path.with_extension("aside");
    if path.exists() {
        std::fs::rename(path, aside).expect("moved");
    }
    std::fs::write(path, "in the way").expect("written");
}

fn unblock(path: &Path) {
    std::fs::remove_file(path).expect("removed");
    let aside = path.with_extension("aside");
    if aside.exists() {
        std::fs::rename(aside, path).expect("moved back");
    }
}

fn all_are_signed(scratch: &Path) {
    let key = std::fs::read_to_string(scratch.join("signer.pub")).expect("a key");
    let signers = scratch.join("signers");
    std::fs::write(&signers, format!("log@daybook.invalid {key}")).expect("written");
    let allowed = format!("gpg.ssh.allowedSignersFile={}", signers.display());
    let signed = git(
        &scratch.join("remote.git"),
        &[
            "-c",
            &allowed,
            "-c",
            "gpg.format=ssh",
            "log",
            "--format=%G?",
            "main",
        ],
    );
    assert!(signed.lines().all(|line| line == "G"), "{signed}");
}

#[test]
fn thirty_days_go_out_once_and_in_order_whatever_channel_is_out_of_order_meanwhile() {
    let service = Service::start("2026-04-01T12:00:00Z");
    let scratch = service.scratch().to_owned();
    prepare(&scratch);
    let receiver = Receiver::start();
    let certificates = Certificates::make(&scratch, "tls");
    let post = MailServer::start(&scratch.join("mails"), "starttls", &certificates).expect("a mail server");
    let mut broker = Broker::start(&scratch.join("broker"), Some(&certificates)).expect("a broker");
    let all = channels(&scratch, &receiver.url, broker.port);
    let mut service = service.again_with(all.clone(), Some(mail_settings(&scratch, &post)));
    for day in 0..DAYS {
        match day {
            3 => receiver.out_of_order.store(true, Ordering::SeqCst),
            7 => receiver.out_of_order.store(false, Ordering::SeqCst),
            9 => block(&scratch.join("static")),
            14 => unblock(&scratch.join("static")),
            12 => block(&scratch.join("remote.git")),
            18 => unblock(&scratch.join("remote.git")),
            5 => post.behave("rcpt-4xx"),
            8 => post.behave("hangup-after"),
            10 => post.behave("ok"),
            15 => broker.pause(),
            19 => broker.resume(),
            20 => service = service.again(all.clone()),
            _ => {}
        }
        assert_eq!(service.site(&format!("Site {day}")).0, 201);
        service.clock.pass(86_400);
        until("the day is closed", || heads(&service) > day);
        if day % 4 == 0 {
            // Some days are published before the next is closed, some together.
            std::thread::sleep(Duration::from_millis(1_200));
        }
    }
    let app = service.app.clone().expect("it runs");
    let dates = app.heads().dates().expect("listed");
    assert_eq!(dates.len(), DAYS);
    let mut asked = 0;
    until("every channel has every day", || {
        asked += 1;
        if asked % 400 == 0 {
            eprintln!("{:?}", app.publishing().channels());
        }
        let channels = app.publishing().channels();
        let done =
            |c: &ChannelState| c.last == dates.last().copied() && c.waiting == 0 && c.trouble.is_none();
        channels.len() == all.len() && channels.iter().all(done)
    });
    let head = |date: Date| app.heads().get(date).expect("readable").expect("a head");

    // The static directory.
    for date in &dates {
        let text = date.to_string();
        let file = scratch
            .join("static/heads")
            .join(&text[..4])
            .join(format!("{text}.tlog-proof"));
        let there = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(there, head(*date));
    }
    let page = std::fs::read_to_string(scratch.join("static/index.html")).expect("a page");
    assert_eq!(page.matches(".tlog-proof").count(), DAYS);
    assert!(!scratch.join("static/entries").exists() && !scratch.join("static/tile/entries").exists());

    // The repository: a commit a day, signed, pushed.
    let subjects = git(
        &scratch.join("remote.git"),
        &["log", "--reverse", "--format=%s", "main"],
    );
    let subjects: Vec<&str> = subjects.lines().collect();
    assert_eq!(subjects.len(), DAYS, "{subjects:?}");
    for (subject, date) in subjects.iter().zip(&dates) {
        assert!(subject.starts_with(&format!("Head of {date}:")), "{subject}");
    }
    if signs() {
        all_are_signed(&scratch);
    }

    // The webhook: in order, each day once for whoever keeps ids, signed, the same id for the same day.
    let deliveries = receiver.deliveries.lock().expect("not poisoned").clone();
    let secret = chain_publisher::publish::webhook::WebhookSecret::parse(SECRET).expect("a secret");
    let mut taken = Vec::new();
    for (id, at, signature, body, was_taken) in &deliveries {
        assert_eq!(*signature, secret.sign(id, at.parse().expect("seconds"), body));
        let body: Value = serde_json::from_slice(body).expect("JSON");
        let date = Date::parse(body["data"]["date"].as_str().expect("a day")).expect("a day");
        assert_eq!(
            body["data"]["head"].as_str().map(str::as_bytes),
            Some(&*head(date))
        );
        // A stop between the delivery and its outcome delivers again, under the same id.
        if *was_taken && taken.last() != Some(&(date, id)) {
            taken.push((date, id));
        }
    }
    let days: Vec<Date> = taken.iter().map(|(date, _)| *date).collect();
    assert_eq!(days, dates);
    assert!(
        deliveries.iter().any(|delivery| !delivery.4),
        "it was out of order for a while"
    );

    // The auditor's mailbox: in order, each day; what came twice has the same Message-ID both times.
    let mut days = Vec::new();
    let mut ids = std::collections::BTreeMap::new();
    for taken in post.taken() {
        assert_eq!(taken.to, AUDITOR);
        let id = after(&taken.message, "Message-ID:")[0].to_owned();
        let files = attached(&taken.message);
        let proof = TlogProof::parse(&files[0]).expect("a proof");
        let entry = proof.extra.clone().expect("an entry");
        let entry = Entry::decode(&entry).expect("an entry");
        let day: Value = serde_json::from_slice(entry.payload).expect("JSON");
        let date = Date::parse(day["date"].as_str().expect("a day")).expect("a day");
        assert_eq!(files[0], head(date));
        let beside = app.heads().consistency(date).expect("readable");
        assert_eq!(files.get(1), beside.as_ref(), "{date}");
        assert!(
            taken
                .message
                .contains(&format!("daybook-verify head {date}.tlog-proof"))
        );
        assert_eq!(ids.entry(date).or_insert_with(|| id.clone()), &id, "{date}");
        days.push(date);
    }
    assert!(days.len() > DAYS, "one was taken without an answer");
    days.dedup();
    assert_eq!(days, dates);
    assert_eq!(
        ids.values().collect::<std::collections::BTreeSet<_>>().len(),
        DAYS
    );

    // The broker: each day's head, and the newest.
    let retained = broker.retained("daybook/#", DAYS + 1);
    let topic = format!("daybook/{}", app.origin());
    assert_eq!(retained.len(), DAYS + 1, "{:?}", retained.keys());
    assert_eq!(retained[&format!("{topic}/head")], head(dates[DAYS - 1]));
    for date in &dates {
        assert_eq!(retained[&format!("{topic}/heads/{date}")], head(*date), "{date}");
    }

    // The ledger: what came of each, in order; nothing of the URL.
    let mut published: std::collections::BTreeMap<String, Vec<Date>> = Default::default();
    let mut failed = std::collections::BTreeSet::new();
    let mut from = Position::FIRST;
    while app.log().size().contains(from) {
        let block = service
            .runtime
            .block_on(app.log().read(from, 1000, 1 << 20))
            .expect("read");
        for (_, bytes) in block.iter() {
            let said = String::from_utf8_lossy(bytes);
            assert!(
                !said.contains("secret-of-the-url") && !said.contains(AUDITOR),
                "{said}"
            );
            let entry = Entry::read(bytes).expect("an entry");
            let payload: Value = serde_json::from_slice(entry.payload).expect("JSON");
            let channel = payload["channel"].as_str().unwrap_or_default().to_owned();
            match entry.event_type {
                "HeadPublished" => published
                    .entry(channel)
                    .or_default()
                    .push(Date::parse(payload["date"].as_str().expect("a day")).expect("a day")),
                "HeadNotPublished" => {
                    assert!(payload["reason"].is_string());
                    failed.insert(channel);
                }
                _ => {}
            }
        }
        from = from.plus(block.len() as u64);
    }
    assert_eq!(published.len(), all.len());
    assert!(published.values().all(|days| *days == dates), "{published:?}");
    assert_eq!(failed.len(), all.len(), "each was out of order: {failed:?}");

    // One head a day, each under a checkpoint of its own, growing.
    let sizes: Vec<u64> = dates
        .iter()
        .map(|date| TlogProof::parse(&head(*date)).expect("a proof").size().get())
        .collect();
    assert!(sizes.windows(2).all(|pair| pair[0] < pair[1]), "{sizes:?}");
    let page = String::from_utf8(service.get("/ledger").1).expect("text");
    assert!(page.contains("up to date") && page.contains("static"), "{page}");
    let metrics = String::from_utf8(service.get("/metrics").1).expect("text");
    assert!(
        metrics.contains("daybook_publication_waiting_days{channel=\"hook\"} 0"),
        "{metrics}"
    );

    // One that is out of order again is late, and says so.
    receiver.out_of_order.store(true, Ordering::SeqCst);
    service.clock.pass(86_400);
    until("the day is closed", || heads(&service) > DAYS);
    service.clock.pass(7_200);
    let state = |name: &str| {
        app.publishing()
            .channels()
            .into_iter()
            .find(|c| c.name == name)
            .expect("a channel")
    };
    let newest = app.heads().dates().expect("listed").last().copied();
    until("it failed", || {
        let out = state("static");
        state("hook").trouble.is_some() && out.last == newest && out.waiting == 0
    });
    let page = String::from_utf8(service.get("/ledger").1).expect("text");
    assert!(page.contains("late: ") && page.contains("is not out"), "{page}");
    let metrics = String::from_utf8(service.get("/metrics").1).expect("text");
    let behind = after(&metrics, "daybook_publication_behind_seconds{channel=\"hook\"} ");
    assert!(behind[0].parse::<f64>().expect("seconds") > 3_600.0, "{behind:?}");
    assert_eq!(
        after(
            &metrics,
            "daybook_publication_behind_seconds{channel=\"static\"} "
        ),
        ["0"]
    );
}

/// Takes connections and says nothing, for ever.
fn silent() -> (u16, Arc<Mutex<Vec<std::net::TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let held = Arc::new(Mutex::new(Vec::new()));
    let kept = held.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            kept.lock()
                .expect("not poisoned")
                .push(stream.expect("a connection"));
        }
    });
    (port, held)
}

/// Whether a process runs that has this in its arguments.
fn runs(argument: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("processes");
    processes.flatten().any(|process| {
        let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(argument)
    })
}

#[test]
fn a_channel_that_hangs_delays_no_other_and_no_stop() {
    let service = Service::start("2026-04-01T12:00:00Z");
    let scratch = service.scratch().to_owned();
    prepare(&scratch);
    let certificates = Certificates::make(&scratch, "tls");
    let post = MailServer::start(&scratch.join("mails"), "starttls", &certificates).expect("a mail server");
    post.behave("silent");
    let ports: Vec<_> = (0..3).map(|_| silent()).collect();
    let remote = format!("git://127.0.0.1:{}/log", ports[0].0);
    let all = vec![
        PublishTo::Git {
            name: "git".into(),
            path: scratch.join("repository"),
            signing_key: None,
            push: Some(remote.clone()),
        },
        PublishTo::Webhook {
            name: "hook".into(),
            url: format!("https://localhost:{}/", ports[1].0),
            secret_file: scratch.join("hook.secret"),
            ca_file: None,
        },
        PublishTo::Mqtt {
            name: "topics".into(),
            broker: format!("mqtt://127.0.0.1:{}", ports[2].0),
            topic: None,
            credentials_file: None,
            ca_file: None,
        },
        PublishTo::Mail {
            name: "auditor-1".into(),
            address: AUDITOR.into(),
        },
        PublishTo::Directory {
            name: "static".into(),
            path: scratch.join("static"),
        },
    ];
    let mut mail = mail_settings(&scratch, &post);
    mail.timeout_s = 600;
    let service = service.again_with(all, Some(mail));
    service.clock.pass(86_400);
    until("the day is closed", || heads(&service) == 1);
    let app = service.app.clone().expect("it runs");
    until("the one that does not hang has it", || {
        app.publishing()
            .channels()
            .iter()
            .any(|c| c.name == "static" && c.last.is_some())
    });
    until("the others hang", || {
        ports
            .iter()
            .all(|(_, held)| !held.lock().expect("not poisoned").is_empty())
    });
    assert!(runs(&remote));
    let size = app.log().size();
    drop(app);
    let began = Instant::now();
    let clock = service.clock.clone();
    let service = service.again(Vec::new());
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(!runs(&remote), "git was not ended");
    // A stop is no failure: nothing was recorded of it.
    let app = service.app.clone().expect("it runs");
    let block = service
        .runtime
        .block_on(app.log().read(Position(size.get()), 1000, 1 << 20))
        .expect("read");
    for (_, bytes) in block.iter() {
        assert_ne!(
            Entry::read(bytes).expect("an entry").event_type,
            "HeadNotPublished"
        );
    }
    drop(clock);
}

#[test]
fn what_a_broker_refuses_is_said_without_its_password_and_nothing_is_published() {
    use std::os::unix::fs::PermissionsExt;
    let service = Service::start("2026-04-01T12:00:00Z");
    let scratch = service.scratch().to_owned();
    let good = Certificates::make(&scratch, "tls");
    let other = Certificates::make(&scratch, "other");
    let broker = Broker::start(&scratch.join("broker"), Some(&good)).expect("a broker");
    let credentials = |name: &str, password: &str| {
        let path = scratch.join(name);
        std::fs::write(&path, format!("{}\n{password}\n", mosquitto::USER)).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
        Some(path)
    };
    let channel = |name: &str, credentials_file, ca_file: &Path| PublishTo::Mqtt {
        name: name.into(),
        broker: format!("mqtts://localhost:{}", broker.port),
        topic: Some("audit/heads".into()),
        credentials_file,
        ca_file: Some(ca_file.to_owned()),
    };
    let service = service.again(vec![
        channel(
            "wrong-password",
            credentials("wrong", "another word"),
            &good.authority,
        ),
        channel(
            "wrong-authority",
            credentials("right", mosquitto::PASSWORD),
            &other.authority,
        ),
    ]);
    service.clock.pass(86_400);
    let app = service.app.clone().expect("it runs");
    let trouble = |n: usize| app.publishing().channels()[n].trouble.clone().unwrap_or_default();
    until("both are refused", || {
        !trouble(0).is_empty() && !trouble(1).is_empty()
    });
    assert!(
        trouble(0).contains("does not take this user and password"),
        "{}",
        trouble(0)
    );
    assert!(!trouble(0).contains("another word"));
    assert!(
        trouble(1).contains("certificate is not trusted"),
        "{}",
        trouble(1)
    );
    assert!(
        app.publishing()
            .channels()
            .iter()
            .all(|channel| channel.last.is_none())
    );
}
