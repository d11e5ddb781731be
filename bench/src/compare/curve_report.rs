//! What was found along the curves, with all that it was measured with; `curve_page` makes it readable.

use serde::Serialize;

use super::CompareOptions;
use super::catalogue::Peer;
use super::curves::{Curve, Place};
use super::report::Run;
use crate::host::{self, Host};
use crate::units::CoreList;

/// All servers along all curves.
#[derive(Debug, Serialize)]
pub struct CurvesReport {
    host: Host,
    pub(super) server_cores: CoreList,
    pub(super) load_cores: CoreList,
    pub(super) mailrace_arguments: Vec<String>,
    pub(super) connections: usize,
    pub(super) rounds: usize,
    pub(super) warm_up_s: f64,
    pub(super) duration_s: f64,
    pub(super) curves: Vec<Curve>,
    /// One entry a server, those that could not be had included.
    pub(super) peers: Vec<PeerCurves>,
}

/// One server along all curves.
#[derive(Debug, Serialize)]
pub struct PeerCurves {
    /// The server.
    #[serde(flatten)]
    pub peer: Peer,
    /// Its version; empty when it could not be had.
    pub version: String,
    /// Why it could not be had or started; `null` when it could.
    pub missing: Option<String>,
    /// One entry a curve.
    pub curves: Vec<CurveFigures>,
}

/// One server along one curve.
#[derive(Debug, Serialize)]
pub struct CurveFigures {
    /// What is varied.
    pub curve: Curve,
    /// Of the rate: what the server took in a closed loop, messages/s, once before the first round.
    pub closed_loop_rate: Option<f64>,
    /// From the low end to the high one.
    pub points: Vec<CurvePoint>,
    /// What failed or is in doubt, each once.
    pub notes: Vec<String>,
    /// Places from here on were given up.
    #[serde(skip)]
    given_up_from: Option<usize>,
}

/// One place of a curve.
#[derive(Debug, Serialize)]
pub struct CurvePoint {
    /// What the load did.
    #[serde(flatten)]
    pub place: Place,
    /// Why there are not as many runs as rounds; `null` when there are.
    pub failed: Option<String>,
    /// One entry a round.
    pub runs: Vec<Run>,
}

impl CurvesReport {
    /// The figures with what they were measured with.
    pub fn new(options: &CompareOptions, peers: Vec<PeerCurves>) -> Self {
        Self {
            host: host::at_start().host.clone(),
            server_cores: options.server_cores.clone(),
            load_cores: options.load_cores.clone(),
            mailrace_arguments: options.arguments.clone(),
            connections: options.connections,
            rounds: options.rounds,
            warm_up_s: options.warm_up.as_secs_f64(),
            duration_s: options.duration.as_secs_f64(),
            curves: options.curves.curves.clone(),
            peers,
        }
    }
}

impl PeerCurves {
    /// Nothing measured yet.
    pub fn new(peer: Peer, version: std::result::Result<String, String>, curves: &[Curve]) -> Self {
        let (version, missing) = match version {
            Ok(version) => (version, None),
            Err(reason) => (String::new(), Some(reason)),
        };
        Self {
            peer,
            version,
            missing,
            curves: curves.iter().map(|curve| CurveFigures::new(*curve)).collect(),
        }
    }

    /// Its figures along one curve.
    pub(super) fn along(&self, curve: Curve) -> Option<&CurveFigures> {
        self.curves.iter().find(|figures| figures.curve == curve)
    }
}

impl CurveFigures {
    fn new(curve: Curve) -> Self {
        Self { curve, closed_loop_rate: None, points: Vec::new(), notes: Vec::new(), given_up_from: None }
    }

    /// Remembers what failed or is in doubt.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// How many places are still gone to.
    pub fn reach(&self) -> usize {
        self.given_up_from.unwrap_or(self.points.len())
    }

    /// The place at `index` failed: neither it nor what lies behind it is gone to any more.
    pub fn end_before(&mut self, index: usize, reason: &str) {
        self.given_up_from = Some(self.reach().min(index));
        for (number, point) in self.points.iter_mut().enumerate().skip(index) {
            let reason = if number == index { reason } else { "given up after the failure before it" };
            point.failed.get_or_insert_with(|| reason.to_owned());
        }
    }
}

impl CurvePoint {
    /// A place nobody has been to yet.
    pub fn at(place: Place) -> Self {
        Self { place, failed: None, runs: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_ends_the_curve_there_with_the_reason() {
        let place = Place { size: 4096, connections: 1, recipients: 1, offered_rate: None };
        let mut curve = CurveFigures::new(Curve::Size);
        curve.points = [place; 3].map(CurvePoint::at).into();
        assert_eq!(curve.reach(), 3);
        curve.end_before(1, "it hung");
        curve.end_before(2, "it hung again");
        assert_eq!(curve.reach(), 1);
        let reasons: Vec<_> = curve.points.iter().map(|point| point.failed.as_deref()).collect();
        assert_eq!(reasons, [None, Some("it hung"), Some("given up after the failure before it")]);
    }
}
