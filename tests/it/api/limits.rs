//! Limits of the edge: slow senders, too many connections, too large headers.
//!
//! Not here: rates (`ingest`), bodies' sizes (`resources`).

use std::io::{Read, Write};
use std::net::TcpStream;
use tests::daybook::Daybook;

fn connect(daybook: &Daybook) -> TcpStream {
    let socket = TcpStream::connect(daybook.address()).expect("it listens");
    socket.set_read_timeout(Some(tests::PATIENCE)).expect("a timeout");
    socket
}

/// Everything until the other end closes; a reset is an end, too.
fn rest(mut socket: &TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = socket.read_to_end(&mut answer) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it was not closed");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn whoever_sends_no_request_in_time_is_cut_off() {
    let daybook = Daybook::with()
        .set("header_timeout_s", 1)
        .set("body_timeout_s", 1)
        .start();
    for beginning in [
        "",
        "P",
        "PRI * HT",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    ] {
        let mut socket = connect(&daybook);
        socket.write_all(beginning.as_bytes()).expect("sent");
        let answer = rest(&socket);
        assert!(!answer.contains("200 OK"), "{beginning:?}: {answer}");
    }
    let idle = connect(&daybook);
    (&idle)
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    assert!(
        rest(&idle).contains("200 OK"),
        "an idle connection is closed, its request answered"
    );
    let token = daybook.owner_token();
    let slow = connect(&daybook);
    write!(
        &slow,
        "POST /v1/sites HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 50\r\n\r\n{{"
    )
    .expect("sent");
    let answer = rest(&slow);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn connections_beyond_the_limit_wait_and_are_then_served() {
    let daybook = Daybook::with()
        .set("connections_max", 2)
        .set("header_timeout_s", 2)
        .start();
    let held: Vec<TcpStream> = (0..2).map(|_| connect(&daybook)).collect();
    let waiting = connect(&daybook);
    (&waiting)
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("sent");
    assert!(rest(&waiting).contains("200 OK"));
    drop(held);
}

#[test]
fn headers_without_end_are_refused() {
    let daybook = Daybook::start();
    let mut socket = connect(&daybook);
    socket
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        .expect("sent");
    let line = format!("X-Long: {}\r\n", "a".repeat(1000));
    // The other end closes while we still send; its 431 may be lost in the reset.
    let _ = (0..1000).try_for_each(|_| socket.write_all(line.as_bytes()));
    let _ = socket.write_all(b"\r\n");
    let answer = rest(&socket);
    assert!(!answer.contains("200 OK"), "{answer}");
    daybook.call("GET", "/healthz").send().expect(200);
}

#[test]
fn what_is_no_http_is_told_so_and_not_left_without_an_answer() {
    let daybook = Daybook::start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(12_000));
    for (request, status) in [
        ("GARBAGE\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", "400"),
        (
            "POST /v1/ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "400",
        ),
        (
            "POST /v1/ingest HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\nab",
            "400",
        ),
        (long.as_str(), "404"),
    ] {
        let socket = connect(&daybook);
        (&socket).write_all(request.as_bytes()).expect("sent");
        let mut answer = [0; 12];
        (&socket).read_exact(&mut answer).expect("an answer");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert_eq!(
            answer,
            format!("HTTP/1.1 {status}"),
            "{}",
            &request[..30.min(request.len())]
        );
    }
}

#[test]
fn an_answer_does_not_wait_for_the_rest_of_the_next_request() {
    let daybook = Daybook::start();
    let socket = connect(&daybook);
    (&socket)
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTT")
        .expect("sent");
    let mut answer = [0; 15];
    (&socket).read_exact(&mut answer).expect("the first is answered");
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
}
