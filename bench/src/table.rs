//! Markdown tables that also read well on a terminal.

/// A table under construction: a heading and rows of as many cells.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this heading and no rows.
    pub fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(ToString::to_string).collect()] }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has more or fewer cells than the heading.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.rows[0].len(), "a row must fill its table");
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for (index, row) in self.rows.iter().enumerate() {
            f.write_str("|")?;
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, " {cell:<width$} |")?;
            }
            f.write_str("\n")?;
            if index == 0 {
                f.write_str("|")?;
                for width in &widths {
                    write!(f, "{:-<1$}|", "", width + 2)?;
                }
                f.write_str("\n")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_padded_to_their_column() {
        let mut table = Table::new(&["mode", "n"]);
        table.row(vec!["discard".into(), "1".into()]);
        assert_eq!(table.to_string(), "| mode    | n |\n|---------|---|\n| discard | 1 |\n");
    }
}
