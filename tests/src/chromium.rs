//! A real headless Chromium, driven by the DevTools protocol over a pipe.
//!
//! Messages are JSON with a zero byte behind each, on the browser's file descriptors 3 and 4; a shell puts them on our
//! two pipes, so that there is no port, no WebSocket and nothing to link.
//! Invariants: every wait is for the thing itself and has an end; whatever the page complains about, and whatever it
//! asks anybody but its own service for, is kept until somebody looks.
//! Source: Chrome DevTools Protocol. Not here: what pages should show (`tests/it/browser.rs`).

use crate::PATIENCE;
use crate::debian;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What Debian calls it.
const PACKAGE: &str = "chromium";
/// Where it may be found.
const NAMES: &[&str] = &[
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];
/// No sandbox, because tests may run as root; nothing that asks anybody outside.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
];
/// Moves the browser's pipe to its standard streams, where we have it.
const SHELL: &str = r#"exec "$@" 3<&0 4>&1 0</dev/null 1>/dev/null"#;

/// A browser with one page.
pub struct Chromium {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    loads: u64,
    own: String,
    complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

/// The browser's program; installed where it is missing and may be. In words why there is none otherwise.
///
/// # Errors
/// Why there is none, and what to do.
pub fn program() -> Result<PathBuf, String> {
    debian::program(NAMES, &[PACKAGE, "fonts-dejavu-core"]).ok_or_else(|| {
        format!("there is no Chromium here and it could not be installed: apt-get install {PACKAGE}")
    })
}

impl Chromium {
    /// Starts it with an empty profile; `own` begins every address that its pages may ask for.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(program: &Path, own: &str) -> Self {
        let profile = tempfile::tempdir().expect("a scratch directory");
        let mut child = Command::new("sh")
            .args(["-c", SHELL, "sh"])
            .arg(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("LANG", "en_GB.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let to = child.stdin.take().expect("stdin is piped");
        let mut out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (send, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while out.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                match serde_json::from_slice(&message) {
                    // Nobody listens to a browser that is being closed.
                    Ok(value) => drop(send.send(value)),
                    Err(_) => return,
                }
                message.clear();
            }
        });
        let mut browser = Self {
            child,
            to,
            from,
            calls: 0,
            session: None,
            loads: 0,
            own: own.to_owned(),
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call(
            "Target.attachToTarget",
            json!({"targetId": target["targetId"], "flatten": true}),
        );
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Network", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.call(
            "Emulation.setTimezoneOverride",
            json!({"timezoneId": "Europe/Prague"}),
        );
        browser
    }

