//! What the writer promises: order of steps, finality of failures, positions, modes of files.

use std::os::unix::fs::PermissionsExt;

use mailrace::log::{AppendError, DirStorage, OpenError, Storage, StorageFile, Visibility, Writer, prepare};
use mailrace::message::{Lsn, Message, Timestamp};
use proptest::prelude::*;

use crate::faulty::{EFBIG, EIO, ENOSPC, Faulty};
use crate::world::{
    FOOTER_LEN, NOW, SEGMENT_HEADER_LEN, World, bodies, commit, lsns, message, message_of_chunks,
};

fn faulty_writer(world: &World) -> (Faulty, Writer<Faulty>) {
    let storage = Faulty::new(world.storage());
    let writer = Writer::open(storage.clone(), world.options(), NOW).expect("an open log").0;
    (storage, writer)
}

#[test]
fn the_data_directory_and_its_files_are_for_their_owner_alone() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let path = parent.path().join("a/b/mailrace-data");
    let storage = DirStorage::create(&path).expect("made");
    let world = World::new();
    let mut writer = Writer::open(storage, world.options(), NOW).expect("an open log").0;
    commit(&mut writer, &[b"x"]);
    let mode = |path: &std::path::Path| path.metadata().expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    let mut files = 0;
    for entry in path.read_dir().expect("a readable directory") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files += 1;
    }
    assert_eq!(files, 3, "lock, position, one segment");
}

#[test]
fn a_second_writer_is_refused_and_the_lock_goes_with_the_first() {
    let world = World::new();
    let writer = world.writer();
    assert!(matches!(Writer::open(world.storage(), world.options(), NOW), Err(OpenError::Locked)));
    drop(writer);
    assert!(Writer::open(world.storage(), world.options(), NOW).is_ok());
}

#[test]
fn short_writes_are_continued_and_long_batches_split_at_iov_max() {
    for write_max in [Some(1), Some(7), Some(1000), None] {
        let world = World::new();
        let (storage, mut writer) = faulty_writer(&world);
        storage.plan().write_max = write_max;
        let texts: Vec<Vec<u8>> = (0..40_u8).map(|number| vec![number; usize::from(number) * 3]).collect();
        let batch: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
        let given = commit(&mut writer, &batch);
        let (records, damages) = world.read();
        assert_eq!((bodies(&records), lsns(&records), damages), (batch, given, vec![]));
    }
    let world = World { segment_size: 1 << 20, ..World::new() };
    let (storage, mut writer) = faulty_writer(&world);
    storage.plan().trace.clear();
    let batch = vec![&b"text"[..]; 1000];
    commit(&mut writer, &batch);
    let writes = storage
        .plan()
        .trace
        .iter()
        .filter(|call| call.ends_with(".segment") && call.starts_with("write"))
        .count();
    assert_eq!(writes, 3, "3,001 slices go in three vectored writes");
    assert_eq!(world.read().0.len(), 1000);
}

#[test]
fn one_batch_is_one_write_and_one_sync() {
    let world = World::new();
    let (storage, mut writer) = faulty_writer(&world);
    storage.plan().trace.clear();
    commit(&mut writer, &[b"a", b"b", b"c"]);
    let segment = "00000000000000000000.segment";
    assert_eq!(
        storage.plan().trace,
        [format!("write {segment}"), format!("sync {segment}"), "write position".into()]
    );
    storage.plan().trace.clear();
    writer.sync().expect("nothing to sync");
    writer.publish().expect("nothing to publish");
    assert_eq!(storage.plan().trace, [""; 0], "what is durable and told needs no system call");
}

#[test]
fn a_new_segment_is_durable_under_its_name_before_a_record_is_written_to_it() {
    let world = World { segment_size: 8192, ..World::new() };
    let (storage, mut writer) = faulty_writer(&world);
    commit(&mut writer, &[&[b'a'; 3000]]);
    storage.plan().trace.clear();
    commit(&mut writer, &[&[b'b'; 3000]]);
    let (old, new) = ("00000000000000000000.segment", "00000000000000008192.segment");
    assert_eq!(
        storage.plan().trace,
        [
            &format!("write {old}"), // the footer
            &format!("sync {old}"),
            "create segment.tmp",
            "write segment.tmp",
            "sync segment.tmp",
            &format!("rename segment.tmp {new}"),
            "syncdir ",
            &format!("write {new}"), // the record
            &format!("sync {new}"),
            "write position",
        ]
    );
    assert!(world.newest().ends_with(new));
}

