//! The search for the guilty entry of a request that was refused whole.
//!
//! A refused request is split and its first piece is tried; that piece is split if it is refused in turn, and so on
//! from front to back: records of one key stay in order all the while. Searches of different requests go side by side.

use crate::Failure;

/// A refused piece is split into at most this many: 500 entries are down to single ones in three steps. When as many
/// single entries, the first ones, were refused alike and nothing was accepted, it is not the entries that are to
/// blame. (What an entry can be guilty of is its size, and of entries over 1 MiB a request holds ten at most.)
const PIECES: usize = 16;

/// The searches under way.
#[derive(Debug, Default)]
pub(super) struct Probe {
    searches: Vec<Search>,
}

#[derive(Debug)]
struct Search {
    /// What is still suspected, the next piece last.
    pieces: Vec<Vec<usize>>,
    in_flight: Option<u64>,
    accepted: bool,
    /// How many single entries were refused, all with this error's name.
    alone: usize,
    code: String,
}

impl Probe {
    /// The next piece that may go, as `take` says. It is under way from now on, as this request.
    pub(super) fn next_piece(
        &mut self,
        request: u64,
        mut take: impl FnMut(&[usize]) -> bool,
    ) -> Option<Vec<usize>> {
        self.searches.retain(|search| search.in_flight.is_some() || !search.pieces.is_empty());
        let mut idle = self.searches.iter_mut().filter(|search| search.in_flight.is_none());
        let search = idle.find(|search| search.pieces.last().is_some_and(|piece| take(piece)))?;
        search.in_flight = Some(request);
        search.pieces.pop()
    }

    /// The service took the request: none of its entries is guilty.
    pub(super) fn accepted(&mut self, request: u64) {
        if let Some(search) = self.landed(request) {
            self.searches[search].accepted = true;
        }
    }

    /// The service refused the request as invalid. Gives back the records for which that is final although they were
    /// not tried alone.
    pub(super) fn refused(&mut self, request: u64, records: &[usize], failure: &Failure) -> Vec<usize> {
        let search = self.landed(request).unwrap_or_else(|| {
            let code = failure.code.clone();
            self.searches.push(Search {
                pieces: Vec::new(),
                in_flight: None,
                accepted: false,
                alone: 0,
                code,
            });
            self.searches.len() - 1
        });
        let search = &mut self.searches[search];
        if records.len() > 1 {
            let pieces = records.chunks(records.len().div_ceil(PIECES));
            search.pieces.extend(pieces.rev().map(<[usize]>::to_vec));
            return Vec::new();
        }
        search.alone += usize::from(search.code == failure.code);
        let nobody_in_particular = !search.accepted && search.alone == PIECES;
        if nobody_in_particular { search.pieces.drain(..).flatten().collect() } else { Vec::new() }
    }

    /// The request failed for a cause that says nothing of its entries: a piece is tried again as it is, and the
    /// records of any other request are given back.
    pub(super) fn again(&mut self, request: u64, records: Vec<usize>) -> Option<Vec<usize>> {
        match self.landed(request) {
            Some(search) => {
                self.searches[search].pieces.push(records);
                None
            }
            None => Some(records),
        }
    }

    /// Records that wait in pieces.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &usize> {
        self.searches.iter().flat_map(|search| &search.pieces).flatten()
    }

    fn landed(&mut self, request: u64) -> Option<usize> {
        let search = self.searches.iter().position(|search| search.in_flight == Some(request))?;
        self.searches[search].in_flight = None;
        Some(search)
    }
}
