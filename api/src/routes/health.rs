//! Whether it lives, whether it is ready, and what it counts.
//!
//! Invariants: `healthz` asks nothing but the process; `readyz` says in words why a reading would not be taken now;
//! `metrics` is for loopback, or for a person's token.
//! Not here: what the numbers mean for an operator (docs/operations.md).

use crate::app::App;
use crate::auth;
use crate::reply;
use crate::router::{Access, Answer, Ctx, Doc, Route, Verb};
use commands::sequencer::Writing;
use metrics::Label;
use serde_json::json;
use warp::http::StatusCode;

const fn doc(summary: &'static str, answer: &'static str) -> Option<Doc> {
    Some(Doc {
        summary,
        query: &[],
        body: None,
        status: 200,
        answer,
    })
}

/// The routes of this file.
pub const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Get,
        path: "/healthz",
        access: Access::Public,
        handler: |ctx| Box::pin(healthz(ctx)),
        doc: doc("Whether the process answers.", "Health"),
    },
    Route {
        verb: Verb::Get,
        path: "/readyz",
        access: Access::Public,
        handler: |ctx| Box::pin(readyz(ctx)),
        doc: doc("Whether readings are taken now; 503 says why not.", "Ready"),
    },
    Route {
        verb: Verb::Get,
        path: "/metrics",
        access: Access::Public,
        handler: |ctx| Box::pin(metrics(ctx)),
        doc: doc(
            "Counters in Prometheus' text format; from loopback, or with a person's token.",
            "text/plain",
        ),
    },
];

async fn healthz(_ctx: Ctx) -> Answer {
    Ok(reply::ok(&json!({"status": "ok"})))
}

