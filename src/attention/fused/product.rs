//! Small dense matrix products in registers: `C = A B`, or `C += A B`, of f32.
//!
//! `B` and `C` lie row by row, whole registers each. `A` is read number by number, so it may lie by rows or by columns. A patch of
//! `C` stays in registers while the products of all of its depth are summed.

use pulp::Simd;

/// Numbers in the widest register there is (AVX-512): rows that are multiples of it are whole registers everywhere.
pub(super) const WIDEST: usize = 16;

/// Products that are summed one after the other: rounding grows with the length of such a chain, and chains are summed apart.
const CHAIN: usize = 32;

/// A left operand: its number at row `m` and depth `k`.
pub(super) trait Left: Copy {
    /// `M` of its rows.
    type Rows<const M: usize>: Rows<M>;

    /// Rows from `first` on, as deep as `depth`.
    fn rows<const M: usize>(self, first: usize, depth: usize) -> Self::Rows<M>;
}

/// Some rows of a left operand.
pub(super) trait Rows<const M: usize> {
    /// The number of row `m` at depth `k`.
    fn at(&self, m: usize, k: usize) -> f32;
}

/// A left operand that lies row by row, each `row_len` numbers after the one before.
#[derive(Clone, Copy)]
pub(super) struct ByRow<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) row_len: usize,
}

/// Rows of [`ByRow`].
pub(super) struct SeveralRows<'a, const M: usize>([&'a [f32]; M]);

impl<'a> Left for ByRow<'a> {
    type Rows<const M: usize> = SeveralRows<'a, M>;

    #[expect(clippy::inline_always, reason = "part of the innermost loop")]
    #[inline(always)]
    fn rows<const M: usize>(self, first: usize, depth: usize) -> SeveralRows<'a, M> {
        let Self { numbers, row_len } = self;
        let row = |m| &numbers[(first + m) * row_len..][..depth];
        SeveralRows(std::array::from_fn(row))
    }
}

impl<const M: usize> Rows<M> for SeveralRows<'_, M> {
    #[expect(clippy::inline_always, reason = "part of the innermost loop")]
    #[inline(always)]
    fn at(&self, m: usize, k: usize) -> f32 {
        self.0[m][k]
    }
}

/// A left operand that lies column by column: the numbers of one depth side by side, `column_len` after those of the depth before.
#[derive(Clone, Copy)]
pub(super) struct ByColumn<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) column_len: usize,
}

/// Rows of [`ByColumn`].
pub(super) struct PartOfColumns<'a> {
    numbers: &'a [f32],
    column_len: usize,
}

impl<'a> Left for ByColumn<'a> {
    type Rows<const M: usize> = PartOfColumns<'a>;

    #[expect(clippy::inline_always, reason = "part of the innermost loop")]
    #[inline(always)]
    fn rows<const M: usize>(self, first: usize, depth: usize) -> PartOfColumns<'a> {
        let Self {
            numbers,
            column_len,
        } = self;
        let end = (depth.max(1) - 1) * column_len + first + M;
        PartOfColumns {
            numbers: &numbers[first..end],
            column_len,
        }
    }
}

impl<const M: usize> Rows<M> for PartOfColumns<'_> {
    #[expect(clippy::inline_always, reason = "part of the innermost loop")]
    #[inline(always)]
    fn at(&self, m: usize, k: usize) -> f32 {
        self.numbers[k * self.column_len..][..M][m]
    }
}

/// Where a product goes: as many rows of `row_len` numbers, whole registers, as there are, a multiple of 8.
pub(super) struct Sums<'a> {
    pub(super) numbers: &'a mut [f32],
    pub(super) row_len: usize,
    /// Whether the product is added to what is there.
    pub(super) add: bool,
}

/// `A B` of `depth` products a number; `right` has `depth` rows as long as those of the result.
#[expect(
    clippy::inline_always,
    reason = "the processor's instructions are chosen by the caller"
)]
#[inline(always)]
pub(super) fn product<S: Simd, A: Left>(
    simd: S,
    left: A,
    depth: usize,
    right: &[f32],
    sums: Sums<'_>,
) {
    // A patch of 8 x 3 registers, three of the right operand and one of the left fit in 32, one of 4 x 3 in 16.
    if S::REGISTER_COUNT >= 32 {
        patches::<S, A, 8>(simd, left, depth, right, sums);
    } else {
        patches::<S, A, 4>(simd, left, depth, right, sums);
    }
}

