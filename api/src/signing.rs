//! Signing what one does about an alarm: a person shows again who they are, by a code that is mailed to them.
//!
//! There are no passwords and no keys of people here, so this is what can be shown: whoever signs reads the mailbox that
//! the person signs in by, within ten minutes. The entry holds who, what it means, when, how, and SHA-256 of what was
//! shown. The service says so; nobody who does not trust it can check it, as they could a key's signature.
//! Invariants: a code is good once, for one person, one act, one meaning and one state of the alarm: with any further
//! entry of the alarm it is none; at most five tries; the code is nowhere but in the mail.
//! Source: FORMAT §2 "Signatures of people". Not here: what is recorded (`domain::event::alarm`).

use crate::app::App;
use crate::auth::User;
use crate::errors::ApiError;
use crate::mail::{Mail, MessageId};
use crate::state::Signing;
use domain::Hash;
use domain::aggregate::user::Right;
use domain::event::{Reason, Signature};
use domain::hash::{base64url, sha256};
use projections::query::Alarm;
use subtle::ConstantTimeEq;

/// Minutes for which a code is good.
pub const CODE_MINUTES: i64 = 10;
/// Digits of a code: one in twenty million is found in five tries.
const CODE_DIGITS: u32 = 8;
/// An alarm's life after which nothing more is said of it.
const CLOSED: &str = "closed";
/// How a person showed who they are.
const METHOD: &str = "mail_code";

/// What is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// That an alarm is acknowledged.
    Acknowledge,
    /// That it is closed.
    Close,
}

impl Act {
    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Close => "close",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Acknowledge, Self::Close]
            .into_iter()
            .find(|act| act.as_str() == name)
    }
}

impl App {
    /// Mails a person the code that signs what they are about to do.
    ///
    /// # Errors
    /// 403 `forbidden`, 404 `alarm_not_found`, 409 `alarm_closed`, `signing_unavailable` where there is no mail, 422 for a
    /// meaning that is no code, 429, 503.
    pub async fn ask_to_sign(
        &self,
        user: &User,
        act: Act,
        alarm: &str,
        meaning: &str,
    ) -> Result<(), ApiError> {
        if !Right::Handle.is_of(&user.role) {
            return Err(ApiError::forbidden("signing takes an owner or operator"));
        }
        Reason::code(meaning).check()?;
        if self.alarm_of(user, alarm).await?.life == CLOSED {
            return Err(ApiError::conflict(
                "alarm_closed",
                "this alarm is closed: there is nothing to sign",
            ));
        }
        let unavailable = |words: &'static str| ApiError::conflict("signing_unavailable", words);
        let Some(mailer) = self.mailer().cloned() else {
            return Err(unavailable("signing takes a mail server, and none is set up"));
        };
        let address = {
            let registry = self.registry().read();
            let found = registry.user(&user.account, &user.user);
            found.and_then(|it| self.text("user", &it.id, it.state.email.as_ref()))
        };
        let address = address
            .filter(|address| address != crate::routes::texts::ERASED)
            .ok_or_else(|| unavailable("there is no address that a code could be mailed to"))?;
        self.limits().signing(&user.user)?;
        let (statement, _) = self.statement(user, act, alarm, meaning)?;
        let now = self.clock().now();
        let code = self.signing_code();
        let signing = Signing {
            meaning: meaning.to_owned(),
            shown: sha256(statement.as_bytes()),
            code: self.management().signing_code_hash(&user.user, &code),
            expires_at: now.plus_micros(CODE_MINUTES * 60_000_000),
        };
        self.state()
            .keep_signing(&user.user, &signing)
            .map_err(ApiError::internal)?;
        let about = self.about_alarm(&user.account, alarm).await.join("\n");
        let mail = Mail {
            to: address,
            subject: "[Daybook] Your code for signing".to_owned(),
            text: format!(
                "Somebody who is signed in as you is about to {} an alarm and to sign that ({meaning}):\n\n{about}\n\n\
                 The code is {code}. It is good for {CODE_MINUTES} minutes, once. If it was not you, do nothing, and sign \
                 out everywhere.\n\nWhat is signed, and stands in the ledger by its SHA-256:\n\n{statement}",
                act.as_str()
            ),
            html: None,
            attachments: Vec::new(),
            id: MessageId::of(self.origin(), &format!("signing\n{}\n{now}", user.user)),
            at: now,
        };
        mailer.send(&mail).await.map_err(|error| {
            tracing::warn!(%error, "a code for signing was not mailed");
            ApiError::unavailable("mail_unavailable", "the code could not be mailed now: try again")
        })
    }

