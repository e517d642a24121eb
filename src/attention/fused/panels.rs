//! Matrices in panels: 16 columns side by side, row after row, then the next 16 columns.
//!
//! ```text
//! [rows, columns]   ->   [columns / 16, rows, 16]
//! ```
//!
//! A panel's row is a cache line and a whole number of registers of every processor.

/// Columns of a panel: numbers in the widest register there is (AVX-512).
pub(super) const PANEL: usize = 16;

/// The rows of panel `panel` of a matrix of `num_rows` rows.
#[expect(clippy::inline_always, reason = "part of the innermost loop")]
#[inline(always)]
pub(super) fn rows_of(numbers: &[f32], num_rows: usize, panel: usize) -> &[[f32; PANEL]] {
    let len = num_rows * PANEL;
    numbers[panel * len..(panel + 1) * len].as_chunks().0
}

/// Where number `column` of row `row` is in a matrix of `num_rows` rows.
pub(super) fn place(num_rows: usize, row: usize, column: usize) -> usize {
    (column / PANEL * num_rows + row) * PANEL + column % PANEL
}

/// Writes the first numbers of row `row` of a matrix of `num_rows` rows, each times `factor`.
pub(super) fn put_row(
    matrix: &mut [f32],
    num_rows: usize,
    row: usize,
    numbers: &[f32],
    factor: f32,
) {
    let panels = matrix.chunks_exact_mut(num_rows * PANEL);
    for (panel, numbers) in panels.zip(numbers.chunks(PANEL)) {
        let to = &mut panel[row * PANEL..(row + 1) * PANEL];
        for (to, number) in to.iter_mut().zip(numbers) {
            *to = number * factor;
        }
    }
}

/// Reads the first numbers of row `row` of a matrix of `num_rows` rows, each times `factor`.
pub(super) fn take_row(
    matrix: &[f32],
    num_rows: usize,
    row: usize,
    numbers: &mut [f32],
    factor: f32,
) {
    let panels = matrix.chunks_exact(num_rows * PANEL);
    for (panel, numbers) in panels.zip(numbers.chunks_mut(PANEL)) {
        let from = &panel[row * PANEL..(row + 1) * PANEL];
        for (number, from) in numbers.iter_mut().zip(from) {
            *number = from * factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_put() {
        for columns in [1_u8, 15, 16, 17, 48] {
            let (num_rows, width) = (3, 48);
            let mut matrix = vec![0.0; num_rows * width];
            let numbers: Vec<f32> = (1..=columns).map(f32::from).collect();
            put_row(&mut matrix, num_rows, 1, &numbers, 2.0);
            let mut found = vec![0.0; numbers.len()];
            take_row(&matrix, num_rows, 1, &mut found, 0.5);
            assert_eq!(found, numbers);
            for (column, number) in numbers.iter().enumerate() {
                let found = matrix[place(num_rows, 1, column)];
                assert_eq!(found.to_bits(), (2.0 * number).to_bits());
                let panel = rows_of(&matrix, num_rows, column / PANEL);
                assert_eq!(panel[1][column % PANEL].to_bits(), found.to_bits());
            }
            let num_written = matrix.iter().filter(|number| **number != 0.0).count();
            assert_eq!(num_written, numbers.len(), "other rows and columns");
        }
    }
}
