//! The one colour scale for values in [0, 1].
//!
//! A straight line in Oklab (Ottosson 2020) from dark blue to light yellow: lightness rises linearly, and blue to yellow is the
//! axis that the common kinds of colour blindness keep.

/// Oklab lightness, green-red and blue-yellow coordinates of value 0.
const DARK: [f64; 3] = [0.26, -0.01, -0.11];
/// The same of value 1.
const LIGHT: [f64; 3] = [0.92, -0.02, 0.15];

/// Colour of what is not a number: red, which the scale does not contain.
pub const NOT_FINITE: [u8; 3] = [214, 39, 40];

/// The colour of `value`, as sRGB; values outside [0, 1] are clamped.
pub fn color(value: f32) -> [u8; 3] {
    if !value.is_finite() {
        return NOT_FINITE;
    }
    let at = f64::from(value.clamp(0.0, 1.0));
    let mut lab = [0.0; 3];
    for ((mixed, dark), light) in lab.iter_mut().zip(DARK).zip(LIGHT) {
        *mixed = dark + at * (light - dark);
    }
    srgb(lab)
}

/// Converts Oklab to sRGB by the two published matrices and the cube between them.
fn srgb([lightness, a, b]: [f64; 3]) -> [u8; 3] {
    let cones = [
        lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b,
        lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b,
        lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b,
    ];
    let [long, medium, short] = cones.map(|cone| cone * cone * cone);
    [
        4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short,
        -1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short,
        -0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701_0 * short,
    ]
    .map(encode)
}

/// Applies sRGB's transfer curve and rounds to a byte.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=255 just before"
)]
fn encode(linear: f64) -> u8 {
    let linear = linear.clamp(0.0, 1.0);
    let curved = if linear <= 0.003_130_8 {
        12.92 * linear
    } else {
        1.055 * linear.powf(1.0 / 2.4) - 0.055
    };
    (curved * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of an sRGB colour (WCAG).
    fn luminance(color: [u8; 3]) -> f64 {
        let linear = color.map(|channel| {
            let channel = f64::from(channel) / 255.0;
            if channel <= 0.040_45 {
                channel / 12.92
            } else {
                ((channel + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn the_scale_grows_lighter_everywhere_so_it_reads_without_colour() {
        let lights: Vec<f64> = (0..=50_u8)
            .map(|at| luminance(color(f32::from(at) / 50.0)))
            .collect();
        assert!(
            lights.is_sorted_by(|dark, light| light - dark > 0.001),
            "{lights:?}"
        );
        assert!(lights[0] < 0.05 && lights[50] > 0.7, "{lights:?}");
    }

    #[test]
    fn the_ends_are_blue_and_yellow_and_nan_is_neither() {
        let [red, green, blue] = color(0.0);
        assert!(blue > red + 40 && blue > green + 20, "{red} {green} {blue}");
        let [red, green, blue] = color(1.0);
        assert!(red.min(green) > blue + 60, "{red} {green} {blue}");
        assert_eq!(color(f32::NAN), NOT_FINITE);
        assert_eq!((color(-1.0), color(2.0)), (color(0.0), color(1.0)));
        assert_eq!(color(f32::INFINITY), NOT_FINITE);
    }
}
