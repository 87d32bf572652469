//! A bar chart of requests per second, beside pgbench's.

use crate::credentials::Caller;
use crate::matrix::Row;
use crate::site::Engine;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 200.0;
const BAR: f64 = 14.0;
const GROUP: f64 = 44.0;
const TOP: f64 = 48.0;

/// The rows on PostgreSQL with a local database and a comparison, as SVG.
pub fn svg(rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let local = row.cell.latency_ms == 0 && row.cell.caller == Caller::Service;
            let pgbench = row.pgbench_per_second.filter(|_| local)?;
            (row.cell.engine == Engine::Postgres).then_some((row, pgbench.median))
        })
        .collect();
    let rates = rows
        .iter()
        .map(|(row, pgbench)| row.requests_per_second.median.max(*pgbench));
    let highest = rates.fold(1.0, f64::max);
    let height = TOP + GROUP * rows.len() as f64 + 8.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <rect x=\"{LEFT}\" y=\"12\" width=\"12\" height=\"12\" fill=\"#2a6fb0\"/><text x=\"{}\" y=\"23\">todoctl, requests/s</text>\n\
         <rect x=\"{}\" y=\"12\" width=\"12\" height=\"12\" fill=\"#b8bec6\"/><text x=\"{}\" y=\"23\">pgbench, transactions/s</text>\n",
        LEFT + 18.0,
        LEFT + 190.0,
        LEFT + 208.0,
    );
    for (index, (row, pgbench)) in rows.iter().enumerate() {
        let top = TOP + GROUP * index as f64;
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}, {} connections</text>\n",
            LEFT - 8.0,
            top + BAR + 4.0,
            row.cell.workload.name(),
            row.cell.connections,
        );
        let bars = [
            (row.requests_per_second.median, "#2a6fb0"),
            (*pgbench, "#b8bec6"),
        ];
        for (number, (rate, colour)) in bars.into_iter().enumerate() {
            let y = top + (BAR + 2.0) * number as f64;
            let length = (WIDTH - LEFT - 80.0) * rate / highest;
            svg += &format!(
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{rate:.0}</text>\n",
                LEFT + length + 6.0,
                y + BAR - 3.0,
            );
        }
    }
    svg + "</svg>\n"
}
