//! Servers along a curve: an offered rate, a size, a number of connections, a number of recipients.
//!
//! In each round each server is started once for each curve, in a fresh directory, and goes along it from its low end
//! to its high one. What fails ends the curve for that server there, with the reason: what comes behind is harder still.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::catalogue::{Peer, version};
use super::curve_report::{CurveFigures, CurvePoint, CurvesReport, PeerCurves};
use super::report::Run;
use super::server::{Hall, Server};
use super::tree::Extent;
use super::{CompareOptions, observed};
use crate::error::Result;
use crate::load::pace::{Arrivals, Pace};
use crate::load::script::MailShape;
use crate::load::session::Pipelining;
use crate::load::{Amount, LoadOptions, Refinements};
use crate::progress::Steps;
use crate::workspace::Workspace;

/// What is measured along curves.
#[derive(Clone, Debug, Default)]
pub struct CurvePlan {
    /// Servers, in the order of the report.
    pub peers: Vec<Peer>,
    /// Curves, in the order of the report.
    pub curves: Vec<Curve>,
}

impl CurvePlan {
    /// Whether there is nothing to measure.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() || self.curves.is_empty()
    }
}

/// What is varied, everything else held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// The rate at which messages come due, in an open loop, up to past what the server bears.
    Rate,
    /// Octets of a message.
    Size,
    /// Connections at once.
    Connections,
    /// Recipients of a message.
    Recipients,
}

/// Offered rates, as parts of what the server takes in a closed loop.
const RATE_PARTS: [f64; 8] = [0.1, 0.25, 0.5, 0.7, 0.85, 0.95, 1.05, 1.2];
/// Where the last of them is still answered, further ones follow, each so many times the one before it ...
const RATE_STEP: f64 = 1.4;
/// ... until there are so many places.
const RATE_PLACES_MAX: usize = 14;
/// The share of the messages due in the window that must be answered within it for a rate to be borne.
const ANSWERED_MIN: f64 = 0.97;
const SIZES: [usize; 7] = [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
const CONNECTION_COUNTS: [usize; 7] = [1, 4, 16, 64, 256, 1024, 4096];
const RECIPIENT_COUNTS: [u32; 5] = [1, 3, 10, 30, 100];
/// Octets in flight at most: larger texts go over fewer connections.
const IN_FLIGHT_MAX: usize = 16 << 20;
/// Connections at least, all the same.
const CONNECTIONS_MIN: usize = 4;

/// One place along a curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Place {
    /// Octets of a message.
    pub size: usize,
    /// Connections at once.
    pub connections: usize,
    /// Recipients of a message.
    pub recipients: u32,
    /// Messages a second that come due; `null` in a closed loop.
    pub offered_rate: Option<f64>,
}

impl Curve {
    /// All, in the order of the report.
    pub const ALL: [Self; 4] = [Self::Rate, Self::Size, Self::Connections, Self::Recipients];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Size => "size",
            Self::Connections => "connections",
            Self::Recipients => "recipients",
        }
    }

    /// Its places over `connections`, for a server that takes `capacity` messages a second in a closed loop.
    fn places(self, connections: usize, capacity: f64) -> Vec<Place> {
        let base = Place::usual(connections);
        match self {
            Self::Rate => {
                let rate = |part: f64| rounded(part * capacity);
                RATE_PARTS.map(|part| Place { offered_rate: Some(rate(part)), ..base }).to_vec()
            }
            Self::Size => {
                let most = |size: usize| (IN_FLIGHT_MAX / size).max(CONNECTIONS_MIN).min(connections);
                SIZES.map(|size| Place { size, connections: most(size), ..base }).to_vec()
            }
            Self::Connections => CONNECTION_COUNTS.map(|connections| Place { connections, ..base }).to_vec(),
            Self::Recipients => RECIPIENT_COUNTS.map(|recipients| Place { recipients, ..base }).to_vec(),
        }
    }

    /// What one server takes along it in one round, as far as that is known beforehand.
    fn time(self, options: &CompareOptions) -> Duration {
        const START_AND_STOP: Duration = Duration::from_secs(1);
        let first = usize::from(self == Self::Rate);
        let count = first + self.places(options.connections, 1.0).len();
        START_AND_STOP + options.run_time() * u32::try_from(count).unwrap_or(u32::MAX)
    }
}

impl Place {
    /// 4 KiB to one recipient, in a closed loop.
    fn usual(connections: usize) -> Self {
        Self { size: 4 << 10, connections, recipients: 1, offered_rate: None }
    }
}

/// Two digits that count, and no rate below one message a second.
fn rounded(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.max(1.0).log10().floor() - 1.0);
    ((rate / unit).round() * unit).max(1.0)
}

/// What all curves of all servers that are there take.
pub(super) fn planned(options: &CompareOptions, hall: &Hall<'_>) -> Duration {
    let there = options.curves.peers.iter().filter(|peer| version(peer, hall).is_ok()).count();
    let each: Duration = options.curves.curves.iter().map(|curve| curve.time(options)).sum();
    each * u32::try_from(there * options.rounds).unwrap_or(u32::MAX)
}

