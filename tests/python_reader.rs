//! The Python reader held against `mailrace log cat`: the same lines and the same exit code, whatever the log has
//! been through.
//!
//! Where the two differ one of them is wrong, or `docs/format.md` is.

#[allow(dead_code, reason = "each test binary uses its part")]
#[path = "log/world.rs"]
mod world;

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use mailrace::message::envelope::MailParameters;
use mailrace::message::{Body, Envelope, EnvelopeBuilder, Greeting, Message, Timestamp};
use mailrace_support::conversation::{Conversation, on_the_wire};
use mailrace_support::peer::not_run;
use mailrace_support::process::Setup;
use mailrace_support::program::{Finished, PROGRAM_DEADLINE, run, wait};
use mailrace_support::readback::Log;
use mailrace_support::rng::Rng;
use world::{NOW, World, commit, flip, forget_position, message, overwrite, set_len};

const MAILRACE: &str = env!("CARGO_BIN_EXE_mailrace");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/mailrace_log.py");
/// The script has fewer lines than this, as the README says.
const LINES_BOUND: usize = 150;
/// Logs damaged at random, each in its own way.
const DAMAGED_LOGS: u64 = 36;

/// False, and said so in the report, where there is no Python.
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        not_run("Python reader", "there is no python3");
    }
    found
}

fn python(data_dir: &Path) -> Finished {
    run("python3", [Path::new(SCRIPT), data_dir])
}

/// Reads with both, holds one against the other, and gives what ours printed.
#[track_caller]
fn both(data_dir: &Path, case: &str) -> Finished {
    let ours = Log { binary: MAILRACE, data_dir }.run("cat", &[]);
    let theirs = python(data_dir);
    let said = format!("{case}\nlog cat: {}\npython: {}", ours.stderr, theirs.stderr);
    assert_eq!(theirs.code(), ours.code(), "exit codes: {said}");
    assert_eq!(theirs.stderr.is_empty(), ours.stderr.is_empty(), "{said}");
    for (theirs, ours) in theirs.text().lines().zip(ours.text().lines()) {
        assert_eq!(shortened(theirs), shortened(ours), "{said}");
    }
    assert!(theirs.stdout == ours.stdout, "not the same octets: {said}");
    ours
}

/// The start of a line: what goes wrong in a message of some size would fill screens.
fn shortened(line: &str) -> String {
    line.chars().take(2000).collect()
}

fn lines(finished: &Finished) -> usize {
    finished.text().lines().count()
}

/// The position at which a segment file begins.
fn base(segment: &Path) -> u64 {
    let name = segment.file_stem().and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).expect("a segment is named after its first position")
}

/// Bodies that are easy to get wrong: for a segment of 8 KiB the last is too large.
fn odd_bodies() -> Vec<Vec<u8>> {
    let every_octet: Vec<u8> = (0..=255).collect();
    vec![
        Vec::new(),
        b"\r\n".to_vec(),
        b"\0".to_vec(),
        b".\r\n..\r\n.x\r\n".to_vec(),
        b"Subject: no empty line\r\n".to_vec(),
        b"Subject: headers\r\n\r\nbody\xFF\xFE\r\n".to_vec(),
        b"MRRC MRFOOTER MRRECEND".repeat(8),
        every_octet.repeat(5),
        every_octet.repeat(80),
    ]
}

/// Envelopes with all that a client may say and much that it may not.
fn odd_envelopes() -> Vec<Envelope> {
    let peers = ["192.0.2.1:1", "[2001:db8::1]:65535", "127.0.0.1:25", "[::]:0", "[1:0:0:2:0:0:0:3]:9"];
    let arguments: [&[u8]; 5] =
        [b"client.example", b"", b"[IPv6:::1]", b"\xC3\x28 \"\\\x7F\x01", b"\xE2\x82"];
    let paths: [&[u8]; 6] = [
        b"",
        b"\"a \\\" b\\\\\"@example.org",
        "d\u{f6}rte@\u{4f8b}\u{3048}.example".as_bytes(),
        b"\xFF\xF0\x90@example.org",
        b"\xED\xA0\x80\xF4\x90\x80\x80@example.org",
        b"postmaster",
    ];
    let parameters = MailParameters { eight_bit: true, smtputf8: true, size: Some(u64::MAX) };
    let envelope = |index: usize| {
        let peer: SocketAddr = peers[index % peers.len()].parse().expect("an address");
        let greeting = if index.is_multiple_of(2) { Greeting::Ehlo } else { Greeting::Helo };
        let local = index.is_multiple_of(3).then_some(peer);
        let session = EnvelopeBuilder::new(peer, local, greeting, arguments[index % arguments.len()]);
        let given = if index.is_multiple_of(4) { parameters } else { MailParameters::default() };
        let mut envelope = session.transaction(paths[index % paths.len()], given);
        paths.iter().take(index % 7).for_each(|path| envelope.forward_path(path));
        envelope.finish()
    };
    (0..30).map(envelope).collect()
}