async fn readyz(ctx: Ctx) -> Answer {
    let status = ctx.app.sequencer().status();
    let why = why_not(&status.writing).or_else(|| ctx.app.backlog().too_far());
    let code = match why {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok(reply::json(
        code,
        &json!({
            "ready": why.is_none(),
            "reason": why,
            "size": status.size,
            "signed_size": ctx.app.signed().map(|(size, _)| size),
            "lag_entries": ctx.app.projector().lag_entries(),
        }),
    ))
}

/// Why nothing is recorded now, in words.
pub fn why_not(writing: &Writing) -> Option<String> {
    match writing {
        Writing::Yes => None,
        Writing::StoreFailing(reason) => Some(format!("the ledger cannot be written: {reason}")),
        Writing::ClockImplausible(reason) => Some(format!("the clock is not believed: {reason}")),
        Writing::Corrupt(reason) => Some(format!("the ledger is damaged: {reason}")),
        Writing::Stopping => Some("the service is stopping".to_owned()),
    }
}

async fn metrics(ctx: Ctx) -> Answer {
    // A proxy on this machine would make everybody loopback.
    let forwarded =
        ctx.request.headers.contains_key("x-forwarded-for") || ctx.request.headers.contains_key("forwarded");
    if !ctx.request.peer.ip.is_loopback() || forwarded {
        auth::reader(&ctx.app, &ctx.request).await?;
    }
    gauges(&ctx.app);
    Ok(reply::bytes(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        ctx.app.metrics().render(),
    ))
}

fn publishing_gauges(app: &App) {
    for channel in app.publishing().channels() {
        let labels = || vec![Label::new("channel", channel.name.clone())];
        app.metrics()
            .gauge(
                "daybook_publication_waiting_days",
                "Closed days whose head is not out on the channel yet.",
                labels(),
            )
            .set(channel.waiting as f64);
        app.metrics()
            .gauge(
                "daybook_publication_trouble",
                "1 while the channel's next head could not be published.",
                labels(),
            )
            .set(f64::from(u8::from(channel.trouble.is_some())));
        app.metrics()
            .gauge(
                "daybook_publication_behind_seconds",
                "How long the first day that waits has been over; 0 while none waits.",
                labels(),
            )
            .set(channel.behind_us(app.clock().now()) as f64 / 1e6);
    }
}

fn audit_gauges(app: &App) {
    let audited = app.self_audit().audited();
    let Some(pass) = audited.last else { return };
    let set = |name: &'static str, help: &'static str, value: f64| {
        app.metrics().gauge(name, help, Vec::new()).set(value)
    };
    set(
        "daybook_self_audit_holds",
        "1 where the ledger held when the service last read all of it again.",
        f64::from(u8::from(pass.wrong.is_none())),
    );
    set(
        "daybook_self_audit_entries",
        "Entries that it read.",
        pass.size.get() as f64,
    );
    set(
        "daybook_self_audit_timestamp_seconds",
        "When it had read them, seconds since 1970.",
        pass.at.as_micros() as f64 / 1e6,
    );
}

fn gauges(app: &App) {
    let set = |name: &'static str, help: &'static str, value: f64| {
        app.metrics().gauge(name, help, Vec::new()).set(value)
    };
    let status = app.sequencer().status();
    set(
        "daybook_entries",
        "Entries in the ledger.",
        status.size.get() as f64,
    );
    if let Some(rules) = app.alerting().map(commands::alerting::Alerting::status) {
        set(
            "daybook_rules_lag_entries",
            "Entries that the rules have not judged yet.",
            rules.lag_entries as f64,
        );
        set(
            "daybook_rules_lag_seconds",
            "Age of the newest entry that the rules have judged, while entries wait.",
            rules.lag_s,
        );
        set(
            "daybook_rules_due",
            "Decisions that are not recorded yet.",
            rules.due as f64,
        );
        set(
            "daybook_rules_recorded",
            "Decisions recorded since the start.",
            rules.recorded as f64,
        );
        set(
            "daybook_rules_latency_seconds",
            "From the deciding entry's commit to the newest decision's.",
            rules.latency_ms / 1e3,
        );
        set(
            "daybook_rules_too_late",
            "Readings that came too late for a rule to look at.",
            rules.too_late as f64,
        );
        set(
            "daybook_rules_unexpected",
            "Entries that claim to be decisions of the rules and are not.",
            rules.unexpected as f64,
        );
        set(
            "daybook_rules_trouble",
            "1 while the rules cannot decide or record.",
            f64::from(u8::from(rules.trouble.is_some())),
        );
    }
    set("daybook_streams", "Streams in the ledger.", status.streams as f64);
    set(
        "daybook_commits",
        "Commits since the start.",
        status.commits as f64,
    );
    set(
        "daybook_writing",
        "1 while entries are recorded.",
        f64::from(u8::from(status.writing == Writing::Yes)),
    );
    if let Some((size, _)) = app.signed() {
        set(
            "daybook_signed_entries",
            "Entries below the latest checkpoint.",
            size.get() as f64,
        );
    }
    audit_gauges(app);
    publishing_gauges(app);
    let projections = app.projector().status();
    set(
        "daybook_projection_lag_entries",
        "Entries the read models have not passed.",
        projections.lag_entries as f64,
    );
    set(
        "daybook_projection_lag_seconds",
        "Age of the newest entry they have passed, while others wait.",
        projections.lag_seconds,
    );
    set(
        "daybook_projection_trouble",
        "1 while they cannot go on.",
        f64::from(u8::from(projections.trouble.is_some())),
    );
    witness_gauges(app);
    for (code, count) in app.refusals().totals() {
        app.metrics()
            .gauge(
                "daybook_refused",
                "Refusals since the start, by reason.",
                vec![Label::new("code", code)],
            )
            .set(count as f64);
    }
}

fn witness_gauges(app: &App) {
    let Some(witnesses) = app.witnesses() else { return };
    let now = app.clock().now();
    for witness in witnesses.states() {
        let set = |name: &'static str, help: &'static str, value: f64| {
            let label = Label::new("witness", witness.name.clone());
            app.metrics().gauge(name, help, vec![label]).set(value);
        };
        set(
            "daybook_witness_up",
            "1 while a witness cosigns what it is offered.",
            f64::from(u8::from(witness.up)),
        );
        if let Some(size) = witness.size {
            set(
                "daybook_witness_entries",
                "Entries below the latest checkpoint that a witness cosigned since the start.",
                size.get() as f64,
            );
        }
        if let Some(at) = witness.cosigned_at {
            set(
                "daybook_witness_age_s",
                "Seconds since a witness last cosigned.",
                now.since(at) as f64 / 1e6,
            );
        }
    }
    app.metrics()
        .gauge(
            "daybook_heads_unwitnessed",
            "Recent heads that miss their quorum of witnesses.",
            Vec::new(),
        )
        .set(witnesses.heads_missed() as f64);
}
