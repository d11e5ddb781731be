//! Brings the log back to order after its last writer ended, however it ended.
//!
//! ```text
//!  newest segment, unsealed:
//!  | header | rec | rec | ~~~~ | rec | rec | ~~~ | rec | ~~~~~~~~ zeros |
//!                    damage ^       ^    ^ torn       ^ tail
//!                                   durable position
//! ```
//!
//! First the file and the directory are synced, then read: what is judged intact is on disk. Only the newest segment
//! can lack a footer and only that is walked; sealed ones are not opened, however many there are. No intact record
//! is ever dropped. Octets that are no record are *damage* below the known durable position: kept as they are and
//! reported. From there on they are the remains of a torn batch: copied to `quarantine/` and stepped over, or cut
//! off where nothing intact stands behind them. Then the segment is sealed; nothing is zeroed in place. The next
//! segment begins behind every position the old one may have given out.

use std::io;

use uuid::Uuid;

use super::active::{is_temporary, seal};
use super::damage::{Damage, DamageReason};
use super::error::{AppendError, FileError, OpenError, ReadError};
use super::ids::IdGenerator;
use super::position::{Slot, read_position};
use super::scan::{SegmentScan, Step, Unreadable};
use super::segment::{FOOTER_LEN, Footer, Link, Successor, segment_base, segment_boundary, segment_name};
use super::storage::{Storage, StorageFile, write_all_at};
use crate::message::{Lsn, Partition, Timestamp};

/// The directory for octets that were cut off or stepped over.
pub const QUARANTINE: &str = "quarantine";
/// Copies of the same octets, made by recoveries that were interrupted; beyond it recovery gives up.
const QUARANTINE_COPIES_MAX: u32 = 1000;
const COPY_LEN: usize = 256 * 1024;

/// What recovery found and did.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// Segments there were.
    pub segments: usize,
    /// The segment that was walked because it had no footer, and the intact records in it.
    pub walked: Option<(String, u64)>,
    /// Octets that were no record, copied away: remains of batches that were never acknowledged.
    pub cut: Vec<Cut>,
    /// Octets below the durable position that are no record: kept as they are.
    pub damage: Vec<Damage>,
    /// Unfinished files that were removed.
    pub removed: Vec<String>,
    /// The log now goes on here.
    pub resumes_at: Lsn,
}

/// Octets of a torn batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The segment file they stood in.
    pub segment: String,
    /// The first of them.
    pub from: Lsn,
    /// The position behind the last of them.
    pub to: Lsn,
    /// The copy, below the data directory.
    pub copy: String,
}

/// What a writer needs to go on.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) log: Uuid,
    pub(crate) successor: Successor,
    pub(crate) next_sequence: u64,
    pub(crate) last_time: Timestamp,
    /// For the next writing of the position file.
    pub(crate) generation: u64,
    pub(crate) report: RecoveryReport,
}

/// Recovers the log of a data directory whose lock is held.
pub(crate) fn recover<S: Storage>(
    storage: &S,
    partition: Partition,
    ids: &mut IdGenerator,
) -> Result<Recovered, OpenError> {
    let names = storage.list().map_err(|cause| FileError::new("list", "", cause))?;
    let mut report = RecoveryReport::default();
    remove_leftovers(storage, &names, &mut report)?;
    let mut bases: Vec<Lsn> = names.iter().filter_map(|name| segment_base(name)).collect();
    bases.sort_unstable();
    report.segments = bases.len();
    let position = read_position(storage).map_err(open_error)?;
    let mut recovered = match bases.last() {
        None => begin(position, ids, report),
        Some(newest) => {
            let file = open_synced(storage, *newest)?;
            match SegmentScan::open(file, *newest).map_err(open_error)? {
                Ok(scan) => resume(storage, scan, partition, position, report)?,
                Err(unreadable) => pass_over(storage, &bases, unreadable, position, ids, report)?,
            }
        }
    };
    recovered.generation = position.map_or(0, |slot| slot.generation + 1);
    recovered.report.resumes_at = recovered.successor.base;
    Ok(recovered)
}

