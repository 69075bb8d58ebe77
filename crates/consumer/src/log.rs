//! The lines of a batch on their way to the log.
//!
//! Nearly every batch is written with one write. A batch can become far more than it was, though: an aggregate of
//! 1 MiB may hold 170,000 user records of no data whose lines all show one long key, hundreds of megabytes. So what has
//! been gathered is written whenever it has become large, in the order of the stream all the same.

use std::io::{self, Write};

use function::lines::{Lines, Mark};

/// How many bytes of lines are gathered before they are written: far above those of an ordinary batch, and little of
/// the 128 MB that the smallest function has. What is added at once, a user record or a whole entry
/// in parts, may come on top.
pub(crate) const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// The lines of one batch.
pub(crate) struct Log<'a> {
    /// What is not yet written.
    pub(crate) lines: &'a mut Lines,
    out: &'a mut dyn Write,
    /// Where the piece that is being gathered begins.
    piece: Mark,
    /// Where the record under way begins, or what of it is not yet written.
    record: Mark,
    /// Records whose lines are all gathered, and of these the ones whose lines are all written.
    gathered: usize,
    written: usize,
    failed: Option<io::Error>,
}

/// The log takes no lines. Why is told in the end, see [`Log::finish`].
#[derive(Debug)]
pub(crate) struct Unwritten;

impl<'a> Log<'a> {
    /// The log of a batch, for which `lines` have been begun.
    pub(crate) fn new(lines: &'a mut Lines, out: &'a mut dyn Write) -> Self {
        let mark = lines.mark();
        Self { lines, out, piece: mark, record: mark, gathered: 0, written: 0, failed: None }
    }

    /// Writes what has been gathered, if it has become large.
    ///
    /// # Errors
    /// The log took no more, and nothing may be added any longer: it would stand behind a gap.
    pub(crate) fn relieve(&mut self) -> Result<(), Unwritten> {
        if self.lines.len_since(self.piece) < PIECE_BYTES { Ok(()) } else { self.write() }
    }

    /// The lines of one more record are complete.
    pub(crate) fn end_record(&mut self) -> Result<(), Unwritten> {
        self.gathered += 1;
        self.record = self.lines.mark();
        self.relieve()
    }

    /// Takes back what the record under way has added and is not yet written.
    pub(crate) fn take_back(&mut self) {
        self.lines.rewind(self.record);
    }

    /// Writes the rest; says how many records are wholly written.
    ///
    /// # Errors
    /// With that number, why the log took no more.
    pub(crate) fn finish(mut self) -> Result<usize, (usize, io::Error)> {
        if self.failed.is_none() {
            // A failure is kept, and looked at below.
            _ = self.write();
        }
        match self.failed {
            None => Ok(self.written),
            Some(why) => Err((self.written, why)),
        }
    }

    fn write(&mut self) -> Result<(), Unwritten> {
        let written = self.lines.write_to(&mut self.out);
        (self.piece, self.record) = (self.lines.mark(), self.lines.mark());
        match written {
            Ok(()) => {
                self.written = self.gathered;
                Ok(())
            }
            Err(why) => {
                self.failed = Some(why);
                Err(Unwritten)
            }
        }
    }
}
