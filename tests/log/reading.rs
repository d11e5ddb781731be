//! What a reader sees beside a writer, and that it never leaves a trace.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use mailrace::log::{DirStorage, Entry, Lookup, ReadError, Reader, Visibility, Writer};
use mailrace::message::{Lsn, Partition, Receipt};

use crate::faulty::Faulty;
use crate::world::{NOW, SEGMENT_HEADER_LEN, World, bodies, commit, drain, flip, lsns, message};

fn receipt(lsn: Lsn) -> Receipt {
    Receipt { partition: Partition(0), lsn }
}

fn found(lookup: Lookup) -> Option<Vec<u8>> {
    match lookup {
        Lookup::Found(record) => Some(record.body.to_vec()),
        Lookup::NotFound | Lookup::Damaged(_) => None,
    }
}

#[test]
fn beside_a_writer_a_record_is_seen_once_it_is_published_and_never_before() {
    for visibility in [Visibility::Durable, Visibility::Written] {
        let world = World { visibility, ..World::new() };
        let mut writer = world.writer();
        let mut given = Vec::new();
        writer.append([message(b"one")].iter(), NOW, &mut given).expect("appended");
        writer.publish().expect("published");
        let seen = usize::from(visibility == Visibility::Written);
        assert_eq!(world.read().0.len(), seen, "written");
        assert_eq!(found(world.reader().get(receipt(given[0])).expect("readable")).is_some(), seen == 1);
        writer.sync().expect("synced");
        assert_eq!(world.read().0.len(), seen, "synced");
        writer.publish().expect("published");
        assert_eq!(bodies(&world.read().0), [b"one"]);
        assert_eq!(found(world.reader().get(receipt(given[0])).expect("readable")), Some(b"one".to_vec()));
    }
}

#[test]
fn a_change_of_segments_shows_nothing_early() {
    let world = World { segment_size: 8192, ..World::new() };
    let mut writer = world.writer();
    commit(&mut writer, &[&[b'a'; 3000]]);
    let mut follower = world.reader();
    assert_eq!(drain(&mut follower).0.len(), 1);
    let mut given = Vec::new();
    writer.append([message(&[b'b'; 3000])].iter(), NOW, &mut given).expect("appended");
    assert_eq!(world.segments().len(), 2);
    for _ in 0..2 {
        follower.refresh().expect("readable");
        assert_eq!((drain(&mut follower).0.len(), world.read().0.len()), (0, 1));
        writer.sync().expect("synced");
    }
    writer.publish().expect("published");
    follower.refresh().expect("readable");
    let (records, damages) = drain(&mut follower);
    assert_eq!((lsns(&records), damages), (given, vec![]));
}

#[test]
fn a_reader_follows_over_segments_and_restarts_and_sees_each_record_once() {
    let world = World { segment_size: 8192, ..World::new() };
    let mut follower = world.reader();
    let (mut given, mut seen) = (Vec::new(), Vec::new());
    for round in 0..12_u8 {
        let mut writer = world.writer();
        for _ in 0..3 {
            given.extend(commit(&mut writer, &[&[round; 1500]]));
            follower.refresh().expect("readable");
            let (records, damages) = drain(&mut follower);
            assert_eq!(damages, []);
            seen.extend(lsns(&records));
            assert_eq!(seen, given);
        }
        match round % 2 {
            0 => writer.close().expect("closed"),
            _ => drop(writer),
        }
        follower.refresh().expect("readable");
        assert_eq!(drain(&mut follower).0.len(), 0);
    }
}

#[test]
fn a_reader_that_began_without_a_writer_does_not_show_what_a_later_one_has_not_published() {
    let world = World::new();
    let mut writer = world.writer();
    commit(&mut writer, &[b"one"]);
    drop(writer);
    let mut reader = world.reader();
    let mut writer = world.writer();
    let mut given = Vec::new();
    writer.append([message(b"not acknowledged")].iter(), NOW, &mut given).expect("appended");
    assert_eq!(bodies(&drain(&mut reader).0), [b"one"]);
    assert_eq!(found(reader.get(receipt(given[0])).expect("readable")), None);
    reader.refresh().expect("readable");
    assert_eq!(drain(&mut reader).0.len(), 0);
    writer.sync().expect("synced");
    writer.publish().expect("published");
    reader.refresh().expect("readable");
    assert_eq!(bodies(&drain(&mut reader).0), [b"not acknowledged"]);
}

