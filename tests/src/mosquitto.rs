//! A real MQTT broker (Mosquitto), and what it retains as another client sees it.
//!
//! Invariants: nothing but loopback; the process never outlives the value; what is retained survives a restart.
//! Not here: what is published.

use crate::PATIENCE;
use crate::certificates::Certificates;
use crate::debian;
use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The user it knows.
pub const USER: &str = "daybook";
/// The user's password.
pub const PASSWORD: &str = "a password of the test";
const PACKAGES: &[&str] = &["mosquitto", "mosquitto-clients"];

/// A broker.
pub struct Broker {
    /// Where it listens.
    pub port: u16,
    dir: PathBuf,
    program: PathBuf,
    certificates: Option<Certificates>,
    child: Option<Child>,
}

impl Broker {
    /// Starts one that keeps what it retains in `dir`; with certificates it speaks TLS only. It wants `USER` and
    /// `PASSWORD`.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// Where its files cannot be written.
    pub fn start(dir: &Path, certificates: Option<&Certificates>) -> Result<Self, String> {
        let missing = || format!("there is no Mosquitto: apt-get install {}", PACKAGES.join(" "));
        let clients = debian::program(&["mosquitto_sub"], PACKAGES);
        let passwords = debian::program(&["mosquitto_passwd"], PACKAGES).ok_or_else(missing)?;
        let program = Path::new("/usr/sbin/mosquitto");
        if clients.is_none() || !program.is_file() {
            return Err(missing());
        }
        std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
        let made = Command::new(passwords)
            .args(["-b", "-c"])
            .arg(dir.join("passwords"))
            .args([USER, PASSWORD])
            .stderr(Stdio::null())
            .status();
        if !made.is_ok_and(|made| made.success()) {
            return Err("mosquitto_passwd does not make a file".to_owned());
        }
        let free = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = free.local_addr().map_err(|error| error.to_string())?.port();
        drop(free);
        let mut broker = Self {
            port,
            dir: dir.to_owned(),
            program: program.to_owned(),
            certificates: certificates.cloned(),
            child: None,
        };
        broker.resume();
        Ok(broker)
    }

    /// Starts it again at the same port.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn resume(&mut self) {
        let show = |path: &Path| path.display().to_string();
        let mut settings = format!(
            "listener {} 127.0.0.1\nallow_anonymous false\npassword_file {}\nuser root\nautosave_interval 1\n\
             autosave_on_changes true\npersistence true\npersistence_location {}/\n",
            self.port,
            show(&self.dir.join("passwords")),
            show(&self.dir)
        );
        if let Some(certificates) = &self.certificates {
            settings += &format!(
                "certfile {}\nkeyfile {}\n",
                show(&certificates.certificate),
                show(&certificates.key)
            );
        }
        let path = self.dir.join("mosquitto.conf");
        std::fs::write(&path, settings).expect("written");
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("mosquitto runs"));
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it: nobody answers at its port.
    pub fn pause(&mut self) {
        if let Some(mut child) = self.child.take() {
            // SIGTERM, so that it keeps what it retains.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }

    /// What it retains below `topic`, by topic; `count` messages are waited for.
    ///
    /// # Panics
    /// Where it cannot be asked.
    pub fn retained(&self, topic: &str, count: usize) -> BTreeMap<String, Vec<u8>> {
        let mut command = Command::new("mosquitto_sub");
        command
            .args([
                "-V",
                "5",
                "-h",
                "localhost",
                "-W",
                "20",
                "-F",
                "%t %x",
                "--retained-only",
            ])
            .args(["-p", &self.port.to_string(), "-u", USER, "-P", PASSWORD])
            .args(["-t", topic, "-C", &count.to_string()]);
        if let Some(certificates) = &self.certificates {
            command.arg("--cafile").arg(&certificates.authority);
        }
        let output = command.output().expect("mosquitto_sub runs");
        let text = String::from_utf8(output.stdout).expect("text");
        let byte = |two: &[u8]| {
            let two = std::str::from_utf8(two).expect("hexadecimal");
            u8::from_str_radix(two, 16).expect("hexadecimal")
        };
        text.lines()
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(topic, hex)| (topic.to_owned(), hex.as_bytes().chunks(2).map(byte).collect()))
            .collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.pause();
    }
}
