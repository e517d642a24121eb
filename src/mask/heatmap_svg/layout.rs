//! Where everything of the picture stands, in pixels of its view box.

use crate::mask::head_mask::HeadMask;

/// Space between the card's edge and what it holds.
pub(super) const PAD: usize = 24;
/// Smallest cell that leaves room for a count of retrieval heads beside its layer.
pub(super) const PITCH_OF_COUNTS: usize = 12;

/// Width of a picture whose grid is not wider.
const WIDTH: usize = 600;
/// Card's edge to the grid: name and numbers of the axis that runs down.
const LEFT: usize = PAD + 44;
/// Title, counts, and the numbers above the grid.
const TOP: usize = 88;
/// Grid to the legend: numbers and name of the axis that runs right.
const BELOW: usize = 48;
/// The counts at the grid's right.
const COUNTS: usize = 28;
/// Side of the largest and smallest cell.
const PITCHES: (usize, usize) = (36, 6);
/// Extents of one entry of the legend.
const ENTRY: (usize, usize) = (176, 50);

/// A pair of pixels: right and down.
type Point = (usize, usize);

/// Positions of the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Side of a cell.
    pub(super) pitch: usize,
    /// Whether layers run down and kv heads right.
    pub(super) layers_down: bool,
    /// Cells that run down.
    pub(super) rows: usize,
    /// Cells that run right.
    pub(super) cols: usize,
    /// Corner of the grid.
    pub(super) grid: Point,
    /// Corners of the legend's entries: retrieval, streaming, shade.
    pub(super) legend: [Point; 3],
    /// The whole picture.
    pub(super) width: usize,
    /// The whole picture.
    pub(super) height: usize,
}

impl Layout {
    /// Fits the grid of `mask` into the page's width; more than 80 columns make the picture wider.
    pub(super) fn of(mask: &HeadMask) -> Self {
        let (layers, kv_heads) = (mask.num_layers(), mask.num_kv_heads());
        let layers_down = layers <= kv_heads;
        let (rows, cols) = if layers_down {
            (layers, kv_heads)
        } else {
            (kv_heads, layers)
        };
        let counts = if layers_down { COUNTS } else { 0 };
        let room = WIDTH - LEFT - PAD - counts;
        let (largest, smallest) = PITCHES;
        let pitch = (room / cols.max(1)).clamp(smallest, largest);
        let right = LEFT + pitch * cols + counts;
        let bottom = TOP + pitch * rows;
        let width = WIDTH.max(right + PAD);
        // Beside the grid where there is room for it, else below.
        let beside = right + 16 + ENTRY.0 + PAD <= WIDTH && 3 * ENTRY.1 <= pitch * rows + BELOW;
        let (legend, height) = if beside {
            let entry = |index| (right + 16, TOP + ENTRY.1 * index);
            ([0, 1, 2].map(entry), bottom + BELOW)
        } else {
            let entry = |index| (PAD + (ENTRY.0 + 10) * index, bottom + BELOW);
            ([0, 1, 2].map(entry), bottom + BELOW + ENTRY.1)
        };
        Self {
            pitch,
            layers_down,
            rows,
            cols,
            grid: (LEFT, TOP),
            legend,
            width,
            height,
        }
    }

    /// Extents of the grid.
    pub(super) fn grid_size(&self) -> Point {
        (self.pitch * self.cols, self.pitch * self.rows)
    }

    /// Corner of one head's cell.
    pub(super) fn corner(&self, layer: usize, kv_head: usize) -> Point {
        let (col, row) = if self.layers_down {
            (kv_head, layer)
        } else {
            (layer, kv_head)
        };
        (
            self.grid.0 + self.pitch * col,
            self.grid.1 + self.pitch * row,
        )
    }
}

/// Numbers to write along `count` cells of side `pitch`: round ones, at least `apart` pixels from each other.
pub(super) fn ticks(count: usize, pitch: usize, apart: usize) -> impl Iterator<Item = usize> {
    let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500];
    let step = steps.into_iter().find(|step| step * pitch >= apart);
    (0..count).step_by(step.unwrap_or(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::head_mask::HeadKind;

    #[test]
    fn everything_fits_on_the_card_and_nothing_stands_on_the_grid() {
        for (layers, kv_heads) in [
            (1, 1),
            (4, 4),
            (4, 8),
            (28, 8),
            (32, 8),
            (32, 32),
            (80, 8),
            (200, 2),
        ] {
            let mask = HeadMask::uniform(layers, kv_heads, HeadKind::Retrieval);
            let layout = Layout::of(&mask);
            let (left, top) = layout.grid;
            let (right, bottom) = (left + layout.grid_size().0, top + layout.grid_size().1);
            assert!(
                right + PAD <= layout.width && bottom + PAD <= layout.height,
                "{layout:?}"
            );
            for (x, y) in layout.legend {
                assert!(x >= right || y >= bottom, "{layout:?}");
                assert!(
                    x + ENTRY.0 <= layout.width && y + ENTRY.1 <= layout.height,
                    "{layout:?}"
                );
            }
            let last = layout.corner(layers - 1, kv_heads - 1);
            assert_eq!(
                (last.0 + layout.pitch, last.1 + layout.pitch),
                (right, bottom)
            );
            assert_eq!(layout.layers_down, layers <= kv_heads);
        }
    }

    #[test]
    fn pictures_of_common_models_are_as_wide_as_a_page() {
        for (layers, kv_heads) in [(4, 8), (28, 8), (32, 8), (32, 32), (80, 8)] {
            let mask = HeadMask::uniform(layers, kv_heads, HeadKind::Streaming);
            assert_eq!(Layout::of(&mask).width, WIDTH, "{layers} x {kv_heads}");
        }
    }

    #[test]
    fn ticks_keep_their_distance() {
        assert_eq!(
            ticks(8, 36, 20).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4, 5, 6, 7]
        );
        assert_eq!(ticks(32, 15, 20).collect::<Vec<_>>()[..3], [0, 2, 4]);
        assert_eq!(ticks(80, 6, 20).collect::<Vec<_>>()[..3], [0, 5, 10]);
    }
}
