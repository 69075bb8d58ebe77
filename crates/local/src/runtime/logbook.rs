//! A log that is kept, for a test to look into.

use std::sync::{Arc, Mutex, PoisonError};

use super::LogSink;

/// What functions wrote, in the order in which it came. A clone is the same log.
#[derive(Clone, Debug, Default)]
pub struct Logbook(Arc<Mutex<Vec<u8>>>);

impl Logbook {
    /// Where a function's lines go to be kept here.
    pub fn sink(&self) -> LogSink {
        let kept = Arc::clone(&self.0);
        Arc::new(move |_, lines| kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(lines))
    }

    /// All of it so far, whole lines. What is no UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}
