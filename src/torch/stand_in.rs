//! Functions of our own behind the CUDA symbols, for tests: on the CPU, slow, with libtorch's conventions and refusals.
//!
//! They borrow their arguments and hand out new handles exactly as libtorch does, check what its kernels check, and write
//! attention out head by head. So everything above the table of symbols runs and is compared without a device. What they
//! were asked is kept per thread.
#![expect(unsafe_code, reason = "stands where libtorch's C functions do")]

use crate::torch::cuda_symbols::{CudaSymbols, CudnnSymbols, FlashSymbols, Home};
use crate::torch::handle::{Handle, Place};
use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// One call, as the kernel sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Short name of the function.
    pub(crate) function: &'static str,
    /// Batch entries, queries and keys.
    pub(crate) lens: [i64; 3],
    /// Whether the mask is causal.
    pub(crate) is_causal: bool,
    /// Keys before the query's own, if limited.
    pub(crate) left: Option<i64>,
}

thread_local! {
    static ASKED: RefCell<Vec<Asked>> = const { RefCell::new(Vec::new()) };
}

/// What this thread's kernels were asked since the last time.
pub(crate) fn take_asked() -> Vec<Asked> {
    ASKED.take()
}

/// The table.
pub(crate) fn symbols() -> &'static CudaSymbols {
    static TABLE: OnceLock<CudaSymbols> = OnceLock::new();
    TABLE.get_or_init(|| CudaSymbols {
        home: Home::StandIn,
        stream: Err("the CPU has no streams".to_owned()),
        flash: Ok(FlashSymbols {
            forward: flash_forward,
            backward: flash_backward,
        }),
        cudnn: Ok(CudnnSymbols {
            forward: cudnn_forward,
            backward: cudnn_backward,
        }),
    })
}

/// A table that lacks cuDNN.
pub(crate) fn without_cudnn() -> &'static CudaSymbols {
    static TABLE: OnceLock<CudaSymbols> = OnceLock::new();
    TABLE.get_or_init(|| CudaSymbols {
        home: Home::StandIn,
        stream: Err("the CPU has no streams".to_owned()),
        flash: symbols().flash.clone(),
        cudnn: Err("libtorch_cuda.so has no cuDNN".to_owned()),
    })
}

/// Numbers in the random state that flash returns: enough to see it leak.
const STATE_LEN: i64 = 4096;

fn borrowed(handle: Handle) -> Tensor {
    // SAFETY: callers pass handles that live through the call; this makes another one of the same tensor.
    unsafe { Tensor::clone_from_ptr(handle.cast_mut()) }
}

fn read<T: Copy>(argument: *const T) -> Option<T> {
    // SAFETY: an optional argument is null or points to a live value.
    unsafe { argument.as_ref() }.copied()
}

fn give(place: Place, mut tensor: Tensor) {
    let handle = tensor.as_mut_ptr();
    std::mem::forget(tensor);
    // SAFETY: callers pass live places.
    unsafe { place.write(handle) };
}

/// One dense problem in the wide dtype.
struct Problem {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    scale: f64,
}

/// Where the diagonal of a causal mask begins.
#[derive(Clone, Copy)]
enum Alignment {
    TopLeft,
    BottomRight,
}

fn lens(q_bthd: &Tensor, k_bskd: &Tensor) -> [i64; 3] {
    let (b, t, _, _) = q_bthd.size4().unwrap();
    let (_, s, _, _) = k_bskd.size4().unwrap();
    [b, t, s]
}

fn wide(kind: Kind) -> Kind {
    if kind == Kind::Double {
        kind
    } else {
        Kind::Float
    }
}

impl Problem {
    /// From `[B, T, H, D]` and `[B, S, K, D]`.
    fn new([q, k, v]: [&Tensor; 3], asked: &Asked, alignment: Alignment, scale: f64) -> Self {
        let kind = wide(q.kind());
        let [_, t, s] = asked.lens;
        let offset = match alignment {
            Alignment::TopLeft => 0,
            Alignment::BottomRight => s - t,
        };
        let options = (Kind::Int64, Device::Cpu);
        let row = Tensor::arange(t, options).unsqueeze(1) + offset;
        let column = Tensor::arange(s, options).unsqueeze(0);
        let mut mask = Tensor::ones([t, s], (Kind::Bool, Device::Cpu));
        if asked.is_causal {
            mask = mask.logical_and(&column.le_tensor(&row));
        }
        if let Some(left) = asked.left {
            mask = mask.logical_and(&column.ge_tensor(&(row - left)));
        }
        Self {
            q: q.to_kind(kind),
            k: k.to_kind(kind),
            v: v.to_kind(kind),
            mask,
            scale,
        }
    }

    fn num_heads(&self) -> i64 {
        self.q.size4().unwrap().2
    }

    fn kv_head(&self, head: i64) -> i64 {
        head / (self.num_heads() / self.k.size4().unwrap().2)
    }

