//! What these tests share: data directories that go away, messages, and everything a reader says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use mailrace::log::{
    Damage, DirStorage, Entry, Reader, Record, RecoveryReport, Storage, Visibility, Writer, WriterOptions,
};
use mailrace::message::envelope::MailParameters;
use mailrace::message::{Body, BodyBuilder, EnvelopeBuilder, Greeting, Lsn, Message, Partition, Timestamp};
use tempfile::TempDir;

/// Each writer of a test run has ids of its own, as each start of a server has.
static NEXT_SEED: AtomicU64 = AtomicU64::new(1);

pub(crate) const NOW: Timestamp = Timestamp(1_795_494_006_000_000);
pub(crate) const SEGMENT_HEADER_LEN: u64 = 4096;
pub(crate) const FOOTER_LEN: u64 = 112;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) segment_size: u64,
    pub(crate) visibility: Visibility,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir, segment_size: 64 * 1024, visibility: Visibility::Durable }
    }

    /// In memory where there is such a file system: for tests that recover thousands of times.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self { dir: dir.expect("a temporary directory"), ..Self::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn storage(&self) -> DirStorage {
        DirStorage::create(self.path()).expect("an open directory")
    }

    pub(crate) fn options(&self) -> WriterOptions {
        WriterOptions {
            segment_size: self.segment_size,
            partition: Partition(0),
            visibility: self.visibility,
            id_seed: NEXT_SEED.fetch_add(1 << 32, Ordering::Relaxed),
        }
    }

    pub(crate) fn writer(&self) -> Writer<DirStorage> {
        self.recover().0
    }

    pub(crate) fn recover(&self) -> (Writer<DirStorage>, RecoveryReport) {
        Writer::open(self.storage(), self.options(), NOW).expect("an open log")
    }

    pub(crate) fn reader(&self) -> Reader<DirStorage> {
        Reader::open(DirStorage::open(self.path()).expect("an open directory")).expect("a readable log")
    }

    /// Everything a reader says now.
    pub(crate) fn read(&self) -> (Vec<Record>, Vec<Damage>) {
        drain(&mut self.reader())
    }

    /// The segment files, oldest first.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.path())
            .expect("a readable directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
            .collect();
        paths.sort();
        paths
    }

    pub(crate) fn newest(&self) -> PathBuf {
        self.segments().pop().expect("a segment")
    }

    /// A copy of the whole directory, as a disk image would be.
    pub(crate) fn copy(&self) -> Self {
        let folder = self.path().parent().expect("a parent");
        let copy = Self { dir: tempfile::tempdir_in(folder).expect("a temporary directory"), ..*self };
        for (name, octets) in self.contents() {
            let path = copy.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, octets).expect("a written file");
        }
        copy
    }

    /// All files by name.
    pub(crate) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let mut contents = BTreeMap::new();
        let mut folders = vec![self.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a readable directory") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(self.path()).expect("inside").to_str().expect("text").to_owned();
                contents.insert(name, fs::read(path).expect("a readable file"));
            }
        }
        contents
    }
}

pub(crate) fn drain<S: Storage>(reader: &mut Reader<S>) -> (Vec<Record>, Vec<Damage>) {
    let (mut records, mut damages) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next_entry().expect("a readable log") {
        match entry {
            Entry::Record(record) => records.push(record),
            Entry::Damage(damage) => damages.push(damage),
        }
    }
    (records, damages)
}

/// Appends, syncs and publishes one batch.
pub(crate) fn commit<S: Storage>(writer: &mut Writer<S>, bodies: &[&[u8]]) -> Vec<Lsn> {
    let messages: Vec<Message> = bodies.iter().map(|body| message(body)).collect();
    let mut lsns = Vec::new();
    writer.append(messages.iter(), NOW, &mut lsns).expect("appended");
    writer.sync().expect("synced");
    writer.publish().expect("published");
    lsns
}

pub(crate) fn message(body: &[u8]) -> Message {
    Message { envelope: envelope(b"a@example.org", &[b"b@example.net"]), body: Body::from(body) }
}

pub(crate) fn message_of_chunks(chunks: &[Vec<u8>]) -> Message {
    let mut builder = BodyBuilder::default();
    chunks.iter().for_each(|chunk| builder.push(Bytes::copy_from_slice(chunk)));
    Message { envelope: envelope(b"", &[b"b@example.net", b"\"c d\"@example.net"]), body: builder.finish() }
}

pub(crate) fn envelope(sender: &[u8], recipients: &[&[u8]]) -> mailrace::message::Envelope {
    let peer = "192.0.2.1:4025".parse().expect("an address");
    let session = EnvelopeBuilder::new(peer, None, Greeting::Ehlo, b"client.example");
    let mut envelope = session.transaction(sender, MailParameters::default());
    recipients.iter().for_each(|path| envelope.forward_path(path));
    envelope.finish()
}

pub(crate) fn bodies(records: &[Record]) -> Vec<&[u8]> {
    records.iter().map(|record| &record.body[..]).collect()
}

pub(crate) fn lsns(records: &[Record]) -> Vec<Lsn> {
    records.iter().map(|record| record.receipt.lsn).collect()
}

/// Without the file that a power cut may take along: readers and recovery have only the segments to go by.
pub(crate) fn forget_position(world: &World) {
    fs::remove_file(world.path().join("position")).expect("removed");
}

/// Cuts a file, or fills it with zeros up to a length.
pub(crate) fn set_len(path: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(len)).expect("a file cut");
}

pub(crate) fn overwrite(path: &Path, octets: &[u8], offset: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("a writable file");
    file.write_all_at(octets, offset).expect("written");
}

pub(crate) fn flip(path: &Path, bit: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).expect("a writable file");
    let mut octet = [0];
    file.read_exact_at(&mut octet, bit / 8).expect("read");
    octet[0] ^= 1 << (bit % 8);
    file.write_all_at(&octet, bit / 8).expect("written");
}
