//! A real `daybook serve` in a directory of its own: started, asked over HTTP, stopped, killed, started again.
//!
//! Invariants: nothing but loopback; every wait is for the thing itself and has an end; the process never outlives
//! the value; what it said on stderr is kept, because tests look for secrets in it.
//! Not here: what is asked (`tests/it`).

use crate::PATIENCE;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Between two looks at what is being made.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What the service says once it listens.
const LISTENING: &str = "daybook is listening on ";

/// A running (or killed) service.
pub struct Daybook {
    dir: tempfile::TempDir,
    settings: Vec<(String, String)>,
    child: Option<Child>,
    url: String,
    stderr: Arc<Mutex<String>>,
    agent: ureq::Agent,
}

/// How a service is started.
#[derive(Default)]
pub struct Options {
    settings: Vec<(String, String)>,
}

impl Options {
    /// One more setting, by its name in the configuration.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl ToString) -> Self {
        self.settings
            .push((format!("DAYBOOK_{}", name.to_uppercase()), value.to_string()));
        self
    }

    /// Starts it in a fresh directory.
    ///
    /// # Panics
    /// With what it said, where it does not come up.
    pub fn start(self) -> Daybook {
        self.try_start()
            .unwrap_or_else(|said| panic!("daybook did not start:\n{said}"))
    }

    /// As [`Options::start`], for those who expect that it may refuse.
    ///
    /// # Errors
    /// What it said on stderr before it ended.
    pub fn try_start(self) -> Result<Daybook, String> {
        let mut daybook = self.ready();
        daybook.try_restart()?;
        Ok(daybook)
    }

    /// Its directory, and nothing running: [`Daybook::restart`] starts it.
    pub fn ready(self) -> Daybook {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        Daybook {
            dir: tempfile::tempdir().expect("a scratch directory"),
            settings: self.settings,
            child: None,
            url: String::new(),
            stderr: Arc::default(),
            agent,
        }
    }
}

impl Daybook {
    /// Starts one with the default settings in a fresh directory, on a free port.
    pub fn start() -> Self {
        Options::default().start()
    }

    /// Settings for one to be started.
    pub fn with() -> Options {
        Options::default()
    }

    /// Starts it again in the same directory, after it was stopped or killed.
    ///
    /// # Panics
    /// With what it said, where it does not come up.
    pub fn restart(&mut self) {
        self.try_restart()
            .unwrap_or_else(|said| panic!("daybook did not start:\n{said}"));
    }

