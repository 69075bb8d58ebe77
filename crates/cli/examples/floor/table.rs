//! The table: a row a figure, a column a contestant, and what is to be reached.

use anyhow::Result;

use crate::contestants::Contestant;

/// Characters of a row's name, and of each column.
const NAME: usize = 54;
const COLUMN: usize = 16;

pub(crate) struct Table {
    names: Vec<&'static str>,
    /// Whose figures the others are held against: who does nothing.
    reference: usize,
    /// What the name of a row must contain for it to be measured.
    only: String,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    /// What the first of the contestants is to reach.
    most: f64,
    /// A figure of each; none where it does not apply.
    figures: Vec<Option<f64>>,
}

impl Table {
    pub(crate) fn new(contestants: &[Contestant], only: &str) -> Self {
        let names = contestants.iter().map(|contestant| contestant.name).collect();
        let reference = contestants.iter().position(|contestant| !contestant.producer.works);
        Self { names, reference: reference.unwrap_or_default(), only: only.to_owned(), rows: Vec::new() }
    }

    /// Adds a row: what `figures` measures of each contestant.
    pub(crate) fn row(
        &mut self,
        what: &str,
        most: f64,
        figures: impl FnOnce() -> Result<Vec<Option<f64>>>,
    ) -> Result<()> {
        if what.contains(&self.only) {
            eprintln!("{what}");
            self.rows.push(Row { what: what.to_owned(), most, figures: figures()? });
        }
        Ok(())
    }

    /// Each figure, and behind an x what it is of the reference's; where that has none, of the first contestant's.
    pub(crate) fn show(&self) {
        print!("\n{:<NAME$}", "");
        for name in &self.names {
            print!("{name:>COLUMN$}");
        }
        println!("{:>12}", "to reach");
        for row in &self.rows {
            print!("{:<NAME$}", row.what);
            let reference = match row.figures[self.reference] {
                Some(figure) if figure > 0.0 => self.reference,
                _ => 0,
            };
            for (place, figure) in row.figures.iter().enumerate() {
                let cell = match (figure, row.figures[reference]) {
                    (None, _) => "-".to_owned(),
                    (Some(figure), Some(whole)) if place != reference => {
                        format!("{figure:.2} {:>6}", format!("x{:.2}", figure / whole))
                    }
                    (Some(figure), _) => format!("{figure:.2} {:>6}", ""),
                };
                print!("{cell:>COLUMN$}");
            }
            let reached =
                if row.figures[0].is_some_and(|figure| figure > row.most) { "  missed" } else { "" };
            println!("{:>12}{reached}", format!("≤ {}", row.most));
        }
    }
}