#[test]
fn a_reader_running_beside_a_writer_sees_every_record_once_and_none_too_early() {
    const BATCHES: u64 = 1500;
    let world = World { segment_size: 32 * 1024, ..World::in_memory() };
    let mut writer = world.writer();
    // Set before each publication: nothing behind it may be seen.
    let may_be_seen = AtomicU64::new(writer.positions().durable.0);
    // Set after it: everything below must be seen by who looks from now on.
    let must_be_seen = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut given = Vec::new();
            for number in 0..BATCHES {
                let body = vec![b'x'; usize::try_from(number * 37 % 900).expect("small")];
                let batch = [message(&number.to_le_bytes()), message(&body)];
                writer.append(batch.iter(), NOW, &mut given).expect("appended");
                writer.sync().expect("synced");
                may_be_seen.store(writer.positions().durable.0, Ordering::SeqCst);
                writer.publish().expect("published");
                must_be_seen.store(given[1].0 + 1, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut follower = world.reader();
        let (mut next, mut last) = (0_u64, Lsn(0));
        loop {
            let finished = done.load(Ordering::SeqCst);
            let owed = must_be_seen.load(Ordering::SeqCst);
            follower.refresh().expect("readable");
            while let Some(entry) = follower.next_entry().expect("readable") {
                let Entry::Record(record) = entry else { panic!("{entry:?}") };
                assert!(record.end.0 <= may_be_seen.load(Ordering::SeqCst), "seen too early");
                assert!(record.receipt.lsn > last);
                last = record.receipt.lsn;
                if next % 2 == 0 {
                    assert_eq!(record.body[..], (next / 2).to_le_bytes());
                }
                next += 1;
            }
            assert!(last.0 + 1 >= owed, "published before the look and not seen");
            if finished {
                break;
            }
        }
        assert_eq!(next, BATCHES * 2);
    });
}

fn traces(world: &World) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut traces: BTreeMap<String, (Vec<u8>, SystemTime)> = world
        .contents()
        .into_iter()
        .map(|(name, octets)| {
            let changed = world.path().join(&name).metadata().and_then(|metadata| metadata.modified());
            (name, (octets, changed.expect("metadata")))
        })
        .collect();
    let changed = world.path().metadata().and_then(|metadata| metadata.modified()).expect("metadata");
    traces.insert(String::new(), (Vec::new(), changed));
    traces
}

#[test]
fn a_reader_never_writes() {
    let world = World::new();
    let mut writer = world.writer();
    let given = commit(&mut writer, &[b"one", b"two"]);
    let look = |world: &World| {
        let before = traces(world);
        let storage = Faulty::new(DirStorage::open(world.path()).expect("open"));
        let mut reader = Reader::open(storage.clone()).expect("readable");
        drain(&mut reader);
        reader.refresh().expect("readable");
        reader.segments().expect("readable");
        reader.get(receipt(given[0])).expect("readable");
        reader.get(receipt(Lsn(given[0].0 + 8))).expect("readable");
        let looks = ["open ", "read ", "list "];
        for call in &storage.plan().trace {
            assert!(looks.iter().any(|look| call.starts_with(look)), "{call}");
        }
        assert!(traces(world) == before, "directory, names, contents and times stay as they were");
    };
    look(&world);
    drop(writer);
    look(&world);
    flip(&world.newest(), (given[1].0 + 20) * 8);
    look(&world);
    fs::remove_file(world.path().join("lock")).expect("removed");
    look(&world);
}

#[test]
fn a_receipt_finds_its_message_and_nothing_else_does() {
    let world = World { segment_size: 8192, ..World::new() };
    let mut writer = world.writer();
    let mut given = Vec::new();
    for number in 0..20_u8 {
        given.extend(commit(&mut writer, &[&[number; 700], &[number; 5]]));
    }
    let check = |reader: &Reader<DirStorage>| {
        for (index, lsn) in given.iter().enumerate() {
            let body = found(reader.get(receipt(*lsn)).expect("readable")).expect("found");
            assert_eq!(usize::from(body[0]), index / 2);
            for other in [lsn.0 + 1, lsn.0 + 8, lsn.0.wrapping_sub(8), 0, u64::MAX] {
                if !given.contains(&Lsn(other)) {
                    assert!(matches!(reader.get(receipt(Lsn(other))).expect("readable"), Lookup::NotFound));
                }
            }
            let elsewhere = Receipt { partition: Partition(1), lsn: *lsn };
            assert!(matches!(reader.get(elsewhere).expect("readable"), Lookup::NotFound));
        }
    };
    check(&world.reader());
    drop(writer);
    check(&world.reader());
}

#[test]
fn a_receipt_whose_record_is_damaged_says_so() {
    let world = World::new();
    let mut writer = world.writer();
    let given = commit(&mut writer, &[b"one", b"two", b"three"]);
    writer.close().expect("closed");
    // A body, and a header.
    flip(&world.newest(), (given[1].0 - 17) * 8);
    flip(&world.newest(), (given[1].0 + 20) * 8);
    let reader = world.reader();
    for lsn in [given[0], given[1]] {
        assert!(matches!(reader.get(receipt(lsn)).expect("readable"), Lookup::Damaged(_)), "{lsn}");
    }
    assert_eq!(found(reader.get(receipt(given[2])).expect("readable")), Some(b"three".to_vec()));
}