fn remove_leftovers<S: Storage>(
    storage: &S,
    names: &[String],
    report: &mut RecoveryReport,
) -> Result<(), FileError> {
    for name in names.iter().filter(|name| is_temporary(name)) {
        storage.remove(name).map_err(|cause| FileError::new("remove", name, cause))?;
        report.removed.push(name.clone());
    }
    Ok(())
}

/// Opens a segment file with everything about it on disk: what is read next cannot vanish afterwards.
fn open_synced<S: Storage>(storage: &S, base: Lsn) -> Result<S::File, FileError> {
    let name = segment_name(base);
    let file = storage.open_for_writing(&name).map_err(|cause| FileError::new("open", &name, cause))?;
    file.sync_all().map_err(|cause| FileError::new("sync", &name, cause))?;
    storage.sync_dir("").map_err(|cause| FileError::new("sync", "", cause))?;
    Ok(file)
}

/// A log without segments: new, or all of them were lost.
fn begin(position: Option<Slot>, ids: &mut IdGenerator, mut report: RecoveryReport) -> Recovered {
    let reached = reached(position.as_ref());
    if position.is_some_and(|slot| slot.durable > Lsn(0)) {
        report.damage.push(Damage::missing(Lsn(0), reached));
    }
    Recovered {
        log: position.map_or_else(|| ids.next_log(), |slot| slot.log),
        successor: Successor { previous: Link::default(), base: segment_boundary(reached) },
        next_sequence: 0,
        last_time: Timestamp::default(),
        generation: 0,
        report,
    }
}

/// The furthest position the position file tells of.
fn reached(position: Option<&Slot>) -> Lsn {
    position.map_or(Lsn(0), |slot| slot.durable.max(slot.visible))
}

/// Goes on behind a newest segment with a usable header.
fn resume<S: Storage>(
    storage: &S,
    mut scan: SegmentScan<S::File>,
    partition: Partition,
    position: Option<Slot>,
    mut report: RecoveryReport,
) -> Result<Recovered, OpenError> {
    let header = scan.header;
    if header.partition != partition {
        return Err(OpenError::WrongPartition { found: header.partition, wanted: partition });
    }
    if scan.header_damaged {
        report.damage.push(Damage::header_copy_used(&scan.name, header.base));
    }
    // A position file of another log says nothing about this one.
    let position = position.filter(|slot| slot.log == header.log);
    let footer = match scan.footer_at_end().map_err(open_error)? {
        Some(footer) => footer,
        None => seal_newest(storage, &mut scan, position.as_ref(), &mut report)?,
    };
    let reached = reached(position.as_ref());
    let mut base = footer.next_base;
    if reached > base {
        report.damage.push(Damage::missing(base, reached));
        base = segment_boundary(reached);
    }
    Ok(Recovered {
        log: header.log,
        successor: Successor { previous: footer.link(header.id), base },
        next_sequence: footer.next_sequence,
        last_time: footer.last_time.max(header.created),
        generation: 0,
        report,
    })
}

/// Goes on behind a newest segment whose header is lost in both copies. Without its id no record in it can be
/// told from other octets: all of it is damage, and stays as it is.
fn pass_over<S: Storage>(
    storage: &S,
    bases: &[Lsn],
    unreadable: Unreadable<S::File>,
    position: Option<Slot>,
    ids: &mut IdGenerator,
    mut report: RecoveryReport,
) -> Result<Recovered, OpenError> {
    let base = bases[bases.len() - 1];
    let len = unreadable.file.len().map_err(|cause| FileError::new("read", &unreadable.name, cause))?;
    let end = base.advanced(len).max(reached(position.as_ref()));
    report.damage.push(Damage {
        segment: unreadable.name,
        from: base,
        to: end,
        reason: DamageReason::SegmentHeaderLost,
    });
    let before = match bases.iter().rev().nth(1) {
        Some(before) => {
            let name = segment_name(*before);
            let file = storage.open(&name).map_err(|cause| FileError::new("open", &name, cause))?;
            SegmentScan::open(file, *before).map_err(open_error)?.ok()
        }
        None => None,
    };
    let (mut log, mut next_sequence, mut last_time) =
        (position.map(|slot| slot.log), 0, Timestamp::default());
    if let Some(mut before) = before {
        log = Some(before.header.log);
        let footer = before.footer_at_end().map_err(open_error)?;
        next_sequence = footer.map_or(before.header.first_sequence, |footer| footer.next_sequence);
        last_time = footer.map_or(before.header.created, |footer| footer.last_time);
    }
    Ok(Recovered {
        log: log.unwrap_or_else(|| ids.next_log()),
        successor: Successor { previous: Link::default(), base: segment_boundary(end) },
        next_sequence,
        last_time,
        generation: 0,
        report,
    })
}

