//! A service with devices of several channels, with a rule over each or without, and contacts that are told.
//!
//! Each contact hears of devices of its own, in turns: so that none gets more than its limits let through (ten mails an
//! hour to a mailbox, a message in ten seconds to a chat), which are in force. Not here: the load (`mod`).

use super::Options;
use super::receivers::Receivers;
use crate::app::Outside;
use crate::bench::BenchError;
use crate::bench::load::{Plan, channel_label, device_name};
use crate::bench::service::{self, Served};
use crate::bench::stage::Stage;
use crate::demo::client::Client;
use crate::mail::{MailSettings, MailTls};
use crate::notify::telegram::TelegramSettings;
use domain::event::contact::ContactKind;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Contacts of each way. With at most so many alarms in ten seconds each chat has its turn, and with ten times as many
/// altogether each mailbox; three ways of them are still fewer than an account may have.
pub const CONTACTS: usize = 60;
/// Devices whose first reports go out in one request.
const FIRST: usize = 200;

/// A running service and what is in it.
pub struct Scene {
    /// The service.
    pub served: Served,
    gateway: String,
    devices: usize,
    values: usize,
    /// The contacts of a channel's device, by way.
    contacts: HashMap<String, Vec<(ContactKind, String)>>,
    stage: Stage,
    ids: Vec<Arc<str>>,
}

impl Scene {
    /// Starts it with devices whose channels are known.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn open(
        dir: &Path,
        outside: &Outside,
        options: &Options,
        receivers: Option<&Receivers>,
    ) -> Result<Self, BenchError> {
        let mut settings = service::settings(dir.to_owned());
        if let Some(receivers) = receivers {
            let token_file = dir.join("bot.token");
            std::fs::create_dir_all(dir)?;
            std::fs::write(&token_file, "1:bench\n")?;
            std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600))?;
            settings.telegram = Some(TelegramSettings {
                token_file,
                api_url: format!("http://{}", receivers.http),
            });
            settings.mail = Some(MailSettings {
                host: "localhost".to_owned(),
                port: Some(receivers.smtp.port()),
                tls: MailTls::None,
                from: "Daybook <bench@daybook.invalid>".to_owned(),
                credentials_file: None,
                ca_file: None,
                hello: None,
                timeout_s: 20,
            });
            settings.notify_private_targets = true;
        }
        let served = Served::open(settings, outside.clone()).await?;
        let stage = Stage::begin(served.app.management(), served.app.registry()).await?;
        let ids = stage.devices(0..options.devices).await?;
        let gateway = stage.gateway().await?.text().to_owned();
        let scene = Self {
            served,
            gateway,
            devices: options.devices,
            values: options.values,
            contacts: HashMap::new(),
            stage,
            ids,
        };
        scene.first_reports().await?;
        Ok(scene)
    }

    /// One report of each device, so that its channels are there.
    async fn first_reports(&self) -> Result<(), BenchError> {
        let (address, gateway) = (self.served.address, self.gateway.clone());
        let (devices, values) = (self.devices, self.values);
        let sent = tokio::task::spawn_blocking(move || {
            let client = Client::new(&format!("http://{address}"));
            for first in (0..devices).step_by(FIRST) {
                let reports: Vec<_> = (first..devices.min(first + FIRST))
                    .map(|number| {
                        let measured: Vec<_> = (0..values)
                            .map(|n| json!({"type": "temperature", "label": channel_label(n), "value": 4.2}))
                            .collect();
                        json!({"device": device_name(number), "measurements": measured})
                    })
                    .collect();
                client.post("/v1/ingest", &gateway, &json!({"reports": reports}))?;
            }
            Ok::<_, BenchError>(())
        });
        sent.await.map_err(|error| BenchError::Load(error.to_string()))?
    }

    /// A rule over every channel; how many.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn rules(&self) -> Result<usize, BenchError> {
        let channels: Vec<Arc<str>> = self.ids.iter().flat_map(|id| self.channels(id)).collect();
        let count = channels.len();
        self.stage.limits(channels).await?;
        Ok(count)
    }

    fn channels(&self, device: &str) -> Vec<Arc<str>> {
        let registry = self.served.app.registry().read();
        let Some(device) = registry.device_anywhere(device) else {
            return Vec::new();
        };
        registry
            .channels(device)
            .map(|channel| channel.id.clone())
            .collect()
    }

    /// Contacts for devices that will be out, by number, in the order in which they will.
    ///
    /// # Errors
    /// [`BenchError`].
    pub async fn contacts(&mut self, out: &[usize], receivers: &Receivers) -> Result<(), BenchError> {
        for turn in 0..CONTACTS.min(out.len()) {
            let own = out.iter().skip(turn).step_by(CONTACTS);
            let mut scope: Vec<String> = own.map(|number| self.ids[*number].to_string()).collect();
            scope.sort();
            let mut made = Vec::new();
            for (via, address) in [
                (ContactKind::Email, format!("kim{turn}@daybook.invalid")),
                (ContactKind::Telegram, format!("-{}", 1000 + turn)),
                (
                    ContactKind::Webhook,
                    format!("http://{}/hook/{turn}", receivers.http),
                ),
            ] {
                made.push((via, self.stage.contact(via, &address, scope.clone()).await?));
            }
            let channels: Vec<Arc<str>> = scope.iter().flat_map(|device| self.channels(device)).collect();
            for channel in channels {
                self.contacts.insert(channel.to_string(), made.clone());
            }
        }
        Ok(())
    }

    /// Who is told of a channel that way.
    pub fn contact_of(&self, channel: &str, via: ContactKind) -> Option<&str> {
        let told = self.contacts.get(channel)?;
        let found = told.iter().find(|(by, _)| *by == via)?;
        Some(&found.1)
    }

    /// A load of all devices.
    pub fn plan(&self, connections: usize, batch: usize, warm_up: Duration, window: Duration) -> Plan {
        Plan {
            address: self.served.address,
            path: "/v1/ingest".to_owned(),
            connections,
            batch,
            values: self.values,
            per_second: None,
            out: BTreeMap::new(),
            devices: self.devices,
            tokens: vec![self.gateway.clone()],
            warm_up_ms: warm_up.as_millis() as u64,
            window_ms: window.as_millis() as u64,
        }
    }
}
