//! Those who are told: a mail server, a bot's API and a webhook's receiver, on the loopback, which say yes to everything
//! and keep when each message was whole on their socket.
//!
//! Invariant: what a message is known by is what the service itself made of the notification's id; nothing is guessed
//! from its words.
//! Not here: what should have come (`told`).

use crate::bench::BenchError;
use bytes::Bytes;
use domain::Timestamp;
use domain::event::contact::ContactKind;
use domain::ports::Clock;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// How long a bot's API holds a question for news that it has not.
const HELD: Duration = Duration::from_secs(5);

/// When what came.
#[derive(Default)]
struct Came {
    /// By way and name; how often, and when first.
    messages: HashMap<(ContactKind, String), (u64, Timestamp)>,
}

/// The receivers.
#[derive(Clone)]
pub struct Receivers {
    /// Where mails go.
    pub smtp: SocketAddr,
    /// Where a bot and webhooks go.
    pub http: SocketAddr,
    came: Arc<Mutex<Came>>,
    clock: Arc<dyn Clock>,
}

impl Receivers {
    /// Starts them; they end with the runtime.
    ///
    /// # Errors
    /// [`BenchError`] where there is no port.
    pub async fn start(clock: Arc<dyn Clock>) -> Result<Self, BenchError> {
        let smtp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let receivers = Self {
            smtp: smtp.local_addr()?,
            http: http.local_addr()?,
            came: Arc::default(),
            clock,
        };
        let mails = receivers.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = smtp.accept().await {
                let mails = mails.clone();
                tokio::spawn(async move {
                    // Its end is the client's to choose.
                    let _ = mails.mail(socket).await;
                });
            }
        });
        let posts = receivers.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = http.accept().await {
                let posts = posts.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let posts = posts.clone();
                        async move { Ok::<_, Infallible>(posts.post(request).await) }
                    });
                    // The same here.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Ok(receivers)
    }

    /// When a message first came.
    pub fn when(&self, via: ContactKind, name: String) -> Option<Timestamp> {
        self.came.lock().messages.get(&(via, name)).map(|(_, at)| *at)
    }

    /// How many messages came that way, and how many of them came again.
    pub fn count(&self, via: ContactKind) -> (u64, u64) {
        let came = self.came.lock();
        let of = came.messages.iter().filter(|((by, _), _)| *by == via);
        of.fold((0, 0), |(all, again), (_, (times, _))| {
            (all + times, again + times - 1)
        })
    }

    fn take(&self, via: ContactKind, name: String, at: Timestamp) {
        let mut came = self.came.lock();
        came.messages.entry((via, name)).or_insert((0, at)).0 += 1;
    }

    /// SMTP as far as a client that is believed needs it (RFC 5321).
    async fn mail(&self, socket: TcpStream) -> std::io::Result<()> {
        socket.set_nodelay(true)?;
        let mut socket = BufReader::new(socket);
        socket.write_all(b"220 bench ESMTP\r\n").await?;
        let mut line = String::new();
        loop {
            line.clear();
            if socket.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let answer: &[u8] = match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
                "EHLO" => b"250-bench\r\n250 8BITMIME\r\n",
                "DATA" => {
                    socket.write_all(b"354 go on\r\n").await?;
                    let Some(id) = message_id(&mut socket).await? else {
                        return Ok(());
                    };
                    self.take(ContactKind::Email, id, self.clock.now());
                    b"250 taken\r\n"
                }
                "QUIT" => {
                    socket.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                _ => b"250 ok\r\n",
            };
            socket.write_all(answer).await?;
        }
    }

    async fn post(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let hook = request.headers().get("webhook-id").cloned();
        let body = request.into_body().collect().await;
        let at = self.clock.now();
        let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if let Some(id) = hook.as_ref().and_then(|id| id.to_str().ok()) {
            self.take(ContactKind::Webhook, id.to_owned(), at);
            return Response::new(Full::default());
        }
        let result = if path.ends_with("/getUpdates") {
            tokio::time::sleep(HELD).await;
            json!([])
        } else {
            if let Some(button) = button(&body) {
                self.take(ContactKind::Telegram, button, at);
            }
            json!({"message_id": 1})
        };
        let answer = json!({"ok": true, "result": result}).to_string();
        Response::new(Full::new(answer.into()))
    }
}

/// Reads a message to its end; its Message-ID, empty where it has none. `None` where the line broke.
async fn message_id(socket: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let (mut id, mut line) = (String::new(), Vec::new());
    loop {
        line.clear();
        if socket.read_until(b'\n', &mut line).await? == 0 {
            return Ok(None);
        }
        if line == b".\r\n" {
            return Ok(Some(id));
        }
        let text = String::from_utf8_lossy(&line);
        if let Some((name, value)) = text.split_once(':')
            && id.is_empty()
            && name.eq_ignore_ascii_case("message-id")
        {
            value.trim().clone_into(&mut id);
        }
    }
}

/// What a message's button carries, but for the position behind the notification's short name.
fn button(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let data = &body["reply_markup"]["inline_keyboard"][0][0]["callback_data"];
    Some(data.as_str()?.split('.').next()?.to_owned())
}