    /// Scaled scores of one head, `[B, T, S]`, hidden keys at minus infinity.
    fn scores(&self, head: i64) -> Tensor {
        let k = self.k.select(2, self.kv_head(head));
        let scores = self.q.select(2, head).matmul(&k.transpose(1, 2)) * self.scale;
        scores.masked_fill(&self.mask.logical_not(), f64::NEG_INFINITY)
    }

    /// Output `[B, T, H, D]` and lse `[B, H, T]`.
    fn forward(&self) -> (Tensor, Tensor) {
        let per_head = |head| {
            let scores = self.scores(head);
            let lse = scores.logsumexp([-1], true);
            let v = self.v.select(2, self.kv_head(head));
            ((scores - &lse).exp().matmul(&v), lse.squeeze_dim(-1))
        };
        let (out, lse): (Vec<_>, Vec<_>) = (0..self.num_heads()).map(per_head).unzip();
        (Tensor::stack(&out, 2), Tensor::stack(&lse, 1))
    }

    /// Gradients in the layouts of q, k, v.
    fn backward(&self, dout: &Tensor, out: &Tensor, lse: &Tensor) -> [Tensor; 3] {
        let (dk, dv) = (self.k.zeros_like(), self.v.zeros_like());
        let kind = self.q.kind();
        let per_head = |head| {
            let j = self.kv_head(head);
            let (q, dout) = (self.q.select(2, head), dout.select(2, head).to_kind(kind));
            let p = (self.scores(head) - lse.select(1, head).unsqueeze(-1)).exp();
            let d = (&dout * out.select(2, head).to_kind(kind)).sum_dim_intlist(-1, true, None);
            let dp = dout.matmul(&self.v.select(2, j).transpose(1, 2));
            let ds = (dp - d) * &p * self.scale;
            let _ = dk.select(2, j).g_add_(&ds.transpose(1, 2).matmul(&q));
            let _ = dv.select(2, j).g_add_(&p.transpose(1, 2).matmul(&dout));
            ds.matmul(&self.k.select(2, j))
        };
        let dq: Vec<_> = (0..self.num_heads()).map(per_head).collect();
        [Tensor::stack(&dq, 2), dk, dv]
    }
}

/// `TORCH_CHECK` of both kernels: rows are whole, heads are a multiple of 8.
fn is_taken(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|x| {
        x.stride().last() == Some(&1) && x.size().last().is_some_and(|width| width % 8 == 0)
    })
}

fn is_lse(lse: &Tensor, q: &Tensor) -> bool {
    lse.is_contiguous() && lse.kind() == wide(q.kind())
}

fn note(asked: &Asked) {
    ASKED.with_borrow_mut(|calls| calls.push(asked.clone()));
}

unsafe extern "C" fn flash_forward(
    q: Handle,
    k: Handle,
    v: Handle,
    cum_q: *const Handle,
    cum_k: *const Handle,
    max_q: i64,
    max_k: i64,
    dropout: f64,
    is_causal: i32,
    debug: i32,
    scale: *const f64,
    left: *const i64,
    right: *const i64,
    seqused_k: *const Handle,
    alibi: *const Handle,
    out_place: Place,
    lse_place: Place,
    state_place: Place,
    unused_place: Place,
    debug_place: Place,
) -> c_int {
    let [q, k, v] = [q, k, v].map(borrowed);
    let asked = Asked {
        function: "flash forward",
        lens: lens(&q, &k),
        is_causal: is_causal == 1,
        left: read(left),
    };
    note(&asked);
    let [_, t, s] = asked.lens;
    let absent = [cum_q, cum_k, seqused_k, alibi];
    let is_plain = absent.iter().all(|argument| argument.is_null()) && dropout == 0.0 && debug == 0;
    let has_right = read(right) == asked.left.map(|_| 0);
    let (Some(scale), true) = (
        read(scale),
        is_plain && has_right && (max_q, max_k) == (t, s),
    ) else {
        return 1;
    };
    if !is_taken(&[&q, &k, &v]) {
        return 1;
    }
    let problem = Problem::new([&q, &k, &v], &asked, Alignment::BottomRight, scale);
    let (out, lse) = problem.forward();
    give(out_place, out.to_kind(q.kind()));
    give(lse_place, lse);
    let integers = (Kind::Int64, Device::Cpu);
    give(state_place, Tensor::zeros([STATE_LEN], integers));
    give(unused_place, Tensor::zeros([0_i64; 0], integers));
    give(debug_place, Tensor::zeros([0], integers));
    0
}

