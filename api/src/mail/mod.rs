//! E-mail: one transport for whoever has something to say, heads to auditors and alarms to people alike.
//!
//! | file | holds |
//! |---|---|
//! | `settings` | where the server is, how it is trusted, where the password comes from |
//! | `message` | what is sent: words as text and HTML, attachments, a Message-ID that is known again |
//! | `transport` | the conversation with the server, and what an error means |
//!
//! Invariants: nothing is sent over an open line but to this machine itself; user and password come from a file or the
//! environment, never from arguments, and are in no error or log; an error tells no address; a message that is sent again
//! has the same Message-ID, so that the receiver's side can tell; dropping a send ends it.
//! Source: RFC 5321, RFC 5322, RFC 3207 (STARTTLS), RFC 8314 (implicit TLS).
//! Not here: what is said to whom, when it is tried again (the callers).

pub mod message;
pub mod settings;
pub mod transport;

pub use message::{Attachment, Mail, MessageId};
pub use settings::{MailSettings, MailTls};
pub use transport::{MailClass, MailError, Mailer};