/// Goes along all curves with all servers in all rounds.
///
/// # Errors
/// When the data cannot be written. A server that fails is reported instead.
pub(super) fn measure(
    options: &CompareOptions,
    hall: &Hall<'_>,
    workspace: &mut Workspace,
    steps: &mut Steps,
    progress: &mut dyn FnMut(&str),
) -> Result<CurvesReport> {
    let plan = &options.curves;
    let mut peers: Vec<PeerCurves> =
        plan.peers.iter().map(|peer| PeerCurves::new(*peer, version(peer, hall), &plan.curves)).collect();
    for round in 1..=options.rounds {
        for figures in &mut peers {
            for curve in &mut figures.curves {
                if figures.missing.is_some() {
                    break;
                }
                let (name, along) = (figures.peer.name, curve.curve.name());
                let what = format!("round {round} of {}, {name} by {along}", options.rounds);
                progress(&steps.begin(curve.curve.time(options), &what));
                let directory = workspace.fresh_made()?;
                match Server::start(&figures.peer, hall, directory.clone()) {
                    Ok(server) => go_along(options, server, curve, round),
                    Err(error) => figures.missing = Some(error.to_string()),
                }
                workspace.put_aside(&directory)?;
            }
        }
    }
    Ok(CurvesReport::new(options, peers))
}

/// One server along one curve in one round, from its start to its end.
fn go_along(options: &CompareOptions, server: Server, curve: &mut CurveFigures, round: usize) {
    let (address, extent) = (server.address, server.extent());
    if let Err(error) = find_places(options, address, extent, curve) {
        curve.note(error.to_string());
    }
    let mut index = 0;
    while index < curve.reach() {
        let place = curve.points[index].place;
        match drive(options, address, extent, place) {
            Ok(run) => {
                if round == 1 {
                    curve.points.extend(place_beyond(&curve.points, index, &run).map(CurvePoint::at));
                }
                curve.points[index].runs.push(Run { round, ..run });
            }
            Err(error) => curve.end_before(index, &error.to_string()),
        }
        index += 1;
    }
    if let Err(error) = server.stop() {
        curve.note(error.to_string());
    }
}

/// In the first round: rates are parts of what the server takes at most, the rest is known beforehand.
fn find_places(
    options: &CompareOptions,
    to: SocketAddr,
    server: Extent<'_>,
    curve: &mut CurveFigures,
) -> Result<()> {
    if !curve.points.is_empty() {
        return Ok(());
    }
    if curve.curve == Curve::Rate {
        curve.closed_loop_rate =
            Some(drive(options, to, server, Place::usual(options.connections))?.load.rate);
    }
    let places = curve.curve.places(options.connections, curve.closed_loop_rate.unwrap_or(1.0));
    curve.points = places.into_iter().map(CurvePoint::at).collect();
    Ok(())
}

/// A rate beyond the last one, when the server still bears that: a closed loop in a bad minute shows less than it can.
fn place_beyond(points: &[CurvePoint], index: usize, run: &Run) -> Option<Place> {
    let last = points.get(index)?.place;
    let is_end = index + 1 == points.len() && points.len() < RATE_PLACES_MAX;
    let rate = last.offered_rate.filter(|_| is_end && is_borne(run))?;
    Some(Place { offered_rate: Some(rounded(rate * RATE_STEP)), ..last })
}

/// Whether a server kept up with an offered rate: what came due in the window was answered within it.
pub(super) fn is_borne(run: &Run) -> bool {
    let load = &run.load;
    let due = load.messages.accepted + load.messages.refused + load.messages.lost + load.unsent;
    due > 0 && load.rate * load.window_s >= due as f64 * ANSWERED_MIN
}

fn drive(options: &CompareOptions, target: SocketAddr, server: Extent<'_>, place: Place) -> Result<Run> {
    let mut mail = MailShape::of_size(place.size);
    mail.recipient_count = place.recipients;
    let load = LoadOptions {
        target,
        cores: options.load_cores.0.clone(),
        connection_count: place.connections,
        messages_per_connection: None,
        pipelining: Pipelining::Announced,
        mail,
        amount: Amount::For { warm_up: options.warm_up, duration: options.duration },
        server_pid: None,
    };
    let arrivals = Arrivals::Poisson;
    let pace = place.offered_rate.map_or(Pace::Closed, |rate| Pace::Open { rate, arrivals });
    observed(&load, Refinements { pace, ..Refinements::default() }, server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_reach_past_the_knee_and_hold_what_they_do_not_vary() {
        let places = Curve::Rate.places(100, 12_345.0);
        let rates: Vec<f64> = places.iter().filter_map(|place| place.offered_rate).collect();
        assert_eq!(rates, [1200.0, 3100.0, 6200.0, 8600.0, 10_000.0, 12_000.0, 13_000.0, 15_000.0]);
        assert!(places.iter().all(|place| (place.size, place.connections) == (4096, 100)));
        assert!(Curve::Rate.places(1, 0.0).iter().all(|place| place.offered_rate == Some(1.0)));
        for curve in [Curve::Size, Curve::Connections, Curve::Recipients] {
            let places = curve.places(100, 0.0);
            let octets = |place: &Place| place.size * place.connections;
            assert!(places.iter().all(|place| octets(place) <= 16 << 20), "{places:?}");
            assert!(places.iter().all(|place| place.offered_rate.is_none()));
        }
    }
}
