//! Text in columns. What a general table would keep for 100,000 rows takes more memory than all else.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Cells of one line of text each, row by row.
#[derive(Debug)]
pub struct Cells {
    columns: usize,
    text: String,
    /// Where each cell ends in the text.
    ends: Vec<usize>,
}

impl Cells {
    /// No rows yet.
    pub fn new(columns: usize) -> Self {
        Self { columns, text: String::new(), ends: Vec::new() }
    }

    /// Adds a cell; it must be ASCII, so that it is as wide as it is long.
    pub fn add(&mut self, cell: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(cell);
        self.ends.push(self.text.len());
    }

    fn cell(&self, number: usize) -> &str {
        let end = |n: usize| self.ends.get(n).copied().unwrap_or(self.text.len());
        let start = number.checked_sub(1).map_or(0, end);
        self.text.get(start..end(number)).unwrap_or_default()
    }

    fn rows(&self) -> usize {
        self.ends.len() / self.columns
    }

    /// The width of each column.
    pub fn widths(&self) -> Vec<usize> {
        let mut widths = vec![0; self.columns];
        let mut start = 0;
        for (n, &end) in self.ends.iter().enumerate() {
            if let Some(width) = widths.get_mut(n % self.columns) {
                *width = end.saturating_sub(start).max(*width);
            }
            start = end;
        }
        widths
    }

    /// Writes the rows. A column with a width of 0 is left out; what is wider than its column is cut. `paint` may
    /// say what is to be written before the cell in a row and a column, and then it is reset behind.
    pub fn write(
        &self,
        out: &mut impl Write,
        widths: &[usize],
        paint: impl Fn(usize, usize) -> &'static str,
    ) -> io::Result<()> {
        let shown: Vec<(usize, usize)> = widths.iter().copied().enumerate().filter(|&(_, w)| w > 0).collect();
        let mut line = String::new();
        for row in 0..self.rows() {
            line.clear();
            for &(column, width) in &shown {
                let whole = self.cell(row * self.columns + column);
                let cell = whole.get(..width).unwrap_or(whole);
                let colour = paint(row, column);
                let reset = if colour.is_empty() { "" } else { "\x1b[0m" };
                let _ = write!(line, "{colour}{cell}{reset}{:1$}", "", width - cell.len() + 2);
            }
            line.truncate(line.trim_end().len());
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

/// Makes columns fit into a line: first some are narrowed, then the least important ones are left out, then what is left
/// is narrowed further. `order` names columns, the least important first. Returns which were left out.
pub fn fit(
    widths: &mut [usize],
    line: usize,
    narrower: &[(usize, usize)],
    order: &[usize],
    narrowest: &[(usize, usize)],
) -> Vec<usize> {
    let taken = |widths: &[usize]| {
        let shown = widths.iter().filter(|&&w| w > 0);
        shown.clone().sum::<usize>() + 2 * shown.count().saturating_sub(1)
    };
    let narrow = |widths: &mut [usize], columns: &[(usize, usize)]| {
        for &(column, least) in columns {
            let over = taken(widths).saturating_sub(line);
            if let Some(width) = widths.get_mut(column) {
                *width = width.saturating_sub(over).max(least.min(*width));
            }
        }
    };
    narrow(widths, narrower);
    let mut left_out = Vec::new();
    for &column in order {
        if taken(widths) <= line {
            break;
        }
        if let Some(width) = widths.get_mut(column).filter(|width| **width > 0) {
            *width = 0;
            left_out.push(column);
        }
    }
    narrow(widths, narrowest);
    left_out
}

#[cfg(test)]
mod tests {
    use super::{Cells, fit};

    fn written(cells: &Cells, widths: &[usize]) -> String {
        let mut out = Vec::new();
        cells.write(&mut out, widths, |_, _| "").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up() {
        let mut cells = Cells::new(3);
        for cell in ["A", "LONG", "C", "aaa", "b", ""] {
            cells.add(format_args!("{cell}"));
        }
        assert_eq!(cells.widths(), [3, 4, 1]);
        assert_eq!(written(&cells, &cells.widths()), "A    LONG  C\naaa  b\n");
        assert_eq!(written(&cells, &[3, 0, 1]), "A    C\naaa\n");
        assert_eq!(written(&cells, &[2, 4, 1]), "A   LONG  C\naa  b\n");
    }

    #[test]
    fn first_narrower_then_fewer() {
        let fitted = |line| {
            let mut widths = [10, 20, 5];
            let left_out = fit(&mut widths, line, &[(0, 6)], &[2, 1], &[(0, 2)]);
            (widths, left_out)
        };
        assert_eq!(fitted(39), ([10, 20, 5], vec![]));
        assert_eq!(fitted(37), ([8, 20, 5], vec![]));
        assert_eq!(fitted(30), ([6, 20, 0], vec![2]));
        assert_eq!(fitted(10), ([6, 0, 0], vec![2, 1]));
        assert_eq!(fitted(4), ([4, 0, 0], vec![2, 1]));
        assert_eq!(fitted(1), ([2, 0, 0], vec![2, 1]));
    }
}