    /// As [`Daybook::restart`], for those who expect that it may refuse: what it said.
    ///
    /// # Errors
    /// What it said on stderr before it ended.
    pub fn try_restart(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "it still runs");
        let mut child = self
            .command()
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let lines = self.listen_to(child.stderr.take().expect("stderr is piped"));
        let mut said = String::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some(url) = line.strip_prefix(LISTENING) {
                        self.url = url.trim().to_owned();
                        self.child = Some(child);
                        return Ok(());
                    }
                    let _ = writeln!(said, "{line}");
                }
                Err(_) => {
                    let _ = child.kill();
                    let status = child.wait().expect("it ends");
                    return Err(format!("{said}({status})"));
                }
            }
        }
    }

    /// One more setting, from the next start on.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.settings
            .push((format!("DAYBOOK_{}", name.to_uppercase()), value.to_string()));
    }

    /// What starts it in this directory; it says nothing unless stderr is listened to.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .arg("--anchor")
            .arg(self.dir.path().join("anchor"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        command
    }

    /// Keeps what is said, and passes it on until nobody listens.
    fn listen_to(&self, stderr: impl std::io::Read + Send + 'static) -> Receiver<String> {
        let (send, receive) = channel();
        let kept = Arc::clone(&self.stderr);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = writeln!(kept.lock().expect("not poisoned"), "{line}");
                // After the start nobody waits for lines any more.
                let _ = send.send(line);
            }
        });
        receive
    }

    /// Where it answers, such as `http://127.0.0.1:34567`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Host and port of [`Daybook::url`].
    pub fn address(&self) -> &str {
        self.url
            .trim_start_matches("http://")
            .trim_start_matches("https://")
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The scratch directory, in which `data` and `anchor` are.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The owner's API token.
    pub fn owner_token(&self) -> String {
        std::fs::read_to_string(self.data().join("owner-token"))
            .expect("the first start writes it")
            .trim()
            .to_owned()
    }

    /// Everything it ever said on stderr.
    pub fn said(&self) -> String {
        self.stderr.lock().expect("not poisoned").clone()
    }

    /// The process' id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// SIGKILL: no code of ours runs any more.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.child.take().expect("it runs").wait().expect("it ends")
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        let sent = Command::new("kill")
            .args(["-TERM", &self.pid().to_string()])
            .status()
            .expect("kill runs");
        assert!(sent.success());
    }

    /// Runs another command of the binary on this data directory: exit code, stdout, stderr.
    pub fn cli(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(binary())
            .args(args)
            .arg("--data")
            .arg(self.data())
            .stdin(Stdio::null())
            .output()
            .expect("the binary runs");
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// The tree size.
    pub fn size(&self) -> u64 {
        let ready = self.call("GET", "/readyz").send().json();
        ready["size"].as_u64().expect("a size")
    }

    /// Waits until a checkpoint of at least this size is signed; it is, within a second of the commit.
    ///
    /// # Panics
    /// Where it is not.
    pub fn until_signed(&self, size: u64) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let ready = self.call("GET", "/readyz").send().json();
            if ready["signed_size"].as_u64().is_some_and(|signed| signed >= size) {
                return;
            }
            std::thread::yield_now();
        }
        panic!("size {size} was not signed");
    }

    /// Waits until the read models have folded every entry.
    ///
    /// # Panics
    /// Where they do not get there.
    pub fn until_projected(&self) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if self.call("GET", "/readyz").send().json()["lag_entries"] == 0 {
                return;
            }
            std::thread::yield_now();
        }
        panic!("the read models do not catch up");
    }

    /// Waits until an evidence pack is ready or has failed; `poll` is where to look.
    ///
    /// # Panics
    /// Where nothing becomes of it.
    pub fn until_made(&self, poll: &Value) -> Value {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let pack = self.get(poll.as_str().expect("where to look")).expect(200);
            if !matches!(pack["state"].as_str(), Some("queued" | "running")) {
                return pack;
            }
            // No oftener than a person may ask.
            std::thread::park_timeout(LOOK_AGAIN);
        }
        panic!("nothing became of the pack");
    }

    /// A request to be sent.
    pub fn call<'a>(&'a self, method: &'a str, path: &str) -> Call<'a> {
        Call {
            daybook: self,
            method,
            url: format!("{}{path}", self.url),
            headers: Vec::new(),
            body: None,
        }
    }

    /// GET by the owner.
    pub fn get(&self, path: &str) -> Reply {
        self.call("GET", path).token(&self.owner_token()).send()
    }

    /// POST of JSON by the owner.
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.call("POST", path)
            .token(&self.owner_token())
            .json(body)
            .send()
    }

    /// PATCH with JSON by the owner.
    pub fn patch(&self, path: &str, body: &Value) -> Reply {
        self.call("PATCH", path)
            .token(&self.owner_token())
            .json(body)
            .send()
    }

    /// DELETE by the owner.
    pub fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path).token(&self.owner_token()).send()
    }

    /// A site and a device on it: (site id, device id, the device's token).
    pub fn device(&self, local_id: &str) -> (String, String, String) {
        let site = self
            .post(
                "/v1/sites",
                &serde_json::json!({"name": "Kitchen", "vertical": "haccp", "timezone": "Europe/Prague"}),
            )
            .expect(201);
        let site = site["id"].as_str().expect("an id").to_owned();
        let (device, token) = self.device_on(&site, local_id);
        (site, device, token)
    }

    /// A device on a site: (device id, its token).
    pub fn device_on(&self, site: &str, local_id: &str) -> (String, String) {
        let body = serde_json::json!({
            "site_id": site, "local_id": local_id, "name": format!("Device {local_id}"), "model": "diy_esp32",
        });
        let device = self.post("/v1/devices", &body).expect(201);
        (
            device["id"].as_str().expect("an id").to_owned(),
            device["ingest_token"].as_str().expect("a token").to_owned(),
        )
    }

    /// Sends one temperature with a device's token.
    pub fn send(&self, token: &str, local_id: &str, ts: Option<&str>, value: f64) -> Reply {
        let mut body = serde_json::json!({
            "device": local_id, "measurements": [{"type": "temperature", "value": value}],
        });
        if let Some(ts) = ts {
            body["ts"] = ts.into();
        }
        self.call("POST", "/v1/ingest").token(token).json(&body).send()
    }
}

