// RMSNorm, forward and backward, with the residual sum that stands beside it.
//
//   forward    s = x + update (or x)     y = s / r * w                       r = sqrt(mean(s^2) + eps)
//   backward   dx = (dy w - x mean(dy w x) / r^2) / r + residual              dw = sum over rows of dy x / r
//
// Shapes     x, update, residual, dy, y, dx [rows, width]; w [width]; 1/r [rows], dw [width], f32.
// Launch     forward, backward: one thread block per row. dw: one thread per column and strip of rows, then one per column
//            over the strips.
// Precision  f32; forward rounds x / r before it multiplies by w, as Llama's code does; dx is rounded once, after the residual;
//            dw's products are summed in f64.
// Oracle     `src/model/norm.rs`

struct RmsNormForward {
  const void *x;
  const void *update;
  const void *weight;
  void *sum;
  void *y;
  i64 rows;
  int width;
  float eps;
};
static_assert(sizeof(RmsNormForward) == 56, "mirrored in src/cuda/rms_norm.rs");

template <typename T, int N> __device__ void normalise_row(const RmsNormForward &a, i64 row) {
  const i64 start = row * a.width;
  const T *x = static_cast<const T *>(a.x) + start;
  const T *weight = static_cast<const T *>(a.weight);
  T *sum = static_cast<T *>(a.sum) + start;
  T *y = static_cast<T *>(a.y) + start;
  float squares = 0.0f;
  for (int index = threadIdx.x; index < a.width / N; index += THREADS) {
    Pack<T, N> pack = load<N>(x, index);
    if (a.update != nullptr) {
      const Pack<T, N> update = load<N>(static_cast<const T *>(a.update) + start, index);
      for (int lane = 0; lane < N; ++lane) {
        pack.lane[lane] = rounded<T>(to_float(pack.lane[lane]) + to_float(update.lane[lane]));
      }
      store(sum, index, pack);
    }
    for (int lane = 0; lane < N; ++lane) {
      const float value = to_float(pack.lane[lane]);
      squares += value * value;
    }
  }
  const float inverse = rsqrtf(block_sum(squares) / a.width + a.eps);
  // A thread reads back what it wrote itself.
  const T *source = a.update != nullptr ? sum : x;
  for (int index = threadIdx.x; index < a.width / N; index += THREADS) {
    Pack<T, N> pack = load<N>(source, index);
    const Pack<T, N> scale = load<N>(weight, index);
    for (int lane = 0; lane < N; ++lane) {
      const T unit = rounded<T>(to_float(pack.lane[lane]) * inverse);
      pack.lane[lane] = rounded<T>(to_float(unit) * to_float(scale.lane[lane]));
    }
    store(y, index, pack);
  }
}

template <typename T> __device__ void normalise(const RmsNormForward &a) {
  const bool packed = is_aligned(a.x) && is_aligned(a.update) && is_aligned(a.weight) && is_aligned(a.sum) &&
                      is_aligned(a.y) && is_whole<T>(a.width);
  for (i64 row = blockIdx.x; row < a.rows; row += gridDim.x) {
    if (packed) {
      normalise_row<T, PACK<T>>(a, row);
    } else {
      normalise_row<T, 1>(a, row);
    }
  }
}

extern "C" __global__ void rms_norm_forward_f32(const RmsNormForward a) { normalise<float>(a); }
extern "C" __global__ void rms_norm_forward_bf16(const RmsNormForward a) { normalise<bf16>(a); }

struct RmsNormBackward {
  const void *dy;
  const void *x;
  const void *weight;
  const void *residual;
  void *dx;
  float *inverse_rms;
  i64 rows;
  int width;
  float eps;
};
static_assert(sizeof(RmsNormBackward) == 64, "mirrored in src/cuda/rms_norm.rs");

