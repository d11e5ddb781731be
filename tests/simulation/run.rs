//! One seed from the empty disk to the last reading: lives of the server, one after the other.

use std::cell::RefCell;
use std::rc::Rc;

use mailrace::handoff::channel;
use mailrace::message::Timestamp;
use mailrace_support::disk::{Crash, Faults};
use mailrace_support::faulty_storage::{FaultyStorage, clear_interlude, set_interlude};
use mailrace_support::rng::Rng;

use crate::plan::{End, Life, Plan};
use crate::reading::check_whole_log;
use crate::server::{Committer, Stepped, open_log};
use crate::tally::Tally;
use crate::world::{Shared, World};

/// Starts tried before a life is given up: with faults a start may fail, without it may not.
const STARTS_WITH_FAULTS_MAX: usize = 2;
/// Rounds without an end mean that somebody waits for ever.
const ROUNDS_MAX: usize = 100_000;
const EPOCH: u64 = 1_700_000_000_000_000;

/// One simulated machine.
struct Machine {
    world: Shared,
    plan: Rc<Plan>,
    rng: Rng,
    storage: FaultyStorage,
    /// Microseconds of virtual time, beside those the disk takes.
    time: u64,
}

/// Runs one seed and panics where a promise is broken.
pub(crate) fn run(seed: u64, verbose: bool) -> Tally {
    // A seed that panicked on this thread has left its interlude behind.
    clear_interlude();
    let mut rng = Rng::new(seed);
    let plan = Rc::new(Plan::random(&mut rng));
    let storage = FaultyStorage::new(rng.word());
    let world = World::new(rng.fork(), Rc::clone(&plan), storage.clone(), verbose);
    world.tell(|| format!("{plan:#?}"));
    let world = Rc::new(RefCell::new(world));
    let mut machine = Machine { world, plan: Rc::clone(&plan), rng, storage, time: EPOCH };
    for life in &plan.lives {
        machine.live(life);
    }
    machine.read_at_the_end();
    let mut world = machine.world.borrow_mut();
    world.tally.syncs_failed = machine.storage.disk().sync_failures;
    std::mem::take(&mut world.tally)
}

impl Machine {
    fn live(&mut self, life: &Life) {
        self.world.borrow_mut().tally.lives += 1;
        let Some(mut committer) = self.start(life) else { return };
        self.storage.disk().faults = life.faults;
        if let End::CrashInCall(crash) = life.end {
            let calls = self.rng.below(1 + life.events) as u64;
            self.storage.disk().crash_after(calls, crash);
        }
        self.hook();
        for _ in 0..life.events {
            self.event(&mut committer, life);
            if self.storage.disk().crashed().is_some() {
                break;
            }
        }
        clear_interlude();
        self.finish(committer, life.end);
    }

    /// Starts the server, if need be again and again, and checks what it found.
    fn start(&mut self, life: &Life) -> Option<Committer> {
        if let Some((calls, crash)) = life.start_crash {
            self.storage.disk().crash_after(calls, crash);
        }
        let mut sink = None;
        for attempt in 0..=STARTS_WITH_FAULTS_MAX {
            let last = attempt == STARTS_WITH_FAULTS_MAX;
            self.storage.disk().faults = if last { Faults::default() } else { life.faults };
            if last {
                self.storage.disk().pages_max = usize::MAX;
            }
            let now = self.now();
            let id_seed = self.rng.word();
            match open_log(&self.storage, &self.plan, id_seed, now) {
                Ok((opened, report)) => {
                    let mut world = self.world.borrow_mut();
                    world.tell(|| format!("started: {report:?}"));
                    world.tally.torn_remains_cut += report.cut.len() as u64;
                    report.damage.iter().for_each(|damage| world.ledger.check_damage(damage));
                    sink = Some(opened);
                    break;
                }
                Err(error) => {
                    self.world.borrow().tell(|| format!("not started: {error}"));
                    let crashed = self.storage.disk().crashed();
                    assert!(!last || crashed.is_some(), "a start without faults failed: {error}");
                    self.world.borrow_mut().tally.interrupted_recoveries += 1;
                    self.restart(crashed.unwrap_or(Crash::Kill));
                }
            }
        }
        let sink = sink?;
        self.storage.disk().faults = Faults::default();
        let (inbox, ports) = channel(self.plan.shards, self.plan.queue).expect("descriptors");
        let mut world = self.world.borrow_mut();
        world.begin_life(self.storage.clone(), ports);
        if self.storage.disk().crashed().is_none() {
            check_whole_log(&mut world);
        }
        Some(Committer::new(inbox, sink, self.plan.bounds))
    }

    /// Between any two calls on the storage the world may go on.
    fn hook(&self) {
        let (world, mut rng) = (Rc::clone(&self.world), self.rng.clone().fork());
        set_interlude(move || {
            if rng.chance(300) {
                let mut world = world.borrow_mut();
                (0..rng.between(1, 4)).for_each(|_| world.stir());
            }
        });
    }

