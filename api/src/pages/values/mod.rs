//! Where a channel's values come from: its calibration, or the channels that they are made of.
//!
//! Not here: the chart and the tables that show them (`channel`), what calibrating does (`domain`).

pub mod calibration;
pub mod derived;
pub mod view;
