//! A command and the stream it is for, as data: a request is a few of these, and can be run again after a lost race.

use domain::aggregate::account::AccountCommand;
use domain::aggregate::alarm::AlarmCommand;
use domain::aggregate::annotations::AnnotationsCommand;
use domain::aggregate::artefact::ArtefactCommand;
use domain::aggregate::channel::ChannelCommand;
use domain::aggregate::contact::ContactCommand;
use domain::aggregate::device::DeviceCommand;
use domain::aggregate::integration::IntegrationCommand;
use domain::aggregate::pack::PackCommand;
use domain::aggregate::rule::RuleCommand;
use domain::aggregate::silence::SilenceCommand;
use domain::aggregate::site::SiteCommand;
use domain::aggregate::standing::StandingCommand;
use domain::aggregate::tokens::TokensCommand;
use domain::aggregate::user::UserCommand;

/// A stream's id and what is asked of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Of an account.
    Account(String, AccountCommand),
    /// Of a person's access.
    User(String, UserCommand),
    /// Of a site.
    Site(String, SiteCommand),
    /// Of a device.
    Device(String, DeviceCommand),
    /// Of a channel, whose device is named beside it.
    Channel {
        /// The channel's id.
        id: String,
        /// Its device's id.
        device: String,
        /// What is asked.
        command: ChannelCommand,
    },
    /// Of a device's, user's or integration's tokens.
    Tokens(String, TokensCommand),
    /// Of an integration.
    Integration(String, IntegrationCommand),
    /// Of an artefact.
    Artefact {
        /// The artefact's id.
        id: String,
        /// The device, site or account that it is about.
        owner: String,
        /// What is asked.
        command: ArtefactCommand,
    },
    /// Of an evidence pack.
    Pack(String, PackCommand),
    /// Of a rule, whose channel is named beside it.
    Rule {
        /// The rule's id.
        id: String,
        /// Its channel's id.
        channel: String,
        /// What is asked.
        command: RuleCommand,
    },
    /// Of an alarm, whose channel is named beside it.
    Alarm {
        /// The alarm's id.
        id: String,
        /// Its channel's id.
        channel: String,
        /// What is asked.
        command: AlarmCommand,
    },
    /// Of a silence, whose channel is named beside it.
    Silence {
        /// The silence's id.
        id: String,
        /// Its channel's id.
        channel: String,
        /// What is asked.
        command: SilenceCommand,
    },
    /// Of a channel's notes.
    Annotations(String, AnnotationsCommand),
    /// Of what the rules make of a channel.
    Standing(String, StandingCommand),
    /// Of a contact.
    Contact(String, ContactCommand),
}

impl Step {
    /// The stream's type.
    pub const fn aggregate_type(&self) -> &'static str {
        match self {
            Self::Account(..) => "account",
            Self::User(..) => "user",
            Self::Site(..) => "site",
            Self::Device(..) => "device",
            Self::Channel { .. } => "channel",
            Self::Tokens(..) => "tokens",
            Self::Integration(..) => "integration",
            Self::Artefact { .. } => "artefact",
            Self::Pack(..) => "pack",
            Self::Rule { .. } => "rule",
            Self::Alarm { .. } => "alarm",
            Self::Silence { .. } => "silence",
            Self::Annotations(..) => "annotations",
            Self::Standing(..) => "state",
            Self::Contact(..) => "contact",
        }
    }

    /// The stream's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Account(id, _)
            | Self::User(id, _)
            | Self::Site(id, _)
            | Self::Device(id, _)
            | Self::Channel { id, .. }
            | Self::Rule { id, .. }
            | Self::Silence { id, .. }
            | Self::Alarm { id, .. }
            | Self::Annotations(id, _)
            | Self::Standing(id, _)
            | Self::Tokens(id, _)
            | Self::Integration(id, _)
            | Self::Artefact { id, .. }
            | Self::Contact(id, _)
            | Self::Pack(id, _) => id,
        }
    }

    /// Whose key seals its texts: a person's own for what is personal, else the account's.
    pub(super) fn subject<'a>(&'a self, account: &'a str) -> &'a str {
        match self {
            Self::User(id, _) | Self::Contact(id, _) => id,
            _ => account,
        }
    }

    /// The device, site or account that the stream is about, so that the streams of one are neighbours in the
    /// day's map (FORMAT §5).
    pub(super) fn owner<'a>(&'a self, account: &'a str) -> &'a str {
        match self {
            Self::Account(id, _) | Self::Site(id, _) | Self::Device(id, _) => id,
            Self::Channel { device, .. } => device,
            Self::Artefact { owner, .. } => owner,
            Self::Rule { channel, .. } | Self::Alarm { channel, .. } | Self::Silence { channel, .. } => {
                channel
            }
            Self::Annotations(id, _) | Self::Standing(id, _) => id,
            Self::Tokens(id, _) if id.starts_with("dev_") => id,
            Self::Tokens(..)
            | Self::User(..)
            | Self::Integration(..)
            | Self::Contact(..)
            | Self::Pack(..) => account,
        }
    }
}
