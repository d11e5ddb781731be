//! Places, ends and heads held against a reader that reads everything, and what it costs to find them.

use mailrace::log::{Entry, Head, Lookup, Place, Reader, Record, Storage, Writer};
use mailrace::message::{Lsn, Message, Timestamp};

use crate::faulty::Faulty;
use crate::world::{NOW, World, drain, flip, forget_position, lsns, message, set_len};

const HEADERS: &[u8] = b"Subject: x\r\nX-Needle: y\r\n\r\n";

/// A message with headers and so many octets of text behind them.
fn text(len: usize) -> Vec<u8> {
    [HEADERS, &vec![b'x'; len]].concat()
}

fn commit_at<S: Storage>(writer: &mut Writer<S>, time: Timestamp, texts: &[Vec<u8>]) -> Vec<Lsn> {
    let given = append_at(writer, time, texts);
    writer.sync().expect("synced");
    writer.publish().expect("published");
    given
}

fn append_at<S: Storage>(writer: &mut Writer<S>, time: Timestamp, texts: &[Vec<u8>]) -> Vec<Lsn> {
    let messages: Vec<Message> = texts.iter().map(|text| message(text)).collect();
    let mut given = Vec::new();
    writer.append(messages.iter(), time, &mut given).expect("appended");
    given
}

fn heads<S: Storage>(reader: &mut Reader<S>) -> (Vec<Head>, usize) {
    let (mut heads, mut damages) = (Vec::new(), 0);
    while let Some(entry) = reader.next_head().expect("readable") {
        match entry {
            Entry::Record(head) => heads.push(head),
            Entry::Damage(_) => damages += 1,
        }
    }
    (heads, damages)
}

/// Batches of a few messages each, a second apart, twice the same second, over several segments.
fn history(world: &World, writer: &mut Writer<mailrace::log::DirStorage>) {
    for batch in 0..60_u64 {
        let len = |index: u64| usize::try_from((batch * 977 + index * 3571) % 9000).expect("small");
        let texts: Vec<Vec<u8>> = (0..3).map(|index| text(len(index))).collect();
        commit_at(writer, Timestamp(NOW.0 + batch / 2 * 1_000_000), &texts);
    }
    assert!(world.segments().len() >= 3);
}

/// Every place worth asking for in a log of these records.
fn places(records: &[Record]) -> Vec<Place> {
    let mut places = vec![Place::Lsn(Lsn(0)), Place::Lsn(Lsn(u64::MAX)), Place::Time(Timestamp(0))];
    places.push(Place::Time(Timestamp(u64::MAX)));
    for record in records.iter().step_by(4) {
        for lsn in [record.receipt.lsn.0 - 8, record.receipt.lsn.0, record.receipt.lsn.0 + 1] {
            places.push(Place::Lsn(Lsn(lsn)));
        }
        for time in [record.received_at.0 - 1, record.received_at.0, record.received_at.0 + 1] {
            places.push(Place::Time(Timestamp(time)));
        }
    }
    places
}

/// Holds seeking against reading everything.
fn check_places(world: &World) {
    let (all, _) = world.read();
    let mut reader = world.reader();
    for place in places(&all) {
        let wanted: Vec<Lsn> = all
            .iter()
            .filter(|record| !place.is_behind(record.receipt.lsn, record.received_at))
            .map(|record| record.receipt.lsn)
            .collect();
        reader.seek(place).expect("readable");
        let (records, damages) = drain(&mut reader);
        assert_eq!((lsns(&records), damages), (wanted, vec![]), "{place:?}");
    }
    for count in [0, 1, 2, 3, 50, 51, 100, 179, 180, 181, u64::MAX] {
        reader.seek_last(count).expect("readable");
        let first = all.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
        assert_eq!(lsns(&drain(&mut reader).0), lsns(&all[first..]), "the last {count}");
    }
}

#[test]
fn a_place_is_found_beside_a_writer_behind_it_and_in_what_it_left() {
    let world = World { segment_size: 256 * 1024, ..World::in_memory() };
    check_places(&world);
    let mut writer = world.writer();
    check_places(&world);
    history(&world, &mut writer);
    check_places(&world);
    drop(writer);
    check_places(&world);
    forget_position(&world);
    check_places(&world);
    world.writer().close().expect("closed");
    check_places(&world);
}

