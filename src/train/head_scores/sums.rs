//! Sums over rows of one number per head, and their means over the heads of a group.

use crate::shape::AttentionShape;
use tch::{Kind, Tensor};

/// Sums of every kv head.
#[derive(Debug)]
pub(super) struct HeadSums {
    num_kv_heads: usize,
    sums: Vec<f64>,
    /// Numbers added per query head of each layer.
    counts: Vec<u64>,
}

impl HeadSums {
    pub(super) fn new(shape: AttentionShape) -> Self {
        Self {
            num_kv_heads: shape.num_kv_heads,
            sums: vec![0.0; shape.num_gates()],
            counts: vec![0; shape.num_layers],
        }
    }

    /// Adds numbers `[H, n]` of a layer's query heads; a group's heads count alike.
    pub(super) fn add(&mut self, layer: usize, values: &Tensor) {
        let num_kv_heads = i64::try_from(self.num_kv_heads).unwrap_or(i64::MAX);
        let (num_heads, count) = values.size2().unwrap_or((0, 0));
        let group = num_heads / num_kv_heads.max(1);
        let of_group = values
            .to_kind(Kind::Double)
            .view([num_kv_heads, group, count])
            .mean_dim([1_i64].as_slice(), false, Kind::Double)
            .sum_dim_intlist([1_i64].as_slice(), false, Kind::Double);
        let found = Vec::<f64>::try_from(of_group.to_device(tch::Device::Cpu)).unwrap_or_default();
        let sums = self.sums.iter_mut().skip(layer * self.num_kv_heads);
        for (sum, value) in sums.zip(found) {
            *sum += value;
        }
        self.counts[layer] += u64::try_from(count).unwrap_or(0);
    }

    /// Mean of every kv head; `None` if a layer was given nothing.
    #[expect(
        clippy::cast_precision_loss,
        reason = "queries of a sample are far below 2^52"
    )]
    pub(super) fn means(&self) -> Option<Vec<f64>> {
        if self.counts.contains(&0) {
            return None;
        }
        let per_layer = self.sums.chunks(self.num_kv_heads).zip(&self.counts);
        let means = per_layer.flat_map(|(sums, count)| sums.iter().map(|sum| sum / *count as f64));
        Some(means.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: AttentionShape = AttentionShape {
        num_layers: 2,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 4,
    };

    #[test]
    fn heads_of_a_group_and_numbers_of_a_head_are_averaged() {
        let mut sums = HeadSums::new(SHAPE);
        let first = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 1.0, 1.0_f32]).view([4, 2]);
        sums.add(0, &first);
        assert!(sums.means().is_none());
        sums.add(1, &first);
        sums.add(
            1,
            &Tensor::from_slice(&[4.0, 6.0, 8.0, 8.0_f32]).view([4, 1]),
        );
        assert_eq!(sums.means().unwrap(), [2.5, 0.5, 10.0 / 3.0, 3.0]);
    }
}
