//! How much of each record a reader takes: all of it, or its head.

use super::{Current, Lookup, Reader};
use crate::log::damage::{Damage, DamageReason};
use crate::log::error::ReadError;
use crate::log::head::Head;
use crate::log::scan::{Record, Step};
use crate::log::storage::{Storage, StorageFile};
use crate::message::Lsn;

/// How much of a record is read.
pub(super) trait Part: Sized {
    /// What stands at a position.
    fn step<F: StorageFile>(current: &mut Current<F>, at: Lsn) -> Result<Step<Self>, ReadError>;

    /// The position behind the record.
    fn end(&self) -> Lsn;
}

impl Part for Record {
    fn step<F: StorageFile>(current: &mut Current<F>, at: Lsn) -> Result<Step<Self>, ReadError> {
        current.scan.step(at, current.limit)
    }

    fn end(&self) -> Lsn {
        self.end
    }
}

impl Part for Head {
    fn step<F: StorageFile>(current: &mut Current<F>, at: Lsn) -> Result<Step<Self>, ReadError> {
        // A torn batch may have left a record whose head is there and whose text is not: nobody was told 250 for it.
        if current.durable.is_some_and(|durable| at < durable) {
            return current.scan.step_head(at, current.limit);
        }
        Ok(match current.scan.step(at, current.limit)? {
            Step::Record(record) => Step::Record(record.head()),
            Step::Footer(footer) => Step::Footer(footer),
            Step::Flawed { flaw, end, to_limit } => Step::Flawed { flaw, end, to_limit },
            Step::End => Step::End,
        })
    }

    fn end(&self) -> Lsn {
        self.end
    }
}

impl<S: Storage> Reader<S> {
    /// The whole of the message whose head was handed out last; of any other it is found by its receipt.
    ///
    /// # Errors
    /// As [`Reader::next_entry`].
    pub fn whole(&mut self, head: &Head) -> Result<Lookup, ReadError> {
        let from = head.receipt.lsn;
        match &mut self.current {
            Some(current) if current.at == head.end && current.scan.header.base <= from => {
                Ok(match current.scan.step(from, current.limit)? {
                    Step::Record(record) => Lookup::Found(record),
                    Step::Flawed { flaw, end: to, .. } => {
                        let (segment, reason) = (current.scan.name.clone(), DamageReason::Record(flaw));
                        Lookup::Damaged(Damage { segment, from, to, reason })
                    }
                    Step::Footer(_) | Step::End => Lookup::NotFound,
                })
            }
            _ => self.get(head.receipt),
        }
    }
}
