//! Lack of space: the batch is refused whole, nothing of it survives, and the log heals by itself.

use std::sync::atomic::AtomicBool;

use mailrace::log::{AppendError, Visibility, Writer, prepare, prepare_unless};
use mailrace::message::{Lsn, Message, Timestamp};

use crate::faulty::{EMFILE, ENOSPC, Faulty};
use crate::world::{NOW, World, bodies, commit, message, overwrite};

struct Disk {
    world: World,
    storage: Faulty,
    writer: Writer<Faulty>,
}

impl Disk {
    fn new(visibility: Visibility) -> Self {
        let world = World { visibility, ..World::new() };
        let storage = Faulty::new(world.storage());
        let writer = Writer::open(storage.clone(), world.options(), NOW).expect("an open log").0;
        Self { world, storage, writer }
    }

    fn append(&mut self, batch: &[Message], milliseconds: i64) -> Result<Vec<Lsn>, AppendError> {
        let now = Timestamp(NOW.0.checked_add_signed(milliseconds * 1000).expect("a time"));
        let mut lsns = vec![Lsn(1)];
        let result = self.writer.append(batch.iter(), now, &mut lsns);
        assert_eq!(lsns.is_empty(), result.is_err(), "no position for a batch that was refused");
        result.map(|()| lsns)
    }

    fn publish(&mut self) {
        self.writer.sync().expect("synced");
        self.writer.publish().expect("published");
    }
}

fn no_space(result: &Result<Vec<Lsn>, AppendError>) -> bool {
    matches!(result, Err(AppendError::NoSpace(_)))
}

#[test]
fn a_batch_that_finds_no_space_leaves_nothing_behind() {
    let batch = [message(&[b'x'; 900]), message(&[b'y'; 900]), message(&[b'z'; 900])];
    // Whatever part of the batch got to the disk: none, a torn header, whole records.
    for space in [0, 1, 50, 200, 1200, 2500, 3000] {
        let mut disk = Disk::new(Visibility::Durable);
        commit(&mut disk.writer, &[b"before"]);
        disk.storage.plan().space = Some(space);
        assert!(no_space(&disk.append(&batch, 0)), "space for {space} octets");
        disk.publish();
        assert_eq!(bodies(&disk.world.read().0), [b"before"]);
        let at_the_crash = disk.world.copy();
        drop(disk.writer);
        let (records, damages) = at_the_crash.read();
        assert_eq!((bodies(&records), damages), (vec![&b"before"[..]], vec![]), "space {space}");
        let mut writer = at_the_crash.writer();
        commit(&mut writer, &[b"behind"]);
        let (records, damages) = at_the_crash.read();
        assert_eq!((bodies(&records), damages), (vec![&b"before"[..], b"behind"], vec![]), "space {space}");
    }
}

#[test]
fn the_log_heals_when_there_is_room_and_asks_no_more_than_every_tenth_of_a_second() {
    let mut disk = Disk::new(Visibility::Durable);
    commit(&mut disk.writer, &[b"before"]);
    disk.storage.plan().space = Some(10);
    assert!(no_space(&disk.append(&[message(b"refused")], 0)));
    disk.storage.plan().trace.clear();
    for milliseconds in [0, 50, 99] {
        assert!(no_space(&disk.append(&[message(b"refused")], milliseconds)));
    }
    assert_eq!(disk.storage.plan().trace, [""; 0], "the file system is left alone meanwhile");
    assert!(no_space(&disk.append(&[message(b"refused")], 100)));
    assert_ne!(disk.storage.plan().trace, [""; 0]);
    disk.storage.plan().space = None;
    assert!(no_space(&disk.append(&[message(b"refused")], 199)));
    disk.append(&[message(b"behind")], 200).expect("room again");
    disk.publish();
    assert_eq!(bodies(&disk.world.read().0), [&b"before"[..], b"behind"]);
    assert_eq!(disk.world.segments().len(), 2);
}

#[test]
fn a_clock_that_steps_back_does_not_prolong_the_outage() {
    let mut disk = Disk::new(Visibility::Durable);
    disk.storage.plan().space = Some(0);
    assert!(no_space(&disk.append(&[message(b"refused")], 0)));
    disk.storage.plan().space = None;
    disk.append(&[message(b"taken")], -3_600_000).expect("room again");
}

