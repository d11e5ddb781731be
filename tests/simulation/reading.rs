//! Readers in other processes: what they are shown, when, and the reading of the whole log after each start.

use mailrace::log::{Entry, Lookup, ReadError, Reader, Storage};
use mailrace::message::Receipt;
use mailrace_support::faulty_storage::FaultyStorage;

use crate::world::World;

/// A reader that looks at the log from time to time and goes on where it was.
pub(crate) struct LogReader {
    reader: Reader<FaultyStorage>,
    last: Option<u64>,
}

impl LogReader {
    /// None while a server is just starting.
    pub(crate) fn open(storage: &FaultyStorage) -> Option<Self> {
        match Reader::open(storage.reader()) {
            Ok(reader) => Some(Self { reader, last: None }),
            Err(ReadError::NoPosition) => None,
            Err(error) => panic!("a reader failed: {error}"),
        }
    }

    /// Reads what came since the last look.
    pub(crate) fn look(&mut self, world: &mut World) {
        // Without a writer, what is shown is what a start would keep: not what a power cut would leave.
        let beside_a_writer = world.storage.is_locked().expect("the lock can be probed");
        self.reader.refresh().unwrap_or_else(|error| panic!("a reader failed: {error}"));
        while let Some(entry) =
            self.reader.next_entry().unwrap_or_else(|error| panic!("a reader failed: {error}"))
        {
            let record = match entry {
                Entry::Record(record) => record,
                Entry::Damage(damage) => {
                    world.ledger.check_damage(&damage);
                    continue;
                }
            };
            world.tally.records_shown += 1;
            let position = record.receipt.lsn.0;
            assert!(self.last < Some(position), "position {position} was shown after {:?}", self.last);
            self.last = Some(position);
            let index = world.ledger.check_record(&record, world.plan.keeps_bare_line_ends);
            if beside_a_writer && world.plan.sync {
                // What an earlier life left in the cache alone, after a sync that failed, is beyond anybody's sight.
                let durable = world.storage.disk().is_log_durable(position..record.end.0);
                assert!(
                    durable || world.storage.disk().sync_failures > 0,
                    "message {index} was shown at {position} before its sync"
                );
                world.ledger.shown(index);
            }
        }
    }
}

/// A reader that starts now finds what was just answered 250.
pub(crate) fn assert_found(world: &mut World, index: usize, receipt: Receipt) {
    let reader = match Reader::open(world.storage.reader()) {
        Ok(reader) => reader,
        Err(error) => panic!("a reader failed: {error}"),
    };
    match reader.get(receipt).unwrap_or_else(|error| panic!("a reader failed: {error}")) {
        Lookup::Found(record) => {
            let found = world.ledger.check_record(&record, world.plan.keeps_bare_line_ends);
            assert_eq!(found, index, "{receipt} names another message");
        }
        other => panic!("message {index}: 250 for {receipt}, but a reader finds {other:?}"),
    }
}

/// Reads the whole log and holds it against the ledger.
pub(crate) fn check_whole_log(world: &mut World) {
    let mut reader =
        Reader::open(world.storage.reader()).unwrap_or_else(|error| panic!("a reader failed: {error}"));
    let (mut found, mut last, mut sequence) = (Vec::new(), None, None);
    while let Some(entry) = reader.next_entry().unwrap_or_else(|error| panic!("a reader failed: {error}")) {
        match entry {
            Entry::Record(record) => {
                assert!(last < Some(record.receipt.lsn), "positions fall at {}", record.receipt);
                assert!(sequence < Some(record.sequence), "sequence numbers fall at {}", record.receipt);
                (last, sequence) = (Some(record.receipt.lsn), Some(record.sequence));
                found.push(world.ledger.check_record(&record, world.plan.keeps_bare_line_ends));
            }
            Entry::Damage(damage) => world.ledger.check_damage(&damage),
        }
    }
    world.ledger.check_log(&found);
}
