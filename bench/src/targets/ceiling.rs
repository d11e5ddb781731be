//! The targets beside a bare sink and the disk: what mailrace's own work costs beyond receiving, and its share of
//! what binds large mail.
//!
//! In each round each shape meets the bare monoio sink and then mailrace. The disk loops are run once a round, just
//! before the shapes that are held against them.

use super::outcome::{Limit, Part};
use super::runs::{self, Seen};
use super::stage::{Run, Stage, cpu_us, ratios};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::ceiling::disk::{self, DiskCeiling};
use crate::ceiling::shape::Shape;
use crate::error::Result;
use crate::floor::{Floor, RECORD_LEN, RECORDS_MAX};
use crate::load::report::LoadReport;
use crate::mailrace::Durability;
use crate::report::{Page, Section, Table, Verdict};
use crate::stats::{Spread, thousands};

/// What a row demands of mailrace's processor time beside the bare sink's.
struct Demand {
    how: How,
    mode: Durability,
    at_most: f64,
    goal: f64,
    /// Messages a second aimed at.
    rate_goal: Option<f64>,
}

const DEMANDS: [Demand; 3] = [
    demand(How::PipelinedSync, Durability::Sync, 1.7, 1.5, Some(100_000.0)),
    demand(How::PipelinedDiscard, Durability::Discard, 1.35, 1.2, None),
    demand(How::LockstepSync, Durability::Sync, 1.35, 1.25, Some(40_000.0)),
];

const fn demand(how: How, mode: Durability, at_most: f64, goal: f64, rate_goal: Option<f64>) -> Demand {
    Demand { how, mode, at_most, goal, rate_goal }
}

/// Of what binds, at least.
const SHARE_MIN: f64 = 0.85;
/// Octets written for each octet of mail when bandwidth binds, at most: heads and padding of records and a segment
/// or two made ahead are no second writing, which would show as 2.
const WRITTEN_MAX: f64 = 1.25;

const fn shape(size: usize, connections: usize, lockstep: bool) -> Shape {
    Shape { size, connections, lockstep }
}

/// One shape with the modes it is met in, over all rounds.
#[derive(Debug)]
struct Cell {
    shape: Shape,
    modes: Vec<Durability>,
    rounds: Vec<Round>,
}

/// One round of one shape.
#[derive(Debug)]
struct Round {
    disk: Vec<Floor>,
    bare: LoadReport,
    /// One entry a mode, with the octets the server had written to disk by the end of the load.
    mailrace: Vec<(Run, Option<u64>)>,
}

/// Measures what `rows` need.
///
/// # Errors
/// When a sink or the server cannot be run or driven, or the disk not be written.
pub(super) fn measure(
    options: &TargetsOptions,
    rows: &[How],
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    let mut cells = cells(rows);
    let mut stage = Stage::new(options)?;
    for number in 1..=options.rounds {
        let mut tell = |what: &str| progress(&format!("round {number} of {}: {what}", options.rounds));
        tell("disk");
        let loop_time = options.duration / 8;
        let disk = stage.in_directory(|stage, dir| disk::measure(dir, &stage.core().0, loop_time))?;
        for cell in &mut cells {
            tell(&format!("{}, bare sink", cell.shape));
            let bare = stage.run_bare(&cell.shape)?;
            let mut mailrace = Vec::new();
            for mode in &cell.modes {
                tell(&format!("{}, mailrace {}", cell.shape, mode.name()));
                mailrace.push(run_mailrace(&mut stage, *mode, &cell.shape)?);
            }
            cell.rounds.push(Round { disk: disk.clone(), bare, mailrace });
        }
    }
    Ok(findings(rows, &cells))
}

fn run_mailrace(stage: &mut Stage<'_>, mode: Durability, shape: &Shape) -> Result<(Run, Option<u64>)> {
    let ((load, written), totals) = stage.with_mailrace(mode, &[], |stage, mailrace| {
        let load = stage.drive(shape, mailrace.address(), mailrace.pid(), &Default::default())?;
        Ok((load, mailrace.written_octets()))
    })?;
    Ok((Run { load, totals }, written))
}