#[test]
fn a_full_disk_is_not_filled_with_empty_segments() {
    let mut disk = Disk::new(Visibility::Durable);
    commit(&mut disk.writer, &[b"before"]);
    for attempt in 0..20 {
        // Room for a footer and a segment header each time, never for the record.
        disk.storage.plan().space = Some(4096 + 112 + 300);
        assert!(no_space(&disk.append(&[message(&[b'x'; 5000])], attempt * 100)));
    }
    assert_eq!(disk.world.segments().len(), 2);
    disk.storage.plan().space = None;
    disk.append(&[message(b"behind")], 10_000).expect("room again");
    disk.publish();
    let (records, damages) = disk.world.read();
    assert_eq!((bodies(&records), damages), (vec![&b"before"[..], b"behind"], vec![]));
}

#[test]
fn what_a_refused_batch_left_in_an_empty_segment_is_cut_off_durably() {
    let mut disk = Disk::new(Visibility::Durable);
    disk.storage.plan().space = Some(300);
    disk.storage.plan().trace.clear();
    assert!(no_space(&disk.append(&[message(&[b'x'; 900])], 0)));
    let segment = "00000000000000000000.segment";
    let calls = ["write", "write", "truncate", "sync"].map(|call| format!("{call} {segment}"));
    assert_eq!(disk.storage.plan().trace, calls);
}

#[test]
fn lack_of_space_reported_by_a_sync_is_final_wherever_it_is_met() {
    const LARGE: usize = 64 * 1024;
    // Sealing a segment, making the next one's name durable, cutting off a refused batch.
    for (calls, len, space) in
        [("sync 0000", LARGE, None), ("syncdir", LARGE, None), ("sync 0000", 900, Some(300))]
    {
        let mut disk = Disk::new(Visibility::Durable);
        disk.storage.plan().space = space;
        disk.storage.fail(calls, ENOSPC);
        let batch = [message(&vec![b'x'; len])];
        assert!(matches!(disk.append(&batch, 0), Err(AppendError::Failed(_))), "{calls}");
        disk.storage.plan().space = None;
        disk.storage.plan().fault = None;
        disk.storage.plan().trace.clear();
        assert!(matches!(disk.append(&batch, 1000), Err(AppendError::Failed(_))), "{calls}");
        assert_eq!(disk.storage.plan().trace, [""; 0], "{calls}: no system call after the failure");
    }
}

#[test]
fn records_written_but_not_synced_stay_when_the_next_batch_finds_no_space() {
    let mut disk = Disk::new(Visibility::Written);
    disk.append(&[message(b"acknowledged from the page cache")], 0).expect("appended");
    disk.writer.publish().expect("published");
    disk.storage.plan().space = Some(100);
    assert!(no_space(&disk.append(&[message(b"refused")], 1)));
    disk.storage.plan().space = None;
    disk.append(&[message(b"behind")], 200).expect("room again");
    disk.writer.publish().expect("published");
    assert_eq!(bodies(&disk.world.read().0), [&b"acknowledged from the page cache"[..], b"behind"]);
    drop(disk.writer);
    assert_eq!(bodies(&disk.world.read().0), [&b"acknowledged from the page cache"[..], b"behind"]);
}

#[test]
fn no_step_of_a_change_of_segments_loses_a_message_for_lack_of_space() {
    for calls in ["create segment", "write segment", "sync segment", "rename", "truncate", "write 0000"] {
        let mut disk = Disk::new(Visibility::Durable);
        disk.writer.close().expect("closed");
        disk.writer = Writer::open(disk.storage.clone(), disk.world.options(), NOW).expect("an open log").0;
        let mut acknowledged = 0;
        let body = [b'x'; 9000];
        for attempt in 0..40 {
            let full = attempt % 4 == 3;
            disk.storage.plan().fault = full.then(|| (calls.to_owned(), ENOSPC, 0));
            match disk.append(&[message(&body)], attempt * 200) {
                Ok(_) if calls == "sync segment" && full => {
                    // The sync of a record would be final: this attempt changed no segment.
                    disk.storage.plan().fault = None;
                    disk.publish();
                    acknowledged += 1;
                }
                Ok(_) => {
                    disk.publish();
                    acknowledged += 1;
                }
                Err(AppendError::NoSpace(_)) => {}
                Err(AppendError::Failed(error)) => {
                    assert!(calls == "sync segment", "{calls}: {error}");
                    break;
                }
            }
        }
        disk.storage.plan().fault = None;
        drop(disk.writer);
        let (records, damages) = disk.world.read();
        assert_eq!((records.len(), damages), (acknowledged, vec![]), "{calls}");
    }
}