/// A log of odd messages over several segments, its writer closed in order.
fn odd_log() -> World {
    let world = World { segment_size: 8192, ..World::in_memory() };
    let mut writer = world.writer();
    let bodies = odd_bodies();
    let odd = odd_envelopes().into_iter().enumerate();
    let messages: Vec<Message> = odd
        .map(|(index, envelope)| Message { envelope, body: Body::from(&bodies[index % bodies.len()][..]) })
        .collect();
    let (mut given, count) = (Vec::new(), messages.len());
    for (index, batch) in messages.chunks(2).enumerate() {
        let last = 2 * index + 2 >= count;
        let now = if last { Timestamp(u64::MAX) } else { NOW };
        writer.append(batch.iter(), now, &mut given).expect("appended");
        writer.sync().expect("synced");
        writer.publish().expect("published");
    }
    writer.close().expect("closed");
    assert!(world.segments().len() > 3);
    world
}

#[test]
fn the_script_is_as_short_as_promised() {
    let script = fs::read_to_string(SCRIPT).expect("the script is there");
    assert!(script.lines().count() < LINES_BOUND, "{} lines", script.lines().count());
}

#[test]
fn odd_messages_over_several_segments_are_printed_alike() {
    if !has_python() {
        return;
    }
    let world = odd_log();
    let printed = both(world.path(), "odd messages");
    assert_eq!((printed.code(), lines(&printed)), (0, odd_envelopes().len()));
}

#[test]
fn an_empty_log_and_no_log_are_told_apart() {
    if !has_python() {
        return;
    }
    let world = World::new();
    assert_eq!(both(world.path(), "an empty directory").code(), 66);
    fs::write(world.path().join("notes.segment"), b"none of ours").expect("written");
    assert_eq!(both(world.path(), "a directory without a log").code(), 66);
    drop(world.writer());
    assert_eq!(both(world.path(), "no messages").code(), 0);
    assert_eq!(both(&world.path().join("nowhere"), "no directory").code(), 66);
    assert_eq!(both(&world.newest(), "a file").code(), 66);
}

#[test]
fn a_log_that_may_not_be_read_is_told_by_the_exit_code() {
    // Root may read everything, so it becomes somebody else first.
    const AS_NOBODY: &str = "import os, sys; sys.path.insert(0, sys.argv[1]); import mailrace_log as log\n\
                             if os.getuid() == 0: os.setuid(65534)\n\
                             sys.exit(log.main(sys.argv[2]))";
    if !has_python() {
        return;
    }
    let world = World::in_memory();
    let mut writer = world.writer();
    commit(&mut writer, &[b"one"]);
    drop(writer);
    let mode = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    };
    let files = [world.path().join("lock"), world.path().join("position"), world.newest()];
    let scripts = Path::new(SCRIPT).parent().expect("a folder");
    for refused in [world.path(), &files[0], &files[1], &files[2]] {
        files.iter().for_each(|path| mode(path, 0o755));
        mode(world.path(), 0o755);
        mode(refused, 0);
        let theirs = run("python3", [Path::new("-Bc"), Path::new(AS_NOBODY), scripts, world.path()]);
        mode(world.path(), 0o755);
        assert_eq!((theirs.code(), theirs.text().as_str()), (77, ""), "{refused:?}: {}", theirs.stderr);
    }
}

#[test]
fn nothing_is_shown_before_the_writer_published_it() {
    if !has_python() {
        return;
    }
    let world = World { segment_size: 8192, ..World::new() };
    let mut writer = world.writer();
    let mut given = Vec::new();
    for round in 0..6 {
        let batch = [message(&[b'x'; 2500]), message(b"short")];
        writer.append(batch.iter(), NOW, &mut given).expect("appended");
        assert_eq!(lines(&both(world.path(), "written")), 2 * round);
        writer.sync().expect("synced");
        assert_eq!(lines(&both(world.path(), "synced")), 2 * round);
        writer.publish().expect("published");
        assert_eq!(lines(&both(world.path(), "published")), 2 * round + 2);
    }
}