    fn event(&mut self, committer: &mut Committer, life: &Life) {
        self.time += self.rng.below(20_000) as u64;
        match self.rng.below(10) {
            0 | 1 => self.commit(committer),
            2 if self.rng.chance(300) => {
                let made = committer.prepare_segment(&self.storage);
                self.world.borrow_mut().tally.segments_prepared += u64::from(made);
            }
            3 if life.scarce => self.change_room(),
            _ => self.world.borrow_mut().stir(),
        }
    }

    fn commit(&mut self, committer: &mut Committer) {
        let stepped = committer.step(self.now());
        if stepped == Stepped::Nothing {
            return;
        }
        let mut world = self.world.borrow_mut();
        world.tell(|| format!("commit: {stepped:?}"));
        match stepped {
            Stepped::Nothing => {}
            Stepped::Committed { messages } => {
                world.tally.batches += 1;
                world.tally.batches_of_many += u64::from(messages > 1);
            }
            Stepped::NoSpace => world.tally.outages_of_space += 1,
            Stepped::Failed { end } => world.ledger.failed_at = Some(end),
        }
    }

    fn change_room(&mut self) {
        let mut disk = self.storage.disk();
        let used = disk.pages_used();
        disk.pages_max = if self.rng.chance(500) { used + self.rng.below(8) } else { usize::MAX };
    }

    fn finish(&mut self, committer: Committer, end: End) {
        let crashed = self.storage.disk().crashed();
        match (crashed, end) {
            (Some(crash), _) => {
                self.world.borrow_mut().tally.crashes_inside_a_call += 1;
                self.crash(committer, crash);
            }
            (None, End::Crash(crash)) => self.crash(committer, crash),
            (None, End::Clean | End::CrashInCall(_)) => self.end_clean(committer),
        }
    }

    fn crash(&mut self, committer: Committer, crash: Crash) {
        self.world.borrow().tell(|| format!("{crash:?}"));
        drop(committer);
        self.world.borrow_mut().end_life();
        self.restart(crash);
    }

    /// Everything is mended, every client gets its answers, the log is sealed.
    fn end_clean(&mut self, mut committer: Committer) {
        let trouble = self.storage.disk().faults;
        self.storage.disk().faults =
            Faults { read_short: trouble.read_short, write_short: trouble.write_short, ..Faults::default() };
        self.storage.disk().pages_max = usize::MAX;
        self.storage.disk().call_off_crash();
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "no end in sight");
            self.time += 200_000;
            let went_on = self.world.borrow_mut().round();
            let stepped = committer.step(self.now());
            if let Stepped::Failed { end } = stepped {
                self.world.borrow_mut().ledger.failed_at = Some(end);
            }
            if !went_on && stepped == Stepped::Nothing {
                break;
            }
        }
        self.world.borrow().assert_all_done();
        let failed = self.world.borrow().ledger.failed_at.is_some();
        self.world.borrow_mut().end_life();
        let sealed = committer.end(self.now());
        assert!(failed || sealed.is_ok(), "not sealed: {sealed:?}");
        self.world.borrow_mut().tally.clean_ends += 1;
        self.restart(Crash::Kill);
    }

    /// The next life's view of the disk.
    fn restart(&mut self, crash: Crash) {
        let mut world = self.world.borrow_mut();
        let sync_failed = self.storage.disk().sync_failures > 0;
        if sync_failed || self.storage.disk().faults.name_error > 0 {
            world.ledger.allow_damage();
        }
        match crash {
            Crash::Kill => world.tally.kills += 1,
            Crash::PowerCut => world.tally.power_cuts += 1,
        }
        // Without a sync before 250, what the page cache loses is lost.
        if !self.plan.sync && (sync_failed || crash == Crash::PowerCut) {
            world.ledger.forgive_losses();
        }
        self.storage = self.storage.restarted(crash);
        self.storage.disk().pages_max = usize::MAX;
        world.storage = self.storage.clone();
    }

    /// What a last start without any trouble finds, and what a reader finds after a clean end.
    fn read_at_the_end(&mut self) {
        self.storage.disk().faults = Faults::default();
        let now = self.now();
        let (sink, report) = open_log(&self.storage, &self.plan, self.rng.word(), now)
            .unwrap_or_else(|error| panic!("the last start failed: {error}"));
        let mut world = self.world.borrow_mut();
        world.storage = self.storage.clone();
        report.damage.iter().for_each(|damage| world.ledger.check_damage(damage));
        if let Some(position) = world.ledger.position_max() {
            assert!(
                report.resumes_at.0 > position,
                "the log resumes at {} below {position}",
                report.resumes_at
            );
        }
        check_whole_log(&mut world);
        let (inbox, ports) = channel(1, self.plan.queue).expect("descriptors");
        drop(ports);
        let sealed = Committer::new(inbox, sink, self.plan.bounds).end(now);
        assert!(sealed.is_ok(), "{sealed:?}");
        check_whole_log(&mut world);
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.time + self.storage.disk().elapsed)
    }
}
