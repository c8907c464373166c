//! A message: words as text and perhaps as HTML, attachments, a Message-ID that is known again.
//!
//! Invariants: an attachment arrives byte for byte; nothing that is given can add a header; the same id for the same
//! thing, so that a message that may have been sent already can be sent again.
//! Source: RFC 5322, RFC 2046, RFC 3834 (`Auto-Submitted`).
//! Not here: sending it (`transport`).

use domain::Timestamp;
use domain::hash::{base64url, sha256};
use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use std::time::{Duration, UNIX_EPOCH};

/// Bytes of a message's attachments in all; what is larger is fetched, not mailed.
pub const ATTACHMENTS_BYTES_MAX: usize = 8 << 20;
/// Characters of a subject; longer ones are cut.
const SUBJECT_CHARS_MAX: usize = 200;
/// Behind the `@` of a Message-ID where the origin's host would not do.
const HOST_DEFAULT: &str = "daybook.invalid";

/// A message to one person: whoever gets it sees nobody else's address.
#[derive(Debug, Clone)]
pub struct Mail {
    /// To whom: `kim@example.eu` or `Kim <kim@example.eu>`.
    pub to: String,
    /// What it is about, in one line.
    pub subject: String,
    /// The words.
    pub text: String,
    /// The same words as HTML.
    pub html: Option<String>,
    /// What is attached.
    pub attachments: Vec<Attachment>,
    /// By which it is known.
    pub id: MessageId,
    /// When it was written.
    pub at: Timestamp,
}

/// A file that goes along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Its name, ASCII.
    pub name: String,
    /// What it is: `text/plain`.
    pub media_type: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// By which a message is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId(String);

impl MessageId {
    /// The id of a thing of this ledger, such as `head\n2026-05-17\nkim@example.eu`; the same for the same thing, and
    /// it tells nothing of it but to whoever knows it.
    pub fn of(origin: &str, thing: &str) -> Self {
        let hash = sha256(format!("daybook/mail/v1\n{origin}\n{thing}").as_bytes());
        let host = origin.split(['/', ':']).next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let host = if !host.is_empty() && host.chars().all(plain) {
            host
        } else {
            HOST_DEFAULT
        };
        Self(format!("<{}@{host}>", base64url(&hash.0[..18])))
    }

    /// As it stands in the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `Auto-Submitted: auto-generated`: no holiday notice answers.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Where to unsubscribe, in the header that mail programs show a button for (RFC 2369).
#[derive(Clone)]
struct ListUnsubscribe(String);

impl Header for ListUnsubscribe {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::dangerous_new_pre_encoded(Self::name(), self.0.clone(), self.0.clone())
    }
}

/// That one POST does it, without a question (RFC 8058).
#[derive(Clone)]
struct OneClick;

impl Header for OneClick {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("List-Unsubscribe-Post")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "List-Unsubscribe=One-Click".to_owned())
    }
}

/// The message as it is sent, from `from`; `unsubscribe` is a URL that takes one click.
///
/// # Errors
/// In words, without an address.
pub(super) fn build(
    mail: &Mail,
    from: &Mailbox,
    unsubscribe: Option<&str>,
) -> Result<lettre::Message, String> {
    let to: Mailbox = mail
        .to
        .parse()
        .map_err(|_| "the receiver's address is none".to_owned())?;
    let attached: usize = mail.attachments.iter().map(|one| one.bytes.len()).sum();
    if attached > ATTACHMENTS_BYTES_MAX {
        return Err(format!(
            "its attachments have {attached} bytes; {ATTACHMENTS_BYTES_MAX} go by mail"
        ));
    }
    let at = Duration::from_micros(mail.at.as_micros().max(0).unsigned_abs());
    let mut message = lettre::Message::builder()
        .from(from.clone())
        .to(to)
        .subject(one_line(&mail.subject))
        .message_id(Some(mail.id.0.clone()))
        .date(UNIX_EPOCH + at)
        .header(AutoSubmitted);
    if let Some(url) = unsubscribe {
        message = message
            .header(ListUnsubscribe(format!("<{url}>")))
            .header(OneClick);
    }
    let unreadable = |error: lettre::error::Error| error.to_string();
    let text = SinglePart::plain(mail.text.clone());
    if mail.html.is_none() && mail.attachments.is_empty() {
        return message.singlepart(text).map_err(unreadable);
    }
    let words = match &mail.html {
        Some(html) => MultiPart::alternative()
            .singlepart(text)
            .singlepart(SinglePart::html(html.clone())),
        None => MultiPart::alternative().singlepart(text),
    };
    if mail.attachments.is_empty() {
        return message.multipart(words).map_err(unreadable);
    }
    let mut parts = MultiPart::mixed().multipart(words);
    for attachment in &mail.attachments {
        parts = parts.singlepart(attached_part(attachment)?);
    }
    message.multipart(parts).map_err(unreadable)
}

