//! The search for the guilty entry of a request that was refused whole.
//!
//! A refused request is split and its first piece is tried; that piece is split if it is refused in turn, and so on
//! from front to back: records of one key stay in order all the while. Searches of different requests go side by side.

use crate::Failure;

/// A refused piece is split into at most this many: 500 entries are down to single ones in three steps. When as many
/// single entries, the first ones, or all there are, were refused alike and nothing was accepted, it is not the entries
/// that are to blame. (What an entry can be guilty of is its size, and of entries over 1 MiB a request holds ten at
/// most.)
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
    /// Entries that were refused alone.
    alone: Vec<usize>,
    /// The error's name, while all refusals have the same one.
    code: Option<String>,
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

    /// The service refused the request as invalid. Gives back the records of which none is more to blame than the others:
    /// for all of them the refusal is final.
    pub(super) fn refused(&mut self, request: u64, records: &[usize], failure: &Failure) -> Vec<usize> {
        let search = self.landed(request).unwrap_or_else(|| {
            let code = Some(failure.code.clone());
            self.searches.push(Search {
                pieces: Vec::new(),
                in_flight: None,
                accepted: false,
                alone: Vec::new(),
                code,
            });
            self.searches.len() - 1
        });
        let search = &mut self.searches[search];
        if search.code.as_ref() != Some(&failure.code) {
            search.code = None;
        }
        match records {
            [record] => search.alone.push(*record),
            _ => {
                let pieces = records.chunks(records.len().div_ceil(PIECES));
                search.pieces.extend(pieces.rev().map(<[usize]>::to_vec));
            }
        }
        let enough = search.alone.len() == PIECES || (search.pieces.is_empty() && search.alone.len() > 1);
        if enough && !search.accepted && search.code.is_some() {
            let untried = search.pieces.drain(..).flatten();
            return search.alone.drain(..).chain(untried).collect();
        }
        Vec::new()
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
