//! Every page over the sample: well-formed, honest words, nothing from elsewhere, goldens.
//!
//! `DAYBOOK_PAGES_DIR=/somewhere cargo test -p api every_page` writes the pages there to be looked at.
//! Not here: how they look.

use maud::Markup;

use super::alarms::view::Life;
use super::onboarding::view::{FirstReading, WebhookStep};
use super::overview::view::Overview;
use super::sign_in::{Delivery, Trouble};
use super::view::Range;
use super::*;

fn every_page() -> Vec<(&'static str, Markup)> {
    let frame = sample::frame();
    let mut auditor = sample::frame();
    if let Some(viewer) = &mut auditor.viewer {
        viewer.may_edit = false;
        viewer.role = "auditor".into();
    }
    let mut paused = sample::frame();
    paused.ledger.paused = Some("The disk is full: 0 bytes left.".into());
    let first = Overview {
        sites: Vec::new(),
        devices: Vec::new(),
    };
    let add = |sites| add_device::view::AddDevice {
        sites,
        chosen: None,
        form: add_device::view::DeviceForm::default(),
        idempotency_key: "idem-0".into(),
    };
    let mut again = onboarding::sample::onboarding(FirstReading::Refused(sample::refusal()));
    again.token = None;
    again.model = "http".into();
    let mut ttn = onboarding::sample::onboarding(onboarding::sample::landed());
    ttn.model = "lorawan".into();
    ttn.lorawan = WebhookStep::Exists {
        name: "The Things Network".into(),
    };
    let mut esp = onboarding::sample::onboarding(onboarding::sample::waiting());
    esp.model = "diy_esp32".into();
    let mut site = site::view::SitePage {
        site: sample::sites().remove(0),
        address: Some("Nábrežie 4, Bratislava".into()),
        devices: sample::devices()
            .into_iter()
            .filter(|d| d.site == "site_kitchen")
            .collect(),
        opening_hours: vec![domain::event::contact::OpeningHours {
            days: vec![1, 2, 3, 4, 5],
            from: "08:00".into(),
            to: "18:00".into(),
        }],
        is_open: Some(true),
        typed: None,
        timeline: sample::timeline(),
        etag: "\"3\"".into(),
    };
    site.timeline.truncate(1);
    vec![
        ("overview", overview::page(&frame, &sample::overview())),
        ("overview-paused", overview::page(&paused, &sample::overview())),
        ("first-run", overview::page(&frame, &first)),
        ("site", site::page(&frame, &site)),
        ("site-new", site::new_page(&frame, "", None)),
        ("device", device::page(&frame, &sample::device())),
        ("device-auditor", device::page(&auditor, &sample::device())),
        ("add-first", add_device::page(&frame, &add(Vec::new()))),
        ("add", add_device::page(&frame, &add(sample::sites()))),
        (
            "onboard-waiting",
            onboarding::page(
                &frame,
                &onboarding::sample::onboarding(onboarding::sample::waiting()),
            ),
        ),
        ("onboard-refused", onboarding::page(&frame, &again)),
        ("onboard-landed", onboarding::page(&frame, &ttn)),
        ("onboard-esp32", onboarding::page(&frame, &esp)),
        (
            "onboard-status",
            onboarding::status_page(&onboarding::sample::onboarding(onboarding::sample::landed()).status),
        ),
        (
            "channel-day",
            channel::page(&frame, &sample::channel_page(Range::Day)),
        ),
        (
            "channel-month",
            channel::page(&frame, &sample::channel_page(Range::Month)),
        ),
        (
            "channel-custom",
            channel::page(&frame, &sample::channel_page(Range::Custom)),
        ),
        ("alarms", alarms::list::page(&frame, &sample_alarms::alarms())),
        (
            "alarms-none",
            alarms::list::page(&frame, &sample_alarms::no_alarms(9)),
        ),
        (
            "alarms-no-rules",
            alarms::list::page(&frame, &sample_alarms::no_alarms(0)),
        ),
        (
            "alarm",
            alarms::one::page(&frame, &sample_alarms::alarm(Life::Open)),
        ),
        (
            "alarm-over",
            alarms::one::page(&frame, &sample_alarms::alarm(Life::Over)),
        ),
        (
            "alarm-auditor",
            alarms::one::page(&auditor, &sample_alarms::alarm(Life::Open)),
        ),
        ("rule", rules::edit::page(&frame, &sample_alarms::rule(true))),
        ("rule-new", rules::edit::page(&frame, &sample_alarms::new_rule())),
        ("tray", tray::page(&frame, &tray::sample::tray())),
        (
            "integrations",
            integrations::page(&frame, &integrations::sample::integrations(true)),
        ),
        (
            "contacts",
            contacts::list::page(&frame, &contacts::sample::contacts()),
        ),
        (
            "contacts-none",
            contacts::list::page(&frame, &contacts::sample::nobody()),
        ),
        (
            "contacts-fresh",
            contacts::list::page(&frame, &contacts::sample::fresh()),
        ),
        (
            "contacts-auditor",
            contacts::list::page(&auditor, &contacts::sample::contacts()),
        ),
        (
            "outbound",
            outbound::log::page(&frame, &outbound::sample::outbound()),
        ),
        ("evidence", evidence::page(&frame, &sample::evidence())),
        ("users", people::users(&frame, &people::sample::users())),
        ("tokens", people::tokens(&frame, &people::sample::tokens())),
        ("account", people::account(&frame, &people::sample::account())),
        (
            "ledger",
            ledger::page(&sample::public_frame(), &ledger::sample::ledger(47)),
        ),
        (
            "ledger-first-day",
            ledger::page(&sample::public_frame(), &ledger::sample::ledger(0)),
        ),
        (
            "ledger-damaged",
            ledger::page(&sample::public_frame(), &ledger::sample::damaged_ledger()),
        ),
        (
            "verify-log",
            verify_log::page(
                &sample::public_frame(),
                "daybook.example.eu/main",
                "daybook.example.eu/main+1a2b3c4d+AX",
            ),
        ),
        ("entry", ledger::entry(&frame, &ledger::sample::entry())),
        ("sign-in", sign_in::ask("", None, Delivery::Mail)),
        (
            "sign-in-sent",
            sign_in::sent("jana@example.eu", Delivery::Operator),
        ),
        ("sign-in-confirm", sign_in::confirm("tok")),
        (
            "not-found",
            sign_in::trouble(Trouble::NotFound, None, Some("req_abc")),
        ),
        (
            "unavailable",
            sign_in::trouble(Trouble::Unavailable, Some("The disk is full."), None),
        ),
    ]
}

