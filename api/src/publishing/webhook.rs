//! A head as a signed POST to a receiver.
//!
//! Invariants: as `outgoing`; a stop ends it at once.
//! Not here: the signature (`chain_publisher::publish::webhook`).

use super::channels::Waiting;
use crate::outgoing::Receiver;
use chain_publisher::publish::webhook::{WebhookSecret, delivery};
use chain_publisher::publish::{Channel, Publication, PublishError};
use commands::keys::read_secret_text;
use hyper::StatusCode;
use std::path::Path;
use std::time::Duration;

/// How long a receiver may take, in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The largest file with a webhook's secret, bytes.
const SECRET_FILE_BYTES_MAX: u64 = 4_096;

/// A receiver.
pub struct Webhook {
    receiver: Receiver,
    secret: WebhookSecret,
    waiting: Waiting,
}

impl Webhook {
    pub fn open(
        url: &str,
        secret_file: &Path,
        ca_file: Option<&Path>,
        waiting: &Waiting,
    ) -> Result<Self, String> {
        let text = read_secret_text(secret_file, SECRET_FILE_BYTES_MAX).map_err(|error| error.to_string())?;
        Ok(Self {
            receiver: Receiver::new(url, ca_file)?,
            secret: WebhookSecret::parse(&text)?,
            waiting: waiting.clone(),
        })
    }
}

impl Channel for Webhook {
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let delivery = delivery(publication, &self.secret);
        let posted = self
            .receiver
            .post(&delivery.headers, delivery.body, ANSWER_WITHIN);
        match self.waiting.on(posted) {
            None => Err(PublishError::GivenUp),
            Some(Ok(status)) if status.is_success() => Ok(()),
            // Standard Webhooks: who answers 410 wants no more.
            Some(Ok(StatusCode::GONE)) => Err(PublishError::Refused(
                "the receiver answered 410: it wants no more heads".to_owned(),
            )),
            Some(Ok(status)) => Err(PublishError::Failed(format!("the receiver answered {status}"))),
            Some(Err(error)) => Err(PublishError::Failed(format!("no answer: {error}"))),
        }
    }
}