fn attached_part(attachment: &Attachment) -> Result<SinglePart, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if attachment.name.is_empty() || !attachment.name.chars().all(plain) {
        return Err("an attachment's name has letters, digits, '.', '-' and '_'".to_owned());
    }
    let media_type = ContentType::parse(attachment.media_type).map_err(|error| error.to_string())?;
    // Text would travel with other line ends, and its hash would be another.
    let body = Body::new_with_encoding(attachment.bytes.clone(), ContentTransferEncoding::Base64)
        .map_err(|_| "an attachment cannot be encoded".to_owned())?;
    Ok(lettre::message::Attachment::new(attachment.name.clone()).body(body, media_type))
}

/// A subject has no line ends and no other controls, and an end.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SUBJECT_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        Mail {
            to: "Kim <kim@example.eu>".to_owned(),
            subject: "Ein Tag\r\nBcc: other@example.eu".to_owned(),
            text: "Wörter\n".to_owned(),
            html: Some("<p>Wörter".to_owned()),
            attachments: vec![Attachment {
                name: "2026-05-17.tlog-proof".to_owned(),
                media_type: "text/plain",
                bytes: b"one\ntwo\n".to_vec(),
            }],
            id: MessageId::of("log.example/main", "head"),
            at: Timestamp::parse_rfc3339("2026-05-18T00:00:01Z").expect("a time"),
        }
    }

    fn built(mail: &Mail) -> String {
        let from = "Daybook <log@example.eu>".parse().expect("an address");
        String::from_utf8(build(mail, &from, None).expect("a message").formatted()).expect("text")
    }

    #[test]
    fn a_subject_cannot_add_a_header_and_an_attachment_keeps_its_line_ends() {
        let text = built(&mail());
        assert!(!text.contains("\nBcc:"), "{text}");
        assert!(text.contains("b25lCnR3bwo="), "{text}");
        assert!(text.contains("Auto-Submitted: auto-generated"), "{text}");
        assert!(
            text.contains("multipart/alternative") && text.contains("multipart/mixed"),
            "{text}"
        );
        assert!(text.contains("Date: Mon, 18 May 2026 00:00:01 +0000"), "{text}");
    }

    #[test]
    fn the_same_thing_has_the_same_id_and_another_has_another() {
        let id = MessageId::of("log.example/main", "head\n2026-05-17");
        assert_eq!(id, MessageId::of("log.example/main", "head\n2026-05-17"));
        assert_ne!(id, MessageId::of("log.example/main", "head\n2026-05-18"));
        assert_ne!(id, MessageId::of("log.example/other", "head\n2026-05-17"));
        assert!(id.as_str().ends_with("@log.example>"), "{}", id.as_str());
        assert!(
            MessageId::of("lög/x", "head")
                .as_str()
                .ends_with("@daybook.invalid>")
        );
    }

    #[test]
    fn what_is_no_address_or_no_name_is_refused_without_being_said_again() {
        let from: Mailbox = "log@example.eu".parse().expect("an address");
        let nobody = Mail {
            to: "kim at example".to_owned(),
            ..mail()
        };
        let error = build(&nobody, &from, None).expect_err("refused");
        assert!(!error.contains("kim"), "{error}");
        let mut named = mail();
        named.attachments[0].name = "a\"; x=\"b".to_owned();
        assert!(build(&named, &from, None).is_err());
    }
}