#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn patches<S: Simd, A: Left, const M: usize>(
    simd: S,
    left: A,
    depth: usize,
    right: &[f32],
    sums: Sums<'_>,
) {
    let (right, _) = S::as_simd_f32s(right);
    let Sums {
        numbers,
        row_len,
        add,
    } = sums;
    let row_len = row_len / S::F32_LANES;
    let (out, _) = S::as_mut_simd_f32s(numbers);
    let num_rows = out.len() / row_len.max(1);
    let mut column = 0;
    while column < row_len {
        let width = match row_len - column {
            1 => 1,
            2 | 4 => 2,
            _ => 3,
        };
        for first in (0..num_rows).step_by(M) {
            let rows = left.rows::<M>(first, depth);
            let at = Patch {
                depth,
                first,
                column,
                row_len,
                add,
            };
            match width {
                1 => at.fill::<S, _, M, 1>(simd, &rows, right, out),
                2 => at.fill::<S, _, M, 2>(simd, &rows, right, out),
                _ => at.fill::<S, _, M, 3>(simd, &rows, right, out),
            }
        }
        column += width;
    }
}

/// A patch of the result, counted in rows and registers.
#[derive(Clone, Copy)]
struct Patch {
    depth: usize,
    first: usize,
    column: usize,
    row_len: usize,
    add: bool,
}

impl Patch {
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn fill<S: Simd, R: Rows<M>, const M: usize, const V: usize>(
        self,
        simd: S,
        left: &R,
        right: &[S::f32s],
        out: &mut [S::f32s],
    ) {
        let mut add = self.add;
        for start in (0..self.depth).step_by(CHAIN) {
            let end = self.depth.min(start + CHAIN);
            let mut sums = [[simd.splat_f32s(0.0); V]; M];
            let rows = right[start * self.row_len..end * self.row_len].chunks_exact(self.row_len);
            for (k, row) in (start..end).zip(rows) {
                let Some(lanes) = row[self.column..].first_chunk::<V>() else {
                    return;
                };
                for (m, sums) in sums.iter_mut().enumerate() {
                    let number = simd.splat_f32s(left.at(m, k));
                    for (sum, lanes) in sums.iter_mut().zip(lanes) {
                        *sum = simd.mul_add_e_f32s(number, *lanes, *sum);
                    }
                }
            }
            self.store(simd, &sums, add, out);
            add = true;
        }
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn store<S: Simd, const M: usize, const V: usize>(
        self,
        simd: S,
        sums: &[[S::f32s; V]; M],
        add: bool,
        out: &mut [S::f32s],
    ) {
        for (m, sums) in sums.iter().enumerate() {
            let start = (self.first + m) * self.row_len + self.column;
            let out = &mut out[start..start + V];
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = if add { simd.add_f32s(*out, *sum) } else { *sum };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::fused::buffer::Buffer;
    use pulp::{Arch, WithSimd};

    struct Both<'a> {
        a: &'a [f32],
        a_by_column: &'a [f32],
        b: &'a [f32],
        sizes: [usize; 3],
    }

    impl WithSimd for Both<'_> {
        type Output = [Buffer; 2];

        #[expect(clippy::inline_always, reason = "the caller chooses instructions")]
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> [Buffer; 2] {
            let [rows, depth, row_len] = self.sizes;
            let mut found = [0, 1].map(|_| Buffer::zeros(rows * row_len));
            let by_row = ByRow {
                numbers: self.a,
                row_len: depth,
            };
            let by_column = ByColumn {
                numbers: self.a_by_column,
                column_len: rows,
            };
            for add in [false, true] {
                let [first, second] = found.each_mut().map(|numbers| Sums {
                    numbers,
                    row_len,
                    add,
                });
                product(simd, by_row, depth, self.b, first);
                product(simd, by_column, depth, self.b, second);
            }
            found
        }
    }

    #[test]
    fn products_are_those_of_the_definition_whichever_way_the_left_operand_lies() {
        let wave = |index: usize| (f32::from(u16::try_from(index).unwrap()) * 0.37).sin();
        for sizes in [
            [8, 1, 16],
            [8, 5, 32],
            [16, 33, 48],
            [24, 7, 64],
            [96, 20, 80],
        ] {
            let [rows, depth, row_len] = sizes;
            let a: Vec<f32> = (0..rows * depth).map(wave).collect();
            let b: Vec<f32> = (0..depth * row_len).map(|index| wave(index + 7)).collect();
            let turned = (0..depth).flat_map(|k| (0..rows).map(move |m| (m, k)));
            let a_by_column: Vec<f32> = turned.map(|(m, k)| a[m * depth + k]).collect();
            let [by_row, by_column] = Arch::new().dispatch(Both {
                a: &a,
                a_by_column: &a_by_column,
                b: &b,
                sizes,
            });
            assert_eq!(*by_row, *by_column);
            for (index, found) in by_row.iter().enumerate() {
                let (m, n) = (index / row_len, index % row_len);
                let products =
                    (0..depth).map(|k| f64::from(a[m * depth + k]) * f64::from(b[k * row_len + n]));
                // Both calls were added up.
                let exact = 2.0 * products.sum::<f64>();
                let bound =
                    f64::from(f32::EPSILON) * 2.0 * f64::from(u16::try_from(depth + 1).unwrap());
                assert!(
                    (f64::from(*found) - exact).abs() <= bound,
                    "{sizes:?} at {index}"
                );
            }
        }
    }
}
