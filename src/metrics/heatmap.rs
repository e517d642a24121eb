//! Gates or scores of all heads as a picture: one row per layer, one column per kv head.

use super::error::MetricsError;
use super::palette;

/// Side of one cell, in pixels.
pub const CELL_PX: usize = 12;

/// Values in [0, 1], row-major `[layers, kv_heads]`.
#[derive(Debug, Clone, Copy)]
pub struct Heatmap<'a> {
    num_layers: usize,
    num_kv_heads: usize,
    values: &'a [f32],
}

/// A PNG file and its extents in pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The file's bytes.
    pub png: Vec<u8>,
}

impl<'a> Heatmap<'a> {
    /// Wraps `values`; layer 0 is drawn on top.
    ///
    /// # Errors
    /// [`MetricsError::Picture`] if there is no cell, more than 65,535 rows or columns, or another number of values.
    pub fn new(
        num_layers: usize,
        num_kv_heads: usize,
        values: &'a [f32],
    ) -> Result<Self, MetricsError> {
        let allowed = 1..=usize::from(u16::MAX);
        let fits = allowed.contains(&num_layers) && allowed.contains(&num_kv_heads);
        if fits && num_layers.checked_mul(num_kv_heads) == Some(values.len()) {
            return Ok(Self {
                num_layers,
                num_kv_heads,
                values,
            });
        }
        Err(MetricsError::Picture {
            num_layers,
            num_kv_heads,
            num_values: values.len(),
        })
    }

    /// Rows, layer 0 first.
    fn rows(&self) -> impl Iterator<Item = &'a [f32]> {
        self.values.chunks_exact(self.num_kv_heads)
    }

    /// Draws every cell as a square of [`CELL_PX`] pixels. Equal values give equal bytes.
    ///
    /// # Errors
    /// [`MetricsError::Png`].
    pub fn picture(&self) -> Result<Picture, MetricsError> {
        let extent = |cells: usize| u32::try_from(cells * CELL_PX).unwrap_or(u32::MAX);
        let (width, height) = (extent(self.num_kv_heads), extent(self.num_layers));
        let mut png = Vec::new();
        let mut encoder = png::Encoder::new(&mut png, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let failed = |source| MetricsError::Png { source };
        let mut writer = encoder.write_header().map_err(failed)?;
        writer.write_image_data(&self.pixels()).map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(Picture { width, height, png })
    }

    fn pixels(&self) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(3 * CELL_PX * CELL_PX * self.values.len());
        for row in self.rows() {
            let line: Vec<u8> = row
                .iter()
                .flat_map(|value| palette::color(*value).repeat(CELL_PX))
                .collect();
            pixels.extend(line.repeat(CELL_PX));
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_is_a_square_of_its_colour_with_layer_zero_on_top() {
        let values = [0.0, 0.5, 1.0, f32::NAN, 0.25, 0.75];
        let picture = Heatmap::new(2, 3, &values).unwrap().picture().unwrap();
        assert_eq!((picture.width, picture.height), (36, 24));

        let mut reader = png::Decoder::new(std::io::Cursor::new(&picture.png))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        for (y, x) in (0..24).flat_map(|y| (0..36).map(move |x| (y, x))) {
            let expected = palette::color(values[y / 12 * 3 + x / 12]);
            assert_eq!(
                pixels[(y * 36 + x) * 3..][..3],
                expected,
                "row {y}, column {x}"
            );
        }
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for (layers, kv_heads) in [(0, 3), (3, 0), (2, 2), (usize::MAX, 3)] {
            Heatmap::new(layers, kv_heads, &[0.0; 3]).unwrap_err();
        }
    }
}
