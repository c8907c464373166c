//! The bot: messages to chats, codes from chats, buttons.
//!
//! Invariants: the token stands in a URL's path and is in no error, code or log; a chat that blocked the bot, or is
//! gone, is not tried again; `retry_after` is waited for; what a chat says is at most looked at for a code.
//! Source: Telegram Bot API (`sendMessage`, `getUpdates`, `answerCallbackQuery`). Its API keeps no ids of ours, so a
//! message whose answer is lost goes again.
//! Not here: what is said (`words`), whom a code is of (`updates`).

use super::Sent;
use super::guard::code_of;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use ureq::Agent;
use zeroize::Zeroizing;

/// How long the API may take to take a message.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long the API may hold a question for updates, seconds.
pub const UPDATES_WITHIN_S: u64 = 20;
/// Bytes of an answer: a hundred updates.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Bytes of the file with the token.
const TOKEN_BYTES_MAX: u64 = 256;
/// Characters of a message that the API takes: 4,096; the rest is in the console.
const TEXT_CHARS_MAX: usize = 4_000;
/// The longest wait that the API may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A bot, as the settings name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelegramSettings {
    /// A file, readable by nobody else, with the token that @BotFather gave.
    pub token_file: PathBuf,
    /// Where the API is; by default Telegram's own.
    #[serde(default = "api_url")]
    pub api_url: String,
}

fn api_url() -> String {
    "https://api.telegram.org".to_owned()
}

/// A bot.
pub struct Bot {
    base: Zeroizing<String>,
    agent: Agent,
}

/// What somebody said to the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A code, from a chat.
    Code {
        /// The chat.
        chat: String,
        /// What was said behind `/start` or `/link`, or alone.
        code: String,
    },
    /// A button.
    Button {
        /// Of the press, to be answered.
        id: String,
        /// The chat.
        chat: String,
        /// What the button carries.
        data: String,
    },
}

impl Bot {
    /// Reads what the settings name; nothing is asked yet.
    ///
    /// # Errors
    /// In words, without the token.
    pub fn open(settings: &TelegramSettings) -> Result<Self, String> {
        let token = commands::keys::read_secret_text(&settings.token_file, TOKEN_BYTES_MAX)
            .map_err(|error| error.to_string())?;
        let token = token.trim();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-');
        if token.is_empty() || !token.bytes().all(plain) {
            return Err("telegram.token_file holds no token of a bot".to_owned());
        }
        let url = settings.api_url.trim_end_matches('/');
        if !url.starts_with("https://") && !url.starts_with("http://127.0.0.1:") {
            return Err("telegram.api_url begins with https://".to_owned());
        }
        let agent = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .build()
            .new_agent();
        Ok(Self {
            base: Zeroizing::new(format!("{url}/bot{token}")),
            agent,
        })
    }

