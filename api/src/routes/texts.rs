//! Sealed texts, opened for who may read them, at the moment they are shown.
//!
//! Invariant: a text whose key was destroyed is shown as erased and never as a guess; nothing opened here is kept.
//! Source: FORMAT §2. Not here: sealing (`commands`), where keys are (`commands::keys`).

use crate::app::App;
use domain::sealed::{Place, Sealed, SealedField};
use serde_json::{Map, Value};

/// What stands in a text's place once its key was destroyed, on pages and in the API.
pub const ERASED: &str = "(erased)";
/// What stands in the place of what nobody is shown again: what a webhook's deliveries are signed with.
pub const WITHHELD: &str = "(withheld)";

/// Where a payload stands, which its sealed values are bound to.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The stream's type.
    pub aggregate_type: &'a str,
    /// The stream's id.
    pub aggregate_id: &'a str,
    /// The entry's sequence.
    pub sequence: u64,
    /// The entry's salt.
    pub salt: &'a str,
}

/// Whether nobody is shown a text again: what a webhook's deliveries are signed with.
pub fn is_withheld(aggregate_type: &str, pointer: &str) -> bool {
    aggregate_type == "contact" && pointer == "/secret"
}

/// A contact's members, of which a webhook's address loses its path: it may be a secret of the receiver's.
pub fn without_paths(aggregate_type: &str, members: &mut Map<String, Value>) {
    if aggregate_type != "contact" || members.get("kind") != Some(&Value::from("webhook")) {
        return;
    }
    if let Some(Value::String(address)) = members.get_mut("address") {
        *address = without_path(address);
    }
}

/// A URL up to its host.
pub fn without_path(url: &str) -> String {
    let end = url.find("://").map_or(0, |at| at + 3);
    match url[end..].find(['/', '?', '#']) {
        Some(at) => format!("{}/…", &url[..end + at]),
        None => url.to_owned(),
    }
}

impl App {
    /// A sealed text of a stream; `None` where there is none.
    pub fn text(&self, aggregate_type: &str, id: &str, field: Option<&SealedField>) -> Option<String> {
        let field = field?;
        if is_withheld(aggregate_type, &field.place.pointer) {
            return Some(WITHHELD.to_owned());
        }
        let opened = self
            .keys()
            .get(&field.sealed.key)
            .and_then(|key| field.open(self.origin(), aggregate_type, id, &key).ok());
        match opened {
            Some(Value::String(text)) => Some(text),
            // It was erased in the ledger that this one continues.
            Some(Value::Null) => Some(ERASED.to_owned()),
            Some(other) => Some(other.to_string()),
            None => Some(ERASED.to_owned()),
        }
    }

    /// A payload with every sealed value in it opened.
    pub fn opened(&self, at: Origin<'_>, payload: Value) -> Value {
        let mut opened = self.open_at(at, payload, &mut String::new());
        if let Value::Object(members) = &mut opened {
            without_paths(at.aggregate_type, members);
        }
        opened
    }

    fn open_at(&self, at: Origin<'_>, value: Value, pointer: &mut String) -> Value {
        match value {
            Value::Object(members) if members.contains_key("sealed") => {
                let field = sealed_field(at, Value::Object(members), pointer);
                let text =
                    field.and_then(|field| self.text(at.aggregate_type, at.aggregate_id, Some(&field)));
                Value::String(text.unwrap_or_else(|| ERASED.to_owned()))
            }
            Value::Object(members) => members
                .into_iter()
                .map(|(name, member)| {
                    let length = pointer.len();
                    pointer.push('/');
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    let opened = self.open_at(at, member, pointer);
                    pointer.truncate(length);
                    (name, opened)
                })
                .collect(),
            other => other,
        }
    }
}

/// A sealed value with its place: an old value says its own, a new one stands where it was sealed.
fn sealed_field(at: Origin<'_>, value: Value, pointer: &str) -> Option<SealedField> {
    if value.get("place").is_some() {
        return serde_json::from_value(value).ok();
    }
    let sealed: Sealed = serde_json::from_value(value).ok()?;
    Some(sealed.at(Place {
        pointer: pointer.to_owned(),
        salt: at.salt.to_owned(),
        sequence: at.sequence,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_the_host_is_shown() {
        assert_eq!(without_path("https://a.eu/hook?key=secret"), "https://a.eu/…");
        assert_eq!(
            without_path("https://a.eu:8443?key=secret"),
            "https://a.eu:8443/…"
        );
        assert_eq!(without_path("https://a.eu"), "https://a.eu");
    }
}
