//! A head as a message to an auditor: words that a person understands, the file to keep, and how to check it.
//!
//! One channel is one address, so that nobody sees another's, and a dead mailbox delays nobody else.
//! Invariants: the attached bytes are the head's; the same head to the same address has the same Message-ID.
//! Not here: sending (`crate::mail`).

use super::channels::Waiting;
use crate::mail::{Attachment, Mail, MailClass, Mailer, MessageId};
use chain_publisher::publish::{Channel, Publication, PublishError};
use domain::Timestamp;
use domain::tlog_proof::TlogProof;
use maud::html;
use std::sync::Arc;

/// An auditor's mailbox.
pub struct HeadMail {
    address: String,
    mailer: Arc<Mailer>,
    waiting: Waiting,
}

impl HeadMail {
    pub fn new(address: &str, mailer: Arc<Mailer>, waiting: &Waiting) -> Self {
        Self {
            address: address.to_owned(),
            mailer,
            waiting: waiting.clone(),
        }
    }
}

impl Channel for HeadMail {
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let mail = message(publication, &self.address).map_err(PublishError::Failed)?;
        match self.waiting.on(self.mailer.send(&mail)) {
            None => Err(PublishError::GivenUp),
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if error.class == MailClass::Transient => {
                Err(PublishError::Failed(error.reason))
            }
            Some(Err(error)) => Err(PublishError::Refused(error.reason)),
        }
    }
}

/// What an auditor gets.
fn message(publication: &Publication<'_>, address: &str) -> Result<Mail, String> {
    let head = TlogProof::parse(publication.head).map_err(|error| error.to_string())?;
    let (origin, date) = (publication.origin, publication.date);
    let entries = publication.size.get();
    let root = head.checkpoint.checkpoint().root().to_base64();
    let name = format!("{date}.tlog-proof");
    let one = format!("daybook-verify head {name} --key log.vkey");
    let all = "daybook-verify head *.tlog-proof *.consistency --key log.vkey";
    let what = format!(
        "This is the signed head of {date} of the ledger {origin}. It stands for every one of the {entries} entries that \
         the ledger had when that day was closed: none of them can be changed, left out or added to any more without \
         contradicting it."
    );
    let keep = "Keep the attached files in a place of your own, where whoever runs the ledger cannot reach them. You need not \
                open them.";
    let key = "The key in log.vkey must come from elsewhere than this message: you were given it once, or ask for it by \
               another way.";
    let text = format!(
        "{what}\n\n{keep}\n\nTo check it, and all that you have kept against one another:\n\n  {one}\n  {all}\n\n{key}\n\n\
         Ledger:  {origin}\nDay:     {date}\nEntries: {entries}\nRoot:    {root}\n"
    );
    let html = html! {
        p { (what) }
        p { strong { (keep) } }
        p { "To check it, and all that you have kept against one another:" }
        pre { (one) "\n" (all) }
        p { (key) }
        table {
            tr { th align="left" { "Ledger" } td { (origin) } }
            tr { th align="left" { "Day" } td { (date) } }
            tr { th align="left" { "Entries" } td { (entries) } }
            tr { th align="left" { "Root" } td { code { (root) } } }
        }
    };
    let attached = |name: String, bytes: &[u8]| Attachment {
        name,
        media_type: "text/plain",
        bytes: bytes.to_vec(),
    };
    let mut attachments = vec![attached(name, publication.head)];
    if let Some(body) = publication.consistency {
        attachments.push(attached(format!("{date}.consistency"), body));
    }
    let now_us = i64::try_from(publication.now_s).map_or(0, |now_s| now_s * 1_000_000);
    Ok(Mail {
        to: address.to_owned(),
        subject: format!("Head of {date}, {entries} entries: {origin}"),
        text,
        html: Some(html.into_string()),
        attachments,
        id: MessageId::of(origin, &format!("head\n{date}\n{address}")),
        at: Timestamp::from_micros(now_us).unwrap_or_default(),
    })
}
