//! Accounts are walls: another account's ids read as not found, its lists as empty.

use crate::support::{Scribe, at, minutes};
use domain::{Position, Timestamp};
use projections::QueryError;
use projections::query::{Agg, Function, MeasurementsQuery, TimelineFilter};
use serde_json::json;

fn day() -> (Timestamp, Timestamp) {
    (at(0), at(86_400_000_000))
}

fn two_accounts() -> Scribe {
    let scribe = Scribe::new();
    for account in ["a", "b"] {
        let id = format!("acc_{account}");
        scribe.account(&id);
        scribe.site(&id, &format!("site_{account}"));
        scribe.device(
            &id,
            &format!("site_{account}"),
            &format!("dev_{account}"),
            Some(60),
        );
        scribe.channel(
            &id,
            &format!("dev_{account}"),
            &format!("chn_{account}"),
            "temperature",
        );
        scribe.reading(&format!("dev_{account}"), minutes(1), &[("temperature", 4.0)]);
        scribe.reading(&format!("dev_{account}"), minutes(9), &[("temperature", 5.0)]);
        scribe.refused(
            account,
            &format!("device:dev_{account}"),
            &json!({"rate_limited": 2}),
        );
        let parked = json!({"dev_eui": "0000000000000001", "session": null, "f_cnt": 1,
            "received_at": at(0).to_string()});
        scribe.fact(
            Some(&id),
            ("tray", &format!("tray_{account}")),
            "UplinkParked",
            &parked,
        );
    }
    scribe.refused("nobody", "peer", &json!({"auth_required": 7}));
    scribe
}

#[test]
fn every_question_about_another_accounts_id_reads_as_not_found() {
    let scribe = two_accounts();
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let (from, to) = day();
    let query = MeasurementsQuery::range(from, to);
    let mut out = Vec::new();
    for (account, channel) in [
        ("acc_a", "chn_b"),
        ("acc_b", "chn_a"),
        ("acc_a", "chn_none"),
        ("acc_none", "chn_a"),
    ] {
        let refused = [
            model.measurements(account, channel, &query).map(|_| ()),
            model.measurements_of(account, &[channel], &query).map(|_| ()),
            model.etag(account, &[channel], &query).map(|_| ()),
            model
                .stream(account, channel, &query, &mut |_| Ok(()))
                .map(|_| ()),
            model.write_csv(account, channel, &query, &mut out).map(|_| ()),
            model
                .write_ndjson(account, &[channel], &query, &mut out)
                .map(|_| ()),
            model.chart(account, channel, from, to, 10).map(|_| ()),
            model.gaps(account, channel, from, to).map(|_| ()),
            model.channel(account, channel).map(|_| ()),
        ];
        for (i, refused) in refused.into_iter().enumerate() {
            assert!(
                matches!(&refused, Err(QueryError::ChannelNotFound(id)) if id == channel),
                "{i}: {refused:?}"
            );
        }
        assert!(
            out.is_empty(),
            "something was written before the channel was found"
        );
    }
    for (account, device) in [("acc_a", "dev_b"), ("acc_b", "dev_a"), ("acc_a", "dev_none")] {
        let refused = [
            model.device(account, device).map(|_| ()),
            model.latest_of_device(account, device).map(|_| ()),
            model.device_gaps(account, device, 9).map(|_| ()),
            model.refusals(account, Some(device), 9).map(|_| ()),
            model.refusal_totals(account, device).map(|_| ()),
        ];
        for refused in refused {
            assert!(
                matches!(refused, Err(QueryError::DeviceNotFound(_))),
                "{refused:?}"
            );
        }
    }
    for refused in [
        model.devices("acc_a", Some("site_b")).map(|_| ()),
        model.latest_of_site("acc_a", "site_b").map(|_| ()),
    ] {
        assert!(matches!(refused, Err(QueryError::SiteNotFound(_))), "{refused:?}");
    }
}

#[test]
fn one_foreign_channel_among_several_fails_all() {
    let scribe = two_accounts();
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let (from, to) = day();
    let query = MeasurementsQuery::range(from, to);
    assert!(model.measurements_of("acc_a", &["chn_a"], &query).is_ok());
    assert!(
        model
            .measurements_of("acc_a", &["chn_a", "chn_b"], &query)
            .is_err()
    );
}

#[test]
fn a_cursor_of_another_account_opens_nothing() {
    let scribe = two_accounts();
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    let (from, to) = day();
    let mut query = MeasurementsQuery {
        limit: 1,
        agg: Agg::Raw,
        function: Function::Mean,
        ..MeasurementsQuery::range(from, to)
    };
    query.cursor = model
        .measurements("acc_b", "chn_b", &query)
        .expect("is there")
        .next_cursor;
    assert!(query.cursor.is_some());
    assert!(matches!(
        model.measurements("acc_a", "chn_b", &query),
        Err(QueryError::ChannelNotFound(_))
    ));
    assert!(matches!(
        model.measurements("acc_a", "chn_a", &query),
        Err(QueryError::BadCursor)
    ));
}

#[test]
fn lists_hold_the_accounts_own_and_nothing_else() {
    let scribe = two_accounts();
    let dir = tempfile::tempdir().expect("a directory");
    let (_projector, model) = scribe.projected(&dir.path().join("x.sqlite"));
    for account in ["a", "b"] {
        let id = format!("acc_{account}");
        let devices = model.devices(&id, None).expect("answers");
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0].device_id, format!("dev_{account}"));
        let refusals = model.refusals(&id, None, 9).expect("answers");
        assert_eq!(refusals.len(), 1);
        assert_eq!(
            refusals[0].device_id.as_deref(),
            Some(format!("dev_{account}").as_str())
        );
        let trays = model.trays(&id).expect("answers");
        assert_eq!(trays.len(), 1);
        assert_eq!(trays[0].id, format!("tray_{account}"));
        let items = model
            .timeline(&id, &TimelineFilter::default(), 100)
            .expect("answers");
        assert_eq!(items.len(), 4, "{items:?}");
        assert!(
            items
                .iter()
                .all(|item| item.aggregate_id.ends_with(&format!("_{account}")))
        );
    }
    for foreign in ["dev_b", "site_b", "chn_b", "acc_b"] {
        let filter = TimelineFilter {
            subject: Some(foreign),
            aggregate_type: None,
            before: None,
        };
        assert_eq!(model.timeline("acc_a", &filter, 100).expect("answers"), []);
    }
    assert_eq!(
        model
            .timeline("acc_none", &TimelineFilter::default(), 9)
            .expect("answers"),
        []
    );
    let nobody = model.refusals_of_nobody(9).expect("answers");
    assert_eq!(
        nobody
            .iter()
            .map(|r| (r.source.as_str(), r.total))
            .collect::<Vec<_>>(),
        [("peer", 7)]
    );
    assert_eq!(nobody[0].position, Position(16));
}
