//! `mailrace-bench report`, and where every benchmark writes its page.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{JsonArgument, check_can_be_written, print};
use crate::error::{Error, Result};
use crate::report::{Page, html, markdown};

/// Join results saved with --json in one HTML page
#[derive(Debug, clap::Args)]
pub(super) struct ReportArguments {
    /// Results of benchmarks, or pages, in the order they are to stand in
    #[arg(value_name = "FILE.json", required = true)]
    files: Vec<PathBuf>,
    /// Title of the whole
    #[arg(long, value_name = "TEXT", default_value = "mailrace benchmarks")]
    title: String,
    #[command(flatten)]
    written: WrittenArguments,
}

/// Files for people to read.
#[derive(Debug, clap::Args)]
pub(super) struct WrittenArguments {
    /// Write one self-contained HTML page with charts to FILE
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write Markdown to FILE
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// Files a benchmark's result goes to; Markdown goes to standard output too, unless JSON does.
#[derive(Debug, clap::Args)]
pub(super) struct OutputArguments {
    #[command(flatten)]
    json: JsonArgument,
    #[command(flatten)]
    written: WrittenArguments,
}

/// A result with the page about it beside its own fields.
#[derive(serde::Serialize)]
pub(super) struct Saved<'a, T> {
    #[serde(flatten)]
    pub(super) result: &'a T,
    pub(super) page: &'a Page,
}

impl OutputArguments {
    /// JSON, HTML and Markdown of one name in `directory`.
    pub(super) fn into_directory(directory: &Path, name: &str) -> Self {
        let file = |ending: &str| Some(directory.join(format!("{name}.{ending}")));
        let written = WrittenArguments { html: file("html"), markdown: file("md") };
        Self { json: JsonArgument { json: file("json") }, written }
    }

    /// Finds out before a long run what would keep its result from being written.
    pub(super) fn check(&self) -> Result<()> {
        self.json.check()?;
        self.written.check()
    }

    /// Writes a benchmark's result and its page to where they were asked for.
    pub(super) fn write(&self, result: &impl serde::Serialize, page: &Page) -> Result<()> {
        self.write_showing(result, page, page)
    }

    /// The same for a long page: where it goes to a file, standard output gets only `brief`.
    pub(super) fn write_brief(
        &self,
        result: &impl serde::Serialize,
        page: &Page,
        brief: &Page,
    ) -> Result<()> {
        let has_file = self.written.html.is_some() || self.written.markdown.is_some();
        self.write_showing(result, page, if has_file { brief } else { page })
    }

    /// Files come first, for they outlive a terminal that goes away; where one cannot be written the others are.
    fn write_showing(&self, result: &impl serde::Serialize, page: &Page, shown: &Page) -> Result<()> {
        let read = self.written.write(&page.title, std::slice::from_ref(page));
        let kept = self.json.write(&Saved { result, page });
        let printed = if self.json.is_stdout() { Ok(()) } else { print(&format!("{}\n", markdown(shown))) };
        kept.and(read).and(printed)
    }
}

impl WrittenArguments {
    fn check(&self) -> Result<()> {
        self.html.iter().chain(&self.markdown).try_for_each(|path| check_can_be_written(path))
    }

    fn write(&self, title: &str, pages: &[Page]) -> Result<()> {
        let text = pages.iter().map(markdown).collect::<Vec<_>>().join("\n");
        let kept = self.markdown.as_ref().map_or(Ok(()), |path| write_file(path, &text));
        if let Some(path) = &self.html {
            write_file(path, &html(title, pages))?;
            eprintln!("mailrace-bench: the page is {}: open it in a browser", path.display());
        }
        kept
    }
}

impl OutputArguments {
    /// Writes the files, and nothing to standard output.
    pub(super) fn keep(&self, result: &impl serde::Serialize, page: &Page) -> Result<()> {
        self.json.write(&Saved { result, page })?;
        self.written.write(&page.title, std::slice::from_ref(page))
    }
}

pub(super) fn run(arguments: &ReportArguments) -> Result<ExitCode> {
    arguments.written.check()?;
    let pages = arguments.files.iter().map(|path| Page::read(path)).collect::<Result<Vec<_>>>()?;
    arguments.written.write(&arguments.title, &pages)?;
    if arguments.written.html.is_none() && arguments.written.markdown.is_none() {
        print(&pages.iter().map(markdown).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes a text to a file, replacing what it held.
fn write_file(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Error::system(format!("write {}", path.display()), e))
}