#[test]
fn beside_a_running_server_each_message_is_there_after_its_250() {
    if !has_python() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let setup = Setup::new(MAILRACE, &dir.path().join("data")).arguments(["--segment-size", "64KiB"]);
    let server = setup.start();
    let mut client = Conversation::hello(server.address()).expect("a connection");
    let mut stored = 0;
    let large = b"0123456789abcdef\r\n".repeat(10_000);
    let texts: [&[u8]; 5] = [b"", b".\r\n..\r\n", b"\0\xFF\r\n", &large, b"Subject: x\r\n\r\n"];
    for text in texts {
        let commands = "MAIL FROM:<> SMTPUTF8 BODY=8BITMIME\r\nRCPT TO:<\"a \\\" b\"@example.net>\r\n\
                        RCPT TO:<d\u{f6}rte@example.net>\r\nDATA\r\n";
        client.send(commands.as_bytes()).expect("sent");
        for code in [250, 250, 250, 354] {
            client.expect(code).expect("as wanted");
        }
        client.send(&on_the_wire(text)).expect("sent");
        client.expect(250).expect("stored");
        stored += 1;
        let printed = both(server.data_dir(), "beside a server");
        assert_eq!((printed.code(), lines(&printed)), (0, stored));
    }
    let data_dir = server.data_dir().to_owned();
    server.kill();
    assert_eq!(lines(&both(&data_dir, "after a crash")), stored);
}

#[test]
fn a_torn_tail_ends_the_log_quietly_and_a_lost_end_does_not() {
    if !has_python() {
        return;
    }
    let world = World { segment_size: 8192, ..World::in_memory() };
    let mut writer = world.writer();
    commit(&mut writer, &[b"one", b"two"]);
    let durable = writer.positions().durable.0;
    let mut given = Vec::new();
    let batch = [message(&[b'x'; 700]), message(b"\0"), message(b"last")];
    writer.append(batch.iter(), NOW, &mut given).expect("appended");
    let end = writer.positions().written.0;
    drop(writer);
    let mut lengths: Vec<u64> = (4000..end).step_by(113).collect();
    lengths.extend([durable - 8, durable, durable + 8, given[1].0, end - 16, end - 1, end, end + 3000]);
    for len in lengths {
        for with_position in [true, false] {
            let torn = world.copy();
            set_len(&torn.newest(), len);
            if !with_position {
                forget_position(&torn);
            }
            let printed = both(torn.path(), &format!("{len} octets of {end}, position {with_position}"));
            let intact = len >= durable || (!with_position && len >= 4096);
            assert_eq!(printed.code(), i32::from(!intact), "{len}: {}", printed.stderr);
            drop(torn.writer());
            both(torn.path(), &format!("{len} octets of {end}, position {with_position}, recovered"));
        }
    }
}

#[test]
fn a_record_written_out_of_order_is_shown_behind_the_hole() {
    if !has_python() {
        return;
    }
    let world = World::in_memory();
    let mut writer = world.writer();
    commit(&mut writer, &[b"one"]);
    let mut given = Vec::new();
    let batch = [message(b"never arrived"), message(b"arrived")];
    writer.append(batch.iter(), NOW, &mut given).expect("appended");
    drop(writer);
    overwrite(&world.newest(), &[0; 64], given[0].0);
    let printed = both(world.path(), "a hole in the last batch");
    assert_eq!((printed.code(), lines(&printed)), (0, 2));
    // A later batch that knew it to be durable makes the same hole damage.
    let mut writer = world.writer();
    given = commit(&mut writer, &[b"three"]);
    commit(&mut writer, &[b"four"]);
    drop(writer);
    let base = base(&world.newest());
    overwrite(&world.newest(), &[0; 64], given[0].0 - base);
    forget_position(&world);
    assert_eq!(both(world.path(), "a hole that was durable").code(), 1);
}

#[test]
fn a_flipped_bit_hides_one_record_and_no_other() {
    if !has_python() {
        return;
    }
    let world = World::in_memory();
    let mut writer = world.writer();
    let given = commit(&mut writer, &[&b"Subject: x\r\n\r\nbody\r\n"[..]; 3]);
    writer.close().expect("closed");
    let segment = fs::read(world.newest()).expect("readable");
    let (start, end) = (usize::try_from(given[1].0).expect("small"), given[2].0);
    let text = segment[start..].windows(8).position(|octets| octets == b"Subject:").expect("it is there");
    let text = (start + text) as u64;
    assert_ne!((text + 20) % 8, 0, "the record has padding");
    let header = start as u64;
    for octet in
        [header, header + 60, header + 95, header + 103, text, text + 15, end - 17, end - 16, end - 1]
    {
        let world = world.copy();
        flip(&world.newest(), octet * 8 + 3);
        let printed = both(world.path(), &format!("octet {}", octet - header));
        assert_eq!((printed.code(), lines(&printed)), (1, 2), "octet {}", octet - header);
        assert!(python(world.path()).stderr.contains(&format!("position {header}..")), "it says where");
    }
}

