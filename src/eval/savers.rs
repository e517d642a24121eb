//! Methods that save compute and no memory, named as such below a table.

use super::method::MethodKind;
use super::table::{Column, cell};

/// The line that names them with the share of (query, key) pairs they attended; nothing if there are none.
pub(super) fn line(columns: &[Column<'_>]) -> Option<String> {
    let savers = columns
        .iter()
        .filter(|column| column.kind() == MethodKind::Skipping);
    let of = |column: &Column<'_>| {
        let share = column.mean_of(|method| method.summary.compute_share);
        format!("{} {}", column.title(), cell(share, 3))
    };
    let named: Vec<String> = savers.map(of).collect();
    (!named.is_empty()).then(|| {
        format!(
            "compute savers keep every entry, and attended this share of the (query, key) pairs: {}",
            named.join(", ")
        )
    })
}
