//! Whether the docs list every cache line that several cores write to or read from.
//!
//! No program can tell that from outside. What is told here: whether the docs have a section of that name which lists
//! some, and whether it names each file of the source that sets data apart on lines of its own, for whoever does that
//! does it for the sake of another core.

use std::path::{Path, PathBuf};

use super::outcome::Part;
use crate::compare::catalogue;
use crate::error::{Error, Result};
use crate::report::Verdict;
use crate::stats::Spread;

/// The heading under which the docs list them.
const LINES_HEADING: &str = "Shared cache lines";

/// Whether the docs of the project this runs in list the shared cache lines.
pub(super) fn listed() -> Part {
    const NAME: &str = "every shared cache line listed in the docs";
    let found = catalogue::project_root().and_then(|root| {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|e| Error::system(format!("read {}", path.display()), e))
        };
        let docs = files_below(&root.join("docs"), "md")?.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut apart = Vec::new();
        for path in files_below(&root.join("src"), "rs")? {
            if sets_apart(&read(&path)?) {
                apart.push(path.strip_prefix(&root).unwrap_or(&path).display().to_string());
            }
        }
        Ok((docs, apart))
    });
    match found {
        Ok((docs, apart)) => lines_part(NAME, &docs, &apart),
        Err(error) => Part::open(NAME, error.to_string()),
    }
}

/// `docs` are texts, `apart` the files of the source that must be named.
fn lines_part(name: &str, docs: &[String], apart: &[String]) -> Part {
    let section = docs.iter().find_map(|text| section(text)).unwrap_or_default();
    let is_entry = |line: &&str| ["- ", "* ", "| "].iter().any(|start| line.starts_with(start));
    // A table's own heading is no entry of it.
    let is_table = section.lines().any(|line| line.starts_with("|-") || line.starts_with("| -"));
    let entries = section.lines().filter(is_entry).filter(|line| !line.starts_with("| -")).count();
    let entries = entries.saturating_sub(usize::from(is_table));
    let unnamed: Vec<&str> =
        apart.iter().map(String::as_str).filter(|path| !section.contains(path)).collect();
    let words = if entries == 0 {
        format!("entries: no list or table under a heading `{LINES_HEADING}` in docs/*.md")
    } else if unnamed.is_empty() {
        format!("entries under `{LINES_HEADING}`")
    } else {
        format!("entries under `{LINES_HEADING}`, which does not name {}", unnamed.join(", "))
    };
    let is_listed = entries > 0 && unnamed.is_empty();
    let verdict = Some(if is_listed { Verdict::Pass } else { Verdict::Miss });
    Part { verdict, ..Part::shown(name, Spread::of([entries as f64]), &words) }
}

/// The text of that name, up to the next heading.
fn section(text: &str) -> Option<String> {
    let is_heading = |line: &str| line.starts_with('#');
    let is_it =
        |line: &&str| is_heading(line) && line.trim_matches(['#', ' ']).eq_ignore_ascii_case(LINES_HEADING);
    let mut lines = text.lines().skip_while(|line| !is_it(line));
    lines.next()?;
    Some(lines.take_while(|line| !is_heading(line)).collect::<Vec<_>>().join("\n"))
}

/// Whether a source text puts something on cache lines of its own.
fn sets_apart(text: &str) -> bool {
    text.contains("repr(align(") || text.contains("CachePadded")
}

/// All files of that ending, at any depth.
fn files_below(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let attempt = |e| Error::system(format!("read {}", directory.display()), e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(attempt)? {
        let path = entry.map_err(attempt)?.path();
        if path.is_dir() {
            files.extend(files_below(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_lines_are_listed_when_the_docs_have_them_and_name_each_file_that_sets_data_apart() {
        let apart = ["src/a.rs".to_owned(), "src/b.rs".to_owned()];
        let verdict = |text: &str| {
            let part = lines_part("", &["# Other\n- src/a.rs src/b.rs\n".into(), text.into()], &apart);
            (part.measured.map(|figure| figure.value), part.verdict)
        };
        let table = "| line | file |\n|---|---|\n| x | src/a.rs |\n| y | src/b.rs |\n";
        let (pass, miss) = (Some(Verdict::Pass), Some(Verdict::Miss));
        assert_eq!(verdict(&format!("## Shared cache lines\n\n{table}")), (Some(2.0), pass));
        assert_eq!(verdict("# shared cache lines\n- src/a.rs: x\n- src/b.rs: y\n"), (Some(2.0), pass));
        assert_eq!(verdict("# Shared cache lines\n- src/a.rs: x\n# More\n- src/b.rs"), (Some(1.0), miss));
        assert_eq!(verdict("# Shared cache lines\nsrc/a.rs, src/b.rs\n"), (Some(0.0), miss));
        assert_eq!(verdict(&format!("# Lines\n{table}")), (Some(0.0), miss));
    }
}