fn cells(rows: &[How]) -> Vec<Cell> {
    let has = |how: How| rows.contains(&how);
    let mut pipelined = Vec::new();
    pipelined.extend(has(How::PipelinedSync).then_some(Durability::Sync));
    pipelined.extend(has(How::PipelinedDiscard).then_some(Durability::Discard));
    let sync = |how: How| if has(how) { vec![Durability::Sync] } else { Vec::new() };
    let shapes = [
        (shape(4 << 10, 64, false), pipelined.clone()),
        (shape(4 << 10, 512, false), pipelined),
        (shape(4 << 10, 64, true), sync(How::LockstepSync)),
        (shape(4 << 10, 1000, true), sync(How::LockstepSync)),
        (shape(64 << 10, 64, false), sync(How::LargeShare)),
        (shape(1 << 20, 16, false), sync(How::LargeShare)),
    ];
    let asked = shapes.into_iter().filter(|(_, modes)| !modes.is_empty());
    asked.map(|(shape, modes)| Cell { shape, modes, rounds: Vec::new() }).collect()
}

fn findings(rows: &[How], cells: &[Cell]) -> Findings {
    let mut findings = Findings::default();
    for demand in DEMANDS.iter().filter(|demand| rows.contains(&demand.how)) {
        let is_lockstep = demand.how == How::LockstepSync;
        for cell in
            cells.iter().filter(|cell| cell.shape.size == 4 << 10 && cell.shape.lockstep == is_lockstep)
        {
            for part in cell.beside_bare(demand) {
                findings.add(demand.how, part);
            }
        }
    }
    if rows.contains(&How::LargeShare) {
        for cell in cells.iter().filter(|cell| cell.shape.size > 4 << 10) {
            for part in cell.share_of_what_binds() {
                findings.add(How::LargeShare, part);
            }
        }
    }
    findings.pages.push(page(cells));
    findings
}

impl Cell {
    /// mailrace's runs in one mode; nothing when any of them does not count.
    fn counted(&self, mode: Durability) -> Option<Vec<&(Run, Option<u64>)>> {
        let at = self.modes.iter().position(|other| *other == mode)?;
        let runs = self.rounds.iter().map(|round| round.mailrace.get(at).filter(|(run, _)| run.counts()));
        runs.collect()
    }

    fn beside_bare(&self, demand: &Demand) -> Vec<Part> {
        let name = format!("{} connections", thousands(&self.shape.connections.to_string()));
        let runs = self.counted(demand.mode);
        let of_rounds = |runs: &Vec<&(Run, Option<u64>)>| {
            ratios(
                runs.iter()
                    .zip(&self.rounds)
                    .map(|((run, _), round)| (cpu_us(&run.load), cpu_us(&round.bare))),
            )
        };
        let ratio = runs.as_ref().and_then(of_rounds);
        let unit = "times the bare sink's CPU per message";
        let held = Part::held(&name, ratio, Limit::AtMost(demand.at_most), unit);
        let mut parts = vec![held.aiming_at(Limit::AtMost(demand.goal))];
        if let (Some(goal), Some(runs)) = (demand.rate_goal, runs) {
            let rate = Spread::of(runs.iter().map(|(run, _)| run.load.rate));
            parts.push(self.rate(format!("{name}, rate"), rate, goal, demand.how));
        }
        parts
    }

    /// The rate beside the one aimed at, which counts where the disk would allow it.
    fn rate(&self, name: String, rate: Spread, goal: f64, how: How) -> Part {
        let allowed = Spread::of(self.rounds.iter().map(|round| {
            let disk = DiskCeiling::of(&round.disk, self.shape.in_flight_len());
            disk.map_or(0.0, |disk| disk.octets_per_s / self.shape.size as f64)
        }));
        let floor = thousands(&format!("{:.0}", allowed.median));
        let part = Part::shown(name, rate, &format!("messages/s; the disk floor allows {floor}"));
        let counts = how != How::PipelinedSync || allowed.median >= goal;
        if counts { part.aiming_at(Limit::AtLeast(goal)) } else { part }
    }

    /// What the bare sink takes in, in 10^6 octets per second: as measured, or, where the load could give no more, what
    /// its processor time per message allows its core.
    fn bare_mb_per_s(&self, round: &Round) -> f64 {
        let by_cpu = cpu_us(&round.bare).filter(|_| round.bare.load_binds());
        by_cpu.map_or(round.bare.megabytes_per_s, |us| self.shape.size as f64 / us)
    }

