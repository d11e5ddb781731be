//! `mailrace completions SHELL`: a script that completes commands and options.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// For which shell. bash: put it into ~/.local/share/bash-completion/completions/mailrace; zsh: as _mailrace
    /// into a folder of $fpath; fish: into ~/.config/fish/completions/mailrace.fish.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionsArguments) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "mailrace", &mut script);
    super::print(&script)
}
