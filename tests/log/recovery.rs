//! Whatever is done to the files between two starts: nothing intact is lost, nothing wrong is shown, nothing that
//! was known to be durable goes missing without a word.

use std::fs;
use std::path::Path;

use mailrace::log::{Damage, DirStorage, OpenError, Reader, Record, Visibility, Writer};
use mailrace::message::{Lsn, Partition};
use proptest::prelude::*;

use crate::faulty::{EIO, Faulty};
use crate::world::{
    FOOTER_LEN, NOW, SEGMENT_HEADER_LEN, World, bodies, commit, drain, flip, forget_position, lsns, message,
    overwrite, set_len,
};

/// A killed server's log: two sealed segments, and a newest one with batches of two, one and two records.
pub(crate) fn killed(world: &World) -> Vec<Record> {
    for text in ["one", "two"] {
        let mut writer = world.writer();
        commit(&mut writer, &[text.as_bytes(), b"sealed"]);
        writer.close().expect("closed");
    }
    let mut writer = world.writer();
    commit(&mut writer, &[b"Subject: three\r\n\r\n", b"four"]);
    commit(&mut writer, &[b"five"]);
    commit(&mut writer, &[b"six", b"seven is a little longer"]);
    drop(writer);
    let (records, damages) = world.read();
    assert_eq!((records.len(), damages), (9, vec![]));
    records
}

pub(crate) fn base_of(path: &Path) -> u64 {
    path.file_stem()
        .and_then(|stem| stem.to_str())
        .and_then(|stem| stem.parse().ok())
        .expect("a segment's name")
}

fn len_of(path: &Path) -> u64 {
    path.metadata().expect("metadata").len()
}

/// Recovers, appends, and gives what is read then; positions must go on rising.
pub(crate) fn recover_and_append(
    world: &World,
    last: Lsn,
) -> (Vec<Record>, Vec<Damage>, mailrace::log::RecoveryReport) {
    let (mut writer, report) = world.recover();
    let given = commit(&mut writer, &[b"after recovery"]);
    assert!(given[0] >= last, "position {} was given out before {last}", given[0]);
    let beside = world.read();
    writer.close().expect("closed");
    let (mut records, damages) = world.read();
    assert_eq!((lsns(&beside.0), &beside.1), (lsns(&records), &damages), "the same beside the writer");
    assert_eq!(records.pop().map(|record| record.body), Some("after recovery".into()));
    (records, damages, report)
}

#[derive(Clone, Copy, PartialEq)]
enum Position {
    Kept,
    Lost,
}

/// The newest segment as it is when its file ends after `len` octets, or is zero from there on.
fn cut_newest(world: &World, len: u64, zeros_behind: bool, position: Position) -> World {
    let cut = world.copy();
    set_len(&cut.newest(), len);
    if zeros_behind {
        set_len(&cut.newest(), 16 * 1024);
    }
    if position == Position::Lost {
        forget_position(&cut);
    }
    cut
}

