//! Where to begin: at a position, at a time, or so many records before the end.
//!
//! Times never fall from record to record, so both kinds of place are found by halving: first the segments, by the
//! times in their footers, then the segment, by the intact record header behind its middle. What is left at the end
//! is walked head by head. Nothing at or behind the place is passed over, damage next to it included.

use std::collections::VecDeque;
use std::ops::Range;

use super::{Current, Left, Part, Reader, open_segment};
use crate::log::error::{FileError, ReadError};
use crate::log::head::Head;
use crate::log::scan::Step;
use crate::log::segment::segment_name;
use crate::log::storage::{Storage, StorageFile};
use crate::log::view::Bound;
use crate::message::{Lsn, Timestamp};

/// Halving ends at so many octets: fewer are walked as fast.
const WALK_SPAN: u64 = 64 * 1024;
/// A look behind the middle goes on at least so far for a record header, and else this part of what is left: of long
/// messages, a walk reads the heads only, while such a look reads everything.
const LOOK_SPAN_MIN: u64 = 256 * 1024;
const LOOK_SPAN_DIVISOR: u64 = 16;

/// A place between two records of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In front of the first record that begins here or later.
    Lsn(Lsn),
    /// In front of the first record that was written then or later.
    Time(Timestamp),
}

impl Place {
    /// Whether a record that begins at `lsn` and was written at `time` stands in front of the place.
    #[must_use]
    pub fn is_behind(self, lsn: Lsn, time: Timestamp) -> bool {
        match self {
            Self::Lsn(place) => lsn < place,
            Self::Time(place) => time < place,
        }
    }
}

