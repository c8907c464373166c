//! The page on which an auditor without an account checks the live log in their own browser.
//!
//! Invariants: the key that the page itself names is only a hint; everything is computed in the browser from what is
//! public; without JavaScript it says what does the same.
//! Not here: the checking (`ledger-verify.js`, and what it shares with `verify.html` of packs).

use super::layout::{self, Page, Section};
use super::view::Frame;
use maud::{Markup, html};

/// Minutes between two short looks of a page that watches.
const WATCH_MINUTES: u32 = 5;

/// The document.
pub fn page(frame: &Frame, origin: &str, verifier_key: &str) -> Markup {
    let body = html! {
        nav.crumbs aria-label="Where you are" { a href="/ledger" { "Ledger" } }
        h1 { "Check this log in your browser" }
        p.lead {
            "This page fetches the signed checkpoint, every hash tile and every head, recomputes the root, and compares "
            "with what you bring. Nothing is sent but these questions."
        }
        noscript { p.notice.bad { "It needs JavaScript to compute. " code { "daybook-verify log" } " does the same without a browser." } }
        form #check-log.panel.check-log data-origin=(origin) data-key=(verifier_key) {
            label for="vkey" { "The log’s key, from a place of your own" }
            textarea #vkey rows="3" spellcheck="false" autocomplete="off" aria-describedby="vkey-hint" {}
            p.dim #vkey-hint {
                "A line such as " code { "example.eu/main+1a2b3c4d+AX…" } " from the contract or a letter. Without one the "
                "page’s own key is used, and the answer is UNANCHORED at best."
            }
            label for="kept" { "Heads or checkpoints that you kept" }
            input #kept type="file" multiple aria-describedby="seen";
            p.dim { span #seen { "" } " " button #forget.plain type="button" hidden { "Forget it" } }
            details {
                summary { "Witnesses that you trust" }
                label for="policy" { "Their policy (C2SP tlog-policy: lines log, witness, group, quorum)" }
                textarea #policy rows="4" spellcheck="false" autocomplete="off" {}
            }
            p {
                button #go.primary type="submit" { "Check the whole log" }
                " " label.inline { input #watch type="checkbox" data-minutes=(WATCH_MINUTES); " and watch: a short look every " (WATCH_MINUTES) " minutes while this page is open" }
            }
        }
        section #run aria-label="Progress" hidden {
            p #state role="status" aria-live="polite" {}
            progress #bar max="1" value="0" aria-labelledby="state" {}
        }
        section #verdict aria-label="Verdict" {}
        details { summary { "The report as JSON" } pre tabindex="0" { code #report {} } }
        script src=(super::assets::VERIFY_LOG.path()) defer {}
    };
    layout::page(
        frame,
        &Page {
            title: "Check this log",
            section: Section::Ledger,
            live_s: None,
            body,
        },
    )
}