fn cut_at_every_octet(position: Position, zeros_behind: bool) {
    let world = World::in_memory();
    let originals = killed(&world);
    let newest = world.newest();
    let (base, len) = (base_of(&newest), len_of(&newest));
    let end = originals[8].end;
    for cut_len in SEGMENT_HEADER_LEN..=len {
        let cut = cut_newest(&world, cut_len, zeros_behind, position);
        // Octets that were cut off and happened to be zero are not missed.
        let whole: Vec<&Record> = originals.iter().filter(|record| record.end.0 <= base + cut_len).collect();
        let original_octets = fs::read(&newest).expect("readable");
        let (before, damages_before) = cut.read();
        assert!(before.len() >= whole.len(), "cut at {cut_len}");
        let (after, damages, report) = recover_and_append(&cut, end);
        // A record whose last octets were zero is whole again once the file is filled up.
        assert!(lsns(&after).starts_with(&lsns(&before)), "cut at {cut_len}");
        for (record, original) in after.iter().zip(&originals) {
            assert_eq!(
                (&record.body, record.receipt),
                (&original.body, original.receipt),
                "cut at {cut_len}"
            );
        }
        let lost = after.len() < originals.len();
        let torn_from = after[after.len() - 1].end.0.max(base + SEGMENT_HEADER_LEN);
        match position {
            Position::Kept => {
                let short = cut_len < len && before.len() < originals.len();
                assert_eq!(damages_before.is_empty(), !short, "cut at {cut_len}: {damages_before:?}");
                assert_eq!(damages.is_empty(), !lost, "cut at {cut_len}: {damages:?}");
                assert_eq!(report.damage.is_empty(), !lost, "cut at {cut_len}");
                if lost {
                    let places = (damages[0].from.0, damages.last().expect("some").to);
                    assert_eq!(places, (torn_from, end), "cut at {cut_len}: {damages:?}");
                }
                assert_eq!(report.cut, [], "below the durable position nothing is cut");
            }
            Position::Lost => {
                assert_eq!(
                    (damages_before, damages),
                    (vec![], vec![]),
                    "cut at {cut_len}: a torn tail is no damage"
                );
                let torn =
                    &original_octets[(torn_from - base) as usize..cut_len.max(torn_from - base) as usize];
                let kept: Vec<u8> = report
                    .cut
                    .iter()
                    .flat_map(|cut_off| fs::read(cut.path().join(&cut_off.copy)).expect("a copy"))
                    .collect();
                if lost {
                    let torn_len = torn.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
                    assert_eq!(kept, &torn[..torn_len], "cut at {cut_len}: what is cut is copied first");
                }
            }
        }
    }
}

#[test]
fn the_newest_segment_cut_at_any_octet_below_the_durable_position_is_damage_and_loses_nothing_else() {
    cut_at_every_octet(Position::Kept, false);
}

#[test]
fn the_same_with_blocks_written_ahead() {
    cut_at_every_octet(Position::Kept, true);
}

#[test]
fn a_torn_tail_is_cut_to_the_last_whole_record() {
    cut_at_every_octet(Position::Lost, false);
}

#[test]
fn a_torn_tail_in_blocks_written_ahead_is_cut_to_the_last_whole_record() {
    cut_at_every_octet(Position::Lost, true);
}

#[test]
fn any_flipped_bit_costs_at_most_the_record_it_is_in() {
    let world = World::in_memory();
    let originals = killed(&world);
    set_len(&world.newest(), 12 * 1024);
    let segments = world.segments();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(1500));
    let strategy = (0..segments.len(), any::<proptest::sample::Index>(), any::<bool>());
    let outcome = runner.run(&strategy, |(segment, bit, position_lost)| {
        let path = &segments[segment];
        let newest = segment == segments.len() - 1;
        // Most flips go where the records are.
        let record_octets = len_of(path).min(SEGMENT_HEADER_LEN + 1400);
        let bit = bit.index(usize::try_from(record_octets * 8).expect("small")) as u64;
        let at = Lsn(base_of(path) + bit / 8);
        let damaged = world.copy();
        flip(&damaged.path().join(path.file_name().expect("a name")), bit);
        if position_lost {
            forget_position(&damaged);
        }
        let hit = originals.iter().position(|record| record.receipt.lsn <= at && at < record.end);
        let expected: Vec<Lsn> = originals
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != hit)
            .map(|(_, record)| record.receipt.lsn)
            .collect();
        // Without a position file the last batch cannot be told from a torn one.
        let last_batch = hit.is_some_and(|hit| hit >= 7);
        let in_tail = newest && at >= originals[8].end;
        let silent = in_tail || (position_lost && last_batch);
        let check = |records: &[Record], damages: &[Damage]| {
            prop_assert_eq!(lsns(records), expected.clone());
            for record in records {
                let original = originals.iter().find(|original| original.receipt == record.receipt);
                prop_assert_eq!(Some(&record.body), original.map(|original| &original.body));
                prop_assert_eq!(Some(&record.envelope), original.map(|original| &original.envelope));
            }
            prop_assert_eq!(damages.is_empty(), silent, "{:?}", damages);
            Ok(())
        };
        let (records, damages) = damaged.read();
        check(&records, &damages)?;
        let (records, damages, report) = recover_and_append(&damaged, originals[8].end);
        check(&records, &damages)?;
        prop_assert_eq!(report.damage.is_empty(), silent || !newest);
        Ok(())
    });
    outcome.expect("holds for every bit");
}

