//! What `log stat` has counted, and how it is shown.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use indicatif::{BinaryBytes, HumanCount};
use serde_json::{Value, json};

use super::filter::domain;
use super::log_formats::{printable, rfc3339};
use super::screen::{ASIDE, Colours, HEADING};
use crate::log::Head;
use crate::message::Timestamp;

/// Classes of size: each holds the messages of at most so many octets that no class before it holds.
const SIZE_CLASSES: [u64; 9] =
    [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, u64::MAX];
/// Domains told apart; the messages of any further ones are counted together, so that no sender can fill the memory.
const DOMAINS_MAX: usize = 1 << 20;
/// Octets of the longest bar.
const BAR_LEN: u64 = 40;

/// Counts of a log or a part of it.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    pub(super) messages: u64,
    /// Octets they take in the log, envelopes and all that stands between them included.
    log_octets: u64,
    times: Option<(Timestamp, Timestamp)>,
    pub(super) damaged_places: u64,
    /// What only the heads tell.
    scan: Option<Scan>,
}

/// Counts that need every head.
#[derive(Debug, Default)]
struct Scan {
    /// Octets of message text.
    octets: u64,
    largest: u64,
    recipients: u64,
    sizes: [Tally; SIZE_CLASSES.len()],
    /// By date in UTC.
    days: BTreeMap<String, Tally>,
    senders: Domains,
    recipient_domains: Domains,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    messages: u64,
    octets: u64,
}

impl Tally {
    fn add(&mut self, octets: u64) {
        self.messages += 1;
        self.octets += octets;
    }
}

/// Messages by domain, in lower case; empty for paths without one.
#[derive(Debug, Default)]
struct Domains {
    counts: HashMap<Vec<u8>, u64>,
    others: u64,
}

impl Domains {
    fn add(&mut self, path: &[u8]) {
        let name = domain(path).unwrap_or_default().to_ascii_lowercase();
        if let Some(count) = self.counts.get_mut(&name) {
            *count += 1;
        } else if self.counts.len() < DOMAINS_MAX {
            self.counts.insert(name, 1);
        } else {
            self.others += 1;
        }
    }

    /// The most frequent ones, and how many times others came.
    fn top(&self, count: usize) -> (Vec<(String, u64)>, u64) {
        let mut all: Vec<(&[u8], u64)> =
            self.counts.iter().map(|(name, count)| (&name[..], *count)).collect();
        all.sort_unstable_by_key(|(name, count)| (Reverse(*count), *name));
        let rest = all.iter().skip(count).map(|(_, count)| count).sum::<u64>() + self.others;
        let shown = |name: &[u8]| if name.is_empty() { "(none)".to_owned() } else { printable(name) };
        (all.into_iter().take(count).map(|(name, count)| (shown(name), count)).collect(), rest)
    }
}

impl Statistics {
    /// With room for what only the heads tell.
    pub(super) fn of_heads() -> Self {
        Self { scan: Some(Scan::default()), ..Self::default() }
    }

    /// Adds a whole segment, of which its footer told.
    pub(super) fn add_segment(
        &mut self,
        messages: u64,
        log_octets: u64,
        times: Option<(Timestamp, Timestamp)>,
    ) {
        self.messages += messages;
        self.log_octets += log_octets;
        if let Some((first, last)) = times {
            self.span(first, last);
        }
    }

    /// Adds a message.
    pub(super) fn add(&mut self, head: &Head) {
        self.messages += 1;
        self.log_octets += head.end.0 - head.receipt.lsn.0;
        self.span(head.received_at, head.received_at);
        if let Some(scan) = &mut self.scan {
            scan.add(head);
        }
    }

    fn span(&mut self, first: Timestamp, last: Timestamp) {
        let (earliest, latest) = self.times.unwrap_or((first, last));
        self.times = Some((earliest.min(first), latest.max(last)));
    }

    /// A table for a person.
    pub(super) fn write_text(&self, top: usize, colours: Colours, output: &mut dyn Write) -> io::Result<()> {
        let mut row = |name: &str, value: &dyn std::fmt::Display| {
            writeln!(output, "{} {value}", colours.paint(HEADING, format_args!("{name:<16}")))
        };
        row("messages", &HumanCount(self.messages))?;
        row("in the log", &BinaryBytes(self.log_octets))?;
        if let Some((first, last)) = self.times {
            row("first", &rfc3339(first))?;
            row("last", &rfc3339(last))?;
        }
        if self.damaged_places > 0 {
            row("damaged places", &HumanCount(self.damaged_places))?;
        }
        let Some(scan) = &self.scan else { return Ok(()) };
        row("text", &BinaryBytes(scan.octets))?;
        row("mean size", &BinaryBytes(scan.octets.checked_div(self.messages).unwrap_or(0)))?;
        row("largest", &BinaryBytes(scan.largest))?;
        row("recipients", &HumanCount(scan.recipients))?;
        scan.write_tables(top, colours, output)
    }