unsafe extern "C" fn flash_backward(
    dout: Handle,
    q: Handle,
    k: Handle,
    v: Handle,
    out: Handle,
    lse: Handle,
    cum_q: Handle,
    cum_k: Handle,
    max_q: i64,
    max_k: i64,
    dropout: f64,
    is_causal: i32,
    _state: Handle,
    _unused: Handle,
    scale: *const f64,
    left: *const i64,
    right: *const i64,
    dq_place: Place,
    dk_place: Place,
    dv_place: Place,
) -> c_int {
    let [dout, q, k, v, out, lse] = [dout, q, k, v, out, lse].map(borrowed);
    let asked = Asked {
        function: "flash backward",
        lens: lens(&q, &k),
        is_causal: is_causal == 1,
        left: read(left),
    };
    note(&asked);
    let [_, t, s] = asked.lens;
    let is_plain = ![cum_q, cum_k].map(borrowed).iter().any(Tensor::defined) && dropout == 0.0;
    let has_right = read(right) == asked.left.map(|_| 0);
    let (Some(scale), true) = (
        read(scale),
        is_plain && has_right && (max_q, max_k) == (t, s),
    ) else {
        return 1;
    };
    if !is_taken(&[&dout, &q, &k, &v, &out]) || !is_lse(&lse, &q) {
        return 1;
    }
    let problem = Problem::new([&q, &k, &v], &asked, Alignment::BottomRight, scale);
    let grads = problem.backward(&dout, &out, &lse);
    for (place, grad) in [dq_place, dk_place, dv_place].into_iter().zip(grads) {
        give(place, grad.to_kind(q.kind()));
    }
    0
}

/// The defects that our guards keep away from: asked of one of those problems, the stand-in refuses.
fn has_defect(asked: &Asked) -> bool {
    let [_, t, s] = asked.lens;
    t == 1 || t % 128 != 0 || s % 128 != 0 || (asked.is_causal && t != s)
}

unsafe extern "C" fn cudnn_forward(
    q: Handle,
    k: Handle,
    v: Handle,
    bias: *const Handle,
    compute_lse: i32,
    dropout: f64,
    is_causal: i32,
    debug: i32,
    scale: *const f64,
    out_place: Place,
    lse_place: Place,
    cum_q_place: Place,
    cum_k_place: Place,
    max_q: *mut i64,
    max_k: *mut i64,
    seed_place: Place,
    offset_place: Place,
    debug_place: Place,
) -> c_int {
    let [q, k, v] = [q, k, v].map(|x| borrowed(x).transpose(1, 2));
    let asked = Asked {
        function: "cudnn forward",
        lens: lens(&q, &k),
        is_causal: is_causal == 1,
        left: None,
    };
    note(&asked);
    let is_plain = bias.is_null() && compute_lse == 1 && dropout == 0.0 && debug == 0;
    let (Some(scale), true) = (read(scale), is_plain) else {
        return 1;
    };
    if has_defect(&asked) || !is_taken(&[&q, &k, &v]) {
        return 1;
    }
    let problem = Problem::new([&q, &k, &v], &asked, Alignment::TopLeft, scale);
    let (out, lse) = problem.forward();
    give(out_place, out.to_kind(q.kind()).transpose(1, 2));
    give(lse_place, lse.unsqueeze(-1));
    let [_, t, s] = asked.lens;
    // SAFETY: callers pass live integers.
    unsafe { max_q.write(t) };
    // SAFETY: as above.
    unsafe { max_k.write(s) };
    for place in [cum_q_place, cum_k_place, debug_place] {
        give(place, Tensor::new());
    }
    let integers = (Kind::Int64, Device::Cpu);
    give(seed_place, Tensor::zeros([STATE_LEN], integers));
    give(offset_place, Tensor::zeros([0_i64; 0], integers));
    0
}

unsafe extern "C" fn cudnn_backward(
    dout: Handle,
    q: Handle,
    k: Handle,
    v: Handle,
    out: Handle,
    lse: Handle,
    seed: Handle,
    offset: Handle,
    bias: Handle,
    cum_q: Handle,
    cum_k: Handle,
    max_q: i64,
    max_k: i64,
    dropout: f64,
    is_causal: i32,
    scale: *const f64,
    dq_place: Place,
    dk_place: Place,
    dv_place: Place,
) -> c_int {
    let [dout, q, k, v, out] = [dout, q, k, v, out].map(|x| borrowed(x).transpose(1, 2));
    let lse = borrowed(lse);
    let asked = Asked {
        function: "cudnn backward",
        lens: lens(&q, &k),
        is_causal: is_causal == 1,
        left: None,
    };
    note(&asked);
    let [_, t, s] = asked.lens;
    let absent = [bias, cum_q, cum_k].map(borrowed);
    let seeds = [seed, offset].map(borrowed);
    let is_plain = !absent.iter().any(Tensor::defined) && dropout == 0.0;
    let (Some(scale), true) = (read(scale), is_plain && (max_q, max_k) == (t, s)) else {
        return 1;
    };
    let is_seeded = seeds
        .iter()
        .all(|seed| seed.defined() && seed.kind() == Kind::Int64);
    let fits = is_taken(&[&dout, &q, &k, &v, &out]) && is_lse(&lse, &q) && lse.dim() == 4;
    if has_defect(&asked) || !is_seeded || !fits {
        return 1;
    }
    let problem = Problem::new([&q, &k, &v], &asked, Alignment::TopLeft, scale);
    let grads = problem.backward(&dout, &out, &lse.squeeze_dim(-1));
    for (place, grad) in [dq_place, dk_place, dv_place].into_iter().zip(grads) {
        give(place, grad.to_kind(q.kind()).transpose(1, 2));
    }
    0
}
