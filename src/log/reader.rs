//! Reads a log from its first record on, or one record by its position, beside a running writer or without one.
//!
//! While a writer lives, nothing behind the position it published is looked at: what it wrote but may not yet have
//! acknowledged stays unseen. Without a writer everything intact is read, up to the torn tail. Octets that are no
//! record are reported as [`Damage`] where the log was known to be durable, and stepped over without a word where
//! they are what a torn batch left. Every checksum is held before a record is handed out. Never writes.
//!
//! [`Reader::next_entry`] reads whole messages. [`Reader::next_head`] reads all but the text behind the header
//! section, where that alone tells a message: where what stands in the log was durable once. `reader/seek.rs` finds a
//! place to begin at.

mod part;
mod seek;

use std::collections::VecDeque;
use std::io;

use uuid::Uuid;

use part::Part;
pub use seek::Place;

use super::damage::{Damage, DamageReason};
use super::error::{FileError, ReadError};
use super::head::Head;
use super::position::read_position;
use super::scan::{Record, SegmentScan, Step};
use super::segment::{Footer, SegmentHeader, segment_name};
use super::storage::{Storage, StorageFile};
use super::view::{Bound, View};
use crate::message::{Lsn, Receipt, Timestamp};

/// What a reader meets on its way.
#[derive(Debug)]
pub enum Entry<R = Record> {
    /// A message.
    Record(R),
    /// Something that cannot be read; the reader goes on behind it.
    Damage(Damage),
}

/// What became of the look for one record.
#[derive(Debug)]
pub enum Lookup<R = Record> {
    /// Here it is.
    Found(R),
    /// No record begins there, or none that may be shown yet.
    NotFound,
    /// Something stands there that was a record once.
    Damaged(Damage),
}

impl<R> Lookup<R> {
    /// The same with another value found.
    pub fn map<T>(self, of: impl FnOnce(R) -> T) -> Lookup<T> {
        match self {
            Self::Found(found) => Lookup::Found(of(found)),
            Self::NotFound => Lookup::NotFound,
            Self::Damaged(damage) => Lookup::Damaged(damage),
        }
    }
}

/// Reads one log.
#[derive(Debug)]
pub struct Reader<S: Storage> {
    storage: S,
    view: View,
    current: Option<Current<S::File>>,
    /// The segment that was left behind last.
    left: Option<Left>,
    /// Found, and not yet handed out.
    pending: VecDeque<Damage>,
    /// A lost end is reported once for each look, not at each call.
    end_checked: bool,
}

/// The segment being read.
#[derive(Debug)]
struct Current<F> {
    scan: SegmentScan<F>,
    at: Lsn,
    limit: Lsn,
    /// Whether `limit` is where the writer stands, not where the file ends.
    limit_is_visible: bool,
    /// Octets that are no record are damage below this; `None` until it must be found out.
    durable: Option<Lsn>,
    records: u64,
    damaged: bool,
    /// Not every record of it was passed, so that their number tells nothing.
    partly: bool,
}

/// What is known of the segment before.
#[derive(Debug, Clone, Copy)]
struct Left {
    base: Lsn,
    /// `None`, like the id, when its header could not be read.
    log: Option<Uuid>,
    /// Where its successor should begin.
    end: Lsn,
    id: Option<u64>,
    /// `None` when it has no intact footer.
    footer: Option<Footer>,
}

impl<S: Storage> Reader<S> {
    /// Looks at what there is now. A directory without segments is a log without entries: its writer may come yet.
    /// [`Reader::finds_log`] tells whether one ever was there.
    ///
    /// # Errors
    /// [`ReadError`]; `NoPosition` passes when a server is just starting.
    pub fn open(storage: S) -> Result<Self, ReadError> {
        let view = View::take(&storage)?;
        Ok(Self::with_view(storage, view))
    }

    fn with_view(storage: S, view: View) -> Self {
        Self { storage, view, current: None, left: None, pending: VecDeque::new(), end_checked: false }
    }