/// Tags without an end tag.
const VOID: &[&str] = &["meta", "link", "input", "br", "hr", "img", "base"];

/// Panics where a tag is not closed in order, an id stands twice, or a label names nothing.
fn well_formed(name: &str, html: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for part in html.split('<').skip(1) {
        let tag = part.split(['>', ' ']).next().unwrap_or("");
        let attributes = part.split('>').next().unwrap_or("");
        if let Some(end) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(end), "{name}: {part:.60}");
        } else if !tag.starts_with('!') && !VOID.contains(&tag) {
            open.push(tag);
        }
        assert!(
            attributes.matches(" class=\"").count() < 2,
            "{name}: two classes in {attributes}"
        );
        if let Some(id) = attributes
            .split(" id=\"")
            .nth(1)
            .and_then(|s| s.split('"').next())
        {
            assert!(ids.insert(id), "{name}: id {id} twice");
        }
    }
    assert!(open.is_empty(), "{name}: {open:?} not closed");
    for reference in [
        " for=\"",
        " aria-labelledby=\"",
        " aria-describedby=\"",
        "data-copy=\"#",
    ] {
        for part in html.split(reference).skip(1) {
            for id in part.split('"').next().unwrap_or("").split(' ') {
                assert!(ids.contains(id), "{name}:{reference}{id} names nothing");
            }
        }
    }
}