/// What a walk over an unsealed segment found.
struct Walk {
    /// What its footer will say; `lsn` is the position behind the last intact record.
    footer: Footer,
    /// The footer stands in the file already: only cutting the file behind it was left undone.
    sealed: bool,
    /// The largest durable position that a record tells.
    durable: Lsn,
    /// Octets that are no record and have intact ones behind them.
    holes: Vec<(Lsn, Lsn, DamageReason)>,
    /// What is wrong behind the last intact record; `None` when the file ends there.
    tail: Option<DamageReason>,
}

fn walk<F: StorageFile>(scan: &mut SegmentScan<F>, limit: Lsn) -> Result<Walk, ReadError> {
    let mut at = scan.header.first_record();
    let mut walk = Walk {
        footer: Footer {
            lsn: at,
            records: 0,
            last_record: Lsn(0),
            first_time: Timestamp::default(),
            last_time: Timestamp::default(),
            durable: Lsn(0),
            next_sequence: scan.header.first_sequence,
            next_base: Lsn(0),
        },
        sealed: false,
        durable: at,
        holes: Vec::new(),
        tail: None,
    };
    let mut flawed = Vec::new();
    loop {
        match scan.step(at, limit)? {
            Step::Record(record) => {
                walk.holes.append(&mut flawed);
                let footer = &mut walk.footer;
                footer.first_time = if footer.records == 0 { record.received_at } else { footer.first_time };
                footer.last_time = record.received_at;
                footer.last_record = record.receipt.lsn;
                footer.records += 1;
                footer.next_sequence = record.sequence + 1;
                footer.lsn = record.end;
                walk.durable = walk.durable.max(record.durable_before);
                at = record.end;
            }
            Step::Footer(footer) => {
                walk.holes.append(&mut flawed);
                return Ok(Walk { footer, sealed: true, ..walk });
            }
            Step::Flawed { flaw, end, to_limit } => {
                flawed.push((at, end, DamageReason::Record(flaw)));
                at = end;
                if to_limit {
                    break;
                }
            }
            Step::End => break,
        }
    }
    walk.tail = flawed.first().map(|(_, _, reason)| *reason);
    Ok(walk)
}

/// Walks the unsealed newest segment, reports, copies away what is torn, and seals it.
fn seal_newest<S: Storage>(
    storage: &S,
    scan: &mut SegmentScan<S::File>,
    position: Option<&Slot>,
    report: &mut RecoveryReport,
) -> Result<Footer, OpenError> {
    let room_end = Lsn(scan.header.limit.0.saturating_sub(FOOTER_LEN as u64));
    let known_durable = position.map_or(Lsn(0), |slot| slot.durable);
    let file_end = extend(scan, known_durable.min(room_end))?;
    let Walk { mut footer, sealed, durable, holes, tail } = walk(scan, file_end).map_err(open_error)?;
    report.walked = Some((scan.name.clone(), footer.records));
    let durable = if sealed { footer.durable } else { durable.max(known_durable) };
    let mut torn_from = None;
    for (from, to, reason) in holes {
        if from < durable {
            report.damage.push(Damage { segment: scan.name.clone(), from, to, reason });
        } else {
            torn_from = torn_from.or(Some(from));
            report.cut.extend(quarantine(storage, scan, from, to)?);
        }
    }
    if !sealed {
        let tail_at = footer.lsn;
        if tail_at < durable {
            let reason = tail.unwrap_or(DamageReason::EndLost);
            report.damage.push(Damage { segment: scan.name.clone(), from: tail_at, to: durable, reason });
        }
        // Nothing that ends at or below the durable position is dropped, be it readable or not.
        footer.lsn = tail_at.max(durable.min(room_end));
        report.cut.extend(quarantine(storage, scan, footer.lsn, file_end)?);
        footer.durable = if durable > footer.lsn { durable } else { torn_from.unwrap_or(footer.lsn) };
        let behind = footer.end().max(scan.header.limit).max(reached(position));
        footer.next_base = segment_boundary(behind);
    }
    seal(&scan.file, &scan.name, &scan.header, &footer).map_err(|error| match error {
        AppendError::NoSpace(error) | AppendError::Failed(error) => error,
    })?;
    Ok(footer)
}

