//! Signing in by a link, and the pages that say why one cannot go on.
//!
//! Invariants: the answer to an address is the same whether it is known or not; a link opens a page with a
//! button and nothing else, so that a mail scanner that follows it does not use it up.
//! Not here: sessions.

use maud::{Markup, html};

use super::layout;
use super::parts::{self, Field};

/// How a sign-in link leaves this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// By mail.
    Mail,
    /// No mail is set up: whoever runs the service prints it.
    Operator,
}

/// The form that asks for an address.
pub fn ask(email: &str, error: Option<&str>, delivery: Delivery) -> Markup {
    layout::bare(
        "Sign in",
        &html! {
            h1 { "Sign in" }
            form.stack method="post" action="/sign-in" {
                (parts::field(&Field { name: "email", label: "E-mail", kind: "email", value: email, error,
                    required: true, autocomplete: "email", form: "", hint: match delivery {
                        Delivery::Mail => "You get a link there. There are no passwords.",
                        Delivery::Operator => "There are no passwords: you get a link from whoever runs this service.",
                    } }))
                button.primary type="submit" {
                    (match delivery { Delivery::Mail => "Send me a link", Delivery::Operator => "Show me how" })
                }
            }
        },
    )
}

/// What follows the form.
pub fn sent(email: &str, delivery: Delivery) -> Markup {
    layout::bare(
        match delivery {
            Delivery::Mail => "Check your mail",
            Delivery::Operator => "Ask for your link",
        },
        &html! {
            @match delivery {
                Delivery::Mail => {
                    h1 { "Check your mail" }
                    p { "If " strong { (email) } " may sign in here, a link is on its way. It works once, for 15 minutes." }
                    p.dim { "Nothing after a few minutes? Look among unwanted mail, or " a href="/sign-in" { "try again" } "." }
                }
                Delivery::Operator => {
                    h1 { "Ask for your link" }
                    p { "This service has no mail set up. Whoever runs it prints your link on the server:" }
                    (parts::copyable("cmd", "On the server", &format!("daybook sign-in {}", shell_word(email))))
                    p.dim {
                        "It works once, for a short time. Where the data is not in " code { "./daybook-data" } ", add "
                        code { "--data DIR" } "."
                    }
                }
            }
        },
    )
}

/// The address as one word of a shell, whatever was typed.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@._+-".contains(c);
    if !text.is_empty() && text.chars().all(plain) && !text.starts_with('-') {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// What a link opens: one button.
pub fn confirm(token: &str) -> Markup {
    layout::bare(
        "Sign in",
        &html! {
            h1 { "Sign in to Daybook" }
            p { "This link works once: the button uses it up." }
            form method="post" action="/sign-in/confirm" {
                input type="hidden" name="token" value=(token);
                button.primary type="submit" { "Sign in" }
            }
        },
    )
}

/// A link that is used up, too old or mistyped.
pub fn spent() -> Markup {
    layout::bare(
        "This link is spent",
        &html! {
            h1 { "This link is spent" }
            p { "A link works once, and for a short time." }
            p { a.button.primary href="/sign-in" { "Get a new one" } }
        },
    )
}

/// Why a page cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// 404.
    NotFound,
    /// 403.
    Forbidden,
    /// 409 and 412: somebody else changed it first.
    Changed,
    /// 400, 413, 422: what was sent cannot be taken.
    NotTaken,
    /// 503: reading or writing has to wait.
    Unavailable,
    /// 500.
    Internal,
}

/// The page of a trouble; `request` is for whoever reads the server's log.
pub fn trouble(trouble: Trouble, detail: Option<&str>, request: Option<&str>) -> Markup {
    let (title, text) = match trouble {
        Trouble::NotFound => (
            "There is nothing here",
            "The address is mistyped, or it belongs to an account that you are not signed in to.",
        ),
        Trouble::Forbidden => (
            "You may look, not change",
            "Your role does not allow this. An owner can do it.",
        ),
        Trouble::Changed => (
            "Somebody changed it first",
            "While you were writing, this was changed. Nothing of yours was saved; go back, look, and do it again.",
        ),
        Trouble::NotTaken => (
            "This cannot be taken",
            "Something in what you sent is not right. Nothing was saved; go back and correct it.",
        ),
        Trouble::Unavailable => (
            "Not at this moment",
            "The service cannot do this right now. What was recorded is safe. If you were saving, look whether it was saved before you repeat it.",
        ),
        Trouble::Internal => (
            "Something is wrong here",
            "This is our fault. What was recorded is safe; readings go on being taken unless this page says otherwise.",
        ),
    };
    layout::bare(
        title,
        &html! {
            h1 { (title) }
            p { (text) }
            @if let Some(detail) = detail { p.quiet { (detail) } }
            @if let Some(request) = request { p.dim { "Request " code { (request) } } }
            p { a.button href="/app" { "Overview" } }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_quote_stays_one_shell_word() {
        assert_eq!(shell_word("jana@example.eu"), "jana@example.eu");
        assert_eq!(shell_word("a'; rm -rf /"), r"'a'\''; rm -rf /'");
        assert_eq!(shell_word("-h"), "'-h'");
    }

    #[test]
    fn what_was_typed_is_escaped() {
        let html = sent("<script>alert(1)</script>", Delivery::Mail).into_string();
        assert!(!html.contains("<script>alert"));
    }
}