#[test]
fn every_page_is_well_formed_and_keeps_its_promises() {
    let dir = std::env::var_os("DAYBOOK_PAGES_DIR").map(std::path::PathBuf::from);
    for (name, page) in every_page() {
        let html = page.into_string();
        well_formed(name, &html);
        assert!(
            html.contains("<html lang=\"en\">") && html.contains("<title>"),
            "{name}"
        );
        for form in html
            .split("method=\"post\"")
            .skip(1)
            .filter(|_| !name.starts_with("sign-in"))
        {
            let form = form.split("</form>").next().unwrap_or("");
            assert!(
                form.contains("name=\"csrf\""),
                "{name}: a form without csrf: {form}"
            );
        }
        assert!(
            name == "onboard-status" || html.matches("<h1").count() == 1,
            "{name} has one h1"
        );
        for bad in [
            " style=\"",
            "<style",
            "onclick=",
            "javascript:",
            ">ok<",
            " OK ",
            "src=\"http",
            "href=\"http",
        ] {
            assert!(!html.contains(bad), "{name} holds {bad}");
        }
        if let Some(dir) = &dir {
            let local = html
                .replace(&assets::CSS.path(), "app.css")
                .replace(&assets::JS.path(), "app.js")
                .replace(&assets::ICON.path(), "icon.svg");
            std::fs::write(dir.join(format!("{name}.html")), local).expect("the folder can be written");
        }
    }
    if let Some(dir) = &dir {
        for (name, asset) in [
            ("app.css", &assets::CSS),
            ("app.js", &assets::JS),
            ("icon.svg", &assets::ICON),
        ] {
            std::fs::write(dir.join(name), asset.text()).expect("the folder can be written");
        }
    }
}

#[test]
fn an_auditor_is_shown_no_form_that_changes_something() {
    let mut frame = sample::frame();
    if let Some(viewer) = &mut frame.viewer {
        viewer.may_edit = false;
        viewer.role = "auditor".into();
    }
    for page in [
        alarms::one::page(&frame, &sample_alarms::alarm(Life::Open)),
        channel::page(&frame, &sample::channel_page(Range::Day)),
        rules::edit::page(&frame, &sample_alarms::rule(true)),
        device::page(&frame, &sample::device()),
        integrations::page(&frame, &integrations::sample::integrations(false)),
        people::users(&frame, &people::sample::users()),
        people::account(&frame, &people::sample::account()),
        contacts::list::page(&frame, &contacts::sample::contacts()),
        outbound::log::page(&frame, &outbound::sample::outbound()),
        tray::page(&frame, &tray::sample::tray()),
    ] {
        let html = page.into_string();
        let posts: Vec<&str> = html
            .split("method=\"post\" action=\"")
            .skip(1)
            .filter_map(|s| s.split('"').next())
            .collect();
        assert_eq!(posts, ["/app/sign-out"]);
    }
}

#[test]
fn the_overview_lists_the_worst_first() {
    let html = overview::page(&sample::frame(), &sample::overview()).into_string();
    let rows: Vec<&str> = html
        .split("role=\"row\" class=\"device ")
        .skip(1)
        .filter_map(|s| s.split('"').next())
        .collect();
    assert_eq!(
        rows,
        [
            "st-alarm",
            "st-offline",
            "st-refused",
            "st-nodata",
            "st-nolimits",
            "st-inside",
            "st-inside",
            "st-inside",
            "st-inside"
        ]
    );
}

#[test]
fn an_old_value_is_never_inside_limits_and_one_outside_stays_so() {
    let mut view = sample::overview();
    for device in &mut view.devices {
        for channel in &mut device.channels {
            channel.old = true;
        }
    }
    let html = overview::page(&sample::frame(), &view).into_string();
    assert!(
        !html.contains("inside limits") && !html.contains("no limits set</"),
        "{html}"
    );
    assert!(html.contains("no recent value") && html.contains("</svg>alarm</span>"));
    assert!(html.contains("Its newest "), "why it is in its state");
}

#[test]
fn a_channel_without_readings_in_its_range_says_where_the_newest_is() {
    let mut view = sample::channel_page(Range::Day);
    view.readings.clear();
    let html = channel::page(&sample::frame(), &view).into_string();
    assert!(
        !html.contains("None yet.") && html.contains("the day before it"),
        "{html}"
    );
    view.channel.latest = None;
    assert!(
        channel::page(&sample::frame(), &view)
            .into_string()
            .contains("None yet.")
    );
}

#[test]
fn a_loopback_address_is_said_to_be_of_no_use_to_a_device() {
    let mut view = onboarding::sample::onboarding(onboarding::sample::waiting());
    for (url, warned) in [
        ("https://daybook.example.eu", false),
        ("http://192.168.1.7:8420", false),
        ("http://127.0.0.1:8420", true),
        ("http://localhost:8420", true),
        ("http://[::1]:8420", true),
        ("http://localhost.example.eu", false),
    ] {
        view.base_url = url.into();
        let html = onboarding::page(&sample::frame(), &view).into_string();
        assert_eq!(html.contains("from this machine only"), warned, "{url}");
    }
}

