//! Lists of things: columns for people, TSV for pipes.

use super::style::{Style, Tone};
use unicode_width::UnicodeWidthStr;

/// When a column is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Always.
    Always,
    /// With `-o wide` only.
    Wide,
}

/// Where the text of a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A column's head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// In capitals by custom.
    pub(crate) title: &'static str,
    /// When it is shown.
    pub(crate) shown: Shown,
    /// Where its text stands.
    pub(crate) side: Side,
}

/// A cell: for people, and for programs.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    raw: Option<String>,
    tone: Tone,
}

impl Cell {
    /// The same for both.
    #[expect(clippy::needless_pass_by_value, reason = "cells are mostly made of temporaries")]
    pub(crate) fn new(text: impl ToString) -> Self {
        Self { text: text.to_string(), raw: None, tone: Tone::Plain }
    }

    /// Something else for programs: bytes instead of `1.9 GiB`.
    #[expect(clippy::needless_pass_by_value, reason = "as above")]
    pub(crate) fn raw(self, raw: impl ToString) -> Self {
        Self { raw: Some(raw.to_string()), ..self }
    }

    fn width(&self) -> usize {
        printable(&self.text).width()
    }

    /// In a colour.
    pub(crate) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

/// A list of things.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty list with words in all columns; a `+` before a title keeps it for `-o wide`, a `#` makes it numbers.
    pub(crate) fn new(titles: &[&'static str]) -> Self {
        let column = |title: &&'static str| {
            let (shown, title) = title.strip_prefix('+').map_or((Shown::Always, *title), |title| (Shown::Wide, title));
            let (side, title) = title.strip_prefix('#').map_or((Side::Left, title), |title| (Side::Right, title));
            Column { title, shown, side }
        };
        Self { columns: titles.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// Columns for people, two spaces apart, a head on top. Ends with a newline.
    pub(crate) fn columns(&self, wide: Shown, style: Style) -> String {
        let shown: Vec<usize> = (0..)
            .zip(&self.columns)
            .filter(|(_, c)| c.shown == Shown::Always || wide == Shown::Wide)
            .map(|(i, _)| i)
            .collect();
        let mut text = String::new();
        let head: Vec<Cell> = self.columns.iter().map(|c| Cell::new(c.title).tone(Tone::Dim)).collect();
        for row in std::iter::once(&head).chain(&self.rows) {
            let mut line = String::new();
            for &i in &shown {
                let (Some(column), Some(cell)) = (self.columns.get(i), row.get(i)) else { continue };
                let widest =
                    std::iter::once(&head).chain(&self.rows).filter_map(|row| row.get(i)).map(Cell::width).max();
                let padding = " ".repeat(widest.unwrap_or_default() - cell.width());
                let painted = style.paint(cell.tone, &printable(&cell.text));
                line += &match column.side {
                    Side::Left => painted + &padding,
                    Side::Right => padding + &painted,
                };
                line += "  ";
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }

    /// One line a row, all columns, no head: for `cut`, `awk` and `read`. Ends with a newline.
    pub(crate) fn tsv(&self) -> String {
        let field = |cell: &Cell| escape_tsv(cell.raw.as_deref().unwrap_or(&cell.text));
        self.rows.iter().map(|row| row.iter().map(field).collect::<Vec<_>>().join("\t") + "\n").collect()
    }
}

/// Text that cannot move the cursor: control characters are shown as their Unicode pictures.
pub(crate) fn printable(text: &str) -> String {
    let picture = |c: char| match u32::from(c) {
        n @ 0..0x20 => char::from_u32(0x2400 + n).unwrap_or(' '),
        0x7f => '\u{2421}',
        0x80..0xa0 => '\u{fffd}',
        _ => c,
    };
    text.chars().map(picture).collect()
}

/// A field of a TSV line: tab, newline, carriage return and backslash are escaped.
pub(crate) fn escape_tsv(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\\' => escaped.push_str("\\\\"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&["NAME", "#SIZE", "+ID"]);
        table.row([Cell::new("shop"), Cell::new("1.0 KiB").raw(1024), Cell::new("7")]);
        table.row([Cell::new("a\tb"), Cell::new("12 B").raw(12), Cell::new("8")]);
        table
    }

    #[test]
    fn people_get_aligned_columns() {
        insta::assert_snapshot!(sample().columns(Shown::Always, Style::Plain));
        insta::assert_snapshot!(sample().columns(Shown::Wide, Style::Plain));
    }

    #[test]
    fn programs_get_every_column_and_raw_numbers() {
        assert_eq!(sample().tsv(), "shop\t1024\t7\na\\tb\t12\t8\n");
    }
}
