//! What links in messages open: acknowledging an alarm, confirming an address, unsubscribing. For everybody.
//!
//! Invariants: looking changes nothing, because mail scanners look; a link that is over, used or forged shows the same
//! page; what is done is done by the contact that the link was sent to. The one-click header's POST needs no page.
//! Source: RFC 8058. Not here: what a link is (`notify::links`), what follows (`commands::handlers::contacts`).

use super::forms::Form;
use super::{html, trouble};
use crate::app::App;
use crate::errors::ApiError;
use crate::notify::links::Link;
use crate::pages::alarms::reasons;
use crate::pages::layout;
use crate::router::{Answer, Ctx};
use commands::handlers::ManageError;
use domain::aggregate::contact::ContactCommand;
use domain::event::Reason;
use domain::rejection::Fault;
use maud::{Markup, html};
use warp::http::StatusCode;

/// `GET /a/{link}`.
pub async fn acknowledge(ctx: Ctx) -> Answer {
    let Some((contact, alarm)) = acknowledged(&ctx) else {
        return Ok(html(StatusCode::NOT_FOUND, spent()));
    };
    let account = ctx.app.account_of_contact(&contact);
    let about = match account {
        Some(account) => ctx.app.about_alarm(&account, &alarm).await,
        None => Vec::new(),
    };
    Ok(html(StatusCode::OK, ask(&about, None)))
}

/// `POST /a/{link}`.
pub async fn acknowledge_now(mut ctx: Ctx) -> Answer {
    let id = ctx.request.id.clone();
    if let Err(limited) = ctx.app.limits().link(ctx.request.peer.ip) {
        return Ok(trouble(&limited, &id));
    }
    let Some((contact, alarm)) = acknowledged(&ctx) else {
        return Ok(html(StatusCode::NOT_FOUND, spent()));
    };
    let form = match Form::read(&mut ctx).await {
        Ok(form) => form,
        Err(error) => return Ok(trouble(&error, &id)),
    };
    let code = form.get("reason");
    let Some((code, _)) = reasons::SEEN.iter().find(|(known, _)| *known == code) else {
        return Ok(html(
            StatusCode::UNPROCESSABLE_ENTITY,
            ask(&[], Some("Please choose a reason.")),
        ));
    };
    let text = form.get("text");
    if *code == reasons::OTHER && text.is_empty() {
        return Ok(html(
            StatusCode::UNPROCESSABLE_ENTITY,
            ask(&[], Some("Please say in a few words what it was.")),
        ));
    }
    let reason = Reason {
        code: (*code).to_owned(),
        text: (!text.is_empty()).then(|| text.to_owned()),
    };
    let words = format!("{code}\n{text}");
    match ctx
        .app
        .acknowledge_by_link(&contact, &alarm, ctx.id(), &reason, &words)
        .await
    {
        Ok(()) => Ok(html(
            StatusCode::OK,
            told(
                "Acknowledged",
                "It is on record that you have seen it, and why. You can close this page.",
            ),
        )),
        Err(ManageError::Rejected(rejection)) if rejection.code == "idempotency_conflict" => Ok(html(
            StatusCode::CONFLICT,
            told(
                "This link was used already",
                "What it said the first time is on record. The console takes further words.",
            ),
        )),
        Err(ManageError::Rejected(rejection)) if rejection.fault == Fault::Conflict => {
            Ok(html(StatusCode::CONFLICT, told("It is over", &rejection.message)))
        }
        Err(ManageError::Rejected(rejection)) if rejection.fault == Fault::NotFound => {
            Ok(html(StatusCode::NOT_FOUND, spent()))
        }
        Err(error) => Ok(trouble(&ApiError::from(error), &id)),
    }
}

fn acknowledged(ctx: &Ctx) -> Option<(String, String)> {
    match ctx.app.notify().links().read(ctx.id(), ctx.app.clock().now())? {
        Link::Acknowledge { contact, alarm, .. } => Some((contact, alarm)),
        _ => None,
    }
}

/// `GET /u/{link}`.
pub async fn own(ctx: Ctx) -> Answer {
    let Some(contact) = owner(&ctx) else {
        return Ok(html(StatusCode::NOT_FOUND, spent()));
    };
    Ok(html(
        StatusCode::OK,
        match has_left(&ctx, &contact) {
            true => come_back(),
            false => leave(),
        },
    ))
}

/// `POST /u/{link}`: from the page, or by a mail program with one click. Who left comes back by the page alone.
pub async fn own_now(mut ctx: Ctx) -> Answer {
    let again = match Form::read(&mut ctx).await {
        Ok(form) => form.get("again") == "yes",
        Err(_) => false,
    };
    if again {
        let contact = owner(&ctx).filter(|contact| has_left(&ctx, contact));
        let words = "Alarms come to this address again. Each message has a link that ends it.";
        return did(&ctx, contact, ContactCommand::Confirm, "Subscribed", words).await;
    }
    did(
        &ctx,
        owner(&ctx),
        ContactCommand::Unsubscribe,
        "Unsubscribed",
        "No more messages come to this address. Whoever runs the sensors sees that it is so.",
    )
    .await
}

fn has_left(ctx: &Ctx, contact: &str) -> bool {
    let registry = ctx.app.registry().read();
    let state = registry.contact_anywhere(contact).map(|it| it.state.state);
    state == Some(domain::aggregate::contact::ContactState::Unsubscribed)
}

