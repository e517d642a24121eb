//! One prompt and the calls that take it in.

use super::{DECODE_LEN, NUM_LAYERS, WINDOW};
use crate::footprint::eviction::TokenSparsity;
use crate::infer::policy::evicting::{EvictionMethod, EvictionPolicy, EvictionSettings, Selection};
use tch::Tensor;

/// One prompt and its decoding under one setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) method: EvictionMethod,
    pub(super) sparsity: f64,
    pub(super) patch: bool,
    pub(super) selection: Selection,
    pub(super) prefill_len: usize,
    pub(super) chunk_len: usize,
    pub(super) group_size: usize,
}

/// Consecutive rows taken in by one forward call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) start: usize,
    pub(super) size: usize,
    pub(super) patch_len: usize,
    pub(super) decodes: bool,
}

impl Case {
    fn settings(&self) -> EvictionSettings {
        EvictionSettings {
            sparsity: TokenSparsity::new(self.sparsity).unwrap(),
            observation_len: WINDOW,
            patch: self.patch,
            selection: self.selection,
        }
    }

    pub(super) fn policy(&self) -> EvictionPolicy {
        EvictionPolicy::new(self.method, self.settings(), NUM_LAYERS).unwrap()
    }

    /// The calls of prefill and decode; a patch brings rows of its own.
    pub(super) fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        let (mut start, mut seen) = (0, 0);
        while seen < self.prefill_len {
            let size = self.chunk_len.min(self.prefill_len - seen);
            seen += size;
            let patched = self.patch && seen < self.prefill_len;
            let patch_len = if patched { WINDOW } else { 0 };
            calls.push(Call {
                start,
                size,
                patch_len,
                decodes: false,
            });
            start += size + patch_len;
        }
        calls.extend((start..start + DECODE_LEN).map(|start| Call {
            start,
            size: 1,
            patch_len: 0,
            decodes: true,
        }));
        calls
    }
}

impl Call {
    pub(super) fn len(&self) -> usize {
        self.size + self.patch_len
    }

    pub(super) fn rows(&self, tensor: &Tensor) -> Tensor {
        tensor.narrow(0, signed(self.start), signed(self.len()))
    }
}

pub(super) fn signed(x: usize) -> i64 {
    i64::try_from(x).unwrap()
}
