//! Thirty days of heads on every channel, with outages of each and a restart.

use crate::service::Service;
use api::config::PublishTo;
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

const DAYS: usize = 30;
/// How long the channels may take to catch up.
const PATIENCE: Duration = Duration::from_secs(90);
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

fn channels(scratch: &Path, url: &str) -> Vec<PublishTo> {
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
        },
    ]
}

fn prepare(scratch: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let secret = scratch.join("hook.secret");
    std::fs::write(&secret, SECRET).expect("written");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).expect("set");
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

fn until(what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn heads(service: &Service) -> usize {
    service.app.as_ref().expect("it runs").heads().dates().len()
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
    let mut service = service.again(channels(&scratch, &receiver.url));
    for day in 0..DAYS {
        match day {
            3 => receiver.out_of_order.store(true, Ordering::SeqCst),
            7 => receiver.out_of_order.store(false, Ordering::SeqCst),
            9 => block(&scratch.join("static")),
            14 => unblock(&scratch.join("static")),
            12 => block(&scratch.join("remote.git")),
            18 => unblock(&scratch.join("remote.git")),
            20 => service = service.again(channels(&scratch, &receiver.url)),
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
    let dates = app.heads().dates();
    assert_eq!(dates.len(), DAYS);
    until("every channel has every day", || {
        let channels = app.publishing().channels();
        let done =
            |c: &ChannelState| c.last == dates.last().copied() && c.waiting == 0 && c.trouble.is_none();
        channels.len() == 3 && channels.iter().all(done)
    });
    let head = |date: Date| app.heads().get(date).expect("a head");

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

    // The webhook: in order, each day taken once, signed, the same id for the same day.
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
        if *was_taken {
            taken.push(date);
        }
    }
    assert_eq!(taken, dates);
    assert!(
        deliveries.iter().any(|delivery| !delivery.4),
        "it was out of order for a while"
    );

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
            assert!(!String::from_utf8_lossy(bytes).contains("secret-of-the-url"));
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
    assert_eq!(published.len(), 3);
    assert!(published.values().all(|days| *days == dates), "{published:?}");
    assert_eq!(failed.len(), 3, "each was out of order: {failed:?}");

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
}
