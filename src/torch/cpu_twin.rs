//! libtorch's flash attention for the CPU through its C ABI: what the CUDA calls share with it, exercised against libtorch
//! itself. Only tests use it, as tch has the same function.
#![expect(unsafe_code, reason = "binds libtorch's C functions")]

use crate::torch::error::TorchError;
use crate::torch::handle::{Call, Handle, Place, Returned, optional};
use std::ffi::c_int;
use tch::{Device, Tensor};

unsafe extern "C" {
    fn aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
        q: Handle,
        k: Handle,
        v: Handle,
        dropout: f64,
        is_causal: i32,
        mask: *const Handle,
        scale: *const f64,
        out: Place,
        lse: Place,
    ) -> c_int;
    fn aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu_backward(
        dout: Handle,
        q: Handle,
        k: Handle,
        v: Handle,
        out: Handle,
        lse: Handle,
        dropout: f64,
        is_causal: i32,
        mask: *const Handle,
        scale: *const f64,
        dq: Place,
        dk: Place,
        dv: Place,
    ) -> c_int;
}

const CALL: Call = Call {
    operation: "flash attention for the CPU",
    device: Device::Cpu,
    bytes: 0,
};

struct Case {
    /// `[B, H, T, D]`.
    qkv: [Tensor; 3],
    is_causal: bool,
    mask: Option<Tensor>,
    scale: Option<f64>,
}

impl Case {
    fn forward(&self) -> Result<[Tensor; 2], TorchError> {
        let [q, k, v] = self.qkv.each_ref().map(Tensor::as_ptr);
        let mask = self.mask.as_ref().map(Tensor::as_ptr);
        let mut returned = Returned::<2>::new();
        let [out, lse] = returned.places();
        // SAFETY: handles live through the call; absent arguments are null; the places are live.
        let code = unsafe {
            aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu(
                q,
                k,
                v,
                0.0,
                i32::from(self.is_causal),
                optional(mask.as_ref()),
                optional(self.scale.as_ref()),
                out,
                lse,
            )
        };
        returned.adopt(&CALL, code)
    }

    fn backward(&self, [out, lse]: &[Tensor; 2]) -> Result<[Tensor; 3], TorchError> {
        let [q, k, v] = self.qkv.each_ref().map(Tensor::as_ptr);
        let mask = self.mask.as_ref().map(Tensor::as_ptr);
        let mut returned = Returned::<3>::new();
        let [dq, dk, dv] = returned.places();
        // SAFETY: as in `forward`.
        let code = unsafe {
            aoti_torch_cpu__scaled_dot_product_flash_attention_for_cpu_backward(
                out.as_ptr(),
                q,
                k,
                v,
                out.as_ptr(),
                lse.as_ptr(),
                0.0,
                i32::from(self.is_causal),
                optional(mask.as_ref()),
                optional(self.scale.as_ref()),
                dq,
                dk,
                dv,
            )
        };
        returned.adopt(&CALL, code)
    }

    /// The same through tch.
    fn by_tch(&self) -> ([Tensor; 2], [Tensor; 3]) {
        let [q, k, v] = &self.qkv;
        let (out, lse) = Tensor::internal_scaled_dot_product_flash_attention_for_cpu(
            q,
            k,
            v,
            0.0,
            self.is_causal,
            self.mask.as_ref(),
            self.scale,
        );
        let (dq, dk, dv) = Tensor::internal_scaled_dot_product_flash_attention_for_cpu_backward(
            &out,
            q,
            k,
            v,
            &out,
            &lse,
            0.0,
            self.is_causal,
            self.mask.as_ref(),
            self.scale,
        );
        ([out, lse], [dq, dk, dv])
    }
}

mod tests {
    use super::*;
    use crate::torch::testing::{grown_kib, waves};
    use tch::Kind;

    fn case(is_causal: bool, has_mask: bool, scale: Option<f64>) -> Case {
        let mask = waves(7, &[1, 1, 9, 9]).to_kind(Kind::Float);
        Case {
            qkv: [1, 2, 3].map(|seed| waves(seed, &[2, 3, 9, 8]).to_kind(Kind::Float)),
            is_causal,
            mask: has_mask.then_some(mask),
            scale,
        }
    }

    #[test]
    fn results_are_tchs_bit_for_bit_with_and_without_optional_arguments() {
        for (is_causal, has_mask, scale) in [
            (false, false, None),
            (true, false, Some(0.5)),
            (false, true, Some(0.125)),
            (false, true, None),
        ] {
            let case = case(is_causal, has_mask, scale);
            let (expected, expected_grads) = case.by_tch();
            let found = case.forward().unwrap();
            assert!(found.iter().zip(&expected).all(|(a, b)| a.equal(b)));
            let grads = case.backward(&found).unwrap();
            assert!(grads.iter().zip(&expected_grads).all(|(a, b)| a.equal(b)));
        }
    }

    #[test]
    fn a_refusal_is_an_error_and_no_crash() {
        let mut case = case(false, false, None);
        case.qkv[1] = waves(2, &[2, 3, 9, 4]).to_kind(Kind::Float);
        let text = case.forward().unwrap_err().to_string();
        assert!(
            text.starts_with("libtorch failed in flash attention for the CPU"),
            "{text}"
        );
    }

    #[test]
    fn ten_thousand_calls_leave_resident_memory_unchanged() {
        let case = Case {
            qkv: [1, 2, 3].map(|seed| waves(seed, &[1, 1, 16, 256]).to_kind(Kind::Float)),
            ..case(true, false, Some(0.5))
        };
        // A leaked result is 16 KiB: 156 MiB in all.
        let grown = grown_kib(|| drop(case.backward(&case.forward().unwrap()).unwrap()));
        assert!(grown < 64 * 1024, "resident memory grew by {grown} KiB");
    }
}
