//! Left operands of a product: matrices in panels, read number by number.

use super::super::panels::{PANEL, rows_of};

/// A left operand, `[rows, depth]`.
pub(in super::super) trait Left: Copy {
    /// `M` of its rows at [`PANEL`] depths.
    type Block<const M: usize, const OFFSET: usize>: Block<M>;

    /// `M` rows from `OFFSET` on of the [`PANEL`] rows that begin at `first`, at the depths that begin at `depth`, a multiple of
    /// [`PANEL`]; `None` if they are not there: our bug.
    fn block<const M: usize, const OFFSET: usize>(
        self,
        first: usize,
        depth: usize,
    ) -> Option<Self::Block<M, OFFSET>>;
}

/// Some rows of a left operand at some depths.
pub(in super::super) trait Block<const M: usize> {
    /// The number of row `m` at depth `k`.
    fn at(&self, m: usize, k: usize) -> f32;
}

/// A left operand `[num_rows, depth]` in panels: a panel is of 16 depths.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct ByRow<'a> {
    pub(in super::super) numbers: &'a [f32],
    pub(in super::super) num_rows: usize,
}

/// Rows of [`ByRow`], each a row of a panel.
#[derive(Debug)]
pub(in super::super) struct SeveralRows<'a, const M: usize>(&'a [[f32; PANEL]; M]);

impl<'a> Left for ByRow<'a> {
    type Block<const M: usize, const OFFSET: usize> = SeveralRows<'a, M>;

    #[expect(clippy::inline_always, reason = "part of the innermost loops")]
    #[inline(always)]
    fn block<const M: usize, const OFFSET: usize>(
        self,
        first: usize,
        depth: usize,
    ) -> Option<SeveralRows<'a, M>> {
        let panel = rows_of(self.numbers, self.num_rows, depth / PANEL);
        let rows = panel.get(first + OFFSET..)?;
        rows.first_chunk().map(SeveralRows)
    }
}

impl<const M: usize> Block<M> for SeveralRows<'_, M> {
    #[expect(clippy::inline_always, reason = "part of the innermost loops")]
    #[inline(always)]
    fn at(&self, m: usize, k: usize) -> f32 {
        self.0[m][k]
    }
}

/// A left operand that lies turned, `[depth, rows]` in panels: a panel is of 16 rows.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct ByColumn<'a> {
    pub(in super::super) numbers: &'a [f32],
    pub(in super::super) depth: usize,
}

/// Rows of [`ByColumn`], `OFFSET` and the next of a panel's columns.
#[derive(Debug)]
pub(in super::super) struct SeveralColumns<'a, const OFFSET: usize>(&'a [[f32; PANEL]; PANEL]);

impl<'a> Left for ByColumn<'a> {
    type Block<const M: usize, const OFFSET: usize> = SeveralColumns<'a, OFFSET>;

    #[expect(clippy::inline_always, reason = "part of the innermost loops")]
    #[inline(always)]
    fn block<const M: usize, const OFFSET: usize>(
        self,
        first: usize,
        depth: usize,
    ) -> Option<SeveralColumns<'a, OFFSET>> {
        let panel = rows_of(self.numbers, self.depth, first / PANEL);
        let depths = panel.get(depth..)?;
        depths.first_chunk().map(SeveralColumns)
    }
}

impl<const M: usize, const OFFSET: usize> Block<M> for SeveralColumns<'_, OFFSET> {
    #[expect(clippy::inline_always, reason = "part of the innermost loops")]
    #[inline(always)]
    fn at(&self, m: usize, k: usize) -> f32 {
        self.0[k][OFFSET + m]
    }
}
