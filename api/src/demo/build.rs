//! Setting the stage: sites, integrations, devices and limits, through the API as an owner would.
//!
//! Not here: what is set up (`cast`), measurements (`past`, `live`).

use super::cast::{DEVICES, Device, Limit, SITES};
use super::client::{Client, ClientError};
use serde_json::{Value as Json, json};

/// What was set up: where to send from.
pub struct Stage {
    /// Each of [`DEVICES`] with its token.
    pub devices: Vec<(&'static Device, String)>,
    /// The token of the LoRaWAN integration.
    pub lorawan: String,
    /// The token of the Efento gateway.
    pub efento: String,
    /// The token of the gateway that sends the past.
    pub archive: String,
}

/// Sets everything up with the owner's token.
///
/// # Errors
/// [`ClientError`], what was made before stays.
pub fn build(client: &Client, owner: &str) -> Result<Stage, ClientError> {
    let mut sites = Vec::with_capacity(SITES.len());
    for site in SITES {
        let made = client.post(
            "/v1/sites",
            owner,
            &json!({
                "name": site.name,
                "vertical": site.vertical,
                "timezone": site.timezone,
                "address": site.address,
            }),
        )?;
        sites.push(text(&made, "id"));
    }
    let integration = |kind: &str, name: &str| {
        let made = client.post("/v1/integrations", owner, &json!({"kind": kind, "name": name}))?;
        Ok::<_, ClientError>(text(&made, "token"))
    };
    let lorawan = integration("lorawan", "The Things Stack")?;
    let efento = integration("efento", "Efento gateway, cellar")?;
    let archive = integration("gateway", "Archive of the old loggers")?;
    let mut devices = Vec::with_capacity(DEVICES.len());
    for device in DEVICES {
        let made = client.post("/v1/devices", owner, &registration(device, &sites[device.site]))?;
        let id = text(&made, "id");
        for limit in device.limits {
            client.post(&format!("/v1/devices/{id}/sensors"), owner, &sensor(limit))?;
        }
        devices.push((device, text(&made, "ingest_token")));
    }
    Ok(Stage {
        devices,
        lorawan,
        efento,
        archive,
    })
}

fn registration(device: &Device, site: &str) -> Json {
    let mut body = json!({
        "site_id": site,
        "local_id": device.local_id,
        "name": device.name,
        "model": device.model,
        "cadence_s": device.cadence_s,
    });
    if let Some(dev_eui) = device.dev_eui() {
        body["dev_eui"] = dev_eui.into();
    }
    if let Some(serial) = device.serial() {
        body["serial"] = serial.into();
    }
    body
}

/// A sensor before its first value, so that its limits hold from the start.
fn sensor(limit: &Limit) -> Json {
    json!({
        "kind": limit.kind,
        "label": limit.label,
        "ok_min": limit.ok_min,
        "ok_max": limit.ok_max,
        "grace_min": limit.grace_min,
    })
}

fn text(body: &Json, member: &str) -> String {
    body[member].as_str().unwrap_or_default().to_owned()
}
