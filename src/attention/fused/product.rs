//! Small dense matrix products in registers: `C = A B`, or `C += A B`, of f32.
//!
//! All three matrices lie in panels (`panels`): what the innermost loop reads next lies next in memory, whichever operand it is
//! of. A patch of `C` stays in registers while a chain of its products is summed.
//!
//! # Decisions
//! A patch has as many registers as leave room for what is multiplied: one for each register of a row of `B`, one for a number of
//! `A`, and one to spare, without which the compiler keeps a sum in memory (seen at 4 x 3 of 16 registers; that and rows by
//! strides took 1.7 times the time). Beside 32 registers that is 8 rows of 3 (AVX-512) or 6 of 4 (NEON), beside 16 it is
//! 6 of 2. A panel's 16 rows are
//! two patches of 8, or of 6, 6 and 4, so that none reaches into the next panel, and all loops over one have a length that the
//! compiler knows.
//! Registers never go through an array's `map`: its closures are compiled without the instructions that the caller chose, which
//! made products eight times slower.

mod left;

use super::panels::{PANEL, rows_of};
use left::{Block, Left};
pub(super) use left::{ByColumn, ByRow};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Products that are summed one after the other: rounding grows with the length of such a chain, and chains are summed apart.
const CHAIN: usize = 32;

/// A right operand `[num_rows, columns]` in panels: a row for each depth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) numbers: &'a [f32],
    pub(super) num_rows: usize,
}

/// Where a product goes: `[num_rows, columns]` in panels.
#[derive(Debug)]
pub(super) struct Sums<'a> {
    pub(super) numbers: &'a mut [f32],
    pub(super) num_rows: usize,
    /// Whether the product is added to what is there.
    pub(super) add: bool,
}

/// The part of a product that is computed, all in multiples of [`PANEL`]: `rows x depths` of `A`, `depths x columns` of `B`.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) rows: Range<usize>,
    pub(super) depths: Range<usize>,
    pub(super) columns: Range<usize>,
}

/// Part of `A B`.
pub(super) fn product<S: Simd, A: Left>(
    simd: S,
    left: A,
    right: Right<'_>,
    sums: Sums<'_>,
    part: &Part,
) {
    #[cfg(test)]
    work::add(part);
    simd.vectorize(Product {
        left,
        right,
        sums,
        part,
    });
}

/// A product as a function of its own, and not once more in each that needs one: in functions of that length the compiler keeps
/// sums of some loops in memory.
struct Product<'a, A> {
    left: A,
    right: Right<'a>,
    sums: Sums<'a>,
    part: &'a Part,
}

impl<A: Left> WithSimd for Product<'_, A> {
    type Output = ();

    #[expect(
        clippy::inline_always,
        reason = "the processor's instructions are chosen by the caller"
    )]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            left,
            right,
            sums,
            part,
        } = self;
        let end = part.columns.end / PANEL;
        let mut panel = part.columns.start / PANEL;
        while panel < end {
            let strip = Strip {
                left,
                right,
                part,
                num_rows: sums.num_rows,
                panel,
                add: sums.add,
            };
            panel += match (S::F32_LANES, end - panel) {
                (PANEL, 1) => strip.of_panels::<S, 1>(simd, sums.numbers),
                (PANEL, 2 | 4) => strip.of_panels::<S, 2>(simd, sums.numbers),
                (PANEL, _) => strip.of_panels::<S, 3>(simd, sums.numbers),
                (4, _) if S::REGISTER_COUNT >= 32 => strip.of_one::<S, 4>(simd, sums.numbers),
                _ => strip.of_one::<S, 2>(simd, sums.numbers),
            };
        }
    }
}

/// Some panels of the result, from `panel` on.
#[derive(Clone, Copy)]
struct Strip<'a, A> {
    left: A,
    right: Right<'a>,
    part: &'a Part,
    num_rows: usize,
    panel: usize,
    add: bool,
}

/// Sums of a patch: `R` registers in each of `P` panels' rows.
type Patch<S, const M: usize, const P: usize, const R: usize> = [[[<S as Simd>::f32s; R]; P]; M];