/// Fills up a file that ends below the known durable position: its end was lost, and the footer must not come to
/// stand inside a record whose intact header makes readers step over it by its length.
fn extend<F: StorageFile>(scan: &SegmentScan<F>, durable: Lsn) -> Result<Lsn, OpenError> {
    let file_end = scan.file_end().map_err(open_error)?;
    if durable <= file_end {
        return Ok(file_end);
    }
    let len = durable.0 - scan.header.base.0;
    scan.file.truncate(len).map_err(|cause| FileError::new("extend", &scan.name, cause))?;
    Ok(durable)
}

/// Copies octets of a torn batch to a file of their own, durably. Zeros at the end are not worth keeping.
fn quarantine<S: Storage>(
    storage: &S,
    scan: &mut SegmentScan<S::File>,
    from: Lsn,
    to: Lsn,
) -> Result<Option<Cut>, OpenError> {
    let to = scan.end_of_nonzero(from..to.max(from)).map_err(open_error)?;
    if to == from {
        return Ok(None);
    }
    let sync = |dir| storage.sync_dir(dir).map_err(|cause| FileError::new("sync", dir, cause));
    storage.make_dir(QUARANTINE).map_err(|cause| FileError::new("make", QUARANTINE, cause))?;
    sync("")?;
    let (file, copy) = create_copy(storage, scan.header.base, from)?;
    if let Err(error) = copy_octets(scan, from, to, &file, &copy) {
        // A start that is tried again and again on a full disk must not leave a copy each time.
        let _ = storage.remove(&copy);
        return Err(error);
    }
    sync(QUARANTINE)?;
    Ok(Some(Cut { segment: scan.name.clone(), from, to, copy }))
}

/// Copies octets of a segment to the start of a file, durably.
fn copy_octets<F: StorageFile>(
    scan: &mut SegmentScan<F>,
    from: Lsn,
    to: Lsn,
    file: &F,
    name: &str,
) -> Result<(), OpenError> {
    let mut at = from;
    while at < to {
        let octets = scan.octets(at, COPY_LEN, to).map_err(open_error)?;
        if octets.is_empty() {
            break;
        }
        write_all_at(file, octets, at.0 - from.0).map_err(|cause| FileError::new("write", name, cause))?;
        at = at.advanced(octets.len() as u64);
    }
    Ok(file.sync_all().map_err(|cause| FileError::new("sync", name, cause))?)
}

fn create_copy<S: Storage>(storage: &S, base: Lsn, from: Lsn) -> Result<(S::File, String), FileError> {
    let mut name = String::new();
    for number in 0..QUARANTINE_COPIES_MAX {
        name = format!("{QUARANTINE}/{:020}-{:020}.{number}", base.0, from.0);
        match storage.create(&name) {
            Err(taken) if taken.kind() == io::ErrorKind::AlreadyExists => {}
            created => {
                let file = created.map_err(|cause| FileError::new("create", &name, cause))?;
                return Ok((file, name));
            }
        }
    }
    Err(FileError::new("create", &name, io::ErrorKind::AlreadyExists.into()))
}

fn open_error(error: ReadError) -> OpenError {
    match error {
        ReadError::NewerFormat { file, version } => OpenError::NewerFormat { file, version },
        ReadError::File(error) => OpenError::File(error),
        ReadError::NoPosition => unreachable!("recovery holds the lock and needs no position"),
    }
}
