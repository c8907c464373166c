//! To look at, and for the goldens.

use super::super::sample::{before, sites};
use super::view::{Parked, TrayPage};

pub fn tray() -> TrayPage {
    TrayPage {
        parked: vec![
            Parked {
                dev_eui: "24E124136B502217".into(),
                first: before(2000),
                last: before(6),
                uplinks: 198,
                sample: vec![
                    ("temperature".into(), "5.2 °C".into()),
                    ("humidity".into(), "61.5 %".into()),
                ],
                f_port: Some(85),
            },
            Parked {
                dev_eui: "A84041B2C1850F11".into(),
                first: before(90),
                last: before(30),
                uplinks: 4,
                sample: Vec::new(),
                f_port: Some(2),
            },
        ],
        sites: sites(),
        models: vec![("lorawan".into(), "Decoded by the network server".into())],
    }
}
