//! `--from`, `--until` and `--limit`: which part of a log a command reads.
//!
//! Both ends are places between two messages, given by position or by time. The range begins with the first message
//! at or behind `--from` and ends in front of the first one at or behind `--until`.

use clap::Args;

use super::units;
use crate::log::{Place, ReadError, Reader, Storage};
use crate::message::{Lsn, Partition, Receipt, Timestamp};

/// The part of the log to read.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct RangeArguments {
    /// Begin here: a position (4096 or 0@4096), a date or a time (2026-11-24, 2026-11-24T04:20:06Z), or how long ago
    /// (-2h). A date is its midnight in UTC.
    #[arg(long, value_name = "PLACE", value_parser = edge, allow_hyphen_values = true)]
    pub from: Option<Edge>,
    /// End in front of this place, written like that of --from.
    #[arg(long, value_name = "PLACE", value_parser = edge, allow_hyphen_values = true)]
    pub until: Option<Edge>,
    /// End after so many messages.
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
}

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Where it is.
    pub place: Place,
    /// The partition whose position it is, where the user named one.
    pub partition: Option<Partition>,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In front of the range, or in another partition.
    Before,
    /// In the range.
    Inside,
    /// Behind the range: so is everything that follows.
    Behind,
}

impl RangeArguments {
    /// The range that holds one message.
    pub(super) fn of(receipt: Receipt) -> Self {
        let edge = |lsn| Some(Edge { place: Place::Lsn(lsn), partition: Some(receipt.partition) });
        Self { from: edge(receipt.lsn), until: edge(Lsn(receipt.lsn.0.saturating_add(1))), limit: Some(1) }
    }

    /// Goes to the start of the range.
    pub(super) fn seek<S: Storage>(&self, reader: &mut Reader<S>) -> Result<(), ReadError> {
        self.from.map_or(Ok(()), |edge| reader.seek(edge.place))
    }

    /// Where a message stands; `limit` is for the caller to count.
    pub(super) fn standing(&self, receipt: Receipt, time: Timestamp) -> Standing {
        let elsewhere = |edge: &Edge| edge.partition.is_some_and(|partition| partition != receipt.partition);
        let is_behind = |edge: Edge| edge.place.is_behind(receipt.lsn, time);
        if self.from.iter().chain(&self.until).any(elsewhere) || self.from.is_some_and(is_behind) {
            Standing::Before
        } else if self.until.is_none_or(is_behind) {
            Standing::Inside
        } else {
            Standing::Behind
        }
    }

    /// Whether so many messages are all that was asked for.
    pub(super) fn is_full(&self, count: u64) -> bool {
        self.limit.is_some_and(|limit| count >= limit)
    }
}

/// Reads a place as it is written on the command line.
fn edge(text: &str) -> Result<Edge, String> {
    let now = u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0);
    edge_at(text, Timestamp(now))
}

fn edge_at(text: &str, now: Timestamp) -> Result<Edge, String> {
    if text.contains('@') {
        let receipt: Receipt = text.parse().map_err(|error| format!("{error}"))?;
        return Ok(Edge { place: Place::Lsn(receipt.lsn), partition: Some(receipt.partition) });
    }
    let place = match text.strip_prefix('-') {
        Some(ago) => {
            let ago =
                units::duration(ago).map_err(|error| format!("'{text}' is not how long ago: {error}"))?;
            let ago = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
            Place::Time(Timestamp(now.0.saturating_sub(ago)))
        }
        None if !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit()) => {
            Place::Lsn(Lsn(text.parse().map_err(|_| format!("'{text}' is larger than any position"))?))
        }
        None => Place::Time(time(text)?),
    };
    Ok(Edge { place, partition: None })
}

fn time(text: &str) -> Result<Timestamp, String> {
    let midnight = |date: jiff::civil::Date| {
        jiff::tz::TimeZone::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight()))
    };
    let is_date = text.len() == "2026-11-24".len();
    let parsed = if is_date { text.parse().and_then(midnight) } else { text.parse() };
    let time: jiff::Timestamp = parsed.map_err(|_| {
        format!(
            "'{text}' is no place in a log; write a position (4096 or 0@4096), a date (2026-11-24), a time with its \
             offset (2026-11-24T04:20:06Z), or how long ago (-2h)"
        )
    })?;
    Ok(Timestamp(u64::try_from(time.as_microsecond()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_494_006_000_000);

    fn receipt(lsn: u64) -> Receipt {
        Receipt { partition: Partition(0), lsn: Lsn(lsn) }
    }

    #[test]
    fn a_place_is_a_position_a_time_or_how_long_ago() {
        let place = |text| edge_at(text, NOW).expect(text).place;
        assert_eq!(place("4096"), Place::Lsn(Lsn(4096)));
        assert_eq!(
            edge_at("3@4096", NOW),
            Ok(Edge { place: Place::Lsn(Lsn(4096)), partition: Some(Partition(3)) })
        );
        assert_eq!(place("2026-11-24T04:20:06Z"), Place::Time(NOW));
        assert_eq!(place("2026-11-24T05:20:06.000000+01:00"), Place::Time(NOW));
        assert_eq!(place("2026-11-24"), Place::Time(Timestamp(1_795_478_400_000_000)));
        assert_eq!(place("-2h"), Place::Time(Timestamp(NOW.0 - 7_200_000_000)));
        assert_eq!(place("-90000d"), Place::Time(Timestamp(0)));
        assert_eq!(place("1969-12-31"), Place::Time(Timestamp(0)));
    }

    #[test]
    fn what_is_no_place_is_refused_by_name() {
        for text in
            ["", "-", "-2", "-2x", "x", "0@", "@1", "2026-13-01", "2026-11-24T04:20:06", "4096 ", "+4096"]
        {
            let error = edge_at(text, NOW).expect_err(text);
            assert!(error.contains(text), "{error}");
        }
        assert!(edge_at("18446744073709551616", NOW).expect_err("too large").contains("larger"));
    }

    #[test]
    fn a_range_begins_at_its_first_end_and_stops_before_its_second() {
        let edge = |text| edge_at(text, NOW).ok();
        let range = RangeArguments { from: edge("4096"), until: edge("8192"), limit: None };
        let standing = |lsn| range.standing(receipt(lsn), NOW);
        assert_eq!(
            [4088, 4096, 8184, 8192].map(standing),
            [Standing::Before, Standing::Inside, Standing::Inside, Standing::Behind]
        );
        let range = RangeArguments { from: edge("-2s"), until: edge("-1s"), limit: None };
        let standing = |ago| range.standing(receipt(0), Timestamp(NOW.0 - ago));
        assert_eq!(
            [2_000_001, 2_000_000, 1_000_001, 1_000_000].map(standing),
            [Standing::Before, Standing::Inside, Standing::Inside, Standing::Behind]
        );
        let elsewhere = RangeArguments { from: edge("1@0"), ..RangeArguments::default() };
        assert_eq!(elsewhere.standing(receipt(4096), NOW), Standing::Before);
        assert_eq!(RangeArguments::default().standing(receipt(0), NOW), Standing::Inside);
    }
}
