//! Launches `kernels/streaming_decode.cu`: one new token's attention over the rows of a streaming cache.
#![expect(unsafe_code, reason = "starts kernels")]

use super::error::CudaError;
use super::operand::{Address, Operation};
use super::runner::{Grid, Kernels, Parameters};
use super::source::Family;
use tch::{Kind, Tensor};

/// Rows of one split, mirrored in the kernel's source.
const SPLIT: i64 = 128;
/// Heads of one thread block.
const MAX_PIECE: i64 = 16;
/// Numbers of one thread block's queries.
const MAX_QUERY_NUMBERS: i64 = 4096;

#[derive(Clone, Copy)]
#[repr(C)]
struct DecodeParts {
    q: Address,
    k: Address,
    v: Address,
    parts: Address,
    stats: Address,
    k_row_stride: i64,
    k_head_stride: i64,
    v_row_stride: i64,
    v_head_stride: i64,
    num_rows: i32,
    num_heads: i32,
    group_size: i32,
    piece_len: i32,
    head_dim: i32,
    scale: f32,
}
const _: () = assert!(size_of::<DecodeParts>() == 96);

// SAFETY: the struct of this name in `kernels/streaming_decode.cu`.
unsafe impl Parameters for DecodeParts {}

#[derive(Clone, Copy)]
#[repr(C)]
struct DecodeCombine {
    parts: Address,
    stats: Address,
    out: Address,
    lse: Address,
    num_splits: i32,
    num_heads: i32,
    head_dim: i32,
}
const _: () = assert!(size_of::<DecodeCombine>() == 48);

// SAFETY: the struct of this name in `kernels/streaming_decode.cu`.
unsafe impl Parameters for DecodeCombine {}

/// One token's output and the logarithm of its sum of exponentials.
#[derive(Debug)]
pub struct Decoded {
    /// `[H, D]`, in the dtype of the queries.
    pub out: Tensor,
    /// `[H]`, f32, natural log.
    pub lse: Tensor,
}

/// Attention of one query per head over every row, softmax scale `1 / sqrt(D)`.
///
/// # Shapes
/// `q_hd`: `[H, D]`, contiguous. `k_skd`, `v_skd`: `[S, K, D]`, `S > 0`, `K` divides `H`, whole heads (last stride 1), rows and
/// heads anywhere.
///
/// # Precision
/// Computed in f32, the output rounded once to the dtype: f32 or bf16.
///
/// # Errors
/// [`CudaError::Operand`] for tensors that do not fit, [`CudaError::Limit`] for heads wider than 4,096; as `Runner::launch`.
pub fn attend(
    kernels: &Kernels,
    q_hd: &Tensor,
    k_skd: &Tensor,
    v_skd: &Tensor,
) -> Result<Decoded, CudaError> {
    let operation = Operation::new("the streaming decode kernel", kernels);
    let [num_heads, head_dim] = operation.dims("q", q_hd)?;
    let [num_rows, _, _] = operation.dims("k", k_skd)?;
    let num_splits = num_rows.saturating_add(SPLIT - 1) / SPLIT;
    let wide = |shape: &[i64]| Tensor::empty(shape, (Kind::Float, q_hd.device()));
    let parts = wide(&[num_splits, num_heads, head_dim]);
    let stats = wide(&[num_splits, num_heads, 2]);
    launch_parts(kernels, operation, [q_hd, k_skd, v_skd], [&parts, &stats])?;
    launch_combine(kernels, operation, q_hd, [&parts, &stats])
}