    fn share_of_what_binds(&self) -> Vec<Part> {
        let (size, connections) = (size_in_words(self.shape.size), self.shape.connections);
        let name = format!("{size}, {connections} connections");
        let bare = Spread::of(self.rounds.iter().map(|round| self.bare_mb_per_s(round)));
        let disk = Spread::of(self.rounds.iter().map(|round| sequential_mb_per_s(&round.disk)));
        let disk_binds = disk.median < bare.median;
        let binding = match disk_binds {
            true => "sequential synced bandwidth",
            false if most(self.rounds.iter().map(|round| &round.bare)) => {
                "what the bare sink's CPU per message allows one core, for the load was full with it"
            }
            false => "the bare sink",
        };
        let runs = self.counted(Durability::Sync);
        let share = runs.as_ref().and_then(|runs| {
            ratios(runs.iter().zip(&self.rounds).map(|((run, _), round)| {
                let binds =
                    if disk_binds { sequential_mb_per_s(&round.disk) } else { self.bare_mb_per_s(round) };
                (Some(run.load.megabytes_per_s), Some(binds))
            }))
        });
        let is_loads = runs.as_ref().is_some_and(|runs| most(runs.iter().map(|(run, _)| &run.load)));
        let held = Part::held(&name, share, Limit::AtLeast(SHARE_MIN), &format!("of {binding}, which binds"));
        let share = unless_the_loads(held, is_loads);
        let size = self.shape.size as f64;
        let written = runs.map(|runs| {
            ratios(runs.iter().map(|(run, written)| {
                (written.map(|octets| octets as f64), Some(run.totals.messages as f64 * size))
            }))
        });
        vec![share, written_twice(&format!("{name}, written"), written, disk_binds)]
    }
}

/// Whether the load was at its own end in most of these runs.
fn most<'a>(runs: impl Iterator<Item = &'a LoadReport>) -> bool {
    let (full, all) = runs.fold((0, 0), |(full, all), run| (full + usize::from(run.load_binds()), all + 1));
    full * 2 > all
}

/// Too small a share is no miss of mailrace's where the load had no more to give.
fn unless_the_loads(part: Part, is_loads: bool) -> Part {
    match part.verdict {
        Some(Verdict::Miss) if is_loads => {
            let words =
                format!("{}; but the load binds, whose cores were full with mailrace too", part.words);
            Part { verdict: Some(Verdict::NotMeasured), words, ..part }
        }
        _ => part,
    }
}

/// `written` is nothing when messages were miscounted, and holds nothing when the system does not tell.
fn written_twice(name: &str, written: Option<Option<Spread>>, disk_binds: bool) -> Part {
    let unit = "octets written per octet of mail";
    match written {
        Some(None) => Part::open(name, "the system does not tell what a process has written".into()),
        Some(Some(written)) if !disk_binds => {
            Part::shown(name, written, &format!("{unit}; no bound, for bandwidth does not bind"))
        }
        written => {
            let unit = format!("{unit}, at most {WRITTEN_MAX}");
            Part::held(name, written.flatten(), Limit::AtMost(WRITTEN_MAX), &unit)
        }
    }
}

/// The largest batches by the best method, in 10^6 octets per second.
fn sequential_mb_per_s(disk: &[Floor]) -> f64 {
    let largest = disk.iter().filter(|floor| floor.records_per_sync == RECORDS_MAX);
    largest.map(|floor| floor.records_per_s * RECORD_LEN as f64 / 1e6).fold(0.0, f64::max)
}

fn size_in_words(octets: usize) -> String {
    if octets >= 1 << 20 { format!("{} MiB", octets >> 20) } else { format!("{} KiB", octets >> 10) }
}

fn page(cells: &[Cell]) -> Page {
    let mut seen = Vec::new();
    for cell in cells {
        let bare = cell.rounds.iter().map(|round| round.bare.clone());
        seen.push(Seen::new(format!("{}, bare monoio sink", cell.shape), bare));
        for (at, mode) in cell.modes.iter().enumerate() {
            let loads = cell.rounds.iter().map(|round| round.mailrace[at].0.load.clone());
            seen.push(Seen::new(format!("{}, mailrace {}", cell.shape, mode.name()), loads));
        }
    }
    let words = "Each server has one core to itself. The bare sink answers from a can and looks only for the end of data. \
                 One message is under way on each connection.";
    let mut page = runs::page("Beside the bare sink", words.into(), &seen);
    let disk: Vec<Vec<Floor>> =
        cells.first().map_or(Vec::new(), |cell| cell.rounds.iter().map(|round| round.disk.clone()).collect());
    page.sections.push(Section {
        heading: "synced writes".into(),
        words: "Records of 4 KiB into blocks already written, synced before the next batch.".into(),
        table: Some(disk_table(&disk)),
        charts: Vec::new(),
    });
    page
}

