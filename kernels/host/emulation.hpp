// Runs a kernel's source on a CPU, so that its arithmetic is tested where there is no GPU.
//
// A thread block's threads are coroutines of one system thread. A barrier, or a shuffle within a warp, gives way to the next
// one. Between two barriers they run in ascending and in descending order in turn, so that a missing barrier shows; a barrier
// that some threads never reach, and a shuffle with absent lanes, end the launch with an error instead of hanging.
//
// Not emulated: caches, rounding of the fast approximations (expf, rsqrtf), timing.

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#define __global__
#define __device__
#define __shared__ static thread_local

struct Index3 {
  unsigned x, y, z;
};

static thread_local Index3 threadIdx, blockIdx, gridDim;

inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

namespace emulation {

constexpr unsigned LANES = 32;
constexpr std::size_t STACK_BYTES = 64 * 1024;

enum class State { Ready, AtBarrier, AtShuffle, Done };

// A context enters a coroutine on its own stack; the far cheaper jumps lead out of it and back.
struct Thread {
  ucontext_t context;
  jmp_buf place;
  bool has_begun;
  std::vector<char> stack;
  State state;
  unsigned char shuffled[8];
};

struct Block {
  std::vector<Thread> threads;
  jmp_buf scheduler;
  unsigned current = 0;
  void (*body)(const void *);
  const void *args;
};

static thread_local Block *block = nullptr;

inline void give_way(State state) {
  Thread &thread = block->threads[block->current];
  thread.state = state;
  if (_setjmp(thread.place) == 0) {
    _longjmp(block->scheduler, 1);
  }
}

inline void start() {
  block->body(block->args);
  block->threads[block->current].state = State::Done;
  _longjmp(block->scheduler, 1);
}

inline unsigned count(State state, std::size_t first, std::size_t end) {
  unsigned found = 0;
  for (std::size_t index = first; index < end; ++index) {
    found += block->threads[index].state == state;
  }
  return found;
}

inline void release(State from, std::size_t first, std::size_t end) {
  for (std::size_t index = first; index < end; ++index) {
    if (block->threads[index].state == from) {
      block->threads[index].state = State::Ready;
    }
  }
}

// Lets everyone go on who waits for nobody else. Whether anyone does.
inline bool release_all() {
  const std::size_t size = block->threads.size();
  bool released = false;
  for (std::size_t first = 0; first < size; first += LANES) {
    const std::size_t end = first + LANES < size ? first + LANES : size;
    if (count(State::AtShuffle, first, end) == LANES) {
      release(State::AtShuffle, first, end);
      released = true;
    }
  }
  if (!released && count(State::AtBarrier, 0, size) == size) {
    release(State::AtBarrier, 0, size);
    released = true;
  }
  return released;
}

inline void resume(unsigned index) {
  Thread &thread = block->threads[index];
  if (thread.state != State::Ready) {
    return;
  }
  block->current = index;
  threadIdx = {index, 0, 0};
  if (_setjmp(block->scheduler) != 0) {
    return;
  }
  if (thread.has_begun) {
    _longjmp(thread.place, 1);
  }
  thread.has_begun = true;
  setcontext(&thread.context);
}

inline void run_block() {
  const unsigned size = static_cast<unsigned>(block->threads.size());
  for (Thread &thread : block->threads) {
    getcontext(&thread.context);
    // Kept from launch to launch.
    thread.stack.resize(STACK_BYTES);
    thread.context.uc_stack.ss_sp = thread.stack.data();
    thread.context.uc_stack.ss_size = STACK_BYTES;
    thread.context.uc_link = nullptr;
    thread.has_begun = false;
    thread.state = State::Ready;
    makecontext(&thread.context, start, 0);
  }
  for (bool upwards = true; count(State::Done, 0, size) < size; upwards = !upwards) {
    for (unsigned turn = 0; turn < size; ++turn) {
      resume(upwards ? turn : size - 1 - turn);
    }
    if (count(State::Done, 0, size) < size && !release_all()) {
      throw std::runtime_error(std::to_string(count(State::AtBarrier, 0, size)) + " threads wait at a barrier, " +
                               std::to_string(count(State::AtShuffle, 0, size)) + " at a shuffle, " +
                               std::to_string(count(State::Done, 0, size)) + " are done");
    }
  }
}

// Runs `body` for every thread of every thread block. 0, or 1 with a sentence in `text`.
inline int launch(void (*body)(const void *), const void *args, Index3 grid, unsigned threads, char *text,
                  std::size_t text_len) {
  static thread_local Block only;
  block = &only;
  block->threads.resize(threads);
  block->body = body;
  block->args = args;
  gridDim = grid;
  try {
    for (unsigned z = 0; z < grid.z; ++z) {
      for (unsigned y = 0; y < grid.y; ++y) {
        for (unsigned x = 0; x < grid.x; ++x) {
          blockIdx = {x, y, z};
          run_block();
        }
      }
    }
    return 0;
  } catch (const std::exception &error) {
    std::strncpy(text, error.what(), text_len - 1);
    text[text_len - 1] = '\0';
    return 1;
  }
}

} // namespace emulation

inline void __syncthreads() { emulation::give_way(emulation::State::AtBarrier); }

// Each lane shows its value, and reads its partner's once all have; both wait, so no lane shows the next value too early.
template <typename V> V __shfl_xor_sync(unsigned, V value, int distance) {
  using namespace emulation;
  std::memcpy(block->threads[block->current].shuffled, &value, sizeof value);
  give_way(State::AtShuffle);
  V partner;
  std::memcpy(&partner, block->threads[block->current ^ static_cast<unsigned>(distance)].shuffled, sizeof partner);
  give_way(State::AtShuffle);
  return partner;
}

// Exports a kernel for the test's dynamic loader.
#define EMULATED(KERNEL, ARGS)                                                                                         \
  extern "C" int emulated_##KERNEL(const void *args, const unsigned *grid, unsigned threads, char *text,              \
                                   unsigned long text_len) {                                                          \
    return emulation::launch([](const void *args) { KERNEL(*static_cast<const ARGS *>(args)); }, args,                 \
                             {grid[0], grid[1], grid[2]}, threads, text, text_len);                                   \
  }