/// Each split's share `[splits, H, D]` of the output, with its largest score and sum of exponentials `[splits, H, 2]`.
fn launch_parts(
    kernels: &Kernels,
    operation: Operation,
    [q_hd, k_skd, v_skd]: [&Tensor; 3],
    [parts, stats]: [&Tensor; 2],
) -> Result<(), CudaError> {
    let element = operation.element("q", q_hd)?;
    let [num_splits, num_heads, head_dim] = operation.dims("parts", parts)?;
    let [num_rows, num_kv_heads, _] = operation.dims("k", k_skd)?;
    let group_size = group_size(operation, q_hd, k_skd)?;
    if !(1..=MAX_QUERY_NUMBERS).contains(&head_dim) {
        return Err(operation.limit("head_dim", head_dim, MAX_QUERY_NUMBERS));
    }
    let piece_len = MAX_PIECE.min(MAX_QUERY_NUMBERS / head_dim);
    let rows = (element.kind(), [num_rows, num_kv_heads, head_dim]);
    let k = address_of_rows(operation, "k", k_skd, rows)?;
    let v = address_of_rows(operation, "v", v_skd, rows)?;
    let parameters = DecodeParts {
        q: operation.address("q", q_hd, element.kind(), &[num_heads, head_dim])?,
        k: k.start,
        v: v.start,
        parts: operation.strided_address("parts", parts, Kind::Float)?,
        stats: operation.strided_address("stats", stats, Kind::Float)?,
        k_row_stride: k.row_stride,
        k_head_stride: k.head_stride,
        v_row_stride: v.row_stride,
        v_head_stride: v.head_stride,
        num_rows: operation.int("the number of rows", num_rows)?,
        num_heads: operation.int("the number of heads", num_heads)?,
        group_size: operation.int("the group", group_size)?,
        piece_len: operation.int("the group", piece_len)?,
        head_dim: operation.int("head_dim", head_dim)?,
        scale: scale(head_dim),
    };
    let num_pieces = group_size.saturating_add(piece_len - 1) / piece_len;
    let grid = Grid {
        x: operation
            .int("the number of rows", num_splits)?
            .unsigned_abs(),
        y: operation.grid_side("the number of kv heads", num_kv_heads)?,
        z: operation.grid_side("the group", num_pieces)?,
    };
    let entry = element.pick("streaming_decode_parts_f32", "streaming_decode_parts_bf16");
    // SAFETY: the operands have the shapes that the kernel's header states, and live until it has been queued.
    unsafe { kernels.launch(Family::StreamingDecode, entry, grid, &parameters) }
}

/// The output of all splits together.
fn launch_combine(
    kernels: &Kernels,
    operation: Operation,
    q_hd: &Tensor,
    [parts, stats]: [&Tensor; 2],
) -> Result<Decoded, CudaError> {
    let element = operation.element("q", q_hd)?;
    let [num_splits, num_heads, head_dim] = operation.dims("parts", parts)?;
    let decoded = Decoded {
        out: q_hd.empty_like(),
        lse: Tensor::empty([num_heads], (Kind::Float, q_hd.device())),
    };
    let parameters = DecodeCombine {
        parts: operation.strided_address("parts", parts, Kind::Float)?,
        stats: operation.strided_address("stats", stats, Kind::Float)?,
        out: operation.strided_address("out", &decoded.out, element.kind())?,
        lse: operation.strided_address("lse", &decoded.lse, Kind::Float)?,
        num_splits: operation.int("the number of rows", num_splits)?,
        num_heads: operation.int("the number of heads", num_heads)?,
        head_dim: operation.int("head_dim", head_dim)?,
    };
    let entry = element.pick(
        "streaming_decode_combine_f32",
        "streaming_decode_combine_bf16",
    );
    let grid = Grid::line(parameters.num_heads.unsigned_abs());
    // SAFETY: `parts` and `stats` are what the kernel before has written; all live until this one has been queued.
    unsafe { kernels.launch(Family::StreamingDecode, entry, grid, &parameters) }?;
    Ok(decoded)
}

/// Query heads per kv head.
fn group_size(operation: Operation, q_hd: &Tensor, k_skd: &Tensor) -> Result<i64, CudaError> {
    let [num_heads, _] = operation.dims("q", q_hd)?;
    let [num_rows, num_kv_heads, _] = operation.dims("k", k_skd)?;
    if num_rows > 0 && num_kv_heads > 0 && num_heads > 0 && num_heads % num_kv_heads == 0 {
        return Ok(num_heads / num_kv_heads);
    }
    let expected = format!("of rows, and of heads that divide {num_heads}");
    let found = format!("of shape {:?}", k_skd.size());
    Err(operation.refuse("k", &expected, found))
}

/// Where the rows of keys or values lie.
struct RowsAt {
    start: Address,
    row_stride: i64,
    head_stride: i64,
}

fn address_of_rows(
    operation: Operation,
    name: &'static str,
    rows: &Tensor,
    (kind, shape): (Kind, [i64; 3]),
) -> Result<RowsAt, CudaError> {
    if operation.dims(name, rows)? != shape {
        let found = format!("of shape {:?}", rows.size());
        return Err(operation.refuse(name, &format!("of shape {shape:?}"), found));
    }
    let stride = rows.stride();
    let [row_stride, head_stride, number_stride] = stride[..] else {
        return Err(operation.refuse(name, "strided", format!("{:?}", rows.kind())));
    };
    if number_stride != 1 && shape[2] != 1 {
        return Err(operation.refuse(name, "of whole heads", format!("with strides {stride:?}")));
    }
    Ok(RowsAt {
        start: operation.strided_address(name, rows, kind)?,
        row_stride,
        head_stride,
    })
}

/// The softmax scale.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "heads are narrow, and the kernel's precision is f32"
)]
fn scale(head_dim: i64) -> f32 {
    (1.0 / (head_dim as f64).sqrt()) as f32
}
