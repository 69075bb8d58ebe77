//! What a process writes to one of its outputs, on its way to the log in whole lines.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::log::Log;
use super::tail::Ear;

/// Most bytes of a line; what is longer is passed on in lines of that length. CloudWatch Logs took events of 256 KB for
/// most of its life, and agents still cut there.
const LINE_BYTES: usize = 256 * 1024;

/// Bytes that one reading may bring: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// Most bytes of a last line that are kept: an error with everything that is wrong in it.
const LAST_LINE: usize = 16 * 1024;

/// An output that is read. Clones are the same.
#[derive(Clone)]
pub(super) struct Output {
    caught_up: mpsc::Sender<oneshot::Sender<()>>,
}

impl Output {
    /// Begins to pass on what is written. The task ends with the output, and gives back the last line.
    pub(super) fn start(
        output: impl AsyncRead + Unpin + Send + 'static,
        log: &Log,
        ear: &Ear,
    ) -> (Self, JoinHandle<Vec<u8>>) {
        let (caught_up, asked) = mpsc::channel(1);
        (Self { caught_up }, tokio::spawn(pass_on(output, log.clone(), ear.clone(), asked)))
    }

    /// Waits until there is nothing more to be read for the moment, and all whole lines of it were passed on.
    pub(super) async fn catch_up(&self) {
        let (told, caught_up) = oneshot::channel();
        // An output that has ended was passed on to its end.
        if self.caught_up.send(told).await.is_ok() {
            let _ = caught_up.await;
        }
    }
}

async fn pass_on(
    mut output: impl AsyncRead + Unpin,
    log: Log,
    ear: Ear,
    mut asked: mpsc::Receiver<oneshot::Sender<()>>,
) -> Vec<u8> {
    let mut lines = Lines::default();
    let mut read = Vec::with_capacity(READ_BYTES);
    loop {
        read.clear();
        let result = tokio::select! {
            biased; // it has caught up when there is nothing to be read
            result = output.read_buf(&mut read) => result,
            Some(caught_up) = asked.recv() => {
                // Whoever asked may have stopped waiting.
                let _ = caught_up.send(());
                continue;
            }
        };
        match result {
            Ok(0) | Err(_) => break,
            Ok(_) => ear.hear(&read),
        }
        let whole = lines.take(&read);
        if !whole.is_empty() {
            log.lines(whole).await;
        }
    }
    let rest = lines.end();
    if !rest.is_empty() {
        log.lines(rest).await;
    }
    lines.last
}

/// Makes lines of pieces.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of a line whose end has not come.
    unfinished: Vec<u8>,
    /// The last line, without its end and cut.
    last: Vec<u8>,
}

impl Lines {
    /// Takes what was written next; gives the lines that are whole with it.
    fn take(&mut self, mut written: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        while !written.is_empty() {
            // Only what is new is searched, however long the line is already.
            let end = written.iter().position(|&byte| byte == b'\n').unwrap_or(written.len());
            let (line, rest) = written.split_at(end);
            self.unfinished.extend_from_slice(line);
            while self.unfinished.len() > LINE_BYTES {
                let rest = self.unfinished.split_off(cut(&self.unfinished));
                let piece = std::mem::replace(&mut self.unfinished, rest);
                self.finish(&piece, &mut whole);
            }
            written = rest;
            if let Some(rest) = rest.strip_prefix(b"\n") {
                let line = std::mem::take(&mut self.unfinished);
                self.finish(&line, &mut whole);
                written = rest;
            }
        }
        whole
    }

    /// The last line, if it had no end: it gets one.
    fn end(&mut self) -> Vec<u8> {
        let mut whole = Vec::new();
        if !self.unfinished.is_empty() {
            let line = std::mem::take(&mut self.unfinished);
            self.finish(&line, &mut whole);
        }
        whole
    }

    fn finish(&mut self, line: &[u8], whole: &mut Vec<u8>) {
        whole.extend_from_slice(line);
        whole.push(b'\n');
        self.last.clear();
        self.last.extend_from_slice(&line[..line.len().min(LAST_LINE)]);
    }
}

/// Where to cut a line that is too long: not within a character.
fn cut(line: &[u8]) -> usize {
    let is_within = |at: &usize| line[*at] & 0b1100_0000 == 0b1000_0000;
    (LINE_BYTES - 3..=LINE_BYTES).rev().find(|at| !is_within(at)).unwrap_or(LINE_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All that comes of these pieces, and the last line.
    fn lines(pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>) {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for piece in pieces {
            all.extend(lines.take(piece));
            assert!(lines.unfinished.len() <= LINE_BYTES, "no more than a line is held back");
        }
        all.extend(lines.end());
        (all, lines.last)
    }

    #[track_caller]
    fn check(pieces: &[&str], want: &str, last: &str) {
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        let (all, got) = lines(&pieces);
        assert_eq!(String::from_utf8(all).unwrap(), want);
        assert_eq!(String::from_utf8(got).unwrap(), last);
    }

    #[test]
    fn lines_are_whole_and_the_last_one_is_known() {
        check(&[], "", "");
        check(&["one\n", "two\n"], "one\ntwo\n", "two");
        check(&["o", "ne\ntw", "o"], "one\ntwo\n", "two");
        check(&["\n\n"], "\n\n", "");
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_two_characters() {
        let full = "x".repeat(LINE_BYTES);
        check(&[&full, "\n"], &format!("{full}\n"), &full[..LAST_LINE]);
        check(&[&full, "y\n"], &format!("{full}\ny\n"), "y");
        check(&[&full, &full, "y"], &format!("{full}\n{full}\ny\n"), "y");
        let short = &full[1..];
        check(&[&format!("{short}é"), "\n"], &format!("{short}\né\n"), "é");
        check(&[&format!("{short}y"), "é\n"], &format!("{short}y\né\n"), "é");
    }

    #[test]
    fn bytes_that_are_no_text_are_cut_too() {
        let (all, _) = lines(&[&[0x80; 2 * LINE_BYTES + 1]]);
        let lengths: Vec<_> = all.split(|&byte| byte == b'\n').map(<[u8]>::len).collect();
        assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, 1, 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever comes in whatever pieces, all of it is passed on, once and in order.
        #[test]
        fn lines_do_not_depend_on_the_pieces(text in "[a\n]{0,60}", cuts in prop::collection::vec(1_usize..9, 0..60)) {
            let (mut pieces, mut rest) = (Vec::new(), text.as_bytes());
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            pieces.push(rest);
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            prop_assert_eq!(lines(&pieces).0, [text.as_bytes(), end.as_bytes()].concat());
        }
    }
}
