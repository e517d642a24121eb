// Rotary embedding of queries and keys, and of their gradients.
//
//   y[i]         = x[i] cos[i] - s x[i + D/2] sin[i]        s = 1 forward, -1 backward
//   y[i + D/2]   = x[i + D/2] cos[i] + s x[i] sin[i]
//
// Shapes     x, y [B, T, heads, D]; cos, sin [T, D/2], f32.
// Launch     one thread block per token, `rows` = B T of them or fewer in a loop.
// Precision  f32, rounded once to the dtype of x.
// Oracle     `src/model/rope.rs`

struct Rope {
  const void *x;
  const float *cosine;
  const float *sine;
  void *y;
  i64 rows;
  i64 num_tokens;
  int num_heads;
  int half;
  float direction;
};
static_assert(sizeof(Rope) == 64, "mirrored in src/cuda/rope.rs");

template <typename T, int N> __device__ void turn_token(const Rope &a, i64 row) {
  const i64 token = row % a.num_tokens;
  const int packs = a.half / N;
  for (int item = threadIdx.x; item < a.num_heads * packs; item += THREADS) {
    const i64 head = row * a.num_heads + item / packs;
    const int index = item % packs;
    const T *x = static_cast<const T *>(a.x) + head * 2 * a.half;
    T *y = static_cast<T *>(a.y) + head * 2 * a.half;
    Pack<T, N> first = load<N>(x, index);
    Pack<T, N> second = load<N>(x + a.half, index);
    for (int lane = 0; lane < N; ++lane) {
      const i64 angle = token * a.half + index * N + lane;
      const float cosine = a.cosine[angle];
      const float sine = a.direction * a.sine[angle];
      const float u = to_float(first.lane[lane]);
      const float v = to_float(second.lane[lane]);
      first.lane[lane] = rounded<T>(u * cosine - v * sine);
      second.lane[lane] = rounded<T>(v * cosine + u * sine);
    }
    store(y, index, first);
    store(y + a.half, index, second);
  }
}

template <typename T> __device__ void turn(const Rope &a) {
  const bool packed = is_aligned(a.x) && is_aligned(a.y) && is_whole<T>(a.half);
  for (i64 row = blockIdx.x; row < a.rows; row += gridDim.x) {
    if (packed) {
      turn_token<T, PACK<T>>(a, row);
    } else {
      turn_token<T, 1>(a, row);
    }
  }
}

extern "C" __global__ void rope_f32(const Rope a) { turn<float>(a); }
extern "C" __global__ void rope_bf16(const Rope a) { turn<bf16>(a); }
