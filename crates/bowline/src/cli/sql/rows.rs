//! Result sets as text: one writer for each mode, all streaming, none keeps more than a screenful.

use super::session::Sink;
use crate::cli::args::Mode;
use crate::text::style::{Style, Tone};
use crate::text::table::{escape_tsv, printable};
use crate::text::yaml;
use dqlite::ValueRef;
use serde_json::Value as Json;
use std::io::{self, Write};
use unicode_width::UnicodeWidthStr;

/// How many rows decide how wide the columns of a table are. Later rows may stick out.
const ROWS_AHEAD: usize = 1000;

/// How rows are written. More than the modes that can be asked for by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One of the modes.
    Mode(Mode),
    /// A YAML sequence, for `-o yaml`.
    Yaml,
}

/// Writes result sets to `out` in one form.
pub(super) struct Writer<W: Write> {
    out: W,
    form: Form,
    style: Style,
    names: Vec<String>,
    rows: u64,
    ahead: Vec<Vec<Cell>>,
    widths: Option<Vec<usize>>,
}

/// A value of a table: its text, and whether it is a number.
struct Cell {
    text: String,
    side: Side,
    tone: Tone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, form: Form, style: Style) -> Self {
        Self { out, form, style, names: Vec::new(), rows: 0, ahead: Vec::new(), widths: None }
    }

    /// Ends the result set: writes what was held back.
    pub(super) fn finish(mut self) -> io::Result<()> {
        if self.names.is_empty() {
            return Ok(());
        }
        match self.form {
            Form::Mode(Mode::Table) if self.widths.is_none() => self.start_table()?,
            Form::Mode(Mode::Json) | Form::Yaml if self.rows == 0 => writeln!(self.out, "[]")?,
            Form::Mode(Mode::Json) => writeln!(self.out, "\n]")?,
            _ => {}
        }
        self.out.flush()
    }

    fn start_table(&mut self) -> io::Result<()> {
        let mut widths: Vec<usize> = self.names.iter().map(|name| printable(name).width()).collect();
        for row in &self.ahead {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        // A column of numbers has its head on the right too.
        let numbers = |i: usize| self.ahead.iter().all(|row| row.get(i).is_none_or(|cell| cell.side == Side::Right));
        let head: Vec<Cell> = (0..)
            .zip(&self.names)
            .map(|(i, name)| Cell {
                text: printable(name),
                side: if !self.ahead.is_empty() && numbers(i) { Side::Right } else { Side::Left },
                tone: Tone::Strong,
            })
            .collect();
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        self.widths = Some(widths);
        self.table_line(&head)?;
        let rule = rule.join("  ");
        writeln!(self.out, "{}", self.style.paint(Tone::Dim, &rule))?;
        for row in std::mem::take(&mut self.ahead) {
            self.table_line(&row)?;
        }
        Ok(())
    }

    fn table_line(&mut self, cells: &[Cell]) -> io::Result<()> {
        let mut line = String::new();
        for (i, cell) in cells.iter().enumerate() {
            let width = self.widths.as_ref().and_then(|widths| widths.get(i)).copied().unwrap_or_default();
            let padding = " ".repeat(width.saturating_sub(cell.text.width()));
            let painted = self.style.paint(cell.tone, &cell.text);
            line += &match cell.side {
                Side::Left if i + 1 == cells.len() => painted,
                Side::Left => painted + &padding + "  ",
                Side::Right => padding + &painted + "  ",
            };
        }
        writeln!(self.out, "{}", line.trim_end())
    }

    fn fields(&mut self, fields: impl Iterator<Item = String>, separator: &str, end: &str) -> io::Result<()> {
        let line: Vec<String> = fields.collect();
        write!(self.out, "{}{end}", line.join(separator))
    }

    fn object(&self, values: &[ValueRef<'_>]) -> Json {
        Json::Object(self.names.iter().cloned().zip(values.iter().map(json)).collect())
    }
}

impl<W: Write> Sink for Writer<W> {
    fn columns(&mut self, names: &[&str]) -> io::Result<()> {
        self.names = names.iter().map(|name| (*name).to_owned()).collect();
        match self.form {
            Form::Mode(Mode::Csv) if !names.is_empty() => self.fields(names.iter().map(|name| csv(name)), ",", "\r\n"),
            _ => Ok(()),
        }
    }

    fn row(&mut self, values: &[ValueRef<'_>]) -> io::Result<()> {
        self.rows += 1;
        match self.form {
            Form::Mode(Mode::Table) => {
                let cells: Vec<Cell> = values.iter().map(cell).collect();
                if self.widths.is_some() {
                    return self.table_line(&cells);
                }
                self.ahead.push(cells);
                if self.ahead.len() >= ROWS_AHEAD { self.start_table() } else { Ok(()) }
            }
            Form::Mode(Mode::Csv) => self.fields(values.iter().map(|value| csv(&plain(value))), ",", "\r\n"),
            Form::Mode(Mode::Tsv) => self.fields(values.iter().map(|value| escape_tsv(&plain(value))), "\t", "\n"),
            Form::Mode(Mode::List) => self.fields(values.iter().map(plain), "|", "\n"),
            Form::Mode(Mode::Line) => {
                let widest = self.names.iter().map(|name| name.width()).max().unwrap_or_default();
                let separator = if self.rows > 1 { "\n" } else { "" };
                write!(self.out, "{separator}")?;
                for (name, value) in self.names.iter().zip(values) {
                    let padding = " ".repeat(widest - name.width());
                    writeln!(self.out, "{padding}{name} = {}", cell(value).text)?;
                }
                Ok(())
            }
            Form::Mode(Mode::Json) => {
                let open = if self.rows == 1 { "[\n" } else { ",\n" };
                let object = self.object(values);
                write!(self.out, "{open}{object}")
            }
            Form::Yaml => {
                let item = Json::Array(vec![self.object(values)]);
                write!(self.out, "{}", yaml::to_string(&item))
            }
        }
    }
}

/// A value as bare text; NULL is empty, bytes are hexadecimal.
pub(super) fn plain(value: &ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(n) | ValueRef::UnixTime(n) => n.to_string(),
        ValueRef::Float(x) => float(*x),
        ValueRef::Text(text) | ValueRef::Iso8601(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => hex(bytes),
        ValueRef::Boolean(truth) => i64::from(*truth).to_string(),
    }
}

/// A float as SQLite writes it: always with a point or an exponent.
fn float(x: f64) -> String {
    match format!("{x:?}") {
        text if text == "inf" => "Inf".to_owned(),
        text if text == "-inf" => "-Inf".to_owned(),
        text => text,
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn cell(value: &ValueRef<'_>) -> Cell {
    let (text, side, tone) = match value {
        // An empty time is how the protocol says NULL in a column declared as one.
        ValueRef::Null | ValueRef::Iso8601(b"") => ("NULL".to_owned(), Side::Left, Tone::Dim),
        ValueRef::Integer(_) | ValueRef::Float(_) | ValueRef::UnixTime(_) => (plain(value), Side::Right, Tone::Plain),
        ValueRef::Boolean(truth) => (truth.to_string(), Side::Left, Tone::Plain),
        ValueRef::Blob(bytes) => (format!("x'{}'", hex(bytes)), Side::Left, Tone::Plain),
        ValueRef::Text(_) | ValueRef::Iso8601(_) => (printable(&plain(value)), Side::Left, Tone::Plain),
    };
    Cell { text, side, tone }
}

fn json(value: &ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null | ValueRef::Iso8601(b"") => Json::Null,
        ValueRef::Integer(n) | ValueRef::UnixTime(n) => Json::from(*n),
        // JSON has no infinity.
        ValueRef::Float(x) => serde_json::Number::from_f64(*x).map_or_else(|| Json::from(float(*x)), Json::Number),
        ValueRef::Boolean(truth) => Json::Bool(*truth),
        ValueRef::Text(_) | ValueRef::Iso8601(_) | ValueRef::Blob(_) => Json::from(plain(value)),
    }
}

/// A field of RFC 4180.
fn csv(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(form: Form, rows: &[&[ValueRef<'_>]]) -> String {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out, form, Style::Plain);
        writer.columns(&["id", "item", "price"]).unwrap();
        for row in rows {
            writer.row(row).unwrap();
        }
        writer.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    const ROWS: &[&[ValueRef<'static>]] = &[
        &[ValueRef::Integer(1), ValueRef::Text(b"rope, 10 \"m\""), ValueRef::Float(12.0)],
        &[ValueRef::Integer(200), ValueRef::Text("Knöpfe\tblau".as_bytes()), ValueRef::Null],
        &[ValueRef::Null, ValueRef::Blob(&[0, 255]), ValueRef::Float(1e300)],
    ];

    #[test]
    fn every_mode_writes_the_same_rows_its_way() {
        for mode in [Mode::Table, Mode::Csv, Mode::Json, Mode::Line, Mode::Tsv, Mode::List] {
            let text = written(Form::Mode(mode), ROWS).replace('\r', "\u{240d}");
            insta::assert_snapshot!(format!("{mode:?}").to_lowercase(), format!("\n{text}"));
        }
        insta::assert_snapshot!("yaml", format!("\n{}", written(Form::Yaml, ROWS)));
    }

    #[test]
    fn an_empty_result_is_still_a_document() {
        assert_eq!(written(Form::Mode(Mode::Json), &[]), "[]\n");
        assert_eq!(written(Form::Yaml, &[]), "[]\n");
        assert_eq!(written(Form::Mode(Mode::Tsv), &[]), "");
        assert_eq!(written(Form::Mode(Mode::Csv), &[]), "id,item,price\r\n");
        assert_eq!(written(Form::Mode(Mode::Table), &[]), "id  item  price\n──  ────  ─────\n");
    }

    #[test]
    fn json_output_is_json() {
        let text = written(Form::Mode(Mode::Json), ROWS);
        let parsed: Json = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed[1]["item"], "Knöpfe\tblau");
        assert_eq!(parsed[2]["id"], Json::Null);
    }
}
