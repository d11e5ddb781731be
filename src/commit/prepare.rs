//! The helper thread that makes the next segment ready while the commit thread goes on.
//!
//! A sync into blocks that were never written must also write the file's metadata and costs two to six times as
//! much, so the next segment's file is filled with zeros ahead of time. One request is out at most; a request that
//! fails is not an outage, since the writer then makes the segment itself and meets the error where it counts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::log::{PreparedSegment, Storage, Writer, prepare_unless};

/// How long after a failed preparation the next is asked for.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The commit thread's hold on its helper.
pub(super) struct Preparation<S: Storage> {
    requests: Sender<()>,
    results: Receiver<io::Result<PreparedSegment<S::File>>>,
    helper: JoinHandle<()>,
    /// The log ends: what is being prepared is not wanted any more.
    unwanted: Arc<AtomicBool>,
    pending: bool,
    failed_at: Option<Instant>,
}

impl<S: Storage> Preparation<S> {
    /// Starts the helper for segments of `size` octets.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn start(storage: S, size: u64) -> io::Result<Self> {
        let (requests, requested) = bounded::<()>(1);
        let (done, results) = bounded(1);
        let unwanted = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&unwanted);
        let work = move || {
            for () in requested {
                if done.send(prepare_unless(&storage, size, &told)).is_err() {
                    return;
                }
            }
        };
        let helper = std::thread::Builder::new().name("prepare".to_owned()).spawn(work)?;
        Ok(Self { requests, results, helper, unwanted, pending: false, failed_at: None })
    }

    /// Gives the writer a segment that has become ready, and asks for another when it wants one. Never waits.
    pub(super) fn tend(&mut self, writer: &mut Writer<S>) {
        if self.pending
            && let Ok(result) = self.results.try_recv()
        {
            self.receive(result, writer);
        }
        let resting = self.failed_at.is_some_and(|at| at.elapsed() < RETRY_INTERVAL);
        if !self.pending && !resting && writer.wants_segment() {
            self.pending = self.requests.try_send(()).is_ok();
        }
    }

    /// Ends the helper, whatever it is busy with; a segment that is ready goes to the writer, which removes what it
    /// does not use.
    pub(super) fn end(mut self, writer: &mut Writer<S>) {
        self.unwanted.store(true, Ordering::Relaxed);
        drop(self.requests);
        if self.pending
            && let Ok(Ok(prepared)) = self.results.recv()
        {
            writer.offer(prepared);
        }
        self.pending = false;
        // A panic in the helper has been printed; the log needs nothing of it.
        let _ = self.helper.join();
    }

    fn receive(&mut self, result: io::Result<PreparedSegment<S::File>>, writer: &mut Writer<S>) {
        self.pending = false;
        match result {
            Ok(prepared) => {
                self.failed_at = None;
                writer.offer(prepared);
            }
            Err(_) => self.failed_at = Some(Instant::now()),
        }
    }
}
