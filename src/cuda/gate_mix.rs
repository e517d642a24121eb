//! Launches `kernels/gate_mix.cu`: the gated mix of two branches, and what its backward pass starts with.
#![expect(unsafe_code, reason = "starts kernels")]

use super::error::CudaError;
use super::operand::{Address, Element, Operation};
use super::runner::{Grid, Kernels, Parameters};
use super::source::Family;
use tch::{Device, Kind, Tensor};

/// Kv heads that fit into a kernel's parameters.
const MAX_KV_HEADS: usize = 128;
/// Rows of which one thread block sums up `D_F - D_T`; the count is part of the rounding.
const STRIP_LEN: i64 = 64;
/// A head that a branch does not have.
const NO_PLACE: i16 = -1;

/// The gates of a layer, by value.
#[derive(Clone, Copy)]
#[repr(C)]
struct Gates {
    z: [f32; MAX_KV_HEADS],
    rest: [f32; MAX_KV_HEADS],
    full: [i16; MAX_KV_HEADS],
    streaming: [i16; MAX_KV_HEADS],
}
const _: () = assert!(size_of::<Gates>() == 1536);

#[derive(Clone, Copy)]
#[repr(C)]
struct GateMix {
    full: Address,
    streaming: Address,
    out: Address,
    rows: i64,
    num_kv_heads: i32,
    num_full: i32,
    num_streaming: i32,
    head_len: i32,
    gates: Gates,
}
const _: () = assert!(size_of::<GateMix>() == 48 + 1536);

// SAFETY: the struct of this name in `kernels/gate_mix.cu`.
unsafe impl Parameters for GateMix {}

#[derive(Clone, Copy)]
#[repr(C)]
struct GateBackward {
    dout: Address,
    full: Address,
    streaming: Address,
    dfull: Address,
    dstreaming: Address,
    parts: Address,
    rows: i64,
    strip_len: i64,
    num_kv_heads: i32,
    num_full: i32,
    num_streaming: i32,
    head_len: i32,
    gates: Gates,
}
const _: () = assert!(size_of::<GateBackward>() == 80 + 1536);

// SAFETY: the struct of this name in `kernels/gate_mix.cu`.
unsafe impl Parameters for GateBackward {}

#[derive(Clone, Copy)]
#[repr(C)]
struct GateGradSum {
    parts: Address,
    dz: Address,
    num_strips: i64,
    num_kv_heads: i32,
}
const _: () = assert!(size_of::<GateGradSum>() == 32);

// SAFETY: the struct of this name in `kernels/gate_mix.cu`.
unsafe impl Parameters for GateGradSum {}

/// Whether a layer's gates fit into the kernels' parameters: up to 128 kv heads, more than any Llama has.
pub fn takes(num_kv_heads: usize) -> bool {
    num_kv_heads <= MAX_KV_HEADS
}

/// Outputs of the two branches over the kv heads that have them.
#[derive(Debug, Clone, Copy)]
pub struct Branches<'a> {
    /// `[B, T, heads with z > 0, D]`; none if there is no such head.
    pub full: Option<&'a Tensor>,
    /// `[B, T, heads with z < 1, D]`; none if there is no such head.
    pub streaming: Option<&'a Tensor>,
}

/// Whether a backward pass gives the branches' output gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BranchGrads {
    /// It does.
    Wanted,
    /// It gives the gates' alone.
    Unwanted,
}

/// What [`backward`] gives.
#[derive(Debug)]
pub struct GateGrads {
    /// `z dO` of the full branch's heads, if wanted and if it has any.
    pub dfull: Option<Tensor>,
    /// `(1 - z) dO` of the streaming branch's heads, if wanted and if it has any.
    pub dstreaming: Option<Tensor>,
    /// dL/dz per kv head; 0 for gates at 0 or 1.
    pub dz: Vec<f64>,
}

/// The problem that both launches share, checked.
struct Layer {
    operation: Operation,
    element: Element,
    size: [i64; 4],
    rows: i64,
    num_kv_heads: i32,
    num_full: i32,
    num_streaming: i32,
    head_len: i32,
    gates: Gates,
}