    fn call(&self, method: &str, body: &Value, within: Duration) -> Result<(u16, Value), &'static str> {
        let mut answer = self
            .agent
            .post(format!("{}/{method}", *self.base))
            .config()
            .timeout_global(Some(within))
            .build()
            .header("content-type", "application/json")
            .send(body.to_string())
            .map_err(|error| code_of(&error))?;
        let text = answer
            .body_mut()
            .with_config()
            .limit(ANSWER_BYTES_MAX)
            .read_to_string()
            .map_err(|error| code_of(&error))?;
        Ok((
            answer.status().as_u16(),
            serde_json::from_str(&text).unwrap_or_default(),
        ))
    }

    /// Sends a message; blocks. `button` acknowledges, `link` opens a page.
    pub fn send(&self, chat: &str, text: &str, button: Option<&str>, link: Option<&str>) -> Sent {
        let mut keys = Vec::new();
        if let Some(data) = button {
            keys.push(json!({"text": "Acknowledge", "callback_data": data}));
        }
        if let Some(url) = link.filter(|url| url.starts_with("https://")) {
            keys.push(json!({"text": "Acknowledge with a reason", "url": url}));
        }
        let mut body = json!({
            "chat_id": chat,
            "text": text.chars().take(TEXT_CHARS_MAX).collect::<String>(),
            "link_preview_options": {"is_disabled": true},
        });
        if !keys.is_empty() {
            body["reply_markup"] =
                json!({"inline_keyboard": keys.iter().map(|key| json!([key])).collect::<Vec<_>>()});
        }
        let (status, answer) = match self.call("sendMessage", &body, ANSWER_WITHIN) {
            Ok(answered) => answered,
            Err(code) => return Sent::Later(code.to_owned(), None),
        };
        if status == 200 && answer["ok"] == true {
            let id = answer["result"]["message_id"].as_i64();
            return Sent::Taken("200".to_owned(), id.map(|id| id.to_string()));
        }
        let code = status.to_string();
        match status {
            429 => {
                let seconds = answer["parameters"]["retry_after"].as_u64();
                Sent::Later(code, seconds.map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX)))
            }
            // It was blocked, put out, or the chat is gone.
            403 => Sent::Bounced(code),
            400 if answer["description"]
                .as_str()
                .is_some_and(|words| words.contains("chat not found")) =>
            {
                Sent::Bounced(code)
            }
            400 => Sent::Refused(code),
            // The token was changed: whoever runs this has to say the new one (REFERENCE §4).
            _ => Sent::Later(code, None),
        }
    }

    /// What was said since, and where to go on; blocks, for [`UPDATES_WITHIN_S`] at most.
    ///
    /// # Errors
    /// In a word.
    pub fn updates(&self, from: i64, wait_s: u64) -> Result<(Vec<Heard>, i64), String> {
        let body = json!({
            "offset": from, "timeout": wait_s, "limit": 100, "allowed_updates": ["message", "callback_query"],
        });
        let within = Duration::from_secs(wait_s) + ANSWER_WITHIN;
        let (status, answer) = self.call("getUpdates", &body, within)?;
        if status != 200 {
            return Err(status.to_string());
        }
        let mut next = from;
        let mut heard = Vec::new();
        for update in answer["result"].as_array().into_iter().flatten() {
            if let Some(id) = update["update_id"].as_i64() {
                next = next.max(id.saturating_add(1));
            }
            heard.extend(read(update));
        }
        Ok((heard, next))
    }

    /// Says a few words to a chat; whether they arrive is not important.
    pub fn say(&self, chat: &str, text: &str) {
        if let Sent::Later(code, _) | Sent::Refused(code) = self.send(chat, text, None, None) {
            tracing::debug!(code, "the bot's words did not arrive");
        }
    }

    /// Answers a button's press.
    pub fn answer(&self, press: &str, text: &str) {
        let body = json!({"callback_query_id": press, "text": text, "show_alert": true});
        if let Err(code) = self.call("answerCallbackQuery", &body, ANSWER_WITHIN) {
            tracing::debug!(code, "a button was not answered");
        }
    }
}

/// What an update says to us, if anything.
fn read(update: &Value) -> Option<Heard> {
    let id_of = |value: &Value| value.as_i64().map(|id| id.to_string());
    if let Some(press) = update.get("callback_query") {
        return Some(Heard::Button {
            id: press["id"].as_str()?.to_owned(),
            chat: id_of(&press["message"]["chat"]["id"])?,
            data: press["data"].as_str()?.chars().take(64).collect(),
        });
    }
    let chat = id_of(&update["message"]["chat"]["id"])?;
    let text = update["message"]["text"].as_str()?;
    let mut words = text.split_whitespace();
    let first = words.next()?;
    let code = match first.split('@').next() {
        Some("/start" | "/link") => words.next()?,
        _ => first,
    };
    let plain = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| Heard::Code {
        chat,
        code: code.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_heard_however_it_is_said_and_nothing_else_is() {
        let said = |text: &str| read(&json!({"message": {"chat": {"id": -7}, "text": text}}));
        let code = |code: &str| {
            Some(Heard::Code {
                chat: "-7".into(),
                code: code.into(),
            })
        };
        assert_eq!(said("/start ABC23"), code("abc23"));
        assert_eq!(said("/link@opensense_bot abc23 please"), code("abc23"));
        assert_eq!(said("abc23"), code("abc23"));
        assert_eq!(said("/start"), None);
        assert_eq!(said("ä"), None);
        assert_eq!(read(&json!({"message": {"chat": {}}})), None);
        assert_eq!(read(&json!({"edited_message": 1})), None);
    }
}
