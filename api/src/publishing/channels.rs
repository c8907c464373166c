//! The channels of the settings, made ready.
//!
//! Not here: what each does (`chain_publisher::publish`, `webhook`, `mail`, `mqtt`).

use super::{mail, mqtt, webhook};
use crate::config::PublishTo;
use crate::mail::Mailer;
use crate::stopping::Stopping;
use chain_publisher::publish::Channel;
use chain_publisher::publish::directory::StaticDirectory;
use chain_publisher::publish::git::GitRepository;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What channels need that wait for somebody else: where their futures run, and what ends them.
#[derive(Clone)]
pub struct Waiting {
    pub runtime: Handle,
    pub stopping: Arc<Stopping>,
}

impl Waiting {
    /// Waits on this thread; `None` where the service stops meanwhile, and what was waited for is dropped.
    pub fn on<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                done = future => Some(done),
                () = self.stopping.stopped() => None,
            }
        })
    }
}

/// Makes a channel ready; nothing is connected yet.
pub fn open(
    to: &PublishTo,
    waiting: &Waiting,
    mailer: Option<&Arc<Mailer>>,
) -> Result<Box<dyn Channel>, String> {
    Ok(match to {
        PublishTo::Directory { path, .. } => Box::new(StaticDirectory::new(path)),
        PublishTo::Git {
            path,
            signing_key,
            push,
            ..
        } => Box::new(GitRepository::new(path, signing_key.as_deref(), push.as_deref())),
        PublishTo::Webhook {
            url,
            secret_file,
            ca_file,
            ..
        } => Box::new(webhook::Webhook::open(
            url,
            secret_file,
            ca_file.as_deref(),
            waiting,
        )?),
        PublishTo::Mail { address, .. } => {
            let mailer = mailer.ok_or("there is no [mail] table")?;
            Box::new(mail::HeadMail::new(address, Arc::clone(mailer), waiting))
        }
        PublishTo::Mqtt {
            broker,
            topic,
            credentials_file,
            ca_file,
            ..
        } => Box::new(mqtt::Topics::open(
            broker,
            topic.as_deref(),
            credentials_file.as_deref(),
            ca_file.as_deref(),
            waiting,
        )?),
    })
}
