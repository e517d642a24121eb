//! Well-known models by name, so that a plan needs no file.

use super::sizes::ModelSizes;
use crate::shape::AttentionShape;

/// Names, in the order in which help texts list them.
pub const NAMES: [&str; 9] = [
    "llama-2-7b",
    "llama-2-13b",
    "llama-3-8b",
    "llama-3.1-8b",
    "llama-3.1-70b",
    "llama-3.2-1b",
    "llama-3.2-3b",
    "124m",
    "tiny",
];

/// The sizes of `name`: published ones from the `config.json` of each; `124m` is a shape of the benchmarks, `tiny` that of
/// the model in `checkpoints/`.
pub fn sizes(name: &str) -> Option<ModelSizes> {
    // Layers, heads, kv heads, head_dim; hidden, inner, vocabulary.
    let (shape, [hidden_size, intermediate_size, vocab_size]) = match name {
        "llama-2-7b" => ([32, 32, 32, 128], [4096, 11_008, 32_000]),
        "llama-2-13b" => ([40, 40, 40, 128], [5120, 13_824, 32_000]),
        "llama-3-8b" | "llama-3.1-8b" => ([32, 32, 8, 128], [4096, 14_336, 128_256]),
        "llama-3.1-70b" => ([80, 64, 8, 128], [8192, 28_672, 128_256]),
        "llama-3.2-1b" => ([16, 32, 8, 64], [2048, 8192, 128_256]),
        "llama-3.2-3b" => ([28, 24, 8, 128], [3072, 8192, 128_256]),
        "124m" => ([12, 12, 3, 64], [768, 2048, 32_000]),
        "tiny" => ([4, 16, 8, 32], [256, 768, 4096]),
        _ => return None,
    };
    let [num_layers, num_heads, num_kv_heads, head_dim] = shape;
    Some(ModelSizes {
        shape: AttentionShape {
            num_layers,
            num_heads,
            num_kv_heads,
            head_dim,
        },
        hidden_size,
        intermediate_size,
        vocab_size,
        is_tied: name.starts_with("llama-3.2"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_sound_layout_of_its_published_size() {
        let billions = [6.74, 13.0, 8.03, 8.03, 70.6, 1.24, 3.21, 0.1235, 0.00603];
        for (name, billions) in NAMES.into_iter().zip(billions) {
            let sizes = sizes(name).unwrap();
            sizes.shape.checked().unwrap();
            let found = sizes.num_params() / 1e9;
            assert!((found / billions - 1.0).abs() < 0.02, "{name}: {found}");
        }
        assert_eq!(sizes("llama-9"), None);
        // The exact count of the published checkpoint.
        let params = sizes("llama-3.1-8b").unwrap().num_params();
        assert!((params - 8_030_261_248.0).abs() < 0.5, "{params}");
    }
}