impl Drop for Daybook {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A request to be sent.
#[derive(Clone)]
pub struct Call<'a> {
    daybook: &'a Daybook,
    method: &'a str,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Call<'_> {
    /// With a bearer token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .bytes(body.to_string().into_bytes())
    }

    /// With these bytes.
    #[must_use]
    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sends it, and may send it once more.
    ///
    /// # Panics
    /// Where there is no answer at all.
    pub fn again(&self) -> Reply {
        self.clone().send()
    }

    /// Sends it.
    ///
    /// # Panics
    /// Where there is no answer at all.
    pub fn send(self) -> Reply {
        let method = self.method.to_owned();
        let url = self.url.clone();
        self.try_send()
            .unwrap_or_else(|error| panic!("{method} {url}: {error}"))
    }

    /// Sends it to a service that may be gone.
    ///
    /// # Errors
    /// Where there was no answer.
    pub fn try_send(self) -> Result<Reply, String> {
        let mut request = ureq::http::Request::builder().method(self.method).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let agent = &self.daybook.agent;
        let answer = match self.body {
            Some(body) => agent.run(request.body(body).map_err(|e| e.to_string())?),
            None => agent.run(request.body(()).map_err(|e| e.to_string())?),
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        Ok(Reply {
            status: answer.status().as_u16(),
            headers,
            body: answer
                .body_mut()
                .with_config()
                .limit(64 << 20)
                .read_to_vec()
                .map_err(|error| error.to_string())?,
        })
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// The body as JSON lines.
    pub fn ndjson(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// The JSON body of an answer that must have this status.
    ///
    /// # Panics
    /// With the answer, where it has another.
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The error code of an answer that must have this status and the envelope.
    ///
    /// # Panics
    /// With the answer, where it is not that.
    pub fn refused(&self, status: u16) -> String {
        let body = self.expect(status);
        let error = &body["error"];
        assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
        let id = error["request_id"].as_str().unwrap_or_default();
        assert!(id.starts_with("req_"), "{body}");
        assert_eq!(self.header("x-request-id"), Some(id));
        error["code"].as_str().expect("a code").to_owned()
    }
}

/// The binary under test: `DAYBOOK_BIN`, or what cargo builds beside this test.
///
/// # Panics
/// Where it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("DAYBOOK_BIN") {
        Some(path) => PathBuf::from(path),
        None => built("api", "daybook"),
    })
}

/// The verifier's program, built where it is not up to date.
///
/// # Panics
/// Where it cannot be built.
pub fn verifier() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("chain-publisher", "daybook-verify"))
}

fn built(package: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("a test stands in <target>/<profile>/deps");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", package, "--bin", name]);
    if profile.file_name().is_some_and(|name| name == "release") {
        build.arg("--release");
    }
    let built = build
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "{name} does not build");
    profile.join(name)
}