#[test]
fn a_damaged_record_hides_no_other_and_stays_as_it_is() {
    let world = World::new();
    let originals = killed(&world);
    let newest = world.newest();
    let base = base_of(&newest);
    // The header of one, the body of another.
    flip(&newest, (originals[4].receipt.lsn.0 - base + 8) * 8);
    flip(&newest, (originals[6].end.0 - base - 16 - 8) * 8);
    let before = fs::read(&newest).expect("readable");
    let (records, damages, report) = recover_and_append(&world, originals[8].end);
    assert_eq!(bodies(&records).len(), 7);
    for damages in [&damages, &report.damage] {
        let places: Vec<(Lsn, Lsn)> = damages.iter().map(|damage| (damage.from, damage.to)).collect();
        let of = |index: usize| (originals[index].receipt.lsn, originals[index].end);
        assert_eq!(places, [of(4), of(6)]);
        assert!(
            damages[0]
                .to_string()
                .contains(newest.file_name().and_then(|name| name.to_str()).expect("a name"))
        );
    }
    let after = fs::read(&newest).expect("readable");
    assert_eq!(after[..before.len()], before[..], "damage below the durable position is kept as it is");
}

/// A batch of three that reached the disk in part: the middle record did not.
fn torn_middle(garbage: u8) -> (World, Vec<Lsn>) {
    let world = World::new();
    let mut writer = world.writer();
    let mut lsns = commit(&mut writer, &[b"durable"]);
    let batch = [message(b"first of batch"), message(&[b'x'; 500]), message(b"third of batch")];
    let mut torn = Vec::new();
    writer.append(batch.iter(), NOW, &mut torn).expect("appended");
    drop(writer);
    let octets = vec![garbage; usize::try_from(torn[2].0 - torn[1].0).expect("small")];
    overwrite(&world.newest(), &octets, torn[1].0 - base_of(&world.newest()));
    lsns.extend(torn);
    (world, lsns)
}

#[test]
fn the_intact_records_of_a_torn_batch_are_kept_and_its_remains_are_no_damage() {
    for garbage in [0, b'g'] {
        let (world, given) = torn_middle(garbage);
        let expected = [&b"durable"[..], b"first of batch", b"third of batch"];
        let (records, damages) = world.read();
        assert_eq!((bodies(&records), damages), (expected.to_vec(), vec![]));
        let (records, damages, report) = recover_and_append(&world, given[3]);
        assert_eq!((bodies(&records), damages, &report.damage), (expected.to_vec(), vec![], &vec![]));
        let copies: Vec<Vec<u8>> =
            report.cut.iter().map(|cut| fs::read(world.path().join(&cut.copy)).expect("a copy")).collect();
        match garbage {
            0 => assert_eq!(copies, Vec::<Vec<u8>>::new()),
            _ => {
                assert_eq!(copies, [vec![garbage; usize::try_from(given[3].0 - given[2].0).expect("small")]])
            }
        }
    }
}

#[test]
fn damage_below_the_durable_position_that_only_a_later_record_tells_is_reported() {
    let world = World::new();
    let originals = killed(&world);
    forget_position(&world);
    // Record 5 was durable before 6, 7 and 8 were written, and they say so.
    let newest = world.newest();
    flip(&newest, (originals[6].receipt.lsn.0 - base_of(&newest)) * 8);
    let (records, damages) = world.read();
    assert_eq!((records.len(), damages.len()), (8, 1));
    let (records, damages, report) = recover_and_append(&world, originals[8].end);
    assert_eq!((records.len(), damages.len(), report.damage.len()), (8, 1, 1));
}