#[test]
fn a_reader_goes_on_from_a_place_as_from_the_start() {
    let world = World { segment_size: 64 * 1024, ..World::new() };
    let mut writer = world.writer();
    history(&world, &mut writer);
    let mut reader = world.reader();
    reader.seek_last(1).expect("readable");
    assert_eq!(drain(&mut reader).0.len(), 1);
    reader.seek(Place::Time(Timestamp(u64::MAX))).expect("readable");
    for _ in 0..20 {
        assert!(!reader.has_news().expect("readable"));
        let given = commit_at(&mut writer, NOW, &[text(9000)]);
        assert!(reader.has_news().expect("readable"));
        reader.refresh().expect("readable");
        assert_eq!(lsns(&drain(&mut reader).0), given);
    }
    writer.close().expect("closed");
    let mut writer = world.writer();
    let given = commit_at(&mut writer, NOW, &[text(9)]);
    assert!(reader.has_news().expect("readable"));
    reader.refresh().expect("readable");
    assert_eq!(lsns(&drain(&mut reader).0), given);
}

#[test]
fn what_is_removed_behind_a_follower_does_not_disturb_it() {
    let world = World { segment_size: 64 * 1024, ..World::new() };
    let mut writer = world.writer();
    history(&world, &mut writer);
    let mut reader = world.reader();
    reader.seek_last(1).expect("readable");
    assert_eq!(drain(&mut reader).0.len(), 1);
    let segments = world.segments();
    for segment in &segments[..segments.len() - 1] {
        std::fs::remove_file(segment).expect("removed");
    }
    let given = commit_at(&mut writer, NOW, &[text(9000), text(9000)]);
    reader.refresh().expect("readable");
    let (records, damages) = drain(&mut reader);
    assert_eq!((lsns(&records), damages), (given, vec![]));
}

#[test]
fn damage_hides_no_place_behind_it() {
    let world = World { segment_size: 256 * 1024, ..World::in_memory() };
    let mut writer = world.writer();
    history(&world, &mut writer);
    writer.close().expect("closed");
    let (all, _) = world.read();
    let base = |path: &std::path::PathBuf| -> u64 {
        path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()).expect("a base")
    };
    for damaged in all.iter().step_by(23) {
        let world = world.copy();
        let lsn = damaged.receipt.lsn;
        let segment = world.segments().into_iter().rfind(|path| base(path) <= lsn.0).expect("a segment");
        flip(&segment, (lsn.0 - base(&segment) + 20) * 8);
        let (left, _) = world.read();
        assert_eq!(left.len(), all.len() - 1);
        let mut reader = world.reader();
        for place in places(&all[..]).into_iter().step_by(5) {
            reader.seek(place).expect("readable");
            let found = lsns(&drain(&mut reader).0);
            let wanted =
                left.iter().filter(|record| !place.is_behind(record.receipt.lsn, record.received_at));
            assert_eq!(found, wanted.map(|record| record.receipt.lsn).collect::<Vec<_>>(), "{place:?}");
        }
        for count in [1, 40, 179] {
            reader.seek_last(count).expect("readable");
            let found = lsns(&drain(&mut reader).0);
            let short = usize::try_from(count).expect("small") - found.len();
            assert!(short <= 1 && lsns(&left).ends_with(&found), "the last {count}");
        }
    }
}

/// A log of 16 MiB in 16 segments behind storage that counts what is read of it.
fn long_log() -> (World, Faulty) {
    let world = World { segment_size: 1 << 20, ..World::in_memory() };
    let mut writer = world.writer();
    for batch in 0..256_u64 {
        let texts: Vec<Vec<u8>> = (0..16).map(|_| text(3900)).collect();
        commit_at(&mut writer, Timestamp(NOW.0 + batch * 1_000_000), &texts);
    }
    drop(writer);
    assert!(world.segments().len() >= 16);
    let storage = Faulty::new(world.storage());
    (world, storage)
}

#[test]
fn a_place_is_found_by_reading_a_small_part_of_the_log() {
    const FEW: usize = 512 * 1024;
    let (world, storage) = long_log();
    world.writer().close().expect("closed");
    let mut reader = Reader::open(storage.clone()).expect("readable");
    let octets_read = || std::mem::take(&mut storage.plan().octets_read);
    let (all, _) = world.read();
    for record in all.iter().step_by(97) {
        for place in [Place::Lsn(record.receipt.lsn), Place::Time(record.received_at)] {
            octets_read();
            reader.seek(place).expect("readable");
            let Some(Entry::Record(found)) = reader.next_head().expect("readable") else {
                panic!("{place:?}")
            };
            assert_eq!(found.received_at, record.received_at);
            let read = octets_read();
            assert!(read <= FEW, "{place:?}: {read} octets read");
        }
    }
    octets_read();
    reader.seek_last(10).expect("readable");
    let read = octets_read();
    assert!(read <= 32 * 1024, "{read} octets read to find the last ten");
}

