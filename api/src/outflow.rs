//! Long answers that a thread makes while their reader takes them: exports of measurements, files of evidence packs.
//!
//! Invariants: never more than [`OPEN_MAX`] at once, and never more of one account than [`OPEN_ACCOUNT_MAX`], because each
//! holds one of the threads that everybody's questions and tokens need, and what it reads; a reader that takes nothing
//! for `STALLED_AFTER` is given up, and its thread goes on with somebody else's; an answer that was not finished ends
//! with an error, so that nobody takes it for whole.
//! Not here: what is written (`routes`), streams that nothing but their end ends (`streams`).

use crate::errors::ApiError;
use crate::streams::{Place, Streams};
use bytes::Bytes;
use futures_util::Stream;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Long answers at once. The runtime has 512 threads for them and for what nobody waits long for.
pub const OPEN_MAX: usize = 32;
/// … of one account.
pub const OPEN_ACCOUNT_MAX: usize = 8;
/// A reader that takes nothing for so long has gone, or means to stay for ever.
const STALLED_AFTER: Duration = Duration::from_secs(30);
/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that may wait for a slow reader.
const CHUNKS_WAITING: usize = 4;

/// What a long answer is written to, from a thread that may block.
pub struct Outflow {
    chunks: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
    stalled_after: Duration,
    runtime: Handle,
    is_whole: Arc<AtomicBool>,
    _place: Place,
}

/// What its reader takes.
pub struct Body {
    chunks: mpsc::Receiver<Bytes>,
    is_whole: Arc<AtomicBool>,
    is_over: bool,
}

impl Stream for Body {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.chunks.poll_recv(context));
        self.is_over = next.is_none();
        Poll::Ready(match next {
            Some(chunk) => Some(Ok(chunk)),
            None if self.is_whole.load(Ordering::Acquire) => None,
            None => Some(Err(io::Error::other("broken off"))),
        })
    }
}

impl Outflow {
    /// A long answer of this account, and what its reader takes.
    ///
    /// # Errors
    /// 503 `downloads_full` with when to come back.
    pub fn open(places: &Arc<Streams>, account: &str) -> Result<(Self, Body), ApiError> {
        let place = places.take(account)?;
        let (chunks, taken) = mpsc::channel(CHUNKS_WAITING);
        let body = Body {
            chunks: taken,
            is_whole: Arc::default(),
            is_over: false,
        };
        let outflow = Self {
            chunks,
            buffer: Vec::new(),
            stalled_after: STALLED_AFTER,
            runtime: Handle::current(),
            is_whole: Arc::clone(&body.is_whole),
            _place: place,
        };
        Ok((outflow, body))
    }

    /// Gives a chunk to the reader, and waits for it where it is slow.
    ///
    /// # Errors
    /// The reader has gone, or takes nothing.
    fn send(&self, chunk: Bytes) -> io::Result<()> {
        let sent = async { tokio::time::timeout(self.stalled_after, self.chunks.send(chunk)).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Sends what is left, and says that this was the whole.
    ///
    /// # Errors
    /// The reader has gone, or takes nothing.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.is_whole.store(true, Ordering::Release);
        Ok(())
    }
}

impl Write for Outflow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        self.send(chunk.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_reader_that_takes_nothing_is_given_up_and_its_place_is_free_again() {
        let places = Streams::new("downloads", "downloads_full", 2, 1);
        let (mut outflow, mut body) = Outflow::open(&places, "a").expect("a place");
        outflow.stalled_after = Duration::from_millis(20);
        assert_eq!(
            Outflow::open(&places, "a").err().map(|error| error.code),
            Some("downloads_full")
        );
        let written = tokio::task::spawn_blocking(move || {
            let chunk = [7; CHUNK_BYTES];
            let ended = (0..100).find_map(|_| outflow.write_all(&chunk).err());
            drop(outflow);
            ended
        });
        let ended = written.await.expect("it ends").expect("it is given up");
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        Outflow::open(&places, "a").expect("its place is free again");
        let mut chunks = 0;
        let broken = loop {
            match body.next().await {
                Some(Ok(_)) => chunks += 1,
                end => break end,
            }
        };
        assert_eq!(chunks, CHUNKS_WAITING, "what had been made is all there was");
        assert!(matches!(broken, Some(Err(_))), "it looks whole");
        assert!(body.next().await.is_none());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_slow_reader_gets_the_whole_and_one_that_left_ends_it() {
        let places = Streams::new("downloads", "downloads_full", 2, 2);
        let (mut outflow, mut body) = Outflow::open(&places, "a").expect("a place");
        let written = tokio::task::spawn_blocking(move || {
            (0..32u8).try_for_each(|i| outflow.write_all(&[i; CHUNK_BYTES / 2]))?;
            outflow.finish()
        });
        let mut bytes = 0;
        while let Some(chunk) = body.next().await {
            bytes += chunk.expect("a chunk").len();
            tokio::task::yield_now().await;
        }
        assert_eq!(bytes, 32 * CHUNK_BYTES / 2);
        written.await.expect("it ends").expect("it is whole");
        let (mut outflow, body) = Outflow::open(&places, "a").expect("a place");
        drop(body);
        let written = tokio::task::spawn_blocking(move || outflow.write_all(&[1; CHUNK_BYTES]));
        let ended = written.await.expect("it ends").expect_err("nobody reads");
        assert_eq!(ended.kind(), io::ErrorKind::BrokenPipe);
    }
}
