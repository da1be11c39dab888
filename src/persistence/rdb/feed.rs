//! A file as bytes in memory that more are added to, and its checksum.
//!
//! Invariant: memory grows with bytes that have come, never by a length that the file claims. Must not know: what the bytes
//! mean.

use super::bytes::running_checksum;
use crc_fast::Digest;
use std::io::{self, Read};

/// Bytes that are read at once: some thousand small entries, which fit a core's cache.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// Why no more bytes came.
#[derive(Debug)]
pub enum Dry {
    /// The file ends before them.
    End,
    /// Reading failed.
    Error(io::Error),
}

/// Bytes from `start` of a file on.
pub struct Feed<'s> {
    source: &'s mut dyn Read,
    bytes: Vec<u8>,
    start: u64,
    total: Option<u64>,
    sum: Option<Digest>,
}

impl<'s> Feed<'s> {
    /// At the beginning of a file of `total` bytes, if that is known; with `checked` what is used is summed.
    pub fn new(source: &'s mut dyn Read, total: Option<u64>, checked: bool) -> Feed<'s> {
        Feed { source, bytes: Vec::new(), start: 0, total, sum: checked.then(running_checksum) }
    }

    /// Length of the file, if it is known.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The bytes at hand.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where in the file `place` of the bytes at hand is.
    pub fn offset(&self, place: usize) -> u64 {
        self.start + place as u64
    }

    /// Adds `least` bytes or more: as many as are at hand, so that looking at all of them again costs no more than they
    /// have cost.
    pub fn more(&mut self, least: u64) -> Result<(), Dry> {
        let end = self.offset(self.bytes.len());
        let missing = |total: u64| end.checked_add(least).is_none_or(|needed| needed > total);
        if self.total.is_some_and(missing) {
            return Err(Dry::End);
        }
        let goal = usize::try_from(least).unwrap_or(usize::MAX).saturating_add(self.bytes.len());
        while self.bytes.len() < goal {
            let piece = BLOCK_BYTES.max(self.bytes.len());
            self.bytes.reserve(piece);
            let mut piece = (&mut *self.source).take(piece as u64);
            if piece.read_to_end(&mut self.bytes).map_err(Dry::Error)? == 0 {
                return Err(Dry::End);
            }
        }
        Ok(())
    }

    /// Gives away the bytes before `place`; those from there on stay. Returns them and where in the file they begin.
    pub fn cut(&mut self, place: usize) -> (Vec<u8>, u64) {
        let mut rest = Vec::with_capacity(BLOCK_BYTES + self.bytes.len() - place);
        rest.extend_from_slice(&self.bytes[place..]);
        self.bytes.truncate(place);
        if let Some(sum) = &mut self.sum {
            sum.update(&self.bytes);
        }
        let start = self.start;
        self.start += place as u64;
        (std::mem::replace(&mut self.bytes, rest), start)
    }

    /// The sum of all bytes given away; `None` when they are not summed.
    pub fn checksum(&self) -> Option<u64> {
        self.sum.as_ref().map(Digest::finalize)
    }

    /// What was read and not given away.
    pub fn into_rest(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_and_are_summed() {
        let file: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut source = &file[..];
        let (mut feed, mut given) = (Feed::new(&mut source, Some(file.len() as u64), true), Vec::new());
        while feed.more(1).is_ok() {
            let (bytes, start) = feed.cut(feed.bytes().len() / 2);
            assert_eq!(start, given.len() as u64);
            given.extend(bytes);
        }
        given.extend(feed.cut(feed.bytes().len()).0);
        assert_eq!(feed.checksum(), Some(super::super::bytes::checksum(&file)));
        assert!(given == file && feed.into_rest().is_empty());
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        let mut source = &[7_u8; 100][..];
        let mut feed = Feed::new(&mut source, None, false);
        assert!(matches!(feed.more(u64::MAX), Err(Dry::End)));
        assert!(feed.bytes.capacity() <= 2 * BLOCK_BYTES);
        let mut source = &[7_u8; 100][..];
        assert!(matches!(Feed::new(&mut source, Some(100), false).more(101), Err(Dry::End)));
    }
}
