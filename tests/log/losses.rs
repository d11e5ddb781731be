//! Logs that lack whole segments or hold foreign ones: what is missed is said, and everything else is read.

use std::fs;

use mailrace::log::{DamageReason, OpenError, ReadError, Writer};
use mailrace::message::{Lsn, Partition};

use crate::recovery::{base_of, killed, recover_and_append};
use crate::world::{NOW, World, commit, flip, overwrite};

#[test]
fn a_missing_segment_is_reported_and_the_others_are_read() {
    for missing in 0..3 {
        let world = World::new();
        let originals = killed(&world);
        fs::remove_file(&world.segments()[missing]).expect("removed");
        let (records, damages) = world.read();
        assert_eq!(records.len(), if missing == 2 { 4 } else { 7 });
        let reported: Vec<DamageReason> = damages.iter().map(|damage| damage.reason).collect();
        match missing {
            0 | 1 => assert_eq!(reported, [DamageReason::SegmentsMissing]),
            _ => assert_eq!(reported, [DamageReason::EndLost]),
        }
        let (records, damages, report) = recover_and_append(&world, originals[8].end);
        assert_eq!(records.len(), if missing == 2 { 4 } else { 7 });
        assert!(!damages.is_empty(), "missing {missing}: reported for ever");
        assert_eq!(report.damage.is_empty(), missing != 2);
    }
}

#[test]
fn the_oldest_segments_are_missed_from_position_0_on_whatever_is_left_of_the_next() {
    for missing in 1..3 {
        for header_lost in [false, true] {
            let world = World::new();
            killed(&world);
            let segments = world.segments();
            segments[..missing].iter().for_each(|path| fs::remove_file(path).expect("removed"));
            if header_lost {
                [33, 2048 + 33].iter().for_each(|octet| flip(&segments[missing], octet * 8));
            }
            let first = &world.read().1[0];
            let expected = (Lsn(0), Lsn(base_of(&segments[missing])), DamageReason::SegmentsMissing);
            assert_eq!((first.from, first.to, first.reason), expected, "{missing} missing");
        }
    }
}

#[test]
fn behind_a_first_segment_without_a_usable_header_none_is_missed() {
    let world = World::new();
    let mut writer = world.writer();
    let given = commit(&mut writer, &[b"lost"]);
    drop(writer);
    [33, 2048 + 33].iter().for_each(|octet| flip(&world.newest(), octet * 8));
    // The next segment names none before it.
    let (records, damages, _) = recover_and_append(&world, given[0]);
    let reasons: Vec<DamageReason> = damages.iter().map(|damage| damage.reason).collect();
    assert_eq!((records.len(), reasons), (0, vec![DamageReason::SegmentHeaderLost]));
}

#[test]
fn a_log_whose_segments_are_all_gone_is_reported_and_goes_on_behind_them() {
    let world = World::new();
    let originals = killed(&world);
    for path in world.segments() {
        fs::remove_file(path).expect("removed");
    }
    assert_eq!(world.read().1.len(), 1);
    let (records, damages, report) = recover_and_append(&world, originals[8].end);
    assert_eq!((records.len(), damages.len(), report.damage.len()), (0, 1, 1));
}

#[test]
fn an_exchanged_segment_is_reported() {
    let (world, other) = (World::new(), World::new());
    killed(&world);
    killed(&other);
    fs::copy(&other.segments()[1], &world.segments()[1]).expect("copied");
    let reasons: Vec<DamageReason> = world.read().1.iter().map(|damage| damage.reason).collect();
    assert_eq!(reasons, [DamageReason::SegmentsMissing, DamageReason::SegmentsMissing]);
}

#[test]
fn any_position_file_will_do() {
    let (world, other) = (World::new(), World::new());
    let originals = killed(&world);
    killed(&other);
    // What the other log calls durable lies far behind the end of this one.
    commit(&mut other.writer(), &[&[b'x'; 50_000]]);
    let good = fs::read(world.path().join("position")).expect("readable");
    let foreign = fs::read(other.path().join("position")).expect("readable");
    for octets in [&b""[..], b"garbage", &[0xFF; 128], &good[..64], &good[..100], &foreign] {
        let copy = world.copy();
        fs::write(copy.path().join("position"), octets).expect("written");
        let (records, damages) = copy.read();
        assert_eq!((records.len(), damages), (9, vec![]));
        let (records, damages, report) = recover_and_append(&copy, originals[8].end);
        assert_eq!((records.len(), damages, report.damage), (9, vec![], vec![]));
    }
}

#[test]
fn a_segment_without_a_usable_header_is_damage_as_a_whole() {
    for segment in 0..3 {
        let world = World::new();
        let originals = killed(&world);
        let path = world.segments()[segment].clone();
        flip(&path, 33 * 8);
        let (records, damages) = world.read();
        assert_eq!((records.len(), damages[0].reason), (9, DamageReason::SegmentHeader), "the copy serves");
        flip(&path, (2048 + 33) * 8);
        let octets = fs::read(&path).expect("readable");
        let (records, damages) = world.read();
        assert_eq!(records.len(), if segment == 2 { 4 } else { 7 });
        assert_eq!(damages[0].reason, DamageReason::SegmentHeaderLost);
        let (records, damages, _) = recover_and_append(&world, originals[8].end);
        assert_eq!(records.len(), if segment == 2 { 4 } else { 7 });
        assert!(damages.iter().any(|damage| damage.reason == DamageReason::SegmentHeaderLost));
        assert_eq!(fs::read(&path).expect("readable"), octets, "kept as it is");
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let world = World::new();
    killed(&world);
    let newest = world.newest();
    for at in [0, 2048] {
        let mut fields = fs::read(&newest).expect("readable")[at..at + 124].to_vec();
        fields[8] = 9;
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &fields) as u32;
        overwrite(&newest, &fields, at as u64);
        overwrite(&newest, &crc.to_le_bytes(), at as u64 + 124);
    }
    let name = newest.file_name().and_then(|name| name.to_str()).expect("a name");
    let before = world.contents();
    let error = Writer::open(world.storage(), world.options(), NOW).expect_err("refused");
    assert!(matches!(&error, OpenError::NewerFormat { file, version: 9 } if file == name), "{error}");
    assert_eq!(world.contents(), before, "and left alone");
    let mut reader = world.reader();
    let error = loop {
        match reader.next_entry() {
            Ok(entry) => assert!(entry.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::NewerFormat { version: 9, .. }), "{error}");
}

#[test]
fn another_partition_is_refused() {
    let world = World::new();
    killed(&world);
    let options = mailrace::log::WriterOptions { partition: Partition(1), ..world.options() };
    assert!(matches!(
        Writer::open(world.storage(), options, NOW),
        Err(OpenError::WrongPartition { found: Partition(0), wanted: Partition(1) })
    ));
}
