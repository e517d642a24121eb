// The gated mix of full and streaming attention, and what its backward pass starts with.
//
//   mix        O = z O_F + (1 - z) O_T                        a head with z = 1 has no O_T, one with z = 0 no O_F
//   backward   dO_F = z dO      dO_T = (1 - z) dO      dz = sum over rows and the group's heads of (D_F - D_T), where 0 < z < 1
//              D_X = rowsum(dO O_X)
//
// Shapes     O, dO [rows, K, G D]; O_F, dO_F [rows, number of heads with z > 0, G D]; O_T, dO_T [rows, number with z < 1, G D];
//            dz [K], f64. rows = B T, K kv heads, G heads per kv head, D head_dim.
// Launch     mix: one thread block per row. Backward: one per strip of rows and kv head, then one per kv head over the strips.
// Precision  f32; each result is rounded once. Products of D_F and D_T in f32, their sum in f64.
// Oracle     `src/attention/gated/mix.rs`

constexpr int MAX_KV_HEADS = 128;

// The gates by value: they are drawn on the host, and a launch copies its parameters anyway.
struct Gates {
  float z[MAX_KV_HEADS];
  float rest[MAX_KV_HEADS];         // 1 - z
  short full[MAX_KV_HEADS];         // place of the head in O_F, -1 without one
  short streaming[MAX_KV_HEADS];    // place of the head in O_T, -1 without one
};

struct GateMix {
  const void *full;
  const void *streaming;
  void *out;
  i64 rows;
  int num_kv_heads;
  int num_full;
  int num_streaming;
  int head_len; // G D
  Gates gates;
};
static_assert(sizeof(GateMix) == 48 + 1536, "mirrored in src/cuda/gate_mix.rs");

template <typename T, int N> __device__ void mix_row(const GateMix &a, i64 row) {
  const int packs = a.head_len / N;
  for (int item = threadIdx.x; item < a.num_kv_heads * packs; item += THREADS) {
    const int head = item / packs;
    const int index = item % packs;
    float sum[N] = {};
    if (a.gates.full[head] >= 0) {
      const T *full = static_cast<const T *>(a.full) + (row * a.num_full + a.gates.full[head]) * a.head_len;
      const Pack<T, N> pack = load<N>(full, index);
      for (int lane = 0; lane < N; ++lane) {
        sum[lane] += a.gates.z[head] * to_float(pack.lane[lane]);
      }
    }
    if (a.gates.streaming[head] >= 0) {
      const T *streaming =
          static_cast<const T *>(a.streaming) + (row * a.num_streaming + a.gates.streaming[head]) * a.head_len;
      const Pack<T, N> pack = load<N>(streaming, index);
      for (int lane = 0; lane < N; ++lane) {
        sum[lane] += a.gates.rest[head] * to_float(pack.lane[lane]);
      }
    }
    Pack<T, N> out;
    for (int lane = 0; lane < N; ++lane) {
      out.lane[lane] = rounded<T>(sum[lane]);
    }
    store(static_cast<T *>(a.out) + (row * a.num_kv_heads + head) * a.head_len, index, out);
  }
}

template <typename T> __device__ void mix(const GateMix &a) {
  const bool packed = is_aligned(a.full) && is_aligned(a.streaming) && is_aligned(a.out) && is_whole<T>(a.head_len);
  for (i64 row = blockIdx.x; row < a.rows; row += gridDim.x) {
    if (packed) {
      mix_row<T, PACK<T>>(a, row);
    } else {
      mix_row<T, 1>(a, row);
    }
  }
}

extern "C" __global__ void gate_mix_f32(const GateMix a) { mix<float>(a); }
extern "C" __global__ void gate_mix_bf16(const GateMix a) { mix<bf16>(a); }

struct GateBackward {
  const void *dout;
  const void *full;
  const void *streaming;
  void *dfull;      // null: not wanted
  void *dstreaming; // null: not wanted
  double *parts;    // [strips, K]
  i64 rows;
  i64 strip_len;
  int num_kv_heads;
  int num_full;
  int num_streaming;
  int head_len;
  Gates gates;
};
static_assert(sizeof(GateBackward) == 80 + 1536, "mirrored in src/cuda/gate_mix.rs");