impl<A: Left> Strip<'_, A> {
    /// Fills in `P` panels that are a register wide; how many they are.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn of_panels<S: Simd, const P: usize>(self, simd: S, out: &mut [f32]) -> usize {
        for first in self.part.rows.clone().step_by(PANEL) {
            self.fill::<S, 8, 0, P, 1>(simd, (first, 0), out);
            self.fill::<S, 8, 8, P, 1>(simd, (first, 0), out);
        }
        P
    }

    /// Fills in one panel, `R` of its registers at a time.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn of_one<S: Simd, const R: usize>(self, simd: S, out: &mut [f32]) -> usize {
        for register in (0..PANEL / S::F32_LANES).step_by(R) {
            for first in self.part.rows.clone().step_by(PANEL) {
                self.fill::<S, 6, 0, 1, R>(simd, (first, register), out);
                self.fill::<S, 6, 6, 1, R>(simd, (first, register), out);
                self.fill::<S, 4, 12, 1, R>(simd, (first, register), out);
            }
        }
        1
    }

    /// Fills in the patch of `M` rows from `OFFSET` on of the 16 rows that begin at `first`.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn fill<S: Simd, const M: usize, const OFFSET: usize, const P: usize, const R: usize>(
        self,
        simd: S,
        (first, register): (usize, usize),
        out: &mut [f32],
    ) {
        let right: [&[[f32; PANEL]]; P] = std::array::from_fn(|p| {
            rows_of(self.right.numbers, self.right.num_rows, self.panel + p)
        });
        let mut add = self.add;
        let depths = &self.part.depths;
        for start in depths.clone().step_by(CHAIN) {
            let mut sums: Patch<S, M, P, R> = [[[simd.splat_f32s(0.0); R]; P]; M];
            let end = depths.end.min(start + CHAIN);
            for depth in (start..end).step_by(PANEL) {
                let left = self.left.block::<M, OFFSET>(first, depth);
                let right = right.map(|panel| &panel[depth..depth + PANEL]);
                if let Some(left) = left {
                    sums = multiply(simd, &left, (right, register), sums);
                }
            }
            for p in 0..P {
                let place = ((self.panel + p) * self.num_rows + first + OFFSET) * PANEL;
                let rows = &mut out[place..place + M * PANEL];
                store(simd, &sums, p, (rows, register), add);
            }
            add = true;
        }
    }
}

/// `sums` with the products of [`PANEL`] depths added.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn multiply<S: Simd, const M: usize, const P: usize, const R: usize>(
    simd: S,
    left: &impl Block<M>,
    (right, register): ([&[[f32; PANEL]]; P], usize),
    mut sums: Patch<S, M, P, R>,
) -> Patch<S, M, P, R> {
    for k in 0..PANEL {
        let lanes = lanes::<S, P, R>(right, k, register);
        for (m, sums) in sums.iter_mut().enumerate() {
            let number = simd.splat_f32s(left.at(m, k));
            for (sums, lanes) in sums.iter_mut().zip(&lanes) {
                for (sum, lanes) in sums.iter_mut().zip(lanes) {
                    *sum = simd.mul_add_e_f32s(number, *lanes, *sum);
                }
            }
        }
    }
    sums
}

/// What stands in the right operand's panels at depth `k`, from a register of theirs on.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn lanes<S: Simd, const P: usize, const R: usize>(
    panels: [&[[f32; PANEL]]; P],
    k: usize,
    register: usize,
) -> [[S::f32s; R]; P] {
    std::array::from_fn(|p| {
        let (row, _) = S::as_simd_f32s(&panels[p][k]);
        std::array::from_fn(|r| row[register + r])
    })
}

/// Writes a patch's sums into rows of its panel `p`, or adds them.
#[expect(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn store<S: Simd, const M: usize, const P: usize, const R: usize>(
    simd: S,
    sums: &Patch<S, M, P, R>,
    p: usize,
    (rows, register): (&mut [f32], usize),
    add: bool,
) {
    let (rows, _) = rows.as_chunks_mut::<PANEL>();
    for (row, sums) in rows.iter_mut().zip(sums) {
        let (row, _) = S::as_mut_simd_f32s(row);
        for (out, sum) in row[register..register + R].iter_mut().zip(&sums[p]) {
            *out = if add { simd.add_f32s(*out, *sum) } else { *sum };
        }
    }
}

/// What products are worth, counted where tests ask.
#[cfg(test)]
pub(super) mod work {
    use super::Part;
    use std::cell::Cell;

    thread_local! {
        static NUM_PRODUCTS: Cell<usize> = const { Cell::new(0) };
    }

    /// Adds the multiplications of `part`.
    pub(super) fn add(part: &Part) {
        let num = part.rows.len() * part.depths.len() * part.columns.len();
        NUM_PRODUCTS.set(NUM_PRODUCTS.get() + num);
    }