fn disk_table(rounds: &[Vec<Floor>]) -> Table {
    let mut table =
        Table::new(&["method", "records/sync", "MB/s", "sync p50 (µs)", "sync p99 (µs)", "CPU (µs/record)"]);
    for cell in disk::cells(rounds) {
        table.row(vec![
            cell.method.name().into(),
            thousands(&cell.records_per_sync.to_string()).into(),
            cell.megabytes_per_s.into(),
            cell.p50_us.into(),
            cell.p99_us.into(),
            cell.cpu_us_per_record.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::table::TARGETS;
    use super::*;
    use crate::mailrace::Totals;

    #[test]
    fn only_the_shapes_and_modes_of_the_rows_asked_for_are_met() {
        let met = |rows: &[How]| -> Vec<(String, usize)> {
            cells(rows).iter().map(|cell| (cell.shape.to_string(), cell.modes.len())).collect()
        };
        let both = [("4KiBx64".to_owned(), 2), ("4KiBx512".to_owned(), 2)];
        assert_eq!(met(&[How::PipelinedSync, How::PipelinedDiscard]), both);
        assert_eq!(met(&[How::LockstepSync]).len(), 2);
        assert_eq!(met(&[How::LargeShare]), [("64KiBx64".to_owned(), 1), ("1MiBx16".to_owned(), 1)]);
        assert!(met(&[How::Age]).is_empty());
    }

    #[test]
    fn the_bounds_are_those_of_the_table() {
        for Demand { how, at_most, goal, .. } in DEMANDS {
            let target = &TARGETS[how.number() - 1];
            assert!(target.bound.contains(&format!("at most {at_most} times")), "{target:?}");
            assert!(target.goal.starts_with(&format!("{goal} times")), "{target:?}");
        }
    }

    /// The share of mailrace at `ours` MB/s, beside a bare sink that took 100 at 327.68 us for each 64 KiB; the disk is fast.
    fn share(ours: f64, bare_binds: bool, ours_binds: bool) -> Part {
        let load = |megabytes_per_s: f64, load_binds: bool| {
            let mut load = runs::sample_load(100);
            load.megabytes_per_s = megabytes_per_s;
            load.load.cores_busy = if load_binds { 0.96 } else { 0.5 };
            load.server.as_mut().expect("a server").cpu_us_per_message = 327.68;
            load
        };
        let totals = Totals { messages: 100, syncs: 1, batches: 1 };
        let disk = Floor {
            method: crate::floor::Method::WriteThenSync,
            records_per_sync: RECORDS_MAX,
            records_per_s: 1e9,
            sync_us: Default::default(),
            cpu_us_per_record: 1.0,
        };
        let mailrace = vec![(Run { load: load(ours, ours_binds), totals }, None)];
        let rounds = vec![Round { disk: vec![disk], bare: load(100.0, bare_binds), mailrace }];
        let cell = Cell { shape: shape(64 << 10, 64, false), modes: vec![Durability::Sync], rounds };
        cell.share_of_what_binds().swap_remove(0)
    }

    #[test]
    fn a_bare_sink_that_the_load_could_not_fill_is_held_against_by_its_cpu() {
        let share_of = |ours, bare_binds, ours_binds| {
            let part = share(ours, bare_binds, ours_binds);
            (part.measured.map(|figure| (figure.value * 100.0).round()), part.verdict)
        };
        assert_eq!(share_of(90.0, false, false), (Some(90.0), Some(Verdict::Pass)));
        assert_eq!(share_of(80.0, false, false), (Some(80.0), Some(Verdict::Miss)));
        // 64 KiB in 327.68 us are 200 MB/s, twice what the load could give it.
        assert_eq!(share_of(90.0, true, false), (Some(45.0), Some(Verdict::Miss)));
        assert_eq!(share_of(90.0, true, true), (Some(45.0), Some(Verdict::NotMeasured)));
        assert_eq!(share_of(180.0, true, true), (Some(90.0), Some(Verdict::Pass)));
        assert!(share(90.0, true, true).words.contains("the load binds"));
    }

    #[test]
    fn writing_twice_is_held_against_a_server_only_where_bandwidth_binds() {
        let verdict =
            |written: f64, binds| written_twice("", Some(Some(Spread::of([written]))), binds).verdict;
        assert_eq!(verdict(1.1, true), Some(Verdict::Pass));
        assert_eq!(verdict(2.0, true), Some(Verdict::Miss));
        assert_eq!(verdict(2.0, false), None);
        assert_eq!(written_twice("", None, true).verdict, Some(Verdict::Miss));
        assert_eq!(written_twice("", Some(None), true).verdict, Some(Verdict::NotMeasured));
    }
}
