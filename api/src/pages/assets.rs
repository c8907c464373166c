//! Style sheet, script and icon, embedded; their paths carry a digest, so that browsers keep them for ever.
//!
//! Invariant: nothing is fetched from anywhere else, and the policy says so.
//! Not here: routes.

use std::sync::LazyLock;

/// What every page is sent with. `frame-ancestors 'self'` is for the status frame of onboarding.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     img-src 'self'; connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'self'";

/// An embedded file.
#[derive(Debug)]
pub struct Asset {
    name: &'static str,
    /// Media type.
    pub media_type: &'static str,
    text: fn() -> &'static str,
    digest: LazyLock<String>,
}

impl Asset {
    /// `/assets/app.css?3f9a…`: another text has another path.
    pub fn path(&self) -> String {
        format!("/assets/{}?{}", self.name, *self.digest)
    }

    /// The text.
    pub fn text(&self) -> &'static str {
        (self.text)()
    }

    /// The entity tag, quoted.
    pub fn etag(&self) -> String {
        format!("\"{}\"", *self.digest)
    }
}

fn digest(text: &str) -> String {
    domain::hash::sha256(text.as_bytes()).to_hex()[..16].to_owned()
}

/// The style sheet.
pub static CSS: Asset = Asset {
    name: "app.css",
    media_type: "text/css; charset=utf-8",
    text: || include_str!("app.css"),
    digest: LazyLock::new(|| digest(include_str!("app.css"))),
};

/// The script: live regions, copy buttons, the browser's zone.
pub static JS: Asset = Asset {
    name: "app.js",
    media_type: "text/javascript; charset=utf-8",
    text: || include_str!("app.js"),
    digest: LazyLock::new(|| digest(include_str!("app.js"))),
};

/// The script that checks the live log.
pub static VERIFY_LOG: Asset = Asset {
    name: "verify-log.js",
    media_type: "text/javascript; charset=utf-8",
    text: || &VERIFY_LOG_TEXT,
    digest: LazyLock::new(|| digest(&VERIFY_LOG_TEXT)),
};

/// Hashes, signatures, notes, proofs and shapes as packs' own verifier has them, and what checks a live log with them:
/// written once, put together here.
static VERIFY_LOG_TEXT: LazyLock<String> = LazyLock::new(|| {
    let core = shared(CORE_BEGINS, CORE_ENDS);
    let grow = shared("class Grow {", "const CRC = ");
    let shapes = shared("const SHAPES = {", "function verifyBlob(");
    format!(
        "\"use strict\";\n{core}{grow}{shapes}{}",
        include_str!("ledger-verify.js")
    )
});
const CORE_BEGINS: &str = "/* The verifier itself.";
const CORE_ENDS: &str = "// -- the entry, format section 2";

/// The part of `verify.html` from one text up to another; nothing where they are not there, which a test would see.
fn shared(begins: &str, ends: &str) -> &'static str {
    let page = chain_publisher::pack::VERIFIER_PAGE;
    let part = page.find(begins).and_then(|from| {
        let rest = &page[from..];
        Some(&rest[..rest.find(ends)?])
    });
    part.unwrap_or_default()
}

/// The icon.
pub static ICON: Asset = Asset {
    name: "icon.svg",
    media_type: "image/svg+xml",
    text: || include_str!("icon.svg"),
    digest: LazyLock::new(|| digest(include_str!("icon.svg"))),
};

/// The asset of that name below `/assets/`.
pub fn find(name: &str) -> Option<&'static Asset> {
    [&CSS, &JS, &VERIFY_LOG, &ICON]
        .into_iter()
        .find(|a| a.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_embedded_fetches_from_elsewhere() {
        for asset in [&CSS, &JS, &VERIFY_LOG] {
            for word in ["http://", "https://", "@import", "eval(", "url(//"] {
                assert!(!asset.text().contains(word), "{} holds {word}", asset.name);
            }
        }
        assert_eq!(
            find("app.css").map(|a| a.media_type),
            Some("text/css; charset=utf-8")
        );
        assert!(find("../secret").is_none());
    }

    #[test]
    fn what_the_log_is_checked_with_is_what_packs_are_checked_with() {
        let text = VERIFY_LOG.text();
        for part in [
            "class Sha256",
            "function head(",
            "class Grow",
            "const SHAPES",
            "class Live",
            "new Live(",
        ] {
            assert_eq!(text.matches(part).count(), 1, "{part}");
        }
        assert!(!text.contains("class Pack"));
    }
}
