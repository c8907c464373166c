//! A notification as a mail.
//!
//! Invariants: the Message-ID follows from the notification's id, so that a mail that is sent again is known again; every
//! mail can be unsubscribed from with one click; a mailbox that refuses for good bounces.
//! Source: RFC 8058. Not here: the conversation with the server (`mail`).

use super::Sent;
use crate::app::App;
use crate::mail::{Mail, MailClass, MessageId};
use projections::outbox::plan::{Due, Form};

impl App {
    pub(super) async fn by_mail(&self, form: Form, says: &[Due], address: &str) -> Sent {
        let Some(mailer) = self.mailer().cloned() else {
            return Sent::Later("no_mail".to_owned(), None);
        };
        let dues: Vec<&Due> = says.iter().collect();
        let words = self.words(form, &dues).await;
        let id = MessageId::of(self.origin(), &says[0].id);
        let mail = Mail {
            to: address.to_owned(),
            subject: words.subject,
            text: words.text,
            html: Some(words.html),
            attachments: Vec::new(),
            id: id.clone(),
            at: self.clock().now(),
        };
        let unsubscribe = self.own_link(&says[0].contact);
        let sent = mailer
            .send_to_subscriber(&mail, self.notify().alarms_from.as_ref(), Some(&unsubscribe))
            .await;
        match sent {
            Ok(()) => Sent::Taken("250".to_owned(), Some(id.as_str().to_owned())),
            Err(error) if error.class == MailClass::Permanent => {
                let code = code(&error.reason);
                if is_of_the_mailbox(&code, &error.reason) {
                    Sent::Bounced(code)
                } else {
                    Sent::Refused(code)
                }
            }
            Err(error) => Sent::Later(format!("{}_{}", error.class.as_str(), code(&error.reason)), None),
        }
    }
}

/// Whether a refusal is the mailbox's (RFC 5321 §4.2.3; RFC 3463 §3.2), and not one of this message or of us (5.7).
fn is_of_the_mailbox(code: &str, reason: &str) -> bool {
    matches!(code, "550" | "551" | "553") && !reason.contains(", 5.7.")
}

/// The server's code in an error's words; `error` where there is none.
pub(super) fn code(reason: &str) -> String {
    let number = |word: &&str| word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit());
    let words = reason.split(|c: char| !c.is_ascii_alphanumeric());
    words.into_iter().find(number).unwrap_or("error").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_servers_and_nothing_else() {
        assert_eq!(code("the mail server answered 550, 5.1.1"), "550");
        assert_eq!(code("the mail server took too long"), "error");
        let bounces = |reason: &str| is_of_the_mailbox(&code(reason), reason);
        assert!(bounces("the mail server answered 550, 5.1.1") && bounces("the mail server answered 550"));
        assert!(
            !bounces("the mail server answered 550, 5.7.1")
                && !bounces("the mail server answered 554, 5.3.4")
        );
    }
}