impl Layer {
    /// A layer with gates `z` whose mixed output is like `out`.
    fn new(operation: Operation, out: &Tensor, z: &[f64]) -> Result<Self, CudaError> {
        let size @ [batch, num_tokens, num_heads, head_dim] = operation.dims("out", out)?;
        let num_kv_heads = i64::try_from(z.len()).unwrap_or(i64::MAX);
        if !takes(z.len()) {
            let limit = MAX_KV_HEADS.try_into().unwrap_or(i64::MAX);
            return Err(operation.limit("the number of kv heads", num_kv_heads, limit));
        }
        if z.is_empty() || num_heads % num_kv_heads != 0 {
            let expected = format!("of a multiple of {num_kv_heads} heads");
            return Err(operation.refuse("out", &expected, format!("of shape {size:?}")));
        }
        let (gates, num_full, num_streaming) = gates(z);
        let head_len = num_heads / num_kv_heads * head_dim;
        Ok(Self {
            element: operation.element("out", out)?,
            size,
            rows: batch * num_tokens,
            num_kv_heads: operation.int("the number of kv heads", num_kv_heads)?,
            num_full,
            num_streaming,
            head_len: operation.int("a group's width", head_len)?,
            gates,
            operation,
        })
    }

    /// The shape of a branch with `num_kv_heads` of the layer's kv heads.
    fn branch_size(&self, num_kv_heads: i32) -> [i64; 4] {
        let [batch, num_tokens, num_heads, head_dim] = self.size;
        let group_size = num_heads / i64::from(self.num_kv_heads);
        [
            batch,
            num_tokens,
            i64::from(num_kv_heads) * group_size,
            head_dim,
        ]
    }

    /// The address of a branch's tensor; 0 if it has no heads.
    fn branch(
        &self,
        name: &'static str,
        tensor: Option<&Tensor>,
        num_kv_heads: i32,
    ) -> Result<Address, CudaError> {
        if num_kv_heads == 0 {
            return Ok(0);
        }
        let tensor = tensor.ok_or_else(|| {
            let expected = format!("of {num_kv_heads} kv head(s)");
            self.operation.refuse(name, &expected, "absent".to_owned())
        })?;
        let size = self.branch_size(num_kv_heads);
        self.operation
            .address(name, tensor, self.element.kind(), &size)
    }

    /// The addresses of both branches' outputs.
    fn branches(&self, of: Branches) -> Result<[Address; 2], CudaError> {
        Ok([
            self.branch("full", of.full, self.num_full)?,
            self.branch("streaming", of.streaming, self.num_streaming)?,
        ])
    }

    /// A tensor for a branch's output gradient.
    fn branch_grad(&self, num_kv_heads: i32, device: Device) -> Option<Tensor> {
        let size = self.branch_size(num_kv_heads);
        (num_kv_heads > 0).then(|| Tensor::empty(size, (self.element.kind(), device)))
    }
}

/// The kernel's table of gates, and the number of heads in each branch.
fn gates(z: &[f64]) -> (Gates, i32, i32) {
    let mut gates = Gates {
        z: [0.0; MAX_KV_HEADS],
        rest: [0.0; MAX_KV_HEADS],
        full: [NO_PLACE; MAX_KV_HEADS],
        streaming: [NO_PLACE; MAX_KV_HEADS],
    };
    let (mut num_full, mut num_streaming) = (0_i16, 0_i16);
    for (head, z) in z.iter().enumerate() {
        gates.z[head] = in_kernel(*z);
        gates.rest[head] = in_kernel(1.0 - z);
        for (is_in, place, count) in [
            (*z > 0.0, &mut gates.full, &mut num_full),
            (*z < 1.0, &mut gates.streaming, &mut num_streaming),
        ] {
            if is_in {
                place[head] = *count;
                *count += 1;
            }
        }
    }
    (gates, num_full.into(), num_streaming.into())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a gate, in the kernel's precision"
)]
fn in_kernel(gate: f64) -> f32 {
    gate as f32
}

/// `z O_F + (1 - z) O_T` per kv head.
///
/// # Shapes
/// As [`Branches`]; `like` `[B, T, H, D]`, of which only shape, dtype and device count; `z`: one gate in [0, 1] per kv head.
/// Returns `[B, T, H, D]`.
///
/// # Precision
/// Computed in f32, rounded once to the dtype: f32 or bf16.
///
/// # Errors
/// [`CudaError::Operand`] for tensors that do not fit, [`CudaError::Limit`] beyond 128 kv heads; as `Runner::launch`.
pub fn mix(
    kernels: &Kernels,
    branches: Branches,
    z: &[f64],
    like: &Tensor,
) -> Result<Tensor, CudaError> {
    let operation = Operation::new("the gate mix kernel", kernels);
    let layer = Layer::new(operation, like, z)?;
    let [full, streaming] = layer.branches(branches)?;
    let out = Tensor::empty(layer.size, (layer.element.kind(), like.device()));
    let parameters = GateMix {
        full,
        streaming,
        out: operation.address("out", &out, layer.element.kind(), &layer.size)?,
        rows: layer.rows,
        num_kv_heads: layer.num_kv_heads,
        num_full: layer.num_full,
        num_streaming: layer.num_streaming,
        head_len: layer.head_len,
        gates: layer.gates,
    };
    let entry = layer.element.pick("gate_mix_f32", "gate_mix_bf16");
    let grid = Grid::line(kernels.blocks(layer.rows));
    // SAFETY: the operands have the shapes that the kernel's header states, and live until it has been queued.
    unsafe { kernels.launch(Family::GateMix, entry, grid, &parameters) }?;
    Ok(out)
}

