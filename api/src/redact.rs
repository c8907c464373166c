//! What may be logged of a request: never a token, wherever it hides.
//!
//! Invariant: a query is logged with every value replaced that is not known to be harmless, so that a secret
//! under a name nobody thought of stays out too. Headers and bodies are not logged at all.
//! Source: REFERENCE §1.2 (the token in Shelly's URL), The Things Stack's `X-Downlink-Apikey`.
//! Not here: the log's format and level (`cli::logging`).

/// Query parameters whose values may be logged.
const HARMLESS: &[&str] = &[
    "agg",
    "as_of",
    "channel_ids",
    "event",
    "fn",
    "format",
    "from",
    "limit",
    "online",
    "position",
    "site_id",
    "to",
];
/// What tokens begin with.
const PREFIXES: [&str; 3] = ["ds_live_", "ua_live_", "whk_"];
/// Paths behind which a link's text stands.
const LINKS: [&str; 3] = ["/a/", "/u/", "/c/"];
/// What stands in the place of a value.
const REDACTED: &str = "REDACTED";

/// A path and query as they may be logged.
pub fn url(path: &str, query: &str) -> String {
    let mut out = String::with_capacity(path.len() + query.len());
    // What a message links to is a secret itself.
    match LINKS.iter().find(|prefix| path.starts_with(**prefix)) {
        Some(prefix) => {
            out.push_str(prefix);
            out.push_str(REDACTED);
        }
        None => out.push_str(path),
    }
    for (i, pair) in query.split('&').filter(|pair| !pair.is_empty()).enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((key, value)) if HARMLESS.contains(&key) => {
                out.push_str(key);
                out.push('=');
                out.push_str(value);
            }
            Some((key, _)) => {
                out.push_str(&word(key));
                out.push('=');
                out.push_str(REDACTED);
            }
            // A bare word may itself be the secret.
            None => out.push_str(REDACTED),
        }
    }
    out
}

/// The text without its tokens, where it has any.
pub fn cleaned(text: &str) -> Option<String> {
    PREFIXES
        .iter()
        .any(|prefix| text.contains(prefix))
        .then(|| word(text))
}

/// A text with every token in it replaced: what follows one of our prefixes, up to the first foreign character.
pub fn word(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, prefix)) = PREFIXES
        .iter()
        .filter_map(|prefix| rest.find(prefix).map(|at| (at, *prefix)))
        .min()
    {
        let (before, token) = rest.split_at(at + prefix.len());
        out.push_str(before);
        out.push_str(REDACTED);
        let end = token
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(token.len());
        rest = &token[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_never_reach_a_log_line() {
        assert_eq!(
            url("/v1/ingest/shelly", "device=hut01&token=ds_live_abc_def&temp=4.2"),
            "/v1/ingest/shelly?device=REDACTED&token=REDACTED&temp=REDACTED"
        );
        assert_eq!(
            url("/v1/entries", "from=3&limit=10"),
            "/v1/entries?from=3&limit=10"
        );
        assert_eq!(url("/x", "ds_live_abc"), "/x?REDACTED");
        assert_eq!(url("/x", "ds_live_abc=1"), "/x?ds_live_REDACTED=REDACTED");
        assert_eq!(url("/x", ""), "/x");
        assert_eq!(
            word("bad token ds_live_abc_def; also whk_1."),
            "bad token ds_live_REDACTED; also whk_REDACTED."
        );
    }
}