fn owner(ctx: &Ctx) -> Option<String> {
    match ctx.app.notify().links().read(ctx.id(), ctx.app.clock().now())? {
        Link::Own { contact } => Some(contact),
        _ => None,
    }
}

/// `GET /c/{link}`.
pub async fn confirm(ctx: Ctx) -> Answer {
    Ok(match confirmed(&ctx) {
        Some(_) => html(StatusCode::OK, want()),
        None => html(StatusCode::NOT_FOUND, spent()),
    })
}

/// `POST /c/{link}`.
pub async fn confirm_now(ctx: Ctx) -> Answer {
    did(
        &ctx,
        confirmed(&ctx),
        ContactCommand::Confirm,
        "Confirmed",
        "Alarms come to this address from now on. Each message has a link that ends it.",
    )
    .await
}

fn confirmed(ctx: &Ctx) -> Option<String> {
    let Link::Confirm { contact, .. } = ctx.app.notify().links().read(ctx.id(), ctx.app.clock().now())?
    else {
        return None;
    };
    // Whoever unsubscribed since does not come back by an old mail.
    let registry = ctx.app.registry().read();
    let state = registry.contact_anywhere(&contact)?.state.state;
    drop(registry);
    (state != domain::aggregate::contact::ContactState::Unsubscribed).then_some(contact)
}

async fn did(
    ctx: &Ctx,
    contact: Option<String>,
    command: ContactCommand,
    title: &str,
    words: &str,
) -> Answer {
    let id = ctx.request.id.clone();
    if let Err(limited) = ctx.app.limits().link(ctx.request.peer.ip) {
        return Ok(trouble(&limited, &id));
    }
    let account = contact
        .as_ref()
        .and_then(|contact| ctx.app.account_of_contact(contact));
    let (Some(contact), Some(account)) = (contact, account) else {
        return Ok(html(StatusCode::NOT_FOUND, spent()));
    };
    match ctx
        .app
        .management()
        .contact_did(&account, &contact, "link", command)
        .await
    {
        Ok(outcome) => {
            ctx.app.settled(outcome.positions.end).await;
            Ok(html(StatusCode::OK, told(title, words)))
        }
        Err(ManageError::Rejected(_)) => Ok(html(StatusCode::NOT_FOUND, spent())),
        Err(error) => Ok(trouble(&ApiError::from(error), &id)),
    }
}

impl App {
    fn account_of_contact(&self, contact: &str) -> Option<String> {
        let registry = self.registry().read();
        Some(registry.contact_anywhere(contact)?.account.to_string())
    }

    async fn acknowledge_by_link(
        &self,
        contact: &str,
        alarm: &str,
        link: &str,
        reason: &Reason,
        words: &str,
    ) -> Result<(), ManageError> {
        let gone = || {
            ManageError::Rejected(domain::rejection::Rejection::not_found(
                "contact_not_found",
                "no such contact",
            ))
        };
        let account = self.account_of_contact(contact).ok_or_else(gone)?;
        let once = crate::notify::once(link, words);
        let outcome = self
            .management()
            .acknowledge_from_message(&account, contact, "link", alarm, reason, once)
            .await?;
        self.settled(outcome.positions.end).await;
        Ok(())
    }
}

fn ask(about: &[String], wrong: Option<&str>) -> Markup {
    layout::bare(
        "Acknowledge an alarm",
        &html! {
            h1 { "Acknowledge an alarm" }
            @for line in about { p { (line) } }
            p { "Who acknowledges says that they have seen it and look after it. Nobody else is called after that." }
            @if let Some(wrong) = wrong { p.notice.bad role="alert" { (wrong) } }
            form method="post" {
                fieldset {
                    legend { "Why, or what is done" }
                    @for (code, words) in reasons::SEEN {
                        p { label { input type="radio" name="reason" value=(code) required; " " (words) } }
                    }
                }
                p {
                    label for="text" { "In your words (needed for “Something else”)" }
                    textarea #text name="text" rows="3" maxlength="1000" {}
                }
                button.primary type="submit" { "Acknowledge" }
            }
        },
    )
}

fn leave() -> Markup {
    layout::bare(
        "Stop these messages",
        &html! {
            h1 { "Stop these messages" }
            p { "After this nobody is told of alarms at this address. Whoever runs the sensors sees that, and has to ask you again." }
            p { "To be told less instead of nothing (only some sites, only the worst, one digest a day), ask an owner of the account: each of your messages says whose it is." }
            form method="post" { button.primary type="submit" { "Unsubscribe" } }
        },
    )
}

fn come_back() -> Markup {
    layout::bare(
        "Get messages again",
        &html! {
            h1 { "Get messages again" }
            p { "You asked for no more messages to this address, and get none. Nobody but you can change that." }
            form method="post" {
                input type="hidden" name="again" value="yes";
                button.primary type="submit" { "Send them to me again" }
            }
        },
    )
}

fn want() -> Markup {
    layout::bare(
        "Alarms by e-mail",
        &html! {
            h1 { "Alarms by e-mail" }
            p { "Somebody wants alarms of their sensors to be sent to your address." }
            form method="post" { button.primary type="submit" { "Yes, send them to me" } }
            p.dim { "If you do not want that, close this page: nothing is sent." }
        },
    )
}

fn told(title: &str, words: &str) -> Markup {
    layout::bare(title, &html! { h1 { (title) } p { (words) } })
}

fn spent() -> Markup {
    told(
        "This link leads nowhere",
        "It is too old, or it was changed on its way. The newest message has a good one.",
    )
}
