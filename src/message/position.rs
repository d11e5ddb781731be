//! Numbers with a meaning: where a record stands, which answer is due, and when something happened.
//!
//! Each is a type of its own so that two of them cannot be swapped. They hold no reference to the log: `smtp`
//! prints a [`Receipt`] without knowing what a segment is.

use std::fmt;
use std::str::FromStr;

/// A byte address in the endless log of one partition: the position of a record's first octet.
///
/// It rises for ever, is a multiple of [`Lsn::ALIGNMENT`], and is never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Every record and segment begins at a multiple of this many octets.
    pub const ALIGNMENT: u64 = 8;

    /// The position `octets` further on.
    ///
    /// # Panics
    /// When the sum passes `u64::MAX`: at 10 GB/s that takes 58 years.
    #[must_use]
    pub fn advanced(self, octets: u64) -> Self {
        Self(self.0.checked_add(octets).expect("a log position stays below 2^64"))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a partition: one writer, one log directory. The first is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Partition(pub u16);

/// What a sender is given for a stored message: `partition@lsn`, as in `0@184467`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt {
    /// The partition that holds the record.
    pub partition: Partition,
    /// Where the record begins in it.
    pub lsn: Lsn,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition.0, self.lsn)
    }
}

/// A text that is not `partition@lsn`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptError(String);

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a receipt: it is written partition@position, as in 0@184467", self.0)
    }
}

impl std::error::Error for ReceiptError {}

impl FromStr for Receipt {
    type Err = ReceiptError;

    /// Reads `partition@lsn`, both decimal digits only.
    ///
    /// # Errors
    /// [`ReceiptError`] with the text when it is anything else, a sign or blanks included.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ReceiptError(text.to_owned());
        let (partition, lsn) = text.split_once('@').ok_or_else(error)?;
        let digits_only = |part: &str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
        if !digits_only(partition) || !digits_only(lsn) {
            return Err(error());
        }
        Ok(Self {
            partition: Partition(partition.parse().map_err(|_| error())?),
            lsn: Lsn(lsn.parse().map_err(|_| error())?),
        })
    }
}

/// The number of a submitted message, counted by its shard from 1: tickets finish in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ticket(pub u64);

impl Ticket {
    /// The ticket after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A point in time: microseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_reads_back_as_it_prints() {
        let receipt = Receipt { partition: Partition(3), lsn: Lsn(184_467) };
        assert_eq!(receipt.to_string(), "3@184467");
        assert_eq!(receipt.to_string().parse(), Ok(receipt));
    }

    #[test]
    fn what_is_not_a_receipt_is_refused_by_name() {
        for text in
            ["", "@", "0@", "@1", "0", "0@-1", "+0@1", "0@ 1", "0@1x", "65536@1", "0@18446744073709551616"]
        {
            let error = text.parse::<Receipt>().expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