template <typename T, int N> __device__ void backward_row(const RmsNormBackward &a, i64 row) {
  const i64 start = row * a.width;
  const T *dy = static_cast<const T *>(a.dy) + start;
  const T *x = static_cast<const T *>(a.x) + start;
  const T *weight = static_cast<const T *>(a.weight);
  T *dx = static_cast<T *>(a.dx) + start;
  float squares = 0.0f;
  float products = 0.0f;
  for (int index = threadIdx.x; index < a.width / N; index += THREADS) {
    const Pack<T, N> value = load<N>(x, index);
    const Pack<T, N> grad = load<N>(dy, index);
    const Pack<T, N> scale = load<N>(weight, index);
    for (int lane = 0; lane < N; ++lane) {
      const float number = to_float(value.lane[lane]);
      squares += number * number;
      products += to_float(grad.lane[lane]) * to_float(scale.lane[lane]) * number;
    }
  }
  const float inverse = rsqrtf(block_sum(squares) / a.width + a.eps);
  const float along = block_sum(products) / a.width * inverse * inverse;
  for (int index = threadIdx.x; index < a.width / N; index += THREADS) {
    const Pack<T, N> value = load<N>(x, index);
    const Pack<T, N> grad = load<N>(dy, index);
    const Pack<T, N> scale = load<N>(weight, index);
    float sum[N];
    for (int lane = 0; lane < N; ++lane) {
      const float scaled = to_float(grad.lane[lane]) * to_float(scale.lane[lane]);
      sum[lane] = (scaled - to_float(value.lane[lane]) * along) * inverse;
    }
    if (a.residual != nullptr) {
      const Pack<T, N> residual = load<N>(static_cast<const T *>(a.residual) + start, index);
      for (int lane = 0; lane < N; ++lane) {
        sum[lane] += to_float(residual.lane[lane]);
      }
    }
    Pack<T, N> out;
    for (int lane = 0; lane < N; ++lane) {
      out.lane[lane] = rounded<T>(sum[lane]);
    }
    store(dx, index, out);
  }
  if (a.inverse_rms != nullptr && threadIdx.x == 0) {
    a.inverse_rms[row] = inverse;
  }
}

template <typename T> __device__ void backward(const RmsNormBackward &a) {
  const bool packed = is_aligned(a.dy) && is_aligned(a.x) && is_aligned(a.weight) && is_aligned(a.residual) &&
                      is_aligned(a.dx) && is_whole<T>(a.width);
  for (i64 row = blockIdx.x; row < a.rows; row += gridDim.x) {
    if (packed) {
      backward_row<T, PACK<T>>(a, row);
    } else {
      backward_row<T, 1>(a, row);
    }
  }
}

extern "C" __global__ void rms_norm_backward_f32(const RmsNormBackward a) { backward<float>(a); }
extern "C" __global__ void rms_norm_backward_bf16(const RmsNormBackward a) { backward<bf16>(a); }

struct RmsNormWeightParts {
  const void *dy;
  const void *x;
  const float *inverse_rms;
  double *parts;
  i64 rows;
  i64 strip_len;
  int width;
};
static_assert(sizeof(RmsNormWeightParts) == 56, "mirrored in src/cuda/rms_norm.rs");

// parts [strips, width]; grid: (columns / THREADS, strips).
template <typename T> __device__ void weight_parts(const RmsNormWeightParts &a) {
  const int column = blockIdx.x * THREADS + threadIdx.x;
  if (column >= a.width) {
    return;
  }
  const i64 first = blockIdx.y * a.strip_len;
  const i64 end = first + a.strip_len < a.rows ? first + a.strip_len : a.rows;
  double sum = 0.0;
  for (i64 row = first; row < end; ++row) {
    const float dy = to_float(static_cast<const T *>(a.dy)[row * a.width + column]);
    const float x = to_float(static_cast<const T *>(a.x)[row * a.width + column]);
    sum += dy * (x * a.inverse_rms[row]);
  }
  a.parts[static_cast<i64>(blockIdx.y) * a.width + column] = sum;
}

extern "C" __global__ void rms_norm_weight_parts_f32(const RmsNormWeightParts a) { weight_parts<float>(a); }
extern "C" __global__ void rms_norm_weight_parts_bf16(const RmsNormWeightParts a) { weight_parts<bf16>(a); }

struct RmsNormWeightSum {
  const double *parts;
  float *dweight;
  int num_strips;
  int width;
};
static_assert(sizeof(RmsNormWeightSum) == 24, "mirrored in src/cuda/rms_norm.rs");

extern "C" __global__ void rms_norm_weight_sum(const RmsNormWeightSum a) {
  const int column = blockIdx.x * THREADS + threadIdx.x;
  if (column >= a.width) {
    return;
  }
  double sum = 0.0;
  for (int strip = 0; strip < a.num_strips; ++strip) {
    sum += a.parts[static_cast<i64>(strip) * a.width + column];
  }
  a.dweight[column] = static_cast<float>(sum);
}
