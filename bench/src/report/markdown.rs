//! A page as Markdown that also reads well on a terminal. Charts are tables there.

use super::{Page, Section, Table, is_hidden};
use crate::table;

/// The page, its title a heading of the first level.
pub fn markdown(page: &Page) -> String {
    let mut text = format!("# {}\n\n", line(&page.title));
    let facts = [("host", line(&page.host)), ("date", line(&page.date)), ("command", code(&page.command))];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        text += &format!("- {name}: {value}\n");
    }
    for note in &page.notes {
        text += &format!("\n{}\n", line(note));
    }
    for section in &page.sections {
        text += &of_section(section);
    }
    text
}

fn of_section(section: &Section) -> String {
    let mut text = format!("\n## {}\n", line(&section.heading));
    if !section.words.is_empty() {
        text += &format!("\n{}\n", line(&section.words));
    }
    match &section.table {
        Some(table) => text += &format!("\n{}", of_table(table)),
        None => {
            for chart in &section.charts {
                text += &format!("\n{}:\n\n{}", line(chart.title()), of_table(&chart.table()));
            }
        }
    }
    text
}

fn of_table(table: &Table) -> table::Table {
    let heading: Vec<String> = table.columns.iter().map(|column| line(column)).collect();
    let mut written = table::Table::new(&heading.iter().map(String::as_str).collect::<Vec<_>>());
    for row in &table.rows {
        let cells = row.iter().map(|cell| line(&cell.words()));
        let cells = cells.chain(std::iter::repeat(String::new())).take(heading.len());
        written.row(cells.collect());
    }
    written
}

/// Text on one line with nothing in it that Markdown or the HTML within it would take for more.
fn line(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let is_within_word =
            before.is_alphanumeric() && rest.peek().is_some_and(|next| next.is_alphanumeric());
        before = c;
        match c {
            '_' if is_within_word => escaped.push(c),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' => escaped.extend(['\\', c]),
            '<' => escaped += "&lt;",
            '&' => escaped += "&amp;",
            c if is_hidden(c) => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text as it is typed, within more backticks than it holds itself.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let text = text.replace(is_hidden, " ");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let (fence, gap) = ("`".repeat(longest + 1), if longest > 0 { " " } else { "" });
    format!("{fence}{gap}{text}{gap}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_makes_no_markup() {
        assert_eq!(line("a|b\n<img>`*"), "a\\|b &lt;img>\\`\\*");
        assert_eq!(line("io_uring _x_"), "io_uring \\_x\\_");
        assert_eq!(code("a `` b"), "``` a `` b ```");
    }
}
