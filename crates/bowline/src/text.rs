//! Text for terminals and for programs: tables, TSV, YAML, colours.

pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod yaml;