#[test]
fn magics_in_a_message_behind_damage_cost_no_checksum_each() {
    // Prints over how many octets checksums were computed while a log was read.
    const COUNTING: &str = "import sys; sys.path.insert(0, sys.argv[1]); import mailrace_log as log\n\
                            computed, crc32c = [0], log.crc32c\n\
                            def counted(octets, crc=0):\n    \
                                computed[0] += len(octets)\n    \
                                return crc32c(octets, crc)\n\
                            log.crc32c = counted\n\
                            print(sum(1 for _ in log.entries(sys.argv[2])), computed[0])";
    if !has_python() {
        return;
    }
    let world = World::in_memory();
    let mut writer = world.writer();
    let body: Vec<u8> = (0..8).flat_map(|_| [b"MRRCMRRC".repeat(500), b".".to_vec()].concat()).collect();
    let given = commit(&mut writer, &[&body, b"last"]);
    writer.close().expect("closed");
    flip(&world.newest(), (given[0].0 + 20) * 8);
    let printed = both(world.path(), "magics");
    assert_eq!((printed.code(), lines(&printed)), (1, 1));
    let scripts = Path::new(SCRIPT).parent().expect("a folder");
    let counted = run("python3", [Path::new("-Bc"), Path::new(COUNTING), scripts, world.path()]);
    let counts: Vec<usize> =
        counted.text().split_whitespace().filter_map(|count| count.parse().ok()).collect();
    let [2, octets] = counts[..] else { panic!("{}{}", counted.text(), counted.stderr) };
    assert!(octets < body.len(), "checksums over {octets} octets for a body of {}", body.len());
}

#[test]
fn damage_of_every_kind_is_judged_alike() {
    if !has_python() {
        return;
    }
    let intact = odd_log();
    for seed in 0..DAMAGED_LOGS {
        let mut rng = Rng::new(seed);
        let world = intact.copy();
        let segments = world.segments();
        let path = rng.pick(&segments);
        let len = fs::metadata(path).expect("it is there").len();
        let anywhere = |rng: &mut Rng| rng.word() % (len * 8);
        match seed % 6 {
            0 | 1 => flip(path, anywhere(&mut rng)),
            2 => (0..4).for_each(|_| flip(path, anywhere(&mut rng))),
            3 => set_len(path, rng.word() % len),
            4 => fs::remove_file(path).expect("removed"),
            _ => [0, 2048].iter().for_each(|copy| flip(path, (copy + rng.word() % 128) * 8)),
        }
        if rng.chance(300) {
            forget_position(&world);
        }
        both(world.path(), &format!("seed {seed}"));
    }
}

#[test]
fn a_log_without_its_oldest_segments_misses_them() {
    if !has_python() {
        return;
    }
    let world = odd_log();
    let segments = world.segments();
    for (missing, path) in segments[..3].iter().enumerate() {
        fs::remove_file(path).expect("removed");
        let printed = both(world.path(), &format!("without the first {}", missing + 1));
        assert_eq!(printed.code(), 1);
        for said in [printed.stderr, python(world.path()).stderr] {
            assert!(said.contains(&format!("position 0..{}:", base(&segments[missing + 1]))), "{said}");
        }
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    if !has_python() {
        return;
    }
    let world = odd_log();
    let path = &world.segments()[2];
    for copy in [0, 2048] {
        let octets = fs::read(path).expect("readable");
        let mut header = octets[copy..copy + 128].to_vec();
        header[8] = 2;
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &header[..124]);
        header[124..].copy_from_slice(&u32::try_from(crc).expect("32 bits").to_le_bytes());
        overwrite(path, &header, copy as u64);
    }
    assert_eq!(both(world.path(), "version 2").code(), 65);
    let verified = Log { binary: MAILRACE, data_dir: world.path() }.run("verify", &[]);
    assert_eq!(verified.code(), 2, "{}", verified.stderr);
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    if !has_python() {
        return;
    }
    let world = World::in_memory();
    let mut writer = world.writer();
    commit(&mut writer, &[&[b'x'; 40_000][..]; 5]);
    drop(writer);
    let mut command = Command::new("python3");
    command.arg(SCRIPT).arg(world.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut start = [0; 100];
    child.stdout.take().expect("a pipe").read_exact(&mut start).expect("it prints more than a pipe holds");
    let status = wait(&mut child, PROGRAM_DEADLINE).expect("it ends");
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}
