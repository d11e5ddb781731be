//! The target beside mailin-embedded: large mail that is synced may cost less processor time than mail that is
//! thrown away elsewhere.

use super::outcome::{Limit, Part};
use super::runs::{self, Seen};
use super::stage::{Run, Stage, cpu_us, ratios};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::ceiling::shape::Shape;
use crate::compare::catalogue::{self, Found, PEERS, Peer};
use crate::compare::server::{Hall, Server};
use crate::error::{Error, Result};
use crate::load::report::LoadReport;
use crate::mailrace::Durability;

/// The name of the server in the comparison.
const PEER: &str = "mailin";
/// The shapes, and their names in the table.
const SHAPES: [(Shape, &str); 2] = [
    (Shape { size: 64 << 10, connections: 64, lockstep: false }, "64 KiB, 64 connections"),
    (Shape { size: 1 << 20, connections: 16, lockstep: false }, "1 MiB, 16 connections"),
];

/// One shape in one round.
struct Round {
    mailrace: Run,
    mailin: LoadReport,
}

/// Measures both servers in interleaved rounds.
///
/// # Errors
/// When mailin-embedded is not here, or one of them cannot be run or driven.
pub(super) fn measure(options: &TargetsOptions, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    let found = Found::read(&catalogue::project_root()?);
    let peer = peer(&found)?;
    let mut stage = Stage::new(options)?;
    let mut rounds: [Vec<Round>; SHAPES.len()] = Default::default();
    for number in 1..=options.rounds {
        for ((shape, name), rounds) in SHAPES.iter().zip(&mut rounds) {
            progress(&format!("round {number} of {}: {name}", options.rounds));
            let mailrace = stage.run_mailrace(Durability::Sync, shape)?;
            let mailin = run_mailin(&mut stage, options, &found, &peer, shape)?;
            rounds.push(Round { mailrace, mailin });
        }
    }
    Ok(findings(&rounds))
}

fn peer(found: &Found) -> Result<Peer> {
    let missing = |remedy: String| Error::Missing { program: "mailin-embedded".into(), remedy };
    found.version(PEER).map_err(missing)?;
    let peer = PEERS.into_iter().find(|peer| peer.name == PEER);
    peer.ok_or_else(|| missing("no server of this name is compared".into()))
}

fn run_mailin(
    stage: &mut Stage<'_>,
    options: &TargetsOptions,
    found: &Found,
    peer: &Peer,
    shape: &Shape,
) -> Result<LoadReport> {
    stage.in_directory(|stage, directory| {
        let hall = Hall {
            mailrace: &options.mailrace,
            arguments: &options.arguments,
            cores: stage.core(),
            // It is one process, which the load follows by itself.
            groups: &Err(String::new()),
            found,
        };
        let server = Server::start(peer, &hall, directory.to_owned())?;
        let load = stage.drive(shape, server.address, server.extent().root, &Default::default())?;
        server.stop()?;
        Ok(load)
    })
}

fn findings(rounds: &[Vec<Round>]) -> Findings {
    let mut findings = Findings::default();
    let mut seen = Vec::new();
    for ((shape, name), rounds) in SHAPES.iter().zip(rounds) {
        findings.add(How::LargeCpu, part(name, rounds));
        let ours = rounds.iter().map(|round| round.mailrace.load.clone());
        seen.push(Seen::new(format!("{shape}, mailrace sync"), ours));
        let theirs = rounds.iter().map(|round| round.mailin.clone());
        seen.push(Seen::new(format!("{shape}, mailin-embedded"), theirs));
    }
    let words =
        "mailin-embedded keeps nothing and has a thread for each connection. Both pipelined, on one core.";
    findings.pages.push(runs::page("Beside mailin-embedded", words.into(), &seen));
    findings
}

fn part(name: &str, rounds: &[Round]) -> Part {
    if rounds.iter().any(|round| round.mailin.messages.accepted == 0) {
        return Part::open(name, "mailin-embedded answered no message in a round".into());
    }
    let ours =
        |round: &Round| Some(&round.mailrace).filter(|run| run.counts()).and_then(|run| cpu_us(&run.load));
    let ratio = ratios(rounds.iter().map(|round| (ours(round), cpu_us(&round.mailin))));
    Part::held(name, ratio, Limit::Below(1.0), "times mailin-embedded's CPU per MiB")
}