#[test]
fn a_sealed_segment_ends_with_its_footer() {
    let world = World { segment_size: 64 * 1024, ..World::new() };
    let storage = world.storage();
    let mut writer = world.writer();
    commit(&mut writer, &[b"a"]);
    writer.offer(prepare(&storage, 64 * 1024).expect("prepared"));
    commit(&mut writer, &[&[b'b'; 63 * 1024]]);
    let newest = world.newest();
    assert!(newest.metadata().expect("metadata").len() >= 64 * 1024, "the prepared blocks are used");
    let end = writer.positions().durable;
    writer.close().expect("closed");
    let base: u64 =
        newest.file_stem().and_then(|stem| stem.to_str()).expect("a name").parse().expect("digits");
    assert_eq!(newest.metadata().expect("metadata").len(), end.0 - base + FOOTER_LEN);
    assert!(!world.contents().keys().any(|name| name.ends_with(".tmp")));
    let (records, damages) = world.read();
    assert_eq!((records.len(), damages), (2, vec![]));
}

#[test]
fn a_segment_that_grows_is_left_for_a_prepared_one_once_it_holds_a_record() {
    let world = World { segment_size: 64 * 1024, ..World::new() };
    let storage = world.storage();
    let mut writer = world.writer();
    let growing = world.newest();
    writer.offer(prepare(&storage, 64 * 1024).expect("prepared"));
    commit(&mut writer, &[b"a"]);
    assert_eq!(world.newest(), growing, "an empty segment is not worth leaving behind");
    commit(&mut writer, &[b"b"]);
    let prepared = world.newest();
    assert_ne!(prepared, growing);
    assert!(prepared.metadata().expect("metadata").len() >= 64 * 1024, "the prepared blocks are used");
    writer.offer(prepare(&storage, 64 * 1024).expect("prepared"));
    commit(&mut writer, &[b"c"]);
    assert_eq!(world.newest(), prepared, "one that does not grow is filled");
    let (records, damages) = world.read();
    assert_eq!((records.len(), damages), (3, vec![]));
}

#[test]
fn a_prepared_segment_that_is_not_used_is_removed() {
    let world = World::new();
    let storage = world.storage();
    let mut writer = world.writer();
    assert!(!writer.wants_segment(), "an empty segment needs no successor yet");
    commit(&mut writer, &[b"a"]);
    assert!(writer.wants_segment());
    writer.offer(prepare(&storage, 8192).expect("prepared"));
    assert!(!writer.wants_segment());
    writer.offer(prepare(&storage, 8192).expect("prepared"));
    assert_eq!(world.contents().keys().filter(|name| name.ends_with(".tmp")).count(), 1);
    drop(writer);
    let (_writer, report) = world.recover();
    assert_eq!(report.removed.len(), 1);
    assert!(!world.contents().keys().any(|name| name.ends_with(".tmp")));
}

#[test]
fn a_message_longer_than_a_segment_gets_a_segment_as_long_as_it_needs() {
    let world = World { segment_size: 8192, ..World::new() };
    let mut writer = world.writer();
    let long = vec![b'x'; 100_000];
    commit(&mut writer, &[b"before"]);
    commit(&mut writer, &[&long]);
    commit(&mut writer, &[b"behind"]);
    let (records, damages) = world.read();
    assert_eq!((bodies(&records), damages), (vec![&b"before"[..], &long, b"behind"], vec![]));
    assert_eq!(world.segments().len(), 2);
    assert!(world.segments()[1].metadata().expect("metadata").len() > 100_000);
}

