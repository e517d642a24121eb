// The feed-forward's activation, forward and backward.
//
//   forward    y = silu(gate) up                       silu(g) = g sigma(g), sigma(g) = 1 / (1 + exp(-g))
//   backward   dup = dy silu(gate)      dgate = dy up sigma (1 + gate (1 - sigma))      y again, if wanted
//
// Shapes     all of one shape, `count` numbers.
// Launch     one thread per 16 bytes, in a loop.
// Precision  f32; silu(gate) and dy up are rounded to the dtype before the next product, as ATen does.
// Oracle     `src/model/swiglu.rs`

struct SwigluForward {
  const void *gate;
  const void *up;
  void *y;
  i64 count;
};
static_assert(sizeof(SwigluForward) == 32, "mirrored in src/cuda/swiglu.rs");

struct SwigluBackward {
  const void *dy;
  const void *gate;
  const void *up;
  void *dgate;
  void *dup;
  void *y;
  i64 count;
};
static_assert(sizeof(SwigluBackward) == 56, "mirrored in src/cuda/swiglu.rs");

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ inline i64 first_item() { return static_cast<i64>(blockIdx.x) * THREADS + threadIdx.x; }
__device__ inline i64 item_step() { return static_cast<i64>(gridDim.x) * THREADS; }

template <typename T, int N> __device__ void activate_packs(const SwigluForward &a) {
  for (i64 index = first_item(); index < a.count / N; index += item_step()) {
    Pack<T, N> gate = load<N>(static_cast<const T *>(a.gate), index);
    const Pack<T, N> up = load<N>(static_cast<const T *>(a.up), index);
    for (int lane = 0; lane < N; ++lane) {
      const float g = to_float(gate.lane[lane]);
      const float silu = to_float(rounded<T>(g * sigmoid(g)));
      gate.lane[lane] = rounded<T>(silu * to_float(up.lane[lane]));
    }
    store(static_cast<T *>(a.y), index, gate);
  }
}

template <typename T> __device__ void activate(const SwigluForward &a) {
  if (is_aligned(a.gate) && is_aligned(a.up) && is_aligned(a.y) && is_whole<T>(a.count)) {
    activate_packs<T, PACK<T>>(a);
  } else {
    activate_packs<T, 1>(a);
  }
}

extern "C" __global__ void swiglu_forward_f32(const SwigluForward a) { activate<float>(a); }
extern "C" __global__ void swiglu_forward_bf16(const SwigluForward a) { activate<bf16>(a); }

template <typename T, int N> __device__ void backward_packs(const SwigluBackward &a) {
  for (i64 index = first_item(); index < a.count / N; index += item_step()) {
    const Pack<T, N> dy = load<N>(static_cast<const T *>(a.dy), index);
    const Pack<T, N> gate = load<N>(static_cast<const T *>(a.gate), index);
    const Pack<T, N> up = load<N>(static_cast<const T *>(a.up), index);
    Pack<T, N> dgate, dup, y;
    for (int lane = 0; lane < N; ++lane) {
      const float g = to_float(gate.lane[lane]);
      const float u = to_float(up.lane[lane]);
      const float d = to_float(dy.lane[lane]);
      const float sigma = sigmoid(g);
      const float silu = to_float(rounded<T>(g * sigma));
      const float dsilu = to_float(rounded<T>(d * u));
      dgate.lane[lane] = rounded<T>(dsilu * sigma * (1.0f + g * (1.0f - sigma)));
      dup.lane[lane] = rounded<T>(d * silu);
      y.lane[lane] = rounded<T>(silu * u);
    }
    store(static_cast<T *>(a.dgate), index, dgate);
    store(static_cast<T *>(a.dup), index, dup);
    if (a.y != nullptr) {
      store(static_cast<T *>(a.y), index, y);
    }
  }
}

template <typename T> __device__ void backward(const SwigluBackward &a) {
  const bool packed = is_aligned(a.dy) && is_aligned(a.gate) && is_aligned(a.up) && is_aligned(a.dgate) &&
                      is_aligned(a.dup) && is_aligned(a.y) && is_whole<T>(a.count);
  if (packed) {
    backward_packs<T, PACK<T>>(a);
  } else {
    backward_packs<T, 1>(a);
  }
}

extern "C" __global__ void swiglu_backward_f32(const SwigluBackward a) { backward<float>(a); }
extern "C" __global__ void swiglu_backward_bf16(const SwigluBackward a) { backward<bf16>(a); }
