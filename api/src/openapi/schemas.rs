//! The shapes of bodies and answers, as the document tells them.
//!
//! A field is (name, kind, what it is). Kinds: `string`, `number`, `integer`, `boolean`, `time`, `any`, `map`,
//! `[kind]`, `#Schema`; with `?` it may be null, with `~` before it the member may be absent.
//! Not here: who uses which (`Doc` of each route).

/// (name, kind, what it is).
pub struct Field(pub &'static str, pub &'static str, pub &'static str);

macro_rules! schema {
    ($name:literal: $($field:literal $kind:literal $about:literal),* $(,)?) => {
        ($name, &[$(Field($field, $kind, $about)),*] as &[Field])
    };
}

/// Every schema.
pub const SCHEMAS: &[(&str, &[Field])] = &[
    schema!("Error": "error" "#ErrorBody" ""),
    schema!("ErrorBody":
        "code" "string" "Stable.",
        "message" "string" "For a person; may be reworded.",
        "request_id" "string" "req_…, also in X-Request-Id.",
    ),
    schema!("Problem":
        "type" "string" "urn:daybook:error:<code>.", "title" "string" "", "status" "integer" "", "detail" "string" "",
        "code" "string" "Stable.", "request_id" "string" "req_…, also in X-Request-Id.",
    ),
    schema!("Empty": "reason" "~any" "Why, in words, or {code, text}."),
    schema!("Nothing":),
    schema!("Report":
        "device" "~string" "The device's local id; may stand in X-Device-Id instead.",
        "ts" "~time" "When it was measured; the time of arrival by default.",
        "measurements" "[#ReportMeasurement]" "1 to 32. A list of up to 1000 reports is taken, too.",
    ),
    schema!("ReportMeasurement":
        "type" "string" "Such as temperature.",
        "value" "number" "Booleans as 0 and 1.",
        "label" "~string" "Tells two sensors of one type apart.",
        "unit" "~string" "Nothing is converted.",
        "ts" "~time" "Overrides the report's.",
    ),
    schema!("Foreign":),
    schema!("Taken":
        "accepted" "integer" "Measurements recorded; they are durable and in the tree.",
        "deduplicated" "integer" "Measurements that were there already.",
        "channels" "[#TakenChannel]" "Of a single report.",
        "conflicts" "~integer" "Measurements that contradict one that is there; the first stands.",
        "dropped" "~[#Dropped]" "What could not be used, and why.",
        "refused" "~[#RefusedReport]" "Reports of a list that were refused.",
        "parked" "~integer" "Uplinks kept for later.",
        "ignored" "~string" "Why there was nothing to record.",
        "first_position" "~integer" "",
        "entries" "~integer" "How many entries.",
        "recorded_at" "~time" "",
        "size" "~integer" "The tree size after the commit.",
        "root" "~string" "The root at that size, base64.",
        "replayed" "~boolean" "The answer of an earlier request with the same Idempotency-Key.",
        "receipt" "~#Receipt" "With Prefer: return=receipt.",
    ),
    schema!("TakenChannel": "type" "string" "", "label" "string?" "", "channel_id" "string" "chn_…"),
    schema!("Dropped": "channel" "string" "", "raw" "string" "As received.", "reason" "string" "Stable code."),
    schema!("RefusedReport": "report" "integer" "Its index.", "code" "string" "", "message" "string" ""),
    schema!("Receipt":
        "note" "string" "A signed note by the receipt key.",
        "entries" "[#ReceiptEntry]" "What was recorded.",
    ),
    schema!("ReceiptEntry":
        "position" "integer" "", "leaf_hash" "string" "base64", "entry" "string" "The exact bytes that were hashed.",
    ),
    schema!("EfentoAnswer": "Y" "[integer]" "Handles that were taken.", "N" "[integer]" "Handles that were refused."),
    schema!("SiteList": "data" "[#Site]" "", "next_cursor" "string?" "", "has_more" "boolean" ""),
    schema!("Site":
        "id" "string" "site_…",
        "name" "string?" "",
        "vertical" "string?" "haccp, legionella, server-room, climate or energy.",
        "timezone" "string" "IANA name.",
        "address" "string?" "",
        "created_at" "time" "",
        "changed_at" "time" "",
        "position" "integer" "Of its newest entry.",
    ),
    schema!("SiteAsOf":
        "as_of" "any" "The moment, and the position at which it was decided.",
        "origin" "string" "The ledger's name.",
        "sealed_values" "string" "",
        "proofs" "~any" "With proof=true: the checkpoint that each proof leads to.",
        "account" "any" "Each of these has value, position, leaf_hash, since and the entries that it follows from.",
        "site" "any" "", "devices" "[any]" "Those that stood there then.", "channels" "[any]" "With limits.",
        "users" "[any]" "Who had which rights.", "integrations" "[any]" "",
        "tokens" "[any]" "Good then: id, owner, kind, expires_at; nothing of the secret.",
        "rules" "[any]" "", "calibrations" "[any]" "",
        "software" "any" "Version and hash of the binary.", "retention_policy" "any" "", "witness_policy" "any" "",
        "keys" "any" "", "key_rotations" "[any]" "",
    ),
    schema!("NewSite":
        "name" "string" "", "vertical" "string" "", "timezone" "~string" "UTC by default.", "address" "~string?" "",
        "reason" "~any" "Why, in words, or {code, text}.",
    ),
    schema!("SitePatch":
        "name" "~string" "", "vertical" "~string" "", "timezone" "~string" "", "address" "~string?" "",
        "reason" "~any" "Why, in words, or {code, text}.",
    ),
    schema!("DeviceList": "data" "[#Device]" "", "next_cursor" "string?" "", "has_more" "boolean" ""),
    schema!("Device":
        "id" "string" "dev_…",
        "site_id" "string" "",
        "local_id" "string" "What payloads call it.",
        "name" "string?" "",
        "model" "string" "",
        "dev_eui" "string?" "",
        "serial" "string?" "",
        "cadence_s" "integer?" "How often it means to report.",
        "notes" "string?" "",
        "fw_version" "string?" "",
        "ingest_url_kind" "string" "shelly_get, lorawan or json_post.",
        "last_seen_at" "time?" "",
        "online" "boolean?" "Null in the past.",
        "token_issued_at" "time?" "",
        "created_at" "time" "",
        "changed_at" "time" "",
        "position" "integer" "Of its newest entry.",
    ),
    schema!("NewDevice":
        "site_id" "string" "", "local_id" "string" "", "name" "string" "", "model" "string" "",
        "dev_eui" "~string?" "", "serial" "~string?" "", "cadence_s" "~integer?" "", "notes" "~string?" "",
        "reason" "~any" "Why, in words, or {code, text}.",
    ),
    schema!("DevicePatch":
        "name" "~string" "", "local_id" "~string" "", "notes" "~string?" "", "cadence_s" "~integer?" "",
        "dev_eui" "~string?" "", "serial" "~string?" "", "reason" "~any" "Why, in words, or {code, text}.",
    ),
    schema!("DeviceCreated":
        "id" "string" "dev_…", "local_id" "string" "", "site_id" "string" "",
        "ingest_token" "string?" "ds_live_…, shown once; null in a repetition.",
        "ingest_url" "string" "", "issued_at" "time?" "", "hint" "~string" "",
    ),
    schema!("Adopted":
        "id" "string" "dev_…", "ingest_token" "string?" "Shown once.", "ingest_url" "string" "",
        "adopted_uplinks" "integer" "Parked uplinks that became readings.",
        "parked_uplinks" "integer" "Those that nobody can decode yet; they stay.",
    ),
    schema!("Move": "to_site_id" "string" "", "effective_at" "~time" "Now by default.", "reason" "~any" ""),
    schema!("Rotate": "overlap_s" "~integer" "How long the old token stays good; 0 by default.", "reason" "~any" ""),
    schema!("SensorList": "data" "[#Sensor]" "", "next_cursor" "string?" "", "has_more" "boolean" ""),
    schema!("Sensor":
        "id" "string" "snr_…",
        "channel_id" "string" "chn_…",
        "device_id" "string" "",
        "kind" "string" "",
        "label" "string?" "",
        "unit" "string" "UCUM.",
        "auxiliary" "boolean" "About the device itself.",
        "ok_min" "number?" "",
        "ok_max" "number?" "",
        "grace_min" "integer?" "",
        "rule_enabled" "boolean" "",
        "last_value" "number?" "",
        "last_ts" "time?" "",
        "outside_limits" "boolean?" "Of the latest value.",
        "state" "string?" "no_data, or null until rules exist.",
        "created_at" "time" "",
        "changed_at" "time" "",
        "position" "integer" "",
    ),
    schema!("NewSensor":
        "kind" "string" "", "label" "~string?" "", "ok_min" "~number?" "", "ok_max" "~number?" "",
        "grace_min" "~integer?" "", "reason" "~any" "",
    ),
    schema!("SensorPatch":
        "ok_min" "~number?" "", "ok_max" "~number?" "", "grace_min" "~integer?" "", "label" "~string?" "",
        "unit" "~string" "Another name for the same numbers.", "reason" "~any" "",
    ),
    schema!("Measurements":
        "channel_id" "string" "", "agg" "string" "", "fn" "string" "",
        "data" "[any]" "[ts, value], rising; missing buckets are left out.",
        "next_cursor" "string?" "", "has_more" "boolean" "",
    ),
    schema!("MeasurementsOfMany":
        "aggs" "map" "For each channel what its points stand for.",
        "data" "map" "By channel id: [[ts, value], …].",
        "next_cursors" "map" "By channel id: where the channel's own list goes on, or null.",
    ),
    schema!("IntegrationList": "data" "[#Integration]" "", "next_cursor" "string?" "", "has_more" "boolean" ""),
    schema!("Integration":
        "id" "string" "int_…", "kind" "string?" "lorawan, shelly, efento or gateway.", "name" "string?" "",
        "url" "string" "Where to send to.", "created_at" "time" "", "changed_at" "time" "", "position" "integer" "",
    ),
    schema!("NewIntegration": "kind" "string" "", "name" "string" "", "reason" "~any" ""),
    schema!("IntegrationCreated":
        "id" "string" "int_…", "url" "string" "", "token" "string?" "whk_…, shown once.", "hint" "~string" "",
    ),
    schema!("TrayList": "data" "[#Waiting]" "", "next_cursor" "string?" "", "has_more" "boolean" ""),
    schema!("Waiting":
        "dev_eui" "string" "", "uplinks" "integer" "", "first_seen_at" "time" "", "last_seen_at" "time" "",
        "last_uplink" "any" "What came last.", "position" "integer" "",
    ),
    schema!("UserList": "data" "[#User]" "", "next_cursor" "string?" "", "has_more" "boolean" ""),
    schema!("User":
        "id" "string" "usr_…", "email" "string?" "", "name" "string?" "", "role" "string" "owner or auditor.",
        "created_at" "time" "", "changed_at" "time" "", "position" "integer" "",
    ),
    schema!("NewUser": "email" "string" "", "name" "~string?" "", "role" "string" "", "reason" "~any" ""),
    schema!("UserPatch": "email" "~string" "", "name" "~string?" "", "role" "~string" "", "reason" "~any" ""),
    schema!("TokenList": "data" "[#Token]" "", "next_cursor" "string?" "", "has_more" "boolean" ""),
    schema!("Token":
        "id" "string" "", "owner" "string" "Whose: usr_…, dev_… or int_….", "user_id" "string?" "The owner, where it is a user.",
        "issued_at" "time" "", "expires_at" "time?" "",
        "last_used_at" "time?" "", "position" "integer" "",
    ),
    schema!("TokenCreated":
        "id" "string" "", "user_id" "string" "", "issued_at" "time" "", "token" "string?" "ua_live_…, shown once.",
        "hint" "~string" "",
    ),
    schema!("Account":
        "id" "string" "acc_…", "name" "string?" "", "suspended" "boolean" "", "origin" "string" "The ledger's name.",
        "created_at" "time" "", "changed_at" "time" "", "position" "integer" "", "you" "#You" "",
    ),
    schema!("You": "csrf" "string?" "What a browser's scripts send in X-CSRF-Token.", "id" "string" "usr_…", "role" "string" "", "ledger_auditor" "boolean" "Sees every account's entries."),
    schema!("AccountPatch": "name" "string" "", "reason" "~any" ""),
    schema!("Timeline": "data" "[#Change]" "", "next_cursor" "string?" "", "has_more" "boolean" ""),
    schema!("Change":
        "position" "integer" "", "recorded_at" "time" "", "class" "string" "", "aggregate_type" "string" "",
        "aggregate_id" "string" "", "sequence" "integer" "", "event_type" "string" "", "actor" "string?" "",
        "reason" "any" "{code}, or null.", "request_id" "string?" "", "payload" "any" "With its texts opened; null where withheld.",
    ),
    schema!("RefusalList":
        "data" "[#RefusalCount]" "As recorded.", "next_cursor" "string?" "", "has_more" "boolean" "",
        "recent" "[#RecentRefusal]" "As remembered, newest first.",
    ),
    schema!("RefusalCount":
        "position" "integer" "", "recorded_at" "time" "", "source" "string" "", "device_id" "string?" "",
        "from" "time?" "", "to" "time" "", "total" "integer" "", "codes" "map" "How often, by reason.",
        "example" "string?" "",
    ),
    schema!("RecentRefusal": "at" "time" "", "code" "string" "", "message" "string" ""),
    schema!("HeadList": "data" "[#Head]" "", "next_cursor" "string?" "", "has_more" "boolean" ""),
    schema!("Head":
        "date" "string" "", "first_position" "integer" "", "size" "integer" "", "root" "string" "base64",
        "entries" "map" "By class.", "refused" "map" "By reason.", "streams" "any" "Root and count of the stream map.",
        "clock" "any" "", "previous" "any" "", "position" "integer" "", "closed_at" "time" "",
        "checkpoint" "string" "The signed note.", "url" "string" "The file to keep.",
    ),
    schema!("InclusionProof":
        "position" "integer" "", "size" "integer" "", "leaf_hash" "string" "base64", "root" "string" "base64",
        "proof" "[string]" "base64, from the leaf's sibling upwards.", "checkpoint" "string" "",
        "entry" "string?" "The exact bytes; null where withheld.",
    ),
    schema!("ConsistencyProof":
        "from" "integer" "", "to" "integer" "", "from_root" "string" "", "to_root" "string" "",
        "proof" "[string]" "base64", "checkpoint" "string?" "Of size `to`, where that is the latest.",
    ),
    schema!("SignIn": "email" "string" ""),
    schema!("SignInAsked": "delivery" "string" "mail or operator.", "message" "string" ""),
    schema!("Health": "status" "string" ""),
    schema!("Ready":
        "ready" "boolean" "", "reason" "string?" "", "size" "integer" "", "signed_size" "integer?" "",
        "lag_entries" "integer" "",
    ),
];