#[test]
fn what_cannot_be_taken_back_asks_once_more() {
    for page in [
        integrations::page(&sample::frame(), &integrations::sample::integrations(false)),
        people::users(&sample::frame(), &people::sample::users()),
        people::tokens(&sample::frame(), &people::sample::tokens()),
        contacts::list::page(&sample::frame(), &contacts::sample::contacts()),
    ] {
        let html = page.into_string();
        for word in ["/remove\"", "/revoke\"", "/rotate-token\"", "/rotate-secret\""] {
            for (at, _) in html.match_indices(word) {
                let before = &html[..at];
                assert!(
                    before.rfind("<details class=\"confirm\">") > before.rfind("</details>"),
                    "{word} is one touch away"
                );
            }
        }
    }
}

#[test]
fn a_long_timeline_shows_its_newest_changes_and_folds_the_rest() {
    let change = sample::device().timeline[0].clone();
    for (n, folded) in [
        (10, None),
        (11, Some("3\u{a0}older changes")),
        (50, Some("42\u{a0}older changes")),
    ] {
        let html = parts::timeline(
            &vec![change.clone(); n],
            &sample::frame().zone,
            sample::frame().now,
        );
        let html = html.into_string();
        assert_eq!(html.matches("timeline-head").count(), n);
        assert_eq!(html.contains("<details class=\"older\">"), folded.is_some());
        assert!(folded.is_none_or(|text| html.contains(text)), "{html}");
    }
}

#[test]
fn a_name_that_is_markup_is_shown_as_text() {
    let mut view = sample::overview();
    view.devices[0].name = "<script>alert(1)</script>".into();
    view.devices[0].channels[0].label = Some("\"><img src=x>".into());
    let html = overview::page(&sample::frame(), &view).into_string();
    assert!(!html.contains("<script>alert") && !html.contains("<img"));
}

#[test]
fn the_token_stands_in_every_way_of_sending() {
    let html = onboarding::page(
        &sample::frame(),
        &onboarding::sample::onboarding(onboarding::sample::waiting()),
    )
    .into_string();
    // Its box, three Shelly addresses, the sketch, curl.
    assert_eq!(html.matches(onboarding::sample::TOKEN).count(), 6);
    let mut later = onboarding::sample::onboarding(onboarding::sample::waiting());
    later.token = None;
    let html = onboarding::page(&sample::frame(), &later).into_string();
    assert!(!html.contains(onboarding::sample::TOKEN) && html.contains("ds_live_YOUR_TOKEN"));
}

#[test]
fn a_device_id_with_quotes_cannot_leave_its_command() {
    let mut view = onboarding::sample::onboarding(onboarding::sample::waiting());
    view.local_id = "it's \"x\" & y".into();
    let html = onboarding::page(&sample::frame(), &view).into_string();
    assert!(html.contains("device=it%27s%20%22x%22%20%26%20y"));
    assert!(html.contains(r"it'\''s \&quot;x\&quot;"), "{html}");
}

#[test]
fn the_box_stops_looking_once_the_reading_landed() {
    let waiting =
        onboarding::status_page(&onboarding::sample::onboarding(onboarding::sample::waiting()).status)
            .into_string();
    let landed =
        onboarding::status_page(&onboarding::sample::onboarding(onboarding::sample::landed()).status)
            .into_string();
    assert!(waiting.contains("http-equiv=\"refresh\"") && waiting.contains("data-every"));
    assert!(!landed.contains("http-equiv=\"refresh\"") && !landed.contains("data-every"));
}

#[test]
fn pages_render_as_their_goldens() {
    for (name, page) in every_page() {
        if [
            "overview",
            "alarms",
            "alarm",
            "rule-new",
            "contacts",
            "outbound",
            "onboard-status",
            "ledger-first-day",
            "not-found",
            "sign-in",
        ]
        .contains(&name)
        {
            let html = page
                .into_string()
                .replace(&assets::CSS.path(), "/assets/app.css?…")
                .replace(&assets::JS.path(), "/assets/app.js?…")
                .replace(&assets::ICON.path(), "/assets/icon.svg?…");
            golden::check(&format!("{name}.html"), &html);
        }
    }
}