    /// Looks anew: what came since the last look will follow the entries handed out so far.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        self.view = View::take(&self.storage)?;
        self.end_checked = false;
        match &mut self.current {
            Some(current) => current.bound(&self.view),
            None => Ok(()),
        }
    }

    /// Whether the position file tells of something new since the last look. Cheap enough to be asked many times a
    /// second: one small file is read. What a writer that was killed left behind comes without this news.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn has_news(&self) -> Result<bool, ReadError> {
        let slot = read_position(&self.storage)?;
        Ok(match self.view.bound {
            Bound::Visible(visible) => slot.is_some_and(|slot| slot.visible != visible),
            Bound::Tail(seen) => slot != seen,
        })
    }

    /// Whether the directory holds anything of a log: a lock, a position file or a segment.
    #[must_use]
    pub fn finds_log(&self) -> bool {
        self.view.finds_log
    }

    /// The next entry; `None` at the end of what may be shown now.
    ///
    /// # Errors
    /// [`ReadError`]; an I/O error is never taken for the end.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        self.next_part()
    }

    /// As [`Reader::next_entry`], without the text behind each header section: where it need not be read to know
    /// that there is a message, it is not, and damage in it is not seen. [`Reader::whole`] fetches it.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn next_head(&mut self) -> Result<Option<Entry<Head>>, ReadError> {
        self.next_part()
    }

    fn next_part<R: Part>(&mut self) -> Result<Option<Entry<R>>, ReadError> {
        loop {
            if let Some(damage) = self.pending.pop_front() {
                return Ok(Some(Entry::Damage(damage)));
            }
            let Some(current) = &mut self.current else {
                match self.view.segment_after(self.left.map(|left| left.base)) {
                    Some(base) => self.enter(base)?,
                    None if self.end_checked => return Ok(None),
                    None => self.check_end(),
                }
                continue;
            };
            match R::step(current, current.at)? {
                Step::Record(record) => {
                    current.at = record.end();
                    current.records += 1;
                    return Ok(Some(Entry::Record(record)));
                }
                Step::Footer(footer) => self.leave(Some(footer)),
                Step::Flawed { flaw, end, to_limit } => {
                    if !self.step_over(DamageReason::Record(flaw), end, to_limit)? {
                        return Ok(None);
                    }
                }
                Step::End => {
                    if !self.pass_limit() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The record a receipt names. Opens one segment, found by its name.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn get(&self, receipt: Receipt) -> Result<Lookup, ReadError> {
        self.look_up(receipt)
    }

    /// The head of the record a receipt names, which may be intact where the rest of the body is not.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn get_head(&self, receipt: Receipt) -> Result<Lookup<Head>, ReadError> {
        self.look_up(receipt)
    }

    fn look_up<R: Part>(&self, receipt: Receipt) -> Result<Lookup<R>, ReadError> {
        let Receipt { partition, lsn } = receipt;
        if self.view.hides(lsn) {
            return Ok(Lookup::NotFound);
        }
        let Some(base) = self.view.segment_of(lsn) else { return Ok(Lookup::NotFound) };
        let mut current = match open_segment(&self.storage, &self.view, base)? {
            Ok(current) => current,
            Err(damage) if lsn < damage.to => return Ok(Lookup::Damaged(damage)),
            Err(_) => return Ok(Lookup::NotFound),
        };
        if current.scan.header.partition != partition {
            return Ok(Lookup::NotFound);
        }
        if lsn >= current.scan.header.first_record()
            && current.scan.has_record_header(lsn, current.limit)?
            && let Step::Record(record) = R::step(&mut current, lsn)?
        {
            return Ok(Lookup::Found(record));
        }
        // Walk the segment to learn whether this was a record once.
        let mut walk = Self::with_view(self.storage.clone(), self.view.clone());
        walk.current = Some(current);
        while let Some(entry) = walk.next_part::<R>()? {
            match entry {
                Entry::Damage(damage) if (damage.from..damage.to).contains(&lsn) => {
                    return Ok(Lookup::Damaged(damage));
                }
                Entry::Record(record) if record.end() > lsn => break,
                Entry::Damage(_) | Entry::Record(_) => {}
            }
        }
        Ok(Lookup::NotFound)
    }

    /// The segments there are, oldest first, as their headers and footers tell.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn segments(&self) -> Result<Vec<SegmentSummary>, ReadError> {
        let summary = |base: &Lsn| {
            Ok(match open_segment(&self.storage, &self.view, *base)? {
                Err(damage) => {
                    SegmentSummary { base: *base, end: damage.to, state: SegmentState::Damaged(damage) }
                }
                Ok(mut current) => match current.scan.footer_at_end()? {
                    Some(footer) => SegmentSummary::sealed(*base, &footer),
                    None => SegmentSummary { base: *base, end: current.limit, state: SegmentState::Open },
                },
            })
        };
        self.view.bases().iter().map(summary).collect()
    }

    /// Begins with the next segment.
    fn enter(&mut self, base: Lsn) -> Result<(), ReadError> {
        // A log begins at 0, and nothing takes segments away from its front.
        if self.left.is_none() && base > Lsn(0) {
            self.pending.push_back(Damage::missing(Lsn(0), base));
        }
        match open_segment(&self.storage, &self.view, base)? {
            Ok(current) => {
                self.check_link(&current.scan.header);
                if current.scan.header_damaged {
                    self.pending.push_back(Damage::header_copy_used(&current.scan.name, base));
                }
                self.current = Some(current);
            }
            Err(damage) => {
                self.left = Some(Left { base, log: None, end: damage.to, id: None, footer: None });
                self.pending.push_back(damage);
            }
        }
        Ok(())
    }

    /// Holds a segment against what is known of the one before it.
    fn check_link(&mut self, header: &SegmentHeader) {
        let (base, previous) = (header.base, header.previous);
        let missing = match self.left {
            None | Some(Left { id: None, .. }) => None,
            Some(Left { id: Some(id), end, .. }) if id != previous.segment_id => Some(end),
            Some(Left { id: Some(id), base: left, footer: Some(footer), .. }) => {
                if footer.link(id) != previous {
                    let (segment, reason) = (segment_name(left), DamageReason::NotLinked);
                    self.pending.push_back(Damage { segment, from: left, to: base, reason });
                }
                (footer.next_base != base).then_some(footer.next_base)
            }
            Some(_) => None,
        };
        self.pending.extend(missing.map(|from| Damage::missing(from, base)));
    }

    /// Leaves the current segment at its footer, or where the footer should be.
    fn leave(&mut self, footer: Option<Footer>) {
        let Some(current) = self.current.take() else { return };
        let Current { at, records, damaged, partly, .. } = current;
        let SegmentHeader { base, log, id, .. } = current.scan.header;
        let segment = current.scan.name;
        let end = match footer {
            Some(footer) if footer.durable > at => {
                let (to, reason) = (footer.durable, DamageReason::EndLost);
                self.pending.push_back(Damage { segment, from: at, to, reason });
                footer.next_base
            }
            Some(footer) => {
                if records != footer.records && !damaged && !partly {
                    let reason = DamageReason::RecordsMissing;
                    self.pending.push_back(Damage { segment, from: base, to: at, reason });
                }
                footer.next_base
            }
            None => {
                let to = self.view.segment_after(Some(base)).unwrap_or(at);
                self.pending.push_back(Damage { segment, from: at, to, reason: DamageReason::FooterMissing });
                to
            }
        };
        self.left = Some(Left { base, log: Some(log), end, id: Some(id), footer });
    }

    /// Steps over octets that are no record; false at the torn tail, where there is nothing to go on to.
    fn step_over(&mut self, reason: DamageReason, end: Lsn, to_limit: bool) -> Result<bool, ReadError> {
        let Some(current) = &mut self.current else { return Ok(false) };
        let from = current.at;
        let durable = current.durable(&self.view)?;
        if from < durable {
            // Behind the durable position nothing is owed.
            let to = if to_limit { end.min(durable) } else { end };
            let segment = current.scan.name.clone();
            self.pending.push_back(Damage { segment, from, to, reason });
            current.damaged = true;
            current.at = to;
            return Ok(true);
        }
        if to_limit && self.view.is_newest(current.scan.header.base) {
            return Ok(false);
        }
        current.at = end;
        Ok(true)
    }

    /// At the end of what may be looked at in this segment; false when there is nothing to go on to.
    fn pass_limit(&mut self) -> bool {
        let Some(current) = &self.current else { return false };
        if current.limit_is_visible {
            return false;
        }
        if !self.view.is_newest(current.scan.header.base) {
            self.leave(None);
            return true;
        }
        if self.end_checked {
            return false;
        }
        self.check_end();
        true
    }

    /// Reports, once for each look, that the log was known to reach further than it does.
    fn check_end(&mut self) {
        self.end_checked = true;
        let (end, log) = match (&self.current, &self.left) {
            (Some(current), _) => (current.at, Some(current.scan.header.log)),
            (None, Some(left)) => (left.end, left.log),
            (None, None) => (Lsn(0), None),
        };
        let owed = self.view.owed(log);
        if owed > end {
            let reason = DamageReason::EndLost;
            self.pending.push_back(Damage { segment: String::new(), from: end, to: owed, reason });
        }
    }
}

/// Opens a segment; one without a usable header is damage as a whole.
fn open_segment<S: Storage>(
    storage: &S,
    view: &View,
    base: Lsn,
) -> Result<Result<Current<S::File>, Damage>, ReadError> {
    let name = segment_name(base);
    let file = match storage.open(&name) {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => {
            let next = view.segment_after(Some(base)).unwrap_or(base);
            return Ok(Err(Damage::missing(base, next)));
        }
        opened => opened.map_err(|cause| FileError::new("open", &name, cause))?,
    };
    match SegmentScan::open(file, base)? {
        Ok(scan) => Current::new(scan, view).map(Ok),
        Err(unreadable) => {
            let len = unreadable.file.len().map_err(|cause| FileError::new("read", &name, cause))?;
            let (to, reason) = (base.advanced(len), DamageReason::SegmentHeaderLost);
            Ok(Err(Damage { segment: name, from: base, to, reason }))
        }
    }
}

impl<F: StorageFile> Current<F> {
    fn new(scan: SegmentScan<F>, view: &View) -> Result<Self, ReadError> {
        let at = scan.header.first_record();
        let mut current = Self {
            scan,
            at,
            limit: at,
            limit_is_visible: false,
            durable: None,
            records: 0,
            damaged: false,
            partly: false,
        };
        current.bound(view)?;
        Ok(current)
    }

    /// Finds out how far this segment may be read, and up to where octets that are no record are damage.
    fn bound(&mut self, view: &View) -> Result<(), ReadError> {
        self.scan.forget();
        let file_end = self.scan.file_end()?;
        (self.limit, self.limit_is_visible) = match view.bound {
            Bound::Visible(visible) if visible <= file_end => (visible, true),
            Bound::Visible(_) | Bound::Tail(_) => (file_end, false),
        };
        self.durable = match self.scan.footer_at_end()? {
            Some(footer) => Some(footer.durable),
            None => match view.bound {
                Bound::Tail(_) if view.is_newest(self.scan.header.base) => None,
                // Its footer was damaged, or it lies below what a living writer published: all of it is owed.
                Bound::Tail(_) | Bound::Visible(_) => Some(Lsn(u64::MAX)),
            },
        };
        Ok(())
    }

    /// Up to where octets that are no record are damage. In a newest segment without footer or writer the intact
    /// records tell: each names a position that was durable before it was written.
    fn durable(&mut self, view: &View) -> Result<Lsn, ReadError> {
        if let Some(durable) = self.durable {
            return Ok(durable);
        }
        let mut durable = view.owed(Some(self.scan.header.log));
        let mut at = self.at;
        loop {
            match self.scan.step(at, self.limit)? {
                Step::Record(record) => {
                    durable = durable.max(record.durable_before);
                    at = record.end;
                }
                Step::Flawed { end, to_limit: false, .. } => at = end,
                Step::Footer(footer) => {
                    durable = footer.durable;
                    break;
                }
                Step::Flawed { .. } | Step::End => break,
            }
        }
        self.durable = Some(durable);
        Ok(durable)
    }
}

/// One segment as its header and footer tell.
#[derive(Debug, Clone)]
pub struct SegmentSummary {
    /// Where it begins; its file is named after it.
    pub base: Lsn,
    /// The position behind its last octet that may be read now.
    pub end: Lsn,
    /// What is known of it.
    pub state: SegmentState,
}

/// What is known of a segment without reading its records.
#[derive(Debug, Clone)]
pub enum SegmentState {
    /// Complete.
    Sealed {
        /// Intact records when it was sealed.
        records: u64,
        /// When the first and the last of them were written; `None` without records.
        times: Option<(Timestamp, Timestamp)>,
    },
    /// Being written, or left without a footer by a writer that ended.
    Open,
    /// Its header cannot be used.
    Damaged(Damage),
}

impl SegmentSummary {
    fn sealed(base: Lsn, footer: &Footer) -> Self {
        let times = (footer.records > 0).then_some((footer.first_time, footer.last_time));
        let state = SegmentState::Sealed { records: footer.records, times };
        Self { base, end: footer.end(), state }
    }
}