    /// The signature that a code makes, and how many entries the alarm has that it is about: what is recorded must be the
    /// next. Whoever expects another number has seen another alarm, and their code stays good.
    ///
    /// # Errors
    /// 403 `signing_refused` for a code that is wrong, used, over or about something else; 404; 412.
    pub async fn signed_by_code(
        &self,
        user: &User,
        act: Act,
        alarm: &str,
        code: &str,
        if_match: Option<u64>,
    ) -> Result<(Signature, u64), ApiError> {
        let refused = || {
            ApiError::new(
                warp::http::StatusCode::FORBIDDEN,
                "signing_refused",
                "the code is wrong, too old, used, or of another state of this alarm: ask for another one",
            )
        };
        self.alarm_of(user, alarm).await?;
        let entries = self.sequencer().positions().of("alarm", alarm).len() as u64;
        if if_match.is_some_and(|expected| expected != entries) {
            return Err(ApiError::stale());
        }
        let now = self.clock().now();
        let found = self
            .state()
            .try_signing(now, &user.user)
            .map_err(ApiError::internal)?;
        let signing = found.ok_or_else(refused)?;
        let given = self.management().signing_code_hash(&user.user, code.trim());
        let (statement, sequence) = self.statement(user, act, alarm, &signing.meaning)?;
        let same = bool::from(given.ct_eq(&signing.code)) && sha256(statement.as_bytes()) == signing.shown;
        if !same || !self.state().end_signing(&user.user).map_err(ApiError::internal)? {
            return Err(refused());
        }
        let signature = Signature {
            authenticator_data: None,
            client_data: None,
            credential: None,
            meaning: signing.meaning,
            method: Some(METHOD.to_owned()),
            shown_sha256: base64url(&signing.shown.0),
            signature: None,
            signed_at: now,
            signer: user.user.clone(),
        };
        Ok((signature, sequence))
    }

    /// What is shown and signed: facts of the ledger only, so that whoever has the alarm's entries makes the same text.
    fn statement(
        &self,
        user: &User,
        act: Act,
        alarm: &str,
        meaning: &str,
    ) -> Result<(String, u64), ApiError> {
        let positions = self.sequencer().positions().of("alarm", alarm);
        let mut text = format!(
            "daybook/shown/v1\n{}\n{} {alarm}\n{meaning}\n{}\n",
            self.origin(),
            act.as_str(),
            user.user
        );
        for position in &positions {
            let leaf: Hash = self.leaf(*position)?;
            text.push_str(&format!("{position} {leaf}\n"));
        }
        Ok((text, positions.len() as u64))
    }

    async fn alarm_of(&self, user: &User, alarm: &str) -> Result<Alarm, ApiError> {
        let (account, id) = (user.account.clone(), alarm.to_owned());
        let found = self.ask(move |rows| rows.alarm(&account, &id)).await?;
        found.ok_or_else(|| ApiError::not_found("alarm_not_found", "there is no such alarm in this account"))
    }

    fn signing_code(&self) -> String {
        let mut random = [0u8; 8];
        self.entropy().fill(&mut random);
        let number = u64::from_be_bytes(random) % 10u64.pow(CODE_DIGITS);
        format!("{number:0width$}", width = CODE_DIGITS as usize)
    }
}