    /// One object with everything, sizes in octets.
    pub(super) fn to_json(&self, top: usize) -> Value {
        let mut object = json!({
            "messages": self.messages,
            "log_octets": self.log_octets,
            "first": self.times.map(|(first, _)| rfc3339(first)),
            "last": self.times.map(|(_, last)| rfc3339(last)),
            "damaged_places": self.damaged_places,
        });
        if let Some(scan) = &self.scan {
            object["scan"] = scan.to_json(top);
        }
        object
    }
}

impl Scan {
    fn add(&mut self, head: &Head) {
        let size = head.body_len;
        self.octets += size;
        self.largest = self.largest.max(size);
        let class = SIZE_CLASSES.iter().position(|most| size <= *most).expect("the last class has no end");
        self.sizes[class].add(size);
        let mut day = rfc3339(head.received_at);
        day.truncate("2026-11-24".len());
        self.days.entry(day).or_default().add(size);
        self.senders.add(head.envelope.reverse_path());
        for path in head.envelope.forward_paths() {
            self.recipients += 1;
            self.recipient_domains.add(path);
        }
    }

    fn write_tables(&self, top: usize, colours: Colours, output: &mut dyn Write) -> io::Result<()> {
        let most = self.sizes.iter().map(|tally| tally.messages).max().unwrap_or(0).max(1);
        heading(output, colours, ["SIZE", "MESSAGES", "TEXT"])?;
        for (tally, class) in self.sizes.iter().zip(SIZE_CLASSES) {
            let name = match class {
                u64::MAX => "more".to_owned(),
                most => format!("up to {}", BinaryBytes(most)),
            };
            let bar = "#".repeat(usize::try_from((tally.messages * BAR_LEN).div_ceil(most)).unwrap_or(0));
            row(output, &name, *tally, &colours.paint(ASIDE, bar).to_string())?;
        }
        heading(output, colours, ["DAY", "MESSAGES", "TEXT"])?;
        for (day, tally) in &self.days {
            row(output, day, *tally, "")?;
        }
        self.senders.write(output, colours, ["SENDER DOMAIN", "MESSAGES", ""], top)?;
        self.recipient_domains.write(output, colours, ["RECIPIENT DOMAIN", "RECIPIENTS", ""], top)
    }

    fn to_json(&self, top: usize) -> Value {
        let domains = |domains: &Domains| {
            let (top, others) = domains.top(top);
            let top: Vec<Value> =
                top.into_iter().map(|(name, count)| json!({"domain": name, "count": count})).collect();
            json!({"top": top, "others": others})
        };
        let sizes = self.sizes.iter().zip(SIZE_CLASSES).map(|(tally, most)| {
            let most = (most < u64::MAX).then_some(most);
            json!({"up_to": most, "messages": tally.messages, "octets": tally.octets})
        });
        let days = self
            .days
            .iter()
            .map(|(day, tally)| json!({"day": day, "messages": tally.messages, "octets": tally.octets}));
        json!({
            "octets": self.octets,
            "largest": self.largest,
            "recipients": self.recipients,
            "sizes": sizes.collect::<Vec<_>>(),
            "days": days.collect::<Vec<_>>(),
            "sender_domains": domains(&self.senders),
            "recipient_domains": domains(&self.recipient_domains),
        })
    }
}

impl Domains {
    fn write(
        &self,
        output: &mut dyn Write,
        colours: Colours,
        names: [&str; 3],
        top: usize,
    ) -> io::Result<()> {
        heading(output, colours, names)?;
        let (top, others) = self.top(top);
        for (name, count) in top {
            writeln!(output, "{name:<30}  {:>12}", HumanCount(count).to_string())?;
        }
        match others {
            0 => Ok(()),
            others => writeln!(output, "{:<30}  {:>12}", "(others)", HumanCount(others).to_string()),
        }
    }
}

fn heading(output: &mut dyn Write, colours: Colours, [name, count, size]: [&str; 3]) -> io::Result<()> {
    let line = format!("{name:<30}  {count:>12}  {size:>12}");
    writeln!(output, "\n{}", colours.paint(HEADING, line.trim_end()))
}

fn row(output: &mut dyn Write, name: &str, tally: Tally, bar: &str) -> io::Result<()> {
    let (messages, octets) = (HumanCount(tally.messages).to_string(), BinaryBytes(tally.octets).to_string());
    let line = format!("{name:<30}  {messages:>12}  {octets:>12}  {bar}");
    writeln!(output, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_domains_come_first_and_the_rest_is_counted() {
        let mut domains = Domains::default();
        for path in
            [&b"a@x.example"[..], b"b@X.example", b"a@y.example", b"postmaster", b"", b"\"@\"@x.example"]
        {
            domains.add(path);
        }
        let top = |name: &str, count| (name.to_owned(), count);
        assert_eq!(domains.top(2), (vec![top("x.example", 3), top("(none)", 2)], 1));
        assert_eq!(domains.top(9).1, 0);
    }
}