#[test]
fn an_error_while_reading_is_not_a_torn_tail() {
    let world = World::new();
    killed(&world);
    let storage = Faulty::new(world.storage());
    let before = world.contents();
    for successes in 0..3 {
        storage.plan().fault = Some(("read 0000".into(), EIO, successes));
        assert!(matches!(Writer::open(storage.clone(), world.options(), NOW), Err(OpenError::File(_))));
        assert_eq!(world.contents(), before, "nothing was cut");
        storage.plan().fault = Some(("read 0000".into(), EIO, successes));
        let mut reader = Reader::open(storage.clone()).expect("open");
        let failed = loop {
            match reader.next_entry() {
                Ok(Some(_)) => {}
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(failed);
    }
}

#[test]
fn recovery_that_is_interrupted_at_any_call_loses_nothing() {
    let (template, given) = torn_middle(b'g');
    let mut interrupted = 0;
    for calls in 0.. {
        let world = template.copy();
        let storage = Faulty::new(world.storage());
        storage.plan().fault = Some((String::new(), EIO, calls));
        let opened = Writer::open(storage.clone(), world.options(), NOW);
        let done = opened.is_ok();
        drop(opened);
        let (records, damages, _) = recover_and_append(&world, given[3]);
        let expected = [&b"durable"[..], b"first of batch", b"third of batch"];
        assert_eq!((bodies(&records), damages), (expected.to_vec(), vec![]), "interrupted at call {calls}");
        if done {
            break;
        }
        interrupted += 1;
    }
    assert!(interrupted > 15, "{interrupted} calls");
}

fn place(trace: &[String], call: &str) -> usize {
    trace.iter().position(|other| other == call).unwrap_or_else(|| panic!("no {call:?} in {trace:?}"))
}

#[test]
fn recovery_reads_only_what_cannot_vanish_any_more() {
    let world = World::new();
    killed(&world);
    let newest = world.newest();
    let newest = newest.file_name().and_then(|name| name.to_str()).expect("a name");
    let storage = Faulty::new(world.storage());
    drop(Writer::open(storage.clone(), world.options(), NOW).expect("an open log"));
    let trace = &storage.plan().trace;
    let read = place(trace, &format!("read {newest}"));
    assert!(place(trace, &format!("sync {newest}")) < read, "its octets: {trace:?}");
    assert!(place(trace, "syncdir ") < read, "its name: {trace:?}");
}

#[test]
fn what_recovery_cuts_is_copied_durably_before_the_cut() {
    let world = World::new();
    killed(&world);
    forget_position(&world);
    let newest = world.newest();
    set_len(&newest, len_of(&newest) - 20);
    let newest = newest.file_name().and_then(|name| name.to_str()).expect("a name");
    let storage = Faulty::new(world.storage());
    let (_writer, report) = Writer::open(storage.clone(), world.options(), NOW).expect("an open log");
    let copy = &report.cut[0].copy;
    let trace = &storage.plan().trace;
    let cut = place(trace, &format!("truncate {newest}")).min(place(trace, &format!("write {newest}")));
    assert!(place(trace, &format!("sync {copy}")) < cut, "its octets: {trace:?}");
    assert!(place(trace, "syncdir quarantine") < cut, "its name: {trace:?}");
    assert_eq!(trace[place(trace, "mkdir quarantine") + 1], "syncdir ", "the name of its directory");
}

#[test]
fn what_was_shown_but_never_synced_may_go_without_a_word() {
    let world = World { visibility: Visibility::Written, ..World::new() };
    let mut writer = world.writer();
    let kept = commit(&mut writer, &[b"synced"]);
    let mut lost = Vec::new();
    writer.append([message(b"written")].iter(), NOW, &mut lost).expect("appended");
    writer.publish().expect("published");
    assert_eq!(bodies(&world.read().0), [&b"synced"[..], b"written"]);
    drop(writer);
    // The power goes, and takes what was only in the page cache. The position file survived.
    set_len(&world.newest(), lost[0].0 - base_of(&world.newest()));
    let (records, damages) = world.read();
    assert_eq!((lsns(&records), damages), (kept.clone(), vec![]));
    let (records, damages, report) = recover_and_append(&world, lost[0]);
    assert_eq!((lsns(&records), damages, report.damage), (kept, vec![], vec![]));
}

#[test]
fn start_up_and_get_touch_as_many_files_with_many_segments_as_with_one() {
    let calls = |segments: usize| {
        let world = World::in_memory();
        let mut given = Vec::new();
        for _ in 0..segments {
            let mut writer = world.writer();
            given = commit(&mut writer, &[b"x"]);
            writer.close().expect("closed");
        }
        let storage = Faulty::new(world.storage());
        let mut writer = Writer::open(storage.clone(), world.options(), NOW).expect("an open log").0;
        commit(&mut writer, &[b"y"]);
        let started = storage.plan().trace.len();
        let receipt = mailrace::message::Receipt { partition: Partition(0), lsn: given[0] };
        let found = Reader::open(storage.clone()).expect("open").get(receipt).expect("readable");
        assert!(matches!(found, mailrace::log::Lookup::Found(_)));
        assert_eq!(world.segments().len(), segments + 1);
        (started, storage.plan().trace.len() - started)
    };
    assert_eq!(calls(1), calls(2000));
}

#[test]
fn octets_of_a_log_inside_a_message_are_never_taken_for_records() {
    let world = World { visibility: Visibility::Written, segment_size: 1 << 20, ..World::new() };
    let mut writer = world.writer();
    commit(&mut writer, &[b"first"]);
    // Someone mails the log itself, at every alignment.
    let log = fs::read(world.newest()).expect("readable");
    let mut body = Vec::new();
    for shift in 0..8 {
        body.extend_from_slice(&log);
        body.extend(std::iter::repeat_n(b'.', shift));
    }
    let given = commit(&mut writer, &[&body]);
    commit(&mut writer, &[b"last"]);
    drop(writer);
    flip(&world.newest(), (given[0].0 - base_of(&world.newest()) + 20) * 8);
    let (records, damages) = world.read();
    assert_eq!((bodies(&records), damages.len()), (vec![&b"first"[..], b"last"], 1));
    let (records, _, report) = recover_and_append(&world, Lsn(0));
    assert_eq!(bodies(&records), [&b"first"[..], b"last"]);
    assert_eq!(report.cut.len() + report.damage.len(), 1);
}

#[test]
fn a_footer_that_was_written_but_not_cut_behind_is_found() {
    let world = World::new();
    let originals = killed(&world);
    let mut writer = world.writer();
    commit(&mut writer, &[b"ten"]);
    writer.close().expect("closed");
    let newest = world.newest();
    let len = len_of(&newest);
    overwrite(&newest, &[b'g'; 3000], len);
    forget_position(&world);
    let (records, damages) = world.read();
    assert_eq!((records.len(), damages), (10, vec![]));
    let (records, damages, report) = recover_and_append(&world, originals[8].end);
    assert_eq!((records.len(), damages, report.damage), (10, vec![], vec![]));
    assert_eq!(len_of(&newest), len);
    assert!(len > SEGMENT_HEADER_LEN + FOOTER_LEN);
}

#[test]
fn a_reader_of_a_foreign_directory_finds_nothing() {
    let world = World::new();
    fs::write(world.path().join("notes.tmp"), b"a user's own").expect("written");
    fs::write(world.path().join("x.segment"), b"not ours").expect("written");
    let storage = DirStorage::open(world.path()).expect("open");
    let (records, damages) = drain(&mut Reader::open(storage).expect("readable"));
    assert_eq!((records.len(), damages.len()), (0, 0));
    world.writer().close().expect("closed");
    assert!(world.path().join("notes.tmp").exists());
}