#[test]
fn time_never_steps_back_not_even_over_a_restart() {
    let world = World { segment_size: 8192, ..World::new() };
    let mut lsns = Vec::new();
    let mut writer = world.writer();
    for now in [NOW.0 + 10, NOW.0 - 500, NOW.0 + 20, 0] {
        writer.append([message(&[b'x'; 3000])].iter(), Timestamp(now), &mut lsns).expect("appended");
    }
    writer.sync().expect("synced");
    drop(writer);
    let (mut writer, _) = Writer::open(world.storage(), world.options(), Timestamp(5)).expect("an open log");
    writer.append([message(b"x")].iter(), Timestamp(7), &mut lsns).expect("appended");
    writer.close().expect("closed");
    let times: Vec<u64> = world.read().0.iter().map(|record| record.received_at.0 - NOW.0).collect();
    assert_eq!(times, [10, 10, 20, 20, 20]);
}

#[test]
fn positions_follow_append_and_sync() {
    let world = World::new();
    let mut writer = world.writer();
    let start = writer.positions();
    assert_eq!(
        (start.durable, start.written, start.appended.0),
        (start.appended, start.appended, SEGMENT_HEADER_LEN)
    );
    let mut lsns = Vec::new();
    writer.append([message(b"x")].iter(), NOW, &mut lsns).expect("appended");
    let written = writer.positions();
    assert_eq!((lsns[0], written.durable), (start.durable, start.durable));
    assert!(written.written > start.written && written.appended == written.written);
    writer.sync().expect("synced");
    assert_eq!(writer.positions().durable, written.written);
    writer.append(std::iter::empty(), NOW, &mut lsns).expect("nothing");
    assert_eq!((writer.positions().appended, lsns.len()), (written.written, 0));
}

#[test]
fn a_failed_sync_is_final_and_never_tried_again() {
    // Lack of space reported by the sync itself is no exception.
    for code in [EIO, ENOSPC] {
        let world = World::new();
        let (storage, mut writer) = faulty_writer(&world);
        commit(&mut writer, &[b"kept"]);
        let mut lsns = Vec::new();
        writer.append([message(b"lost")].iter(), NOW, &mut lsns).expect("appended");
        storage.fail("sync", code);
        let error = writer.sync().expect_err("the sync fails").0;
        assert_eq!((error.operation, error.file.as_str()), ("sync", "00000000000000000000.segment"));
        storage.plan().fault = None;
        storage.plan().trace.clear();
        assert!(writer.sync().is_err() && writer.publish().is_err());
        let later = Timestamp(NOW.0 + 10_000_000);
        let refused = writer.append([message(b"later")].iter(), later, &mut lsns);
        assert!(matches!(refused, Err(AppendError::Failed(_))));
        assert_eq!(storage.plan().trace, [""; 0], "no system call after the failure");
        assert_eq!(bodies(&world.read().0), [b"kept"], "beside the writer only what was published is seen");
        assert!(writer.close().is_err());
    }
}

#[test]
fn a_failed_write_is_final() {
    for code in [EIO, EFBIG] {
        let world = World::new();
        let (storage, mut writer) = faulty_writer(&world);
        let mut lsns = Vec::new();
        storage.fail("write 0000", code);
        let refused = writer.append([message(b"x")].iter(), NOW, &mut lsns);
        assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
        storage.plan().fault = None;
        assert!(matches!(writer.append([message(b"x")].iter(), NOW, &mut lsns), Err(AppendError::Failed(_))));
        assert!(writer.sync().is_err());
    }
}

#[test]
fn a_failed_publication_is_final() {
    let world = World::new();
    let (storage, mut writer) = faulty_writer(&world);
    let mut lsns = Vec::new();
    writer.append([message(b"x")].iter(), NOW, &mut lsns).expect("appended");
    writer.sync().expect("synced");
    storage.fail("write position", EIO);
    assert_eq!(writer.publish().expect_err("fails").0.file, "position");
    storage.plan().fault = None;
    assert!(matches!(writer.append([message(b"x")].iter(), NOW, &mut lsns), Err(AppendError::Failed(_))));
}