impl<S: Storage> Reader<S> {
    /// Goes to a place: the next entry is the first record there, or damage that stands next to it. A place before
    /// the first record is the start of the log, one behind the last its end. [`Reader::next_entry`] may still give a
    /// record from before the place where damage hid the records that tell.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn seek(&mut self, place: Place) -> Result<(), ReadError> {
        self.restart();
        let segment = match place {
            Place::Lsn(lsn) => self.view.segment_of(lsn),
            Place::Time(time) => self.segment_at(time)?,
        };
        let Some(base) = segment else { return Ok(()) };
        match open_segment(&self.storage, &self.view, base)? {
            Ok(mut current) => {
                current.skip(place)?;
                self.begin(current);
            }
            // From the start of a log damage is told as the reader comes to it.
            Err(_) if self.view.bases().first() == Some(&base) => {}
            Err(damage) => {
                self.left = Some(Left { base, log: None, end: damage.to, id: None, footer: None });
                self.pending.push_back(damage);
            }
        }
        Ok(())
    }

    /// Goes to where the last `count` records begin, or to the start of the log when it has fewer. Footers and end
    /// marks tell; only where neither does is a segment walked.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn seek_last(&mut self, count: u64) -> Result<(), ReadError> {
        self.restart();
        let mut left = count;
        for base in self.view.bases().to_vec().into_iter().rev() {
            let Ok(mut current) = open_segment(&self.storage, &self.view, base)? else { continue };
            match current.scan.footer_at_end()? {
                Some(footer) if left > 0 && footer.records < left => left -= footer.records,
                _ => {
                    let found = current.go_back(left)?;
                    left -= found;
                    if left == 0 {
                        self.begin(current);
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// From the first octet of the log to behind the last one that may be shown now.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn extent(&self) -> Result<Range<Lsn>, ReadError> {
        let bases = self.view.bases();
        let (Some(first), Some(newest)) = (bases.first(), bases.last()) else { return Ok(Lsn(0)..Lsn(0)) };
        let end = match self.view.bound {
            Bound::Visible(visible) => visible,
            Bound::Tail(_) => {
                let name = segment_name(*newest);
                let len = self.storage.open(&name).and_then(|file| file.len());
                newest.advanced(len.map_err(|cause| FileError::new("read", &name, cause))?)
            }
        };
        Ok(*first..end)
    }

    /// Forgets where it stands.
    fn restart(&mut self) {
        self.current = None;
        self.left = None;
        self.pending.clear();
        self.end_checked = false;
    }

    /// Goes on inside a segment. At the very start of a log there is more to tell than the records.
    fn begin(&mut self, mut current: Current<S::File>) {
        let header = &current.scan.header;
        let at_start = current.at == header.first_record();
        if at_start && self.view.bases().first() == Some(&header.base) {
            return;
        }
        current.partly = !at_start;
        self.current = Some(current);
    }

    /// The first segment that may hold a record written at `time` or later, or the newest.
    fn segment_at(&self, time: Timestamp) -> Result<Option<Lsn>, ReadError> {
        let bases = self.view.bases();
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.next_known(middle..high)? {
                Some((index, last)) if last < time => low = index + 1,
                _ => high = middle,
            }
        }
        Ok(bases.get(low).or(bases.last()).copied())
    }

    /// The first of these segments whose footer tells of records, and when the last of them was written.
    fn next_known(&self, among: Range<usize>) -> Result<Option<(usize, Timestamp)>, ReadError> {
        for index in among {
            let base = self.view.bases()[index];
            let Ok(mut current) = open_segment(&self.storage, &self.view, base)? else { continue };
            if let Some(footer) = current.scan.footer_at_end()?.filter(|footer| footer.records > 0) {
                return Ok(Some((index, footer.last_time)));
            }
        }
        Ok(None)
    }
}

impl<F: StorageFile> Current<F> {
    /// Goes forward to a place.
    fn skip(&mut self, place: Place) -> Result<(), ReadError> {
        if matches!(place, Place::Lsn(lsn) if lsn <= self.at) {
            return Ok(());
        }
        let end = self.scan.footer_at_end()?.map_or(self.limit, |footer| footer.lsn);
        let (mut low, mut high) = (self.at, end.min(self.limit));
        while high.0.saturating_sub(low.0) > WALK_SPAN {
            let half = (high.0 - low.0) / 2;
            let middle = Lsn(low.0 + half / Lsn::ALIGNMENT * Lsn::ALIGNMENT);
            let span = (half / LOOK_SPAN_DIVISOR).max(LOOK_SPAN_MIN);
            let Some(header) = self.scan.header_from(middle, middle.advanced(span).min(high))? else { break };
            match header.end() {
                Some(end) if end <= high && place.is_behind(header.lsn, header.time) => low = end,
                _ => high = middle,
            }
        }
        self.at = low;
        self.walk(|lsn, time| place.is_behind(lsn, time))
    }

    /// Goes forward as long as `goes_on` says so of each record, and stands behind the last of them.
    fn walk(&mut self, mut goes_on: impl FnMut(Lsn, Timestamp) -> bool) -> Result<(), ReadError> {
        let mut look = self.at;
        loop {
            match Head::step(self, look)? {
                Step::Record(head) if goes_on(head.receipt.lsn, head.received_at) => {
                    (look, self.at) = (head.end, head.end);
                }
                Step::Flawed { end, to_limit: false, .. } => look = end,
                Step::Record(_) | Step::Flawed { .. } | Step::Footer(_) | Step::End => return Ok(()),
            }
        }
    }

    /// Goes to the end and from there back over at most `count` records; gives how many there were.
    fn go_back(&mut self, count: u64) -> Result<u64, ReadError> {
        let end = match self.scan.footer_at_end()? {
            // Behind the durable position an end mark may end what never was a record.
            Some(footer) => (footer.durable >= footer.lsn).then_some(footer.lsn),
            None => self.limit_is_visible.then_some(self.limit),
        };
        let Some(mut at) = end else { return self.go_back_by_walking(count) };
        let mut passed = 0;
        while passed < count && at > self.scan.header.first_record() {
            let Some(header) = self.scan.header_before(at)? else { return self.go_back_by_walking(count) };
            at = header.lsn;
            passed += 1;
        }
        self.at = at;
        Ok(passed)
    }

    fn go_back_by_walking(&mut self, count: u64) -> Result<u64, ReadError> {
        let mut last = VecDeque::new();
        self.walk(|lsn, _| {
            last.push_back(lsn);
            if last.len() as u64 > count {
                last.pop_front();
            }
            true
        })?;
        if let Some(first) = last.front() {
            self.at = *first;
        }
        Ok(last.len() as u64)
    }
}