// One pack of one row; adds its share of D_F - D_T.
template <typename T, int N>
__device__ void backward_pack(const GateBackward &a, int head, i64 row, int index, double &dz) {
  const int full = a.gates.full[head];
  const int streaming = a.gates.streaming[head];
  const i64 full_start = (row * a.num_full + full) * a.head_len;
  const i64 streaming_start = (row * a.num_streaming + streaming) * a.head_len;
  const Pack<T, N> grad = load<N>(static_cast<const T *>(a.dout) + (row * a.num_kv_heads + head) * a.head_len, index);
  if (full >= 0 && streaming >= 0) {
    const Pack<T, N> of = load<N>(static_cast<const T *>(a.full) + full_start, index);
    const Pack<T, N> ot = load<N>(static_cast<const T *>(a.streaming) + streaming_start, index);
    for (int lane = 0; lane < N; ++lane) {
      const float df = to_float(grad.lane[lane]) * to_float(of.lane[lane]);
      const float dt = to_float(grad.lane[lane]) * to_float(ot.lane[lane]);
      dz += static_cast<double>(df) - static_cast<double>(dt);
    }
  }
  Pack<T, N> scaled;
  if (full >= 0 && a.dfull != nullptr) {
    for (int lane = 0; lane < N; ++lane) {
      scaled.lane[lane] = rounded<T>(a.gates.z[head] * to_float(grad.lane[lane]));
    }
    store(static_cast<T *>(a.dfull) + full_start, index, scaled);
  }
  if (streaming >= 0 && a.dstreaming != nullptr) {
    for (int lane = 0; lane < N; ++lane) {
      scaled.lane[lane] = rounded<T>(a.gates.rest[head] * to_float(grad.lane[lane]));
    }
    store(static_cast<T *>(a.dstreaming) + streaming_start, index, scaled);
  }
}

template <typename T, int N> __device__ void backward_strip(const GateBackward &a) {
  const int head = blockIdx.y;
  const int packs = a.head_len / N;
  const i64 first = blockIdx.x * a.strip_len;
  const i64 len = first + a.strip_len < a.rows ? a.strip_len : a.rows - first;
  double dz = 0.0;
  for (i64 item = threadIdx.x; item < len * packs; item += THREADS) {
    backward_pack<T, N>(a, head, first + item / packs, static_cast<int>(item % packs), dz);
  }
  dz = block_sum(dz);
  if (threadIdx.x == 0) {
    a.parts[static_cast<i64>(blockIdx.x) * a.num_kv_heads + head] = dz;
  }
}

template <typename T> __device__ void backward(const GateBackward &a) {
  const bool packed = is_aligned(a.dout) && is_aligned(a.full) && is_aligned(a.streaming) && is_aligned(a.dfull) &&
                      is_aligned(a.dstreaming) && is_whole<T>(a.head_len);
  if (packed) {
    backward_strip<T, PACK<T>>(a);
  } else {
    backward_strip<T, 1>(a);
  }
}

extern "C" __global__ void gate_backward_f32(const GateBackward a) { backward<float>(a); }
extern "C" __global__ void gate_backward_bf16(const GateBackward a) { backward<bf16>(a); }

struct GateGradSum {
  const double *parts;
  double *dz;
  i64 num_strips;
  int num_kv_heads;
};
static_assert(sizeof(GateGradSum) == 32, "mirrored in src/cuda/gate_mix.rs");

extern "C" __global__ void gate_grad_sum(const GateGradSum a) {
  double sum = 0.0;
  for (i64 strip = threadIdx.x; strip < a.num_strips; strip += THREADS) {
    sum += a.parts[strip * a.num_kv_heads + blockIdx.x];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) {
    a.dz[blockIdx.x] = sum;
  }
}
