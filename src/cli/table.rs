//! Tables for people: fitted to the terminal, whole when the output goes elsewhere.

use std::io::{self, Write};

use comfy_table::{
    Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets,
};

/// The least that a column of text gets.
const TEXT_WIDTH: u16 = 34;

/// A column's heading, and how its cells are set.
pub(super) struct Heading(pub(super) &'static str, pub(super) Align);

/// Where a column's text stands.
#[derive(Clone, Copy)]
pub(super) enum Align {
    /// Short text.
    Left,
    /// Text that gets the room that there is.
    Text,
    /// Numbers.
    Right,
}

/// Prints a table. With `wide` nothing is wrapped.
pub(super) fn print(
    output: &mut dyn Write,
    headings: &[Heading],
    rows: Vec<Vec<String>>,
    wide: bool,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let width = terminal_width(&table);
    match width.filter(|_| !wide) {
        Some(width) => {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.set_header(headings.iter().map(|heading| cell(heading.0, heading.1)));
    for row in rows {
        let aligned = row
            .into_iter()
            .zip(headings)
            .map(|(text, heading)| cell(text, heading.1));
        table.add_row(aligned);
    }
    for (column, heading) in table.column_iter_mut().zip(headings) {
        column.set_padding((0, 2));
        if let Align::Text = heading.1 {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(TEXT_WIDTH)));
        }
    }
    for line in table.lines() {
        writeln!(output, "{}", line.trim_end())?;
    }
    Ok(())
}

/// One cell.
fn cell(text: impl ToString, align: Align) -> Cell {
    Cell::new(text).set_alignment(match align {
        Align::Left | Align::Text => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    })
}

/// Columns of the terminal; `COLUMNS` decides where it is set. `None` when the output goes elsewhere.
fn terminal_width(table: &Table) -> Option<u16> {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    columns
        .filter(|columns| *columns > 0)
        .or_else(|| table.width())
}

/// A duration as people say it: `45s`, `12m`, `3h05m`, `4d02h`.
pub(super) fn duration(secs: u64) -> String {
    let (minutes, hours, days) = (secs / 60, secs / 3600, secs / 86_400);
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{minutes}m"),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Octets as people say them: `468 B`, `1.2 kB`, `3.4 GB`.
pub(super) fn octets(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let rows = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (3_900, "1h05m"),
            (86_400, "1d00h"),
            (360_000, "4d04h"),
        ];
        for (secs, text) in rows {
            assert_eq!(duration(secs), text);
        }
    }

    #[test]
    fn numbers_of_octets() {
        let rows = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (3_440_000_000, "3.4 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (bytes, text) in rows {
            assert_eq!(octets(bytes), text);
        }
    }
}
