//! What the unit tests of this layer share: a data directory that goes away, and messages.

use std::fs;

use bytes::Bytes;
use tempfile::TempDir;

use super::format::{RecordHeader, encode_end};
use super::storage::DirStorage;
use crate::message::envelope::MailParameters;
use crate::message::{Body, EnvelopeBuilder, Greeting, Lsn, Message};

pub(crate) struct Dir(TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn storage(&self) -> DirStorage {
        DirStorage::open(self.0.path()).expect("an open directory")
    }

    pub(crate) fn write(&self, name: &str, octets: &[u8]) {
        fs::write(self.0.path().join(name), octets).expect("a written file");
    }

    pub(crate) fn flip(&self, name: &str, bit: usize) {
        let path = self.0.path().join(name);
        let mut octets = fs::read(&path).expect("a readable file");
        octets[bit / 8] ^= 1 << (bit % 8);
        fs::write(path, octets).expect("a written file");
    }
}

pub(crate) fn message(body: &[u8]) -> Message {
    let peer = "192.0.2.1:4025".parse().expect("an address");
    let session = EnvelopeBuilder::new(peer, None, Greeting::Ehlo, b"client.example");
    let mut envelope = session.transaction(b"a@example.org", MailParameters::default());
    envelope.forward_path(b"b@example.net");
    Message { envelope: envelope.finish(), body: Body::from(body) }
}

/// A whole record as it stands in a segment.
pub(crate) fn record_octets(message: &Message, segment_id: u64, lsn: Lsn) -> (RecordHeader, Vec<u8>) {
    let header = RecordHeader::of(message, lsn);
    let mut octets = header.encode(segment_id).to_vec();
    octets.extend_from_slice(message.envelope.block());
    message.body.chunks().iter().for_each(|chunk: &Bytes| octets.extend_from_slice(chunk));
    encode_end(&header, &mut octets);
    (header, octets)
}
