//! The targets driven by Postfix's smtp-source: mailrace beside smtp-sink, and beside Postfix itself.

use super::outcome::{Limit, Part};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::compare::catalogue;
use crate::error::Result;
use crate::mailrace::Durability;
use crate::smtp_source::{self, Connections, Contender, SmtpSourceOptions, SmtpSourceReport};

/// mailrace's processor time per message by smtp-sink's, at most.
const OF_SMTP_SINK_MAX: f64 = 0.7;
/// The part of Postfix's processor time per message mailrace may take: one over so much.
const OF_POSTFIX: [(Connections, f64); 2] = [(Connections::Reused, 30.0), (Connections::New, 15.0)];

/// Measures all of `rows` in one run of interleaved rounds.
///
/// # Errors
/// When smtp-source or smtp-sink is not here, or one of the programs fails.
pub(super) fn measure(
    options: &TargetsOptions,
    rows: &[How],
    progress: &mut dyn FnMut(&str),
) -> Result<Findings> {
    let (smtp_source, smtp_sink) = smtp_source::find_programs(None, None)?;
    let wants_postfix = rows.contains(&How::Postfix);
    // Outside of the project there is no Postfix, and the row says so.
    let root = catalogue::project_root();
    let report = smtp_source::run(
        &SmtpSourceOptions {
            mailrace: options.mailrace.clone(),
            arguments: options.arguments.clone(),
            durability: Durability::Sync,
            smtp_source,
            smtp_sink,
            postfix: root.as_ref().ok().filter(|_| wants_postfix).cloned(),
            parent_dir: options.parent_dir.clone(),
            afterwards: options.afterwards,
            server_cores: options.server_cores.clone(),
            load_cores: options.load_cores.clone(),
            sessions: 100,
            size: 4096,
            reused_count: options.reused_count,
            new_count: options.new_count,
            rounds: options.rounds,
        },
        progress,
    )?;
    let mut findings = Findings::default();
    for (how, connections) in
        [(How::SmtpSinkReused, Connections::Reused), (How::SmtpSinkNew, Connections::New)]
    {
        let ratio = report.cpu_ratio(Contender::SmtpSink, connections);
        findings.add(how, Part::held("", ratio, Limit::AtMost(OF_SMTP_SINK_MAX), "times smtp-sink's"));
    }
    let missing = root.err().map(|error| error.to_string());
    for (connections, times) in OF_POSTFIX {
        findings.add(How::Postfix, beside_postfix(&report, missing.as_deref(), connections, times));
    }
    findings.pages.push(report.page());
    Ok(findings)
}

/// The inverse ratio is shown as well: a small share is hard to read.
fn beside_postfix(
    report: &SmtpSourceReport,
    missing: Option<&str>,
    connections: Connections,
    times: f64,
) -> Part {
    let name = format!("connections {}", connections.name());
    if let Some(reason) = missing.or(report.postfix_missing()) {
        return Part::open(name, reason.to_owned());
    }
    let ratio = report.cpu_ratio(Contender::Postfix, connections);
    let share = ratio.map_or(String::new(), |ratio| format!(", which is 1/{:.1}", 1.0 / ratio.median));
    let unit = format!("times Postfix's{share}, at most 1/{times}");
    Part::held(name, ratio, Limit::AtMost(1.0 / times), &unit)
}
