// Attention of one new token over the rows a streaming cache keeps: sinks and a ring of recent tokens, in any order.
//
//   out[h] = sum over s of p[s] v[s]      p = exp(scale q[h] k[s] - lse[h])      lse[h] = log(sum over s of exp(scale q[h] k[s]))
//
// Shapes     q, out [H, D]; k, v [S, K, D], strides in numbers for rows and kv heads; lse [H], f32. H = K G.
//            parts [splits, H, D] and stats [splits, H, 2] (largest score, sum of exponentials), f32, between the two kernels.
// Launch     parts: grid (splits of SPLIT rows, K, pieces of a group). Combine: one thread block per head.
// Shared     queries of one piece and their scores, 24 KiB.
// Precision  f32; out is rounded once to the dtype of q.
// Oracle     `src/attention/reference.rs`

// Rows per split, mirrored in src/cuda/streaming_decode.rs.
constexpr int SPLIT = 128;
constexpr int MAX_PIECE = 16;
constexpr int MAX_QUERY_NUMBERS = 4096;

struct DecodeParts {
  const void *q;
  const void *k;
  const void *v;
  float *parts;
  float *stats;
  i64 k_row_stride;
  i64 k_head_stride;
  i64 v_row_stride;
  i64 v_head_stride;
  int num_rows;
  int num_heads;
  int group_size;
  int piece_len; // heads of one thread block: at most MAX_PIECE, piece_len D at most MAX_QUERY_NUMBERS
  int head_dim;
  float scale;
};
static_assert(sizeof(DecodeParts) == 96, "mirrored in src/cuda/streaming_decode.rs");

// Heads and rows of one thread block.
struct Piece {
  int first_head;
  int num_heads;
  int first_row;
  int num_rows;
};

__device__ inline Piece piece_of(const DecodeParts &a) {
  Piece piece;
  const int start = blockIdx.z * a.piece_len;
  piece.first_head = blockIdx.y * a.group_size + start;
  piece.num_heads = a.group_size - start < a.piece_len ? a.group_size - start : a.piece_len;
  piece.first_row = blockIdx.x * SPLIT;
  piece.num_rows = a.num_rows - piece.first_row < SPLIT ? a.num_rows - piece.first_row : SPLIT;
  return piece;
}

// Each warp takes every WARPS-th row.
template <typename T>
__device__ void score(const DecodeParts &a, const Piece &piece, const float *queries, float scores[][SPLIT]) {
  const int lane = threadIdx.x % WARP;
  const T *keys = static_cast<const T *>(a.k) + blockIdx.y * a.k_head_stride;
  for (int row = threadIdx.x / WARP; row < piece.num_rows; row += WARPS) {
    const T *key = keys + (piece.first_row + row) * a.k_row_stride;
    for (int head = 0; head < piece.num_heads; ++head) {
      float product = 0.0f;
      for (int index = lane; index < a.head_dim; index += WARP) {
        product += queries[head * a.head_dim + index] * to_float(key[index]);
      }
      product = warp_sum(product);
      if (lane == 0) {
        scores[head][row] = product * a.scale;
      }
    }
  }
}

// Scores become exponentials; each warp takes every WARPS-th head.
__device__ inline void weigh(const DecodeParts &a, const Piece &piece, float scores[][SPLIT]) {
  const int lane = threadIdx.x % WARP;
  for (int head = threadIdx.x / WARP; head < piece.num_heads; head += WARPS) {
    float largest = negative_infinity();
    for (int row = lane; row < piece.num_rows; row += WARP) {
      largest = fmaxf(largest, scores[head][row]);
    }
    largest = warp_max(largest);
    float sum = 0.0f;
    for (int row = lane; row < piece.num_rows; row += WARP) {
      scores[head][row] = expf(scores[head][row] - largest);
      sum += scores[head][row];
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      float *stats = a.stats + (static_cast<i64>(blockIdx.x) * a.num_heads + piece.first_head + head) * 2;
      stats[0] = largest;
      stats[1] = sum;
    }
  }
}

template <typename T> __device__ void decode_parts(const DecodeParts &a) {
  __shared__ float queries[MAX_QUERY_NUMBERS];
  __shared__ float scores[MAX_PIECE][SPLIT];
  const Piece piece = piece_of(a);
  const int numbers = piece.num_heads * a.head_dim;
  for (int index = threadIdx.x; index < numbers; index += THREADS) {
    queries[index] = to_float(static_cast<const T *>(a.q)[static_cast<i64>(piece.first_head) * a.head_dim + index]);
  }
  __syncthreads();
  score<T>(a, piece, queries, scores);
  __syncthreads();
  weigh(a, piece, scores);
  __syncthreads();
  const T *values = static_cast<const T *>(a.v) + blockIdx.y * a.v_head_stride;
  const i64 start = (static_cast<i64>(blockIdx.x) * a.num_heads + piece.first_head) * a.head_dim;
  for (int index = threadIdx.x; index < numbers; index += THREADS) {
    const int head = index / a.head_dim;
    const T *value = values + piece.first_row * a.v_row_stride + index % a.head_dim;
    float sum = 0.0f;
    for (int row = 0; row < piece.num_rows; ++row) {
      sum += scores[head][row] * to_float(value[row * a.v_row_stride]);
    }
    a.parts[start + index] = sum;
  }
}

extern "C" __global__ void streaming_decode_parts_f32(const DecodeParts a) { decode_parts<float>(a); }
extern "C" __global__ void streaming_decode_parts_bf16(const DecodeParts a) { decode_parts<bf16>(a); }

struct DecodeCombine {
  const float *parts;
  const float *stats;
  void *out;
  float *lse;
  int num_splits;
  int num_heads;
  int head_dim;
};
static_assert(sizeof(DecodeCombine) == 48, "mirrored in src/cuda/streaming_decode.rs");

template <typename T> __device__ void combine(const DecodeCombine &a) {
  const int head = blockIdx.x;
  float largest = negative_infinity();
  for (int split = 0; split < a.num_splits; ++split) {
    largest = fmaxf(largest, a.stats[(static_cast<i64>(split) * a.num_heads + head) * 2]);
  }
  float total = 0.0f;
  for (int split = 0; split < a.num_splits; ++split) {
    const float *stats = a.stats + (static_cast<i64>(split) * a.num_heads + head) * 2;
    total += stats[1] * expf(stats[0] - largest);
  }
  for (int index = threadIdx.x; index < a.head_dim; index += THREADS) {
    float sum = 0.0f;
    for (int split = 0; split < a.num_splits; ++split) {
      const i64 row = static_cast<i64>(split) * a.num_heads + head;
      sum += a.parts[row * a.head_dim + index] * expf(a.stats[row * 2] - largest);
    }
    static_cast<T *>(a.out)[static_cast<i64>(head) * a.head_dim + index] = rounded<T>(sum / total);
  }
  if (threadIdx.x == 0) {
    a.lse[head] = largest + logf(total);
  }
}

extern "C" __global__ void streaming_decode_combine_f32(const DecodeCombine a) { combine<float>(a); }
extern "C" __global__ void streaming_decode_combine_bf16(const DecodeCombine a) { combine<bf16>(a); }