    /// Makes the window so large, in CSS pixels; narrow ones are phones.
    pub fn resize(&mut self, width: u32, height: u32) {
        let mobile = width < 600;
        self.call(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": if mobile { 2 } else { 1 },
                "mobile": mobile}),
        );
        self.call("Emulation.setTouchEmulationEnabled", json!({"enabled": mobile}));
    }

    /// Opens an address and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        let before = self.loads;
        let answer = self.call("Page.navigate", json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.wait_for_load(before, url);
    }

    /// Clicks what a selector finds, with the mouse, where a person would.
    pub fn click(&mut self, selector: &str) {
        self.wait(&format!("{selector} to click"), &format!("!!{}", find(selector)));
        let place = self.evaluate(&format!(
            "(() => {{ const e = {}; e.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const r = e.getBoundingClientRect(); \
             const x = r.left + r.width / 2, y = r.top + r.height / 2; \
             const top = document.elementFromPoint(x, y); \
             return {{x, y, seen: !!top && (e.contains(top) || top.contains(e)), \
                      by: top ? top.outerHTML.slice(0, 200) : ''}}; }})()",
            find(selector)
        ));
        assert_eq!(place["seen"], true, "{selector} is covered by {}", place["by"]);
        for kind in ["mousePressed", "mouseReleased"] {
            self.call(
                "Input.dispatchMouseEvent",
                json!({"type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1}),
            );
        }
    }

    /// Clicks what leads to another page, and waits until that is loaded.
    pub fn follow(&mut self, selector: &str) {
        let before = self.loads;
        self.click(selector);
        self.wait_for_load(before, selector);
    }

    /// Types into a field.
    pub fn fill(&mut self, selector: &str, text: &str) {
        self.wait(&format!("{selector} to fill"), &format!("!!{}", find(selector)));
        self.evaluate(&format!("{}.focus()", find(selector)));
        self.evaluate(&format!(
            "{}.select && {}.select()",
            find(selector),
            find(selector)
        ));
        self.call("Input.insertText", json!({"text": text}));
    }

    /// Drags a file from outside the browser onto what a selector finds.
    pub fn drop_file(&mut self, selector: &str, file: &Path) {
        self.wait(
            &format!("{selector} to drop on"),
            &format!("!!{}", find(selector)),
        );
        let place = self.evaluate(&format!(
            "(() => {{ const e = {}; e.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const r = e.getBoundingClientRect(); \
             return {{x: r.left + r.width / 2, y: r.top + r.height / 2}}; }})()",
            find(selector)
        ));
        for kind in ["dragEnter", "dragOver", "drop"] {
            self.call(
                "Input.dispatchDragEvent",
                json!({"type": kind, "x": place["x"], "y": place["y"],
                    "data": {"items": [], "files": [file], "dragOperationsMask": 1}}),
            );
        }
    }

    /// Chooses files in a field for files, as its dialogue does: the page hears of it.
    pub fn choose_files(&mut self, selector: &str, files: &[&Path]) {
        self.wait(&format!("{selector} to choose"), &format!("!!{}", find(selector)));
        let document = self.call("DOM.getDocument", json!({"depth": 0}));
        let field = self.call(
            "DOM.querySelector",
            json!({"nodeId": document["root"]["nodeId"], "selector": selector}),
        );
        self.call(
            "DOM.setFileInputFiles",
            json!({"nodeId": field["nodeId"], "files": files}),
        );
    }

    /// The text of what a selector finds, as it is seen.
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.evaluate(&format!("(e => e ? e.innerText : null)({})", find(selector)));
        let url = self.url();
        text.as_str()
            .unwrap_or_else(|| panic!("{selector} is not on {url}"))
            .to_owned()
    }

    /// Where it is.
    pub fn url(&mut self) -> String {
        self.evaluate("location.href")
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// What an expression gives in the page, as JSON.
    ///
    /// # Panics
    /// Where it throws.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression)
            .unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let answer = self.try_call(
            "Runtime.evaluate",
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true}),
        )?;
        match &answer["exceptionDetails"] {
            Value::Null => Ok(answer["result"]["value"].clone()),
            thrown => Err(thrown.to_string()),
        }
    }

    /// Until an expression is true in the page, whatever is loaded meanwhile.
    ///
    /// # Panics
    /// With the page's text, where it does not become so.
    pub fn wait(&mut self, what: &str, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        // The page looks by itself at each change; when it goes away, the next one is asked.
        let promise = format!(
            "new Promise(done => {{ const look = () => {{ if ({expression}) {{ done(true); return true; }} }}; \
             if (!look()) {{ const seer = new MutationObserver(() => look() && seer.disconnect()); \
             seer.observe(document, {{subtree: true, childList: true, attributes: true, characterData: true}}); \
             setTimeout(() => done(false), 1000); }} }})"
        );
        while self.try_evaluate(&promise) != Ok(Value::Bool(true)) {
            if Instant::now() > deadline {
                let (url, text) = (self.url(), self.text("body"));
                panic!("waited for {what} on {url}, which says:\n{text}");
            }
        }
    }

    /// Signed out of everything.
    pub fn forget(&mut self) {
        self.call("Network.clearBrowserCookies", json!({}));
    }

    /// Whether the page is wider than the window.
    pub fn overflows(&mut self) -> bool {
        self.evaluate("document.documentElement.scrollWidth > window.innerWidth") == true
    }

    /// A picture of the whole page (PNG) as `<name>.png` in `DAYBOOK_SCREENSHOTS`, where that is set.
    pub fn picture(&mut self, name: &str) {
        let Some(dir) = std::env::var_os("DAYBOOK_SCREENSHOTS").map(PathBuf::from) else {
            return;
        };
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let picture = self.call(
            "Page.captureScreenshot",
            json!({"format": "png", "captureBeyondViewport": true, "clip": clip}),
        );
        let bytes = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            picture["data"].as_str().unwrap_or_default(),
        );
        std::fs::create_dir_all(&dir).expect("the folder for pictures");
        std::fs::write(dir.join(format!("{name}.png")), bytes.expect("base64")).expect("the picture is kept");
    }

    /// Errors on the console and requests to anybody else, since this was asked last.
    pub fn complaints(&mut self) -> Vec<String> {
        // Whatever was under way is there once this is answered.
        self.evaluate("document.readyState");
        std::mem::take(&mut self.complaints)
    }

    fn wait_for_load(&mut self, before: u64, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.loads == before {
            let left = deadline.saturating_duration_since(Instant::now());
            let message = self.from.recv_timeout(left);
            self.note(&message.unwrap_or_else(|_| panic!("{what}: nothing was loaded")));
        }
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.try_call(method, params)
            .unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser runs");
        loop {
            let mut message = self
                .from
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|_| panic!("{method}: the browser does not answer"));
            if message["id"] == self.calls {
                return match message.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(message["result"].take()),
                };
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Page.loadEventFired" => self.loads += 1,
            "Runtime.consoleAPICalled" if params["type"] == "error" || params["type"] == "assert" => {
                self.complaints.push(format!("console: {}", params["args"]));
            }
            "Runtime.exceptionThrown" => {
                let details = &params["exceptionDetails"];
                self.complaints.push(format!("exception: {details}"));
            }
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                self.complaints.push(format!("log: {}", params["entry"]));
            }
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                let inner = ["data:", "blob:", "about:"]
                    .iter()
                    .any(|scheme| url.starts_with(scheme));
                if !inner && !url.starts_with(&self.own) {
                    self.complaints.push(format!("a request to {url}"));
                }
            }
            _ => {}
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It closes its own children first; whatever is left goes with the pipe.
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if self.from.recv_timeout(Duration::from_secs(5)).is_err() {
                break;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a selector finds, as an expression of the page.
fn find(selector: &str) -> String {
    format!("document.querySelector({})", Value::from(selector))
}