#[test]
fn a_server_starts_on_a_full_disk_and_heals() {
    let world = World::new();
    world.writer().close().expect("closed");
    let storage = Faulty::new(world.storage());
    storage.fail("write segment", ENOSPC);
    let (mut writer, _) = Writer::open(storage.clone(), world.options(), NOW).expect("an open log");
    let mut lsns = Vec::new();
    let refused = writer.append([message(b"x")].iter(), NOW, &mut lsns);
    assert!(matches!(refused, Err(AppendError::NoSpace(_))));
    let crashed = world.copy();
    assert_eq!(crashed.recover().1.damage, vec![], "a start without room leaves no trace of damage");
    assert_eq!(world.read().1, vec![]);
    storage.plan().fault = None;
    let later = Timestamp(NOW.0 + 100_000);
    writer.append([message(b"x")].iter(), later, &mut lsns).expect("room again");
    writer.sync().expect("synced");
    writer.publish().expect("published");
    assert_eq!(bodies(&world.read().0), [b"x"]);
}

#[test]
fn the_last_room_on_a_disk_is_left_for_mail() {
    const SIZE: u64 = 64 * 1024;
    let world = World::new();
    let storage = Faulty::new(world.storage());
    for (space, has_room) in [(0, false), (SIZE, false), (2 * SIZE - 1, false), (2 * SIZE, true)] {
        storage.plan().space = Some(space as usize);
        assert_eq!(prepare(&storage, SIZE).is_ok(), has_room, "{space} octets are free");
        assert_eq!(world.contents().is_empty(), !has_room, "nothing is left of a file that was not wanted");
    }
}

#[test]
fn a_lack_of_descriptors_for_a_segment_heals_like_a_lack_of_space() {
    let mut disk = Disk::new(Visibility::Durable);
    let body = [b'x'; 9000];
    disk.storage.fail("create", EMFILE);
    let refused = (0..10).map(|attempt| disk.append(&[message(&body)], attempt)).find(Result::is_err);
    assert!(no_space(&refused.expect("the segment is full before that")));
    disk.storage.plan().fault = None;
    disk.append(&[message(b"behind")], 1000).expect("descriptors again");
    disk.publish();
    assert_eq!(bodies(&disk.world.read().0).last(), Some(&&b"behind"[..]));
}

#[test]
fn a_log_without_room_for_its_last_footer_ends_in_order() {
    let mut disk = Disk::new(Visibility::Durable);
    commit(&mut disk.writer, &[b"kept"]);
    disk.storage.plan().space = Some(10);
    disk.writer.close().expect("all records are durable");
    let (report, records) = (disk.world.recover().1, disk.world.read().0);
    assert_eq!((report.damage, bodies(&records)), (vec![], vec![&b"kept"[..]]));
}

#[test]
fn starts_that_fail_for_lack_of_space_leave_no_copies_behind() {
    let world = World::new();
    let mut writer = world.writer();
    commit(&mut writer, &[b"kept"]);
    drop(writer);
    let len = world.newest().metadata().expect("metadata").len();
    overwrite(&world.newest(), &[b'~'; 3000], len);
    let storage = Faulty::new(world.storage());
    storage.plan().space = Some(100);
    for _ in 0..3 {
        assert!(Writer::open(storage.clone(), world.options(), NOW).is_err(), "no room for what is cut off");
        let copies = world.contents().into_keys().filter(|name| name.starts_with("quarantine/")).count();
        assert_eq!(copies, 0);
    }
    storage.plan().space = None;
    let (_, report) = Writer::open(storage, world.options(), NOW).expect("room again");
    assert_eq!(report.cut.len(), 1);
}

#[test]
fn a_segment_that_is_not_wanted_any_more_is_given_up_and_removed() {
    let world = World::new();
    let given_up = prepare_unless(&Faulty::new(world.storage()), 1 << 20, &AtomicBool::new(true));
    assert_eq!(given_up.map(drop).map_err(|error| error.kind()), Err(std::io::ErrorKind::Interrupted));
    assert!(world.contents().is_empty());
}