#[test]
fn a_running_writer_without_a_readable_position_file_is_no_reason_to_guess() {
    let world = World::new();
    let mut writer = world.writer();
    commit(&mut writer, &[b"one"]);
    for octets in [&b""[..], &[7; 128]] {
        fs::write(world.path().join("position"), octets).expect("written");
        let opened = Reader::open(world.storage());
        assert!(matches!(opened, Err(ReadError::NoPosition)), "{opened:?}");
    }
}

#[test]
fn a_new_log_has_no_entries() {
    let world = World::new();
    assert_eq!(world.read().0.len(), 0);
    let _writer = world.writer();
    let (records, damages) = world.read();
    assert_eq!((records.len(), damages), (0, vec![]));
}

#[test]
fn a_lock_a_position_file_or_a_segment_tells_a_log() {
    let world = World::new();
    fs::write(world.path().join("0.segment"), b"none of ours").expect("written");
    assert!(!world.reader().finds_log());
    let mut reader = world.reader();
    drop(world.writer());
    reader.refresh().expect("readable");
    assert!(reader.finds_log(), "a writer came");
    let segment = world.newest();
    for left in ["lock", "position", segment.file_name().and_then(|name| name.to_str()).expect("a name")] {
        let trace = World::new();
        fs::copy(world.path().join(left), trace.path().join(left)).expect("copied");
        assert!(trace.reader().finds_log(), "{left}");
    }
}

#[test]
fn a_file_cut_under_a_running_writer_is_damage() {
    let world = World::new();
    let mut writer = world.writer();
    let given = commit(&mut writer, &[b"one", b"two"]);
    crate::world::set_len(&world.newest(), given[1].0 + 50);
    let (records, damages) = world.read();
    assert_eq!((records.len(), damages.is_empty()), (1, false));
    crate::world::set_len(&world.newest(), given[1].0);
    let (records, damages) = world.read();
    assert_eq!((records.len(), damages.len()), (1, 1));
}

/// A message of record and footer magics at every alignment, with a flipped bit in the header of its record.
fn magics_behind_a_damaged_header() -> World {
    let world = World { segment_size: 4 << 20, ..World::new() };
    let mut writer = world.writer();
    let mut body = Vec::new();
    for magic in [&b"MRRCMRRC"[..], b"MRFOOTER"] {
        for _ in 0..8 {
            body.extend(magic.repeat(8 * 1024));
            body.push(b'.');
        }
    }
    let given = commit(&mut writer, &[b"first", &body, b"last"]);
    drop(writer);
    flip(&world.newest(), (given[1].0 + 20) * 8);
    world
}

#[test]
fn the_search_behind_damage_reads_no_octet_again_for_each_magic_it_meets() {
    let world = magics_behind_a_damaged_header();
    let storage = Faulty::new(world.storage());
    let octets_read = || std::mem::take(&mut storage.plan().octets_read);
    let len = fs::metadata(world.newest()).expect("metadata").len();
    let len = usize::try_from(len).expect("small");
    let check = |unsealed: bool| {
        let (records, damages) = drain(&mut Reader::open(storage.clone()).expect("readable"));
        assert_eq!((bodies(&records), damages.len()), (vec![&b"first"[..], b"last"], 1));
        // A look ahead tells what was durable where no footer does, and each look begins with a full buffer.
        let (read, looks) = (octets_read(), if unsealed { 3 } else { 2 });
        assert!(read <= looks * len, "{read} octets read of a file of {len}");
    };
    check(true);
    drop(Writer::open(storage.clone(), world.options(), NOW).expect("an open log"));
    let read = octets_read();
    assert!(read <= 2 * len, "recovery: {read} octets read of a file of {len}");
    check(false);
}

#[test]
fn a_record_is_found_behind_damage_wherever_the_read_buffer_ends() {
    const READ_AHEAD: usize = 256 * 1024;
    let world = World { segment_size: 4 << 20, ..World::in_memory() };
    let mut writer = world.writer();
    let empty = commit(&mut writer, &[b"", b""]);
    drop(writer);
    let overhead = usize::try_from(empty[1].0 - empty[0].0).expect("small");
    // The record behind begins at each place around the end of the first buffer, and around that of the second.
    for buffers in 1..=2 {
        for back in (0..=256).step_by(8) {
            let world = world.copy();
            let mut writer = world.writer();
            let body = vec![b'x'; buffers * READ_AHEAD + 16 - back - overhead];
            let given = commit(&mut writer, &[&body, b"behind"]);
            writer.close().expect("closed");
            flip(&world.newest(), SEGMENT_HEADER_LEN * 8 + 160);
            let (records, damages) = world.read();
            assert_eq!((records.len(), damages.len()), (3, 1), "{buffers} buffers less {back}");
            assert_eq!(records[2].receipt.lsn, given[1]);
        }
    }
}
