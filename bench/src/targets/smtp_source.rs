//! The targets driven by Postfix's smtp-source: mailrace beside smtp-sink.

use super::outcome::{Limit, Part};
use super::table::How;
use super::{Findings, TargetsOptions};
use crate::error::Result;
use crate::mailrace::Durability;
use crate::smtp_source::{self, Connections, SmtpSourceOptions};

/// mailrace's processor time per message by smtp-sink's, at most.
const OF_SMTP_SINK_MAX: f64 = 0.7;

/// Measures all of them in one run of interleaved rounds.
///
/// # Errors
/// When smtp-source or smtp-sink is not here, or one of the programs fails.
pub(super) fn measure(options: &TargetsOptions, progress: &mut dyn FnMut(&str)) -> Result<Findings> {
    let (smtp_source, smtp_sink) = smtp_source::find_programs(None, None)?;
    let report = smtp_source::run(
        &SmtpSourceOptions {
            mailrace: options.mailrace.clone(),
            arguments: options.arguments.clone(),
            durability: Durability::Sync,
            smtp_source,
            smtp_sink,
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
        let ratio = report.cpu_ratio(connections);
        findings.add(how, Part::held("", ratio, Limit::AtMost(OF_SMTP_SINK_MAX), "times smtp-sink's"));
    }
    findings.add(How::Postfix, Part::open("", "Postfix is not measured beside it yet".into()));
    findings.pages.push(report.page());
    Ok(findings)
}