#[test]
fn heads_are_those_of_the_messages_and_their_texts_are_not_read() {
    let world = World { segment_size: 8 << 20, ..World::in_memory() };
    let mut writer = world.writer();
    for _ in 0..5 {
        commit_at(&mut writer, NOW, &[text(0), text(1 << 20), text(70), text(1 << 20)]);
    }
    let storage = Faulty::new(world.storage());
    let (heads, damages) = heads(&mut Reader::open(storage.clone()).expect("readable"));
    assert_eq!((heads.len(), damages), (20, 0));
    let read = storage.plan().octets_read;
    assert!(read < 1 << 20, "{read} octets read of 10 MiB");
    for (head, record) in heads.iter().zip(world.read().0) {
        assert_eq!((head.receipt, head.end), (record.receipt, record.end));
        assert_eq!((head.sequence, head.received_at), (record.sequence, record.received_at));
        assert_eq!(head.envelope, record.envelope);
        assert_eq!(&head.header_section[..], HEADERS);
        assert_eq!(head.body_len, record.body.len() as u64);
    }
}

/// Heads must be those of exactly the messages that a reader of everything finds.
fn check_heads(world: &World, case: &str) {
    let found: Vec<Lsn> = heads(&mut world.reader()).0.iter().map(|head| head.receipt.lsn).collect();
    assert_eq!(found, lsns(&world.read().0), "{case}");
}

#[test]
fn a_torn_message_has_no_head() {
    let world = World::in_memory();
    let mut writer = world.writer();
    let whole = commit_at(&mut writer, NOW, &[text(100), text(2000)]);
    let torn = append_at(&mut writer, NOW, &[text(3000), text(3000)]);
    drop(writer);
    forget_position(&world);
    assert_eq!(world.read().0.len(), whole.len() + torn.len());
    let len = world.newest().metadata().expect("metadata").len();
    for cut in (torn[0].0..len).step_by(40) {
        let world = world.copy();
        set_len(&world.newest(), cut);
        check_heads(&world, &format!("cut at {cut}"));
        world.writer().close().expect("closed");
        check_heads(&world, &format!("cut at {cut} and recovered"));
    }
    // The text of the first torn message is lost, the second one is there.
    flip(&world.newest(), (torn[0].0 + 2000) * 8);
    check_heads(&world, "a hole");
    assert_eq!(world.read().0.len(), 3);
    world.writer().close().expect("closed");
    check_heads(&world, "a hole, recovered");
}

#[test]
fn damage_in_a_text_is_told_when_the_text_is_wanted() {
    let world = World::new();
    let mut writer = world.writer();
    let given = commit_at(&mut writer, NOW, &[text(500), text(500), text(500)]);
    writer.close().expect("closed");
    // In the text of the first message, and in the header section of the second.
    flip(&world.newest(), (given[1].0 - 100) * 8);
    flip(&world.newest(), (given[2].0 - 530) * 8);
    let mut reader = world.reader();
    let Some(Entry::Record(head)) = reader.next_head().expect("readable") else {
        panic!("the head is intact")
    };
    assert_eq!(head.receipt.lsn, given[0]);
    assert!(
        matches!(reader.whole(&head).expect("readable"), Lookup::Damaged(damage) if damage.from == given[0])
    );
    assert!(matches!(reader.next_head().expect("readable"), Some(Entry::Damage(_))));
    let Some(Entry::Record(last)) = reader.next_head().expect("readable") else { panic!("nothing hides it") };
    assert!(
        matches!(reader.whole(&last).expect("readable"), Lookup::Found(record) if record.body == text(500))
    );
    // Of a message that was handed out earlier as well.
    assert!(reader.next_head().expect("readable").is_none());
    assert!(matches!(reader.whole(&last).expect("readable"), Lookup::Found(_)));
    let Lookup::Found(found) = reader.get_head(head.receipt).expect("readable") else { panic!("{head:?}") };
    assert_eq!(&found.header_section[..], HEADERS);
    assert!(matches!(reader.get(head.receipt).expect("readable"), Lookup::Damaged(_)));
    let second = mailrace::message::Receipt { lsn: given[1], ..head.receipt };
    assert!(matches!(reader.get_head(second).expect("readable"), Lookup::Damaged(_)));
}