/// Output gradients of both branches for the gradient `dout` of [`mix`], and the gates' gradients.
///
/// # Shapes
/// `dout` `[B, T, H, D]`; the others as in [`mix`].
///
/// # Precision
/// Products in f32, summed in f64: over 64 rows, then over those sums.
///
/// # Errors
/// As [`mix`].
pub fn backward(
    kernels: &Kernels,
    dout: &Tensor,
    branches: Branches,
    z: &[f64],
    wanted: BranchGrads,
) -> Result<GateGrads, CudaError> {
    let operation = Operation::new("the gate backward kernel", kernels);
    let layer = Layer::new(operation, dout, z)?;
    let [full, streaming] = layer.branches(branches)?;
    let device = dout.device();
    let grad = |num_kv_heads| match wanted {
        BranchGrads::Wanted => layer.branch_grad(num_kv_heads, device),
        BranchGrads::Unwanted => None,
    };
    let (dfull, dstreaming) = (grad(layer.num_full), grad(layer.num_streaming));
    let address = |tensor: &Option<Tensor>| {
        let tensor = tensor.as_ref();
        tensor.map_or(Ok(0), |tensor| {
            operation.strided_address("dout", tensor, layer.element.kind())
        })
    };
    let num_strips = layer.rows.saturating_add(STRIP_LEN - 1) / STRIP_LEN;
    let num_kv_heads = i64::from(layer.num_kv_heads);
    let parts = Tensor::empty([num_strips, num_kv_heads], (Kind::Double, device));
    let parameters = GateBackward {
        dout: operation.address("dout", dout, layer.element.kind(), &layer.size)?,
        full,
        streaming,
        dfull: address(&dfull)?,
        dstreaming: address(&dstreaming)?,
        parts: operation.strided_address("parts", &parts, Kind::Double)?,
        rows: layer.rows,
        strip_len: STRIP_LEN,
        num_kv_heads: layer.num_kv_heads,
        num_full: layer.num_full,
        num_streaming: layer.num_streaming,
        head_len: layer.head_len,
        gates: layer.gates,
    };
    let entry = layer
        .element
        .pick("gate_backward_f32", "gate_backward_bf16");
    let heads = operation.grid_side("the number of kv heads", num_kv_heads)?;
    let grid = Grid {
        x: operation.int("rows", num_strips)?.unsigned_abs(),
        y: heads,
        z: 1,
    };
    // SAFETY: the operands have the shapes that the kernel's header states, and live until it has been queued.
    unsafe { kernels.launch(Family::GateMix, entry, grid, &parameters) }?;
    let dz = if z.iter().any(|z| *z > 0.0 && *z < 1.0) {
        sum_parts(kernels, &parts)?
    } else {
        vec![0.0; z.len()]
    };
    Ok(GateGrads {
        dfull,
        dstreaming,
        dz,
    })
}

/// Sums of the columns of `parts` `[strips, K]`, f64, on the host.
fn sum_parts(kernels: &Kernels, parts: &Tensor) -> Result<Vec<f64>, CudaError> {
    let operation = Operation::new("the gate gradient kernel", kernels);
    let [num_strips, num_kv_heads] = operation.dims("parts", parts)?;
    let dz = Tensor::empty([num_kv_heads], (Kind::Double, parts.device()));
    let parameters = GateGradSum {
        parts: operation.strided_address("parts", parts, Kind::Double)?,
        dz: operation.strided_address("dz", &dz, Kind::Double)?,
        num_strips,
        num_kv_heads: operation.int("the number of kv heads", num_kv_heads)?,
    };
    let grid = Grid::line(parameters.num_kv_heads.unsigned_abs());
    // SAFETY: `parts` is what the kernel before has written; both live until this one has been queued.
    unsafe { kernels.launch(Family::GateMix, "gate_grad_sum", grid, &parameters) }?;
    let dz = dz.to_device(Device::Cpu);
    Ok(Vec::<f64>::try_from(dz).unwrap_or_default())
}
