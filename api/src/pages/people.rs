//! Users, API tokens, the account.
//!
//! Invariant: whoever may only look is shown no form.
//! Not here: sign-in.

#[cfg(test)]
pub(super) mod sample;
pub mod view;

use maud::{Markup, html};

use super::device::token_table;
use super::layout::{self, Page, Section};
use super::parts::{self, Field};
use super::site;
use super::view::Frame;
use super::words;
use view::{AccountPage, TokensPage, UserRow, UsersPage};

/// The roles that a form offers.
const ROLES: &[&str] = &["owner", "operator", "compliance", "auditor"];

/// The users' document.
pub fn users(frame: &Frame, view: &UsersPage) -> Markup {
    let may_edit = parts::may_edit(frame);
    let body = html! {
        h1 { "Users" }
        p.lead { "They sign in by a link that whoever runs this service prints for them: " code { "daybook sign-in ADDRESS" } ". There are no passwords." }
        ul.people {
            @for user in &view.users { (user_row(frame, user, may_edit)) }
        }
        @if may_edit {
            section aria-labelledby="add-h" {
                h2 #add-h { "Invite somebody" }
                form.stack.panel method="post" action="/app/users" {
                    (parts::csrf(frame))
                    (parts::field(&Field { name: "email", label: "E-mail", kind: "email", required: true,
                        error: view.error.as_deref(), autocomplete: "off", ..Field::default() }))
                    (parts::field(&Field { name: "name", label: "Name", ..Field::default() }))
                    fieldset.choices {
                        legend { "Role" }
                        @for (i, code) in ROLES.iter().enumerate() {
                            @let (name, may) = words::role(code);
                            label.choice {
                                input type="radio" name="role" value=(code) checked[i + 1 == ROLES.len()];
                                span { strong { (name) } span.dim { (words::capitalised(may)) "." } }
                            }
                        }
                    }
                    p.hint { "Address and name are sealed with a key of their own, so that they can be erased later." }
                    button.primary type="submit" { "Invite" }
                }
            }
        }
    };
    layout::page(
        frame,
        &Page {
            title: "Users",
            section: Section::Account,
            live_s: None,
            body,
        },
    )
}

fn user_row(frame: &Frame, user: &UserRow, may_edit: bool) -> Markup {
    let email = user.email.as_deref().unwrap_or("address erased");
    html! {
        li.panel {
            div {
                strong { (user.name.as_deref().unwrap_or(email)) }
                @if user.is_viewer { span.dim { " (you)" } }
                p.dim {
                    @if user.name.is_some() { (email) " · " }
                    (words::role(&user.role).0)
                }
            }
            @if may_edit && !user.is_viewer {
                (parts::confirmed(frame, &format!("/app/users/{}/remove", user.id), "Remove", user.name.as_deref().unwrap_or(email),
                    "They are signed out, and their tokens stop working at once. What they did stays in the ledger."))
            }
        }
    }
}

/// The API tokens' document.
pub fn tokens(frame: &Frame, view: &TokensPage) -> Markup {
    let body = html! {
        h1 { "API tokens" }
        p.lead { "A token acts as you do: it sees and changes what you may." }
        @if let Some(fresh) = &view.fresh {
            section.token-once {
                (parts::copyable("fresh-token", "Your new token, shown this once", &fresh.secret))
                (parts::copyable("fresh-curl", "Try it", &format!(
                    "curl -sS {}/v1/devices -H 'Authorization: Bearer {}'", view.base_url, fresh.secret)))
            }
        }
        (token_table(&view.tokens, &frame.zone, frame, &|token| html! {
            @if token.expires_at.is_none() {
                (parts::confirmed(frame, &format!("/app/tokens/{}/revoke", token.id), "Revoke", &format!("{}{}_…", token.prefix, token.id),
                    "Whatever uses it is refused from its next request on. A revoked token never comes back."))
            }
        }))
        form.stack.panel method="post" action="/app/tokens" {
            (parts::csrf(frame))
            input type="hidden" name="idempotency_key" value=(view.idempotency_key);
            p { "A new token is shown once." }
            button.primary type="submit" { "Make a token" }
        }
    };
    layout::page(
        frame,
        &Page {
            title: "API tokens",
            section: Section::Account,
            live_s: None,
            body,
        },
    )
}

/// The account's document.
pub fn account(frame: &Frame, view: &AccountPage) -> Markup {
    let body = html! {
        h1 { "Account" }
        dl.facts {
            div { dt { "Name" } dd { (view.name) } }
            @if let Some(email) = &view.email { div { dt { "You" } dd { (email) } } }
            div { dt { "Opened" } dd { (parts::time(view.opened_at, &frame.zone, frame.now)) } }
            div { dt { "Ledger" } dd { a href="/ledger" { (view.origin) } } }
            div { dt { "Id" } dd { code { (view.id) } } }
        }
        p { a href="/app/users" { "Users" } " · " a href="/app/tokens" { "API tokens" } }
        @if parts::may_edit(frame) {
            details.panel {
                summary { "Rename this account" }
                form.stack method="post" action="/app/account" {
                    (parts::csrf(frame))
                    input type="hidden" name="if_match" value=(view.etag);
                    (parts::field(&Field { name: "name", label: "Name", value: &view.name, required: true, ..Field::default() }))
                    (site::reason(""))
                    button.primary type="submit" { "Save" }
                }
            }
        }
        section aria-labelledby="timeline-h" {
            h2 #timeline-h { "What was changed" }
            (parts::timeline(&view.timeline, &frame.zone, frame.now))
        }
    };
    layout::page(
        frame,
        &Page {
            title: "Account",
            section: Section::Account,
            live_s: None,
            body,
        },
    )
}
