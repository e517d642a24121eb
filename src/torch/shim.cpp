// What neither tch nor libtorch's C ABI offers: the deterministic-algorithms switch and the device allocator's statistics.
//
// Bound by src/torch/shim.rs. No exception leaves a function: the result is 0, or 1 with the exception's text in `text`.

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>

namespace {

template <typename Body>
int guarded(char *text, std::size_t text_len, Body body) {
  try {
    body();
    return 0;
  } catch (const c10::Error &error) {
    std::strncpy(text, error.what_without_backtrace(), text_len - 1);
  } catch (const std::exception &error) {
    std::strncpy(text, error.what(), text_len - 1);
  }
  text[text_len - 1] = '\0';
  return 1;
}

c10::DeviceAllocator *cuda_allocator() { return c10::getDeviceAllocator(c10::DeviceType::CUDA); }

} // namespace

extern "C" {

struct PrulongDeviceMemory {
  std::uint64_t free_bytes;
  std::uint64_t total_bytes;
  std::uint64_t allocated_bytes;
  std::uint64_t peak_bytes;
};
static_assert(sizeof(PrulongDeviceMemory) == 32, "mirrored in shim.rs");

int prulong_set_deterministic(bool on, char *text, std::size_t text_len) {
  return guarded(text, text_len, [&] { at::globalContext().setDeterministicAlgorithms(on, false); });
}

int prulong_deterministic() { return at::globalContext().deterministicAlgorithms() ? 1 : 0; }

int prulong_device_memory(std::int8_t device, PrulongDeviceMemory *memory, char *text, std::size_t text_len) {
  return guarded(text, text_len, [&] {
    auto *allocator = cuda_allocator();
    const auto [free_bytes, total_bytes] = allocator->getMemoryInfo(device);
    memory->free_bytes = free_bytes;
    memory->total_bytes = total_bytes;
    memory->allocated_bytes = 0;
    memory->peak_bytes = 0;
    if (allocator->initialized()) {
      constexpr auto all = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
      const auto &stat = allocator->getDeviceStats(device).allocated_bytes[all];
      memory->allocated_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, stat.current));
      memory->peak_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(0, stat.peak));
    }
  });
}

int prulong_reset_peak(std::int8_t device, char *text, std::size_t text_len) {
  return guarded(text, text_len, [&] {
    if (cuda_allocator()->initialized()) {
      cuda_allocator()->resetPeakStats(device);
    }
  });
}

} // extern "C"