    /// Multiplications of `solve` on this thread.
    pub(in super::super) fn of(solve: impl FnOnce()) -> usize {
        NUM_PRODUCTS.set(0);
        solve();
        NUM_PRODUCTS.get()
    }
}

#[cfg(test)]
mod tests {
    use super::super::buffer::Buffer;
    use super::super::panels::{put_row, take_row};
    use super::*;
    use pulp::Arch;

    struct Both<'a> {
        a: &'a [f32],
        a_turned: &'a [f32],
        b: &'a [f32],
        sizes: [usize; 3],
        part: Part,
    }

    impl WithSimd for Both<'_> {
        type Output = [Buffer; 2];

        #[expect(clippy::inline_always, reason = "the caller chooses instructions")]
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> [Buffer; 2] {
            let [num_rows, depth, columns] = self.sizes;
            let mut found = [0, 1].map(|_| Buffer::zeros(num_rows * columns));
            let by_row = ByRow {
                numbers: self.a,
                num_rows,
            };
            let by_column = ByColumn {
                numbers: self.a_turned,
                depth,
            };
            let right = Right {
                numbers: self.b,
                num_rows: depth,
            };
            for add in [false, true] {
                let [first, second] = found.each_mut().map(|numbers| Sums {
                    numbers,
                    num_rows,
                    add,
                });
                product(simd, by_row, right, first, &self.part);
                product(simd, by_column, right, second, &self.part);
            }
            found
        }
    }

    /// `[num_rows, columns]` in panels.
    fn matrix([num_rows, columns]: [usize; 2], at: impl Fn(usize, usize) -> f32) -> Vec<f32> {
        let mut matrix = vec![0.0; num_rows * columns];
        for row in 0..num_rows {
            let numbers: Vec<f32> = (0..columns).map(|column| at(row, column)).collect();
            put_row(&mut matrix, num_rows, row, &numbers, 1.0);
        }
        matrix
    }

    /// By this processor's registers and by plain numbers, which take the patches of AVX2: those of AVX-512 and NEON are tested
    /// where they are.
    #[test]
    fn products_are_those_of_the_definition_whichever_way_the_left_operand_lies() {
        let wave = |row: usize, column: usize| {
            let index = u16::try_from(row * 131 + column * 7).unwrap();
            (f32::from(index) * 0.37).sin()
        };
        // One panel, two, three, four and five; chains that are whole, several, and half.
        for sizes in [
            [16, 16, 16],
            [16, 48, 32],
            [32, 32, 48],
            [96, 80, 64],
            [48, 112, 80],
        ] {
            let [num_rows, depth, columns] = sizes;
            let a = matrix([num_rows, depth], wave);
            let a_turned = matrix([depth, num_rows], |k, m| wave(m, k));
            let b = matrix([depth, columns], |k, n| wave(k + 3, n));
            // All of it, and what leaves something out at either end.
            let whole = Part {
                rows: 0..num_rows,
                depths: 0..depth,
                columns: 0..columns,
            };
            let middle = |len: usize| len / 48 * 16..len - len / 64 * 16;
            let inner = Part {
                rows: middle(num_rows),
                depths: middle(depth),
                columns: middle(columns),
            };
            for part in [whole, inner] {
                let both = || Both {
                    a: &a,
                    a_turned: &a_turned,
                    b: &b,
                    sizes,
                    part: part.clone(),
                };
                let plain = both().with_simd(pulp::Scalar::new());
                let [by_row, by_column] = Arch::new().dispatch(both());
                assert_eq!(*by_row, *by_column);
                let bound =
                    f64::from(f32::EPSILON) * 2.0 * f64::from(u16::try_from(depth + 1).unwrap());
                for found in [&by_row, &plain[0], &plain[1]] {
                    for m in 0..num_rows {
                        let mut row = vec![0.0; columns];
                        take_row(found, num_rows, m, &mut row, 1.0);
                        for (n, found) in row.iter().enumerate() {
                            let product = |k| f64::from(wave(m, k)) * f64::from(wave(k + 3, n));
                            // Both calls were added up.
                            let is_in = part.rows.contains(&m) && part.columns.contains(&n);
                            let depths = part.depths.clone().filter(|_| is_in);
                            let exact = 2.0 * depths.map(product).sum::<f64>();
                            assert!(
                                (f64::from(*found) - exact).abs() <= bound,
                                "{part:?} at {m}, {n}"
                            );
                        }
                    }
                }
            }
        }
    }
}
