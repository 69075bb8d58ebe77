//! The table: a row a figure, a column a contestant, and what is to be reached.

use anyhow::Result;

/// A figure of a contestant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cell {
    Us(f64),
    Ms(f64),
    Number(f64),
    /// It does not apply.
    None,
}

pub(crate) struct Table {
    names: Vec<&'static str>,
    /// What the name of a row must contain for it to be measured.
    only: String,
    rows: Vec<(String, f64, Vec<Cell>)>,
}

impl Table {
    pub(crate) fn new(names: &[&'static str], only: &str) -> Self {
        Self { names: names.to_vec(), only: only.to_owned(), rows: Vec::new() }
    }

    /// Measures a figure of each contestant; `most` is what the first of them is to reach.
    pub(crate) fn row(
        &mut self,
        what: &str,
        most: f64,
        mut figure: impl FnMut(usize) -> Result<Cell>,
    ) -> Result<()> {
        if !what.contains(&self.only) {
            return Ok(());
        }
        eprintln!("{what}");
        let cells = (0..self.names.len()).map(&mut figure).collect::<Result<_>>()?;
        self.rows.push((what.to_owned(), most, cells));
        Ok(())
    }

    pub(crate) fn show(&self) {
        print!("\n{:<54}", "");
        for name in &self.names {
            print!("{name:>9}");
        }
        println!("{:>10}", "to reach");
        for (what, most, cells) in &self.rows {
            print!("{what:<54}");
            for cell in cells {
                match cell {
                    Cell::Us(value) | Cell::Ms(value) | Cell::Number(value) => print!("{value:>9.2}"),
                    Cell::None => print!("{:>9}", "-"),
                }
            }
            let reached = match cells.first() {
                Some(Cell::Us(value) | Cell::Ms(value) | Cell::Number(value)) if value > most => "  missed",
                _ => "",
            };
            println!("{:>10}{reached}", format!("≤ {most}"));
        }
    }
}