#[test]
fn stale_octets_of_a_reused_file_are_never_shown() {
    let world = World { segment_size: 16 * 1024, visibility: Visibility::Written, ..World::new() };
    let storage = world.storage();
    let mut writer = world.writer();
    commit(&mut writer, &[&[b'o'; 3000], &[b'p'; 3000]]);
    // The octets of a segment full of intact records, twice: as they are, and shifted to where they might fit.
    let old = std::fs::read(world.newest()).expect("readable");
    let file = storage.create("recycled").expect("created");
    for offset in [0, old.len() as u64] {
        let mut written = 0;
        while written < old.len() {
            let slice = std::io::IoSlice::new(&old[written..]);
            written += file.write_at(&[slice], offset + written as u64).expect("written");
        }
    }
    writer.offer(mailrace::log::PreparedSegment::from_file(file, "recycled".into()));
    commit(&mut writer, &[&[b'n'; 9000]]);
    assert_eq!(world.segments().len(), 2);
    let expected = [&[b'o'; 3000][..], &[b'p'; 3000], &[b'n'; 9000]];
    assert_eq!(bodies(&world.read().0), expected);
    drop(writer);
    let (records, damages) = world.read();
    assert_eq!(
        (bodies(&records), damages),
        (expected.to_vec(), vec![]),
        "without a writer the tail is searched"
    );
    world.writer().close().expect("closed");
    let (records, damages) = world.read();
    assert_eq!((bodies(&records), damages), (expected.to_vec(), vec![]));
}

fn any_message() -> impl Strategy<Value = Message> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1500), 0..5)
        .prop_map(|chunks| message_of_chunks(&chunks))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_appended_is_what_is_read(
        batches in proptest::collection::vec(proptest::collection::vec(any_message(), 1..6), 1..12),
        restarts in proptest::collection::vec(0..3_u8, 12),
        write_max in proptest::option::of(1..5000_usize),
    ) {
        let world = World { segment_size: 16 * 1024, ..World::new() };
        let storage = Faulty::new(world.storage());
        storage.plan().write_max = write_max;
        let open = || Writer::open(storage.clone(), world.options(), NOW).expect("an open log").0;
        let mut writer = open();
        let mut given = Vec::new();
        for (batch, restart) in batches.iter().zip(&restarts) {
            let mut lsns = Vec::new();
            writer.append(batch.iter(), NOW, &mut lsns).expect("appended");
            writer.sync().expect("synced");
            writer.publish().expect("published");
            given.extend(lsns);
            match restart {
                0 => { writer.close().expect("closed"); writer = open(); }
                1 => { drop(writer); writer = open(); }
                _ => {}
            }
        }
        let (records, damages) = world.read();
        prop_assert_eq!(damages, vec![]);
        prop_assert_eq!(lsns(&records), given);
        for (sequence, (record, message)) in records.iter().zip(batches.iter().flatten()).enumerate() {
            prop_assert_eq!(&record.body[..], &message.body.to_vec()[..]);
            prop_assert_eq!(&record.envelope, &message.envelope);
            prop_assert_eq!(record.header_section_len, message.body.header_len());
            prop_assert_eq!(record.sequence, sequence as u64);
        }
    }
}

#[test]
fn lsns_rise_over_every_kind_of_end() {
    let world = World { visibility: Visibility::Written, ..World::new() };
    let mut last = Lsn(0);
    for round in 0..30_usize {
        let mut writer = world.writer();
        let mut lsns = Vec::new();
        for _ in 0..round % 4 {
            // Long enough that the next boundary behind an empty segment is not behind these by itself.
            writer.append([message(&[b'p'; 9000])].iter(), NOW, &mut lsns).expect("appended");
            writer.publish().expect("published");
            assert!(lsns[0] > last, "{} after {last}", lsns[0]);
            last = lsns[0];
        }
        match round % 3 {
            0 => writer.close().expect("closed"),
            1 => drop(writer),
            // The power goes: what was not synced is gone, and with it the volatile position file.
            _ => {
                drop(writer);
                crate::world::set_len(&world.newest(), SEGMENT_HEADER_LEN);
                std::fs::remove_file(world.path().join("position")).expect("removed");
                // And once more, between recovery and the new segment.
                if round % 2 == 0 {
                    drop(world.writer());
                    std::fs::remove_file(world.newest()).expect("removed");
                    std::fs::remove_file(world.path().join("position")).expect("removed");
                }
            }
        }
    }
}
