//! Attention mass outside the streaming span: the share of a head's softmax that a streaming head would lose.
//!
//! With `lse_F` over all causal keys and `lse_T` over the keys that a streaming head sees, the mass outside is
//! `1 - exp(lse_T - lse_F)`: two attention calls, and no score matrix.

use super::sums::HeadSums;
use crate::attention::{Backend, Qkv, Visibility, streaming};
use crate::model::train_pass::{Row, TrainPass};
use crate::span::Span;
use tch::Tensor;

/// Mean mass outside `span` of every kv head, over the queries of `rows` that have keys outside it; `None` if there are none.
pub fn outside_mass(pass: &TrainPass<'_>, span: &Span, rows: &[Row]) -> Option<Vec<f64>> {
    let mut sums = HeadSums::new(pass.model.config().shape);
    for row in rows {
        pass.observe(row, &mut |layer, qkv| {
            row.documents.visit(qkv, &mut |document| {
                if let Some(mass) = mass(pass.attention.backend, document, span) {
                    sums.add(layer, &mass);
                }
            });
        });
    }
    sums.means()
}

/// Mass outside of every head and query behind the dense prefix, `[H, n]`; `None` for documents not longer than that.
fn mass(backend: &dyn Backend, document: Qkv, span: &Span) -> Option<Tensor> {
    let full = backend.forward(document, Visibility::Causal).lse;
    let (_, num_heads, len) = full.size3().ok()?;
    let prefix = i64::try_from(span.dense_prefix()).unwrap_or(i64::MAX);
    if len <= prefix {
        return None;
    }
    let seen = streaming::forward(backend, document, span).lse;
    let behind = |lse: &Tensor| lse.narrow(2, prefix, len - prefix);
    let inside = (behind(&seen) - behind(&full)).exp();
    // Rounding may put the part above the whole.
    let outside: Tensor = 1.0 - inside;
    Some(
        outside
            .clamp(0.0, 1.0)
            .transpose(0, 1)
            .reshape([num_heads, -1]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::cpu_flash::CpuFlash;
    use crate::attention::reference::Reference;
    use crate::attention::testing::{assert_close, normal};
    use tch::Kind;

    /// Softmax written out, summed where the span does not see.
    fn written_out(qkv: Qkv, span: &Span) -> Tensor {
        let (_, len, num_heads, head_dim) = qkv.q.size4().unwrap();
        let (_, _, num_kv_heads, _) = qkv.k.size4().unwrap();
        let k = qkv
            .k
            .repeat_interleave_self_int(num_heads / num_kv_heads, 2, None);
        let (q, k) = (qkv.q.transpose(1, 2), k.transpose(1, 2));
        #[expect(clippy::cast_precision_loss, reason = "a head's width")]
        let scores = q.matmul(&k.transpose(-2, -1)) / (head_dim as f64).sqrt();
        let causal = Tensor::ones([len, len], (Kind::Bool, tch::Device::Cpu)).tril(0);
        let shares = scores
            .masked_fill(&causal.logical_not(), f64::NEG_INFINITY)
            .softmax(-1, Kind::Double);
        let hidden = streaming::dense_mask(span, usize::try_from(len).unwrap()).logical_not();
        let outside = (shares * hidden.to_kind(Kind::Double)).sum_dim_intlist(
            [-1_i64].as_slice(),
            false,
            Kind::Double,
        );
        let prefix = i64::try_from(span.dense_prefix()).unwrap();
        let behind = outside.narrow(2, prefix, len - prefix);
        behind.transpose(0, 1).reshape([num_heads, -1])
    }

    #[test]
    fn the_mass_from_two_lse_is_that_of_the_softmax_written_out() {
        for (span, len) in [((2, 5, 1), 40), ((4, 8, 4), 33), ((0, 3, 1), 20)] {
            let span = Span::new(span.0, span.1, span.2).unwrap();
            let [q, k, v] =
                [4, 2, 2].map(|heads: i64| normal(heads.unsigned_abs(), &[2, len, heads, 8]));
            let qkv = Qkv {
                q: &q,
                k: &k,
                v: &v,
            };
            let expected = written_out(qkv, &span);
            for backend in [&CpuFlash as &dyn Backend, &Reference] {
                let found = mass(backend, qkv, &span).unwrap();
                assert_close(&found, &expected, backend.name());
            }
            assert!(expected.mean(Kind::Double).double_value(&[]) > 0.1);
        }
    }

    #[test]
    fn a_document_within_the_span_says_nothing() {
        let span = Span::new(2, 8, 1).unwrap();
        let [q, k, v] = [2, 1, 1].map(|heads| normal(7, &[1, 10, heads, 8]));
        let qkv = Qkv {
            q: &q,
            k: &k,
            v: &v,
        };
        assert!(mass(&CpuFlash, qkv, &span).is_none());
    }
}
