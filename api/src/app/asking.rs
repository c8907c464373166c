//! Asking the read models: on threads that may block, so many at once, and not from before what was acknowledged.
//!
//! Invariants: who was told that something is recorded finds it, unless the projector is held up or flooded; what is
//! asked for holds no more threads and memory than so many questions.
//! Not here: what is asked (`projections::query`), answers that are made while they are read (`outflow`).

use super::App;
use crate::errors::ApiError;
use domain::TreeSize;
use projections::{QueryError, ReadModel};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long an answer waits for the read models at most. Folding what few entries brought takes milliseconds; a
/// machine that is held up longer than this answers with what it has.
const SETTLE: Duration = Duration::from_secs(5);
/// With more entries to fold, a question is answered with what there is: the projector folds them as fast as it can,
/// and who asks in the middle of a flood must not make its batches smaller.
const FRESH_ENTRIES: u64 = 10_000;
/// Questions to the read models at once: each holds a thread and what it reads, megabytes where much is asked for.
const QUESTIONS_MAX: usize = 16;
/// How long one waits for its turn.
const QUESTION_WAITS: Duration = Duration::from_secs(20);
/// When to come back where it did not come, seconds.
const QUESTION_RETRY_S: u32 = 5;

/// A turn for each question that may be asked at once.
pub(super) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(QUESTIONS_MAX))
}

impl App {
    /// The read models; questions block.
    pub fn rows(&self) -> ReadModel {
        self.rows.clone()
    }

    /// Asks the read models on a thread that may block.
    ///
    /// # Errors
    /// As the question; 503 where the service is stopping, or too many are asked.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&ReadModel) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let rows = self.rows.clone();
        // Who asked and went away still holds a thread and what was read; the turn is over with the answer.
        let turn = Arc::clone(&self.questions).acquire_owned();
        let turn = match tokio::time::timeout(QUESTION_WAITS, turn).await {
            Ok(turn) => turn.map_err(ApiError::internal)?,
            Err(_) => {
                return Err(
                    ApiError::unavailable("busy", "too much is asked now").retry_after(QUESTION_RETRY_S)
                );
            }
        };
        let answered = move || {
            let answer = question(&rows);
            drop(turn);
            answer
        };
        match tokio::task::spawn_blocking(answered).await {
            Ok(answer) => answer.map_err(ApiError::from),
            Err(error) => Err(ApiError::internal(error)),
        }
    }

    /// Waits until the read models have passed the entries below `end`, five seconds at most.
    pub async fn settled(&self, end: u64) {
        let Some(last) = TreeSize(end).last() else {
            return;
        };
        if self.projector.cursor().contains(last) || self.projector.in_trouble() {
            return;
        }
        if !self.projector.wait_for(last, SETTLE).await {
            tracing::debug!(
                position = last.get(),
                within_s = SETTLE.as_secs(),
                "the read models have not passed a change"
            );
        }
    }

    /// Waits until the read models have passed all that was acknowledged to anybody before now, five seconds at most:
    /// who was told that something is recorded finds it. Under a flood it does not wait, and what is asked is as old as
    /// the projector is behind.
    pub async fn fresh(&self) {
        if self.projector.lag_entries() <= FRESH_ENTRIES {
            self.settled(self.log().size().get()).await;
        }
    }
}
