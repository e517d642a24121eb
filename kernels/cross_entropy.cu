// Softmax cross-entropy that turns logits into their gradient, in place.
//
//   m = max over v of x[r, v]      l = log(sum over v of exp(x[r, v] - m))      loss[r] = l + (m - x[r, t_r])
//   x[r, v] := (exp(x[r, v] - m - l) - [v = t_r]) scale w_r
//
// Shapes     x [rows, V]; t [rows], i64; w [rows], f32, or none; loss [rows], f32.
// Launch     one thread block per row.
// Precision  f32: maximum and sum of exponentials in one pass over the row (online softmax), the gradient in a second.
//            m and l stay apart: their sum would round away what large logits differ in.
//            A target outside [0, V) gives a loss that is NaN.
// Oracle     `src/model/loss.rs`

struct CrossEntropy {
  void *logits;
  const i64 *targets;
  const float *weights;
  float *losses;
  i64 rows;
  int vocab_size;
  float scale;
  int wants_grad;
};
static_assert(sizeof(CrossEntropy) == 56, "mirrored in src/cuda/cross_entropy.rs");

// Sum of exp(x - largest) over the numbers seen so far.
struct Running {
  float largest;
  float sum;
};

__device__ inline void take_in(Running &running, float x) {
  if (x > running.largest) {
    running.sum = running.sum * expf(running.largest - x) + 1.0f;
    running.largest = x;
  } else if (!(x == negative_infinity())) {
    running.sum += expf(x - running.largest);
  }
}

// The sum of exponentials of a row is exp(largest + log_sum).
struct Normaliser {
  float largest;
  float log_sum;
};

template <typename T, int N> __device__ Normaliser normaliser_of(const T *row, int width) {
  Running running = {negative_infinity(), 0.0f};
  for (int index = threadIdx.x; index < width / N; index += THREADS) {
    const Pack<T, N> pack = load<N>(row, index);
    for (int lane = 0; lane < N; ++lane) {
      take_in(running, to_float(pack.lane[lane]));
    }
  }
  const float largest = block_max(running.largest);
  // A thread that saw nothing adds 0, and one that saw NaN alone its NaN.
  const bool counts = running.largest != negative_infinity();
  const float sum = block_sum(counts ? running.sum * expf(running.largest - largest) : running.sum);
  return {largest, logf(sum)};
}

template <typename T, int N> __device__ void cross_entropy_row(const CrossEntropy &a, i64 row) {
  T *logits = static_cast<T *>(a.logits) + row * a.vocab_size;
  const Normaliser of = normaliser_of<T, N>(logits, a.vocab_size);
  const i64 target = a.targets[row];
  const bool is_token = target >= 0 && target < a.vocab_size;
  if (threadIdx.x == 0) {
    a.losses[row] = is_token ? of.log_sum + (of.largest - to_float(logits[target])) : __uint_as_float(0x7fffffffu);
  }
  if (a.wants_grad == 0) {
    return;
  }
  // The target's logit is read above, before any thread replaces it.
  __syncthreads();
  const float scale = a.weights != nullptr ? a.scale * a.weights[row] : a.scale;
  for (int index = threadIdx.x; index < a.vocab_size / N; index += THREADS) {
    Pack<T, N> pack = load<N>(logits, index);
    for (int lane = 0; lane < N; ++lane) {
      const float hit = index * N + lane == target ? 1.0f : 0.0f;
      const float share = expf(to_float(pack.lane[lane]) - of.largest - of.log_sum);
      pack.lane[lane] = rounded<T>((share - hit) * scale);
    }
    store(logits, index, pack);
  }
}

template <typename T> __device__ void cross_entropy(const CrossEntropy &a) {
  const bool packed = is_aligned(a.logits) && is_whole<T>(a.vocab_size);
  for (i64 row = blockIdx.x; row < a.rows; row += gridDim.x) {
    if (packed) {
      cross_entropy_row<T, PACK<T>>(a, row);
    } else {
      cross_entropy_row<T, 1>(a, row);
    }
  }
}

extern "C" __global__ void cross_entropy_f32(const CrossEntropy a) { cross_entropy<float>(a); }
extern "C" __global__ void cross_entropy_bf16(const CrossEntropy a) { cross_entropy<bf16>(a); }
