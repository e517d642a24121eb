// What every kernel shares: element types, packs of 16 bytes, sums over a thread block.
//
// This text is put before each source, so sources include nothing: NVRTC needs no header folder. It also compiles as plain
// C++ behind `kernels/host/emulation.hpp`, which is how the arithmetic is tested without a GPU.
//
// Decisions
//   bf16 is a struct of 16 bits, not NVIDIA's `__nv_bfloat16`: the two conversions are all that is needed of it.
//   Every sum has a fixed order, there are no atomics: the same input gives the same bits.

typedef long long i64;

constexpr int WARP = 32;
// Threads of every thread block; mirrored in `src/cuda/runner.rs`.
constexpr int THREADS = 256;
constexpr int WARPS = THREADS / WARP;

struct bf16 {
  unsigned short bits;
};

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }

// Rounds to the nearest, ties to even; NaN stays NaN.
__device__ inline void round_to(float x, float &y) { y = x; }
__device__ inline void round_to(float x, bf16 &y) {
#ifdef __CUDA_ARCH__
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
  const unsigned bits = __float_as_uint(x);
  const unsigned rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  y.bits = x != x ? 0x7fff : static_cast<unsigned short>(rounded >> 16);
#endif
}

template <typename T> __device__ inline T rounded(float x) {
  T y;
  round_to(x, y);
  return y;
}

// N neighbouring numbers that are moved by one instruction; N > 1 only behind `is_aligned`.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack {
  T lane[N];
};

template <typename T> constexpr int PACK = 16 / sizeof(T);

template <int N, typename T> __device__ inline Pack<T, N> load(const T *from, i64 index) {
  return reinterpret_cast<const Pack<T, N> *>(from)[index];
}

template <typename T, int N> __device__ inline void store(T *to, i64 index, const Pack<T, N> &pack) {
  reinterpret_cast<Pack<T, N> *>(to)[index] = pack;
}

// Whether `x` begins at a multiple of 16 bytes; so does nothing.
__device__ inline bool is_aligned(const void *x) { return reinterpret_cast<unsigned long long>(x) % 16 == 0; }

// Whether rows of `width` numbers, one after the other, consist of whole packs.
template <typename T> __device__ inline bool is_whole(i64 width) { return width % PACK<T> == 0; }

template <typename V> __device__ inline V warp_sum(V value) {
  for (int distance = WARP / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

__device__ inline float warp_max(float value) {
  for (int distance = WARP / 2; distance > 0; distance /= 2) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }
  return value;
}

// The sum over the thread block, in every thread; all threads must call.
template <typename V> __device__ inline V block_sum(V value) {
  __shared__ V partial[WARPS];
  value = warp_sum(value);
  if (threadIdx.x % WARP == 0) {
    partial[threadIdx.x / WARP] = value;
  }
  __syncthreads();
  value = warp_sum(threadIdx.x % WARP < WARPS ? partial[threadIdx.x % WARP] : V(0));
  __syncthreads();
  return value;
}

__device__ inline float negative_infinity() { return __uint_as_float(0xff800000u); }

// The largest value over the thread block, in every thread; numbers win over NaN; all threads must call.
__device__ inline float block_max(float value) {
  __shared__ float partial[WARPS];
  value = warp_max(value);
  if (threadIdx.x % WARP == 0) {
    partial[threadIdx.x / WARP] = value;
  }
  __syncthreads();
  value = warp_max(threadIdx.x % WARP < WARPS ? partial[threadIdx.x % WARP] : negative_infinity());
  __syncthreads();
  return value;
}
