//! A head as retained messages on an MQTT 5 broker: `<topic>/<origin>/head` has the newest, `<topic>/<origin>/heads/<date>`
//! each day's.
//!
//! Each publication is a connection of its own: there is one a day, and nothing is left open.
//! Invariants: both messages are acknowledged (QoS 1) before it counts as done, the day's before the newest; nothing goes
//! over an open line but to this machine itself; a stop ends it at once.
//! Source: MQTT 5.0 §3.3 (retain), §3.4 (reason codes).
//! Not here: being a broker, or reading from one.

use super::channels::Waiting;
use crate::mail::settings::{is_loopback, read_credentials};
use chain_publisher::publish::{Channel, Publication, PublishError};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason, PublishProperties};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use std::path::Path;
use std::time::Duration;

/// What topics begin with where nothing else is set.
const TOPIC_DEFAULT: &str = "daybook";
/// How long a broker may take, in all.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How often the connection shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// The largest message: a head with the largest entry and the largest note.
const MESSAGE_BYTES_MAX: u32 = 2 << 20;
/// Messages that wait to be sent: the two.
const WAITING_MAX: usize = 4;

/// A broker's topics.
pub struct Topics {
    options: MqttOptions,
    topic: String,
    waiting: Waiting,
}

impl Topics {
    pub fn open(
        broker: &str,
        topic: Option<&str>,
        credentials_file: Option<&Path>,
        ca_file: Option<&Path>,
        waiting: &Waiting,
    ) -> Result<Self, String> {
        let (is_tls, host, port) = parse(broker)?;
        let topic = topic.unwrap_or(TOPIC_DEFAULT).trim_end_matches('/');
        if topic.is_empty() || topic.contains(['+', '#', '\0']) {
            return Err("a topic holds neither + nor #, and something".to_owned());
        }
        // The broker names the session; it ends with the connection.
        let mut options = MqttOptions::new("", host, port);
        options.set_keep_alive(KEEP_ALIVE);
        options.set_clean_start(true);
        options.set_max_packet_size(Some(MESSAGE_BYTES_MAX));
        options.set_connection_timeout(ANSWER_WITHIN.as_secs());
        if is_tls {
            let config = crate::tls::client(ca_file).map_err(|error| error.to_string())?;
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(config)));
        }
        if let Some(path) = credentials_file {
            let (user, password) = read_credentials(path)?;
            options.set_credentials(user, password.as_str());
        }
        Ok(Self {
            options,
            topic: topic.to_owned(),
            waiting: waiting.clone(),
        })
    }

    async fn exchange(
        &self,
        options: MqttOptions,
        publication: &Publication<'_>,
    ) -> Result<(), PublishError> {
        let (client, mut connection) = AsyncClient::new(options, WAITING_MAX);
        let base = format!("{}/{}", self.topic, plain(publication.origin));
        let failed = |error: &dyn std::fmt::Display| PublishError::Failed(error.to_string());
        for topic in [
            format!("{base}/heads/{}", publication.date),
            format!("{base}/head"),
        ] {
            let properties = PublishProperties {
                payload_format_indicator: Some(1),
                content_type: Some("text/plain".to_owned()),
                user_properties: vec![("date".to_owned(), publication.date.to_string())],
                ..PublishProperties::default()
            };
            client
                .publish_with_properties(
                    topic,
                    QoS::AtLeastOnce,
                    true,
                    publication.head.to_vec(),
                    properties,
                )
                .await
                .map_err(|error| failed(&error))?;
            acknowledged(&mut connection).await?;
        }
        // What was acknowledged stays, whether the goodbye arrives or not.
        if client.disconnect().await.is_ok() {
            while let Ok(event) = connection.poll().await {
                if matches!(event, Event::Outgoing(rumqttc::Outgoing::Disconnect)) {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Channel for Topics {
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let exchange = self.exchange(self.options.clone(), publication);
        let within = async { tokio::time::timeout(ANSWER_WITHIN, exchange).await };
        match self.waiting.on(within) {
            None => Err(PublishError::GivenUp),
            Some(Ok(done)) => done,
            Some(Err(_)) => Err(PublishError::Failed(format!(
                "the broker was not done within {} s",
                ANSWER_WITHIN.as_secs()
            ))),
        }
    }
}

/// Waits for the acknowledgement of the one message that is on its way.
async fn acknowledged(connection: &mut EventLoop) -> Result<(), PublishError> {
    loop {
        match connection.poll().await {
            Ok(Event::Incoming(Packet::PubAck(ack))) => {
                return match ack.reason {
                    PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
                    PubAckReason::NotAuthorized | PubAckReason::TopicNameInvalid => Err(
                        PublishError::Refused(format!("the broker does not take it: {:?}", ack.reason)),
                    ),
                    other => Err(PublishError::Failed(format!(
                        "the broker does not take it: {other:?}"
                    ))),
                };
            }
            Ok(_) => {}
            Err(error) => return Err(meaning(&error)),
        }
    }
}

fn meaning(error: &ConnectionError) -> PublishError {
    match error {
        ConnectionError::ConnectionRefused(
            code @ (ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized),
        ) => PublishError::Refused(format!("the broker does not take this user and password: {code:?}")),
        ConnectionError::ConnectionRefused(code) => PublishError::Failed(format!("the broker refuses: {code:?}")),
        ConnectionError::Tls(_) => PublishError::Failed(
            "the broker's certificate is not trusted, or it speaks no TLS: see its name, its validity, and ca_file"
                .to_owned(),
        ),
        ConnectionError::Timeout(_) => PublishError::Failed("the broker took too long".to_owned()),
        _ => PublishError::Failed("the broker cannot be connected to, or hung up".to_owned()),
    }
}

/// An origin as part of a topic, where `#` and `+` mean something.
fn plain(origin: &str) -> String {
    origin.replace('#', "%23").replace('+', "%2B")
}

/// Whether it is secured, host, port.
fn parse(broker: &str) -> Result<(bool, String, u16), String> {
    let (is_tls, rest) = match broker.split_once("://") {
        Some(("mqtts", rest)) => (true, rest),
        Some(("mqtt", rest)) => (false, rest),
        _ => return Err("a broker is mqtts://HOST[:PORT], or mqtt:// on this machine".to_owned()),
    };
    let authority: hyper::http::uri::Authority = rest
        .trim_end_matches('/')
        .parse()
        .map_err(|_| "the broker's address is none".to_owned())?;
    if authority.as_str().contains('@') {
        return Err("user and password stand in credentials_file, not in the broker's address".to_owned());
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    if !is_tls && !is_loopback(&host) {
        return Err("mqtt:// is for a broker on this machine only: write mqtts://".to_owned());
    }
    Ok((
        is_tls,
        host,
        authority.port_u16().unwrap_or(if is_tls { 8883 } else { 1883 }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_elsewhere_is_reached_over_tls_only_and_has_no_password_in_its_address() {
        assert_eq!(
            parse("mqtts://b.example"),
            Ok((true, "b.example".to_owned(), 8883))
        );
        assert_eq!(
            parse("mqtt://127.0.0.1:99"),
            Ok((false, "127.0.0.1".to_owned(), 99))
        );
        assert_eq!(parse("mqtt://[::1]"), Ok((false, "::1".to_owned(), 1883)));
        for bad in [
            "mqtt://b.example",
            "mqtts://u:p@b.example",
            "b.example",
            "https://b.example",
            "mqtts://",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(plain("log.example/a#b"), "log.example/a%23b");
    }
}
