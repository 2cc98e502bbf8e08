// Compiled for the machine it is built on (-march=native).
#include "streams.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#if defined(__SSE2__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace gradsync::bench {
namespace {

#if defined(__AVX512F__)
using Vector = __m512;
Vector Load(const float* from) { return _mm512_load_ps(from); }
void StoreCached(float* to, Vector value) { _mm512_store_ps(to, value); }
void StorePast(float* to, Vector value) { _mm512_stream_ps(to, value); }
#elif defined(__AVX__)
using Vector = __m256;
Vector Load(const float* from) { return _mm256_load_ps(from); }
void StoreCached(float* to, Vector value) { _mm256_store_ps(to, value); }
void StorePast(float* to, Vector value) { _mm256_stream_ps(to, value); }
#elif defined(__SSE2__)
using Vector = __m128;
Vector Load(const float* from) { return _mm_load_ps(from); }
void StoreCached(float* to, Vector value) { _mm_store_ps(to, value); }
void StorePast(float* to, Vector value) { _mm_stream_ps(to, value); }
#else
using Vector = float;
Vector Load(const float* from) { return *from; }
void StoreCached(float* to, Vector value) { *to = value; }
void StorePast(float* to, Vector value) { *to = value; }
#endif

constexpr std::size_t kLanes = sizeof(Vector) / sizeof(float);
constexpr std::size_t kLine = 64 / sizeof(float);
constexpr std::size_t kMaxGroup = 8;

void Pause() {
#if defined(__SSE2__)
  _mm_pause();
#endif
}

struct Pass {
  const std::vector<const float*>* inputs;
  const std::vector<float*>* outputs;
  Streams::Store store;
};

// Adds up to eight inputs at once, which all fit into registers; more in groups, block by block, so that each is read once from memory.
template <std::size_t kInputs>
void AddGroup(const float* const* inputs, std::size_t begin, std::size_t end, float* sum, bool is_first) {
  std::array<const float*, kInputs> in;
  std::copy_n(inputs, kInputs, in.begin());
  for (std::size_t i = begin; i < end; i += kLanes) {
    Vector value = Load(in[0] + i);
    for (std::size_t k = 1; k < kInputs; ++k) value = value + Load(in[k] + i);
    if (!is_first) value = value + Load(sum + i - begin);
    StoreCached(sum + i - begin, value);
  }
}

template <std::size_t... kCounts>
void AddUpTo(std::size_t count, const float* const* inputs, std::size_t begin, std::size_t end, float* sum, bool is_first,
             std::index_sequence<kCounts...> /*counts*/) {
  (void)((count == kCounts + 1 && (AddGroup<kCounts + 1>(inputs, begin, end, sum, is_first), true)) || ...);
}

template <std::size_t kInputs, bool kIsPast>
void AddDirectly(const float* const* inputs, std::size_t begin, std::size_t end, float* out) {
  std::array<const float*, kInputs> in;
  std::copy_n(inputs, kInputs, in.begin());
  for (std::size_t i = begin; i < end; i += kLanes) {
    Vector value = Load(in[0] + i);
    for (std::size_t k = 1; k < kInputs; ++k) value = value + Load(in[k] + i);
    if constexpr (kIsPast) {
      StorePast(out + i, value);
    } else {
      StoreCached(out + i, value);
    }
  }
}

template <std::size_t... kCounts>
void AddDirectlyUpTo(std::size_t count, bool is_past, const float* const* inputs, std::size_t begin, std::size_t end, float* out,
                     std::index_sequence<kCounts...> /*counts*/) {
  (void)((count == kCounts + 1 &&
          ((is_past ? AddDirectly<kCounts + 1, true>(inputs, begin, end, out) : AddDirectly<kCounts + 1, false>(inputs, begin, end, out)),
           true)) ||
         ...);
}

void CopyOut(const float* from, std::size_t count, float* to, bool is_past) {
  for (std::size_t i = 0; i < count; i += kLanes) {
    if (is_past) {
      StorePast(to + i, Load(from + i));
    } else {
      StoreCached(to + i, Load(from + i));
    }
  }
}

void RunPart(const Pass& pass, std::size_t begin, std::size_t end) {
  using Counts = std::make_index_sequence<kMaxGroup>;
  const auto& inputs = *pass.inputs;
  const bool is_past = pass.store == Streams::Store::kPastCaches;
  if (inputs.size() <= kMaxGroup && pass.outputs->size() == 1) {
    AddDirectlyUpTo(inputs.size(), is_past, inputs.data(), begin, end, pass.outputs->front(), Counts());
  } else {
    constexpr std::size_t kBlock = 1024;
    alignas(64) std::array<float, kBlock> sum;
    for (std::size_t block = begin; block < end; block += kBlock) {
      const std::size_t stop = std::min(end, block + kBlock);
      for (std::size_t k = 0; k < inputs.size(); k += kMaxGroup) {
        AddUpTo(std::min(kMaxGroup, inputs.size() - k), inputs.data() + k, block, stop, sum.data(), k == 0, Counts());
      }
      for (float* const out : *pass.outputs) {
        const bool is_input = std::find(inputs.begin(), inputs.end(), out) != inputs.end();
        CopyOut(sum.data(), stop - block, out + block, is_past && !is_input);
      }
    }
  }
#if defined(__SSE2__)
  if (is_past) _mm_sfence();
#endif
}

}  // namespace

#if defined(__linux__)
// The processors this thread may run on, and confines it to one of them.
class Affinity {
 public:
  Affinity() { is_known_ = sched_getaffinity(0, sizeof set_, &set_) == 0; }
  // To the i-th, if there is one.
  void Confine(std::size_t i) const {
    for (std::size_t processor = 0; is_known_ && processor < CPU_SETSIZE; ++processor) {
      if (!CPU_ISSET(processor, &set_) || i-- != 0) continue;
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(processor, &one);
      (void)sched_setaffinity(0, sizeof one, &one);
      return;
    }
  }
  void Release() const {
    if (is_known_) (void)sched_setaffinity(0, sizeof set_, &set_);
  }

 private:
  cpu_set_t set_;
  bool is_known_;
};
#else
class Affinity {
 public:
  void Confine(std::size_t /*i*/) const {}
  void Release() const {}
};
#endif

// Threads that run one function together, each on a processor of its own: two that spin on one would measure the scheduler. Between passes
// they spin for a while, so that a short pass does not measure how long it takes to wake a thread, then sleep.
class Streams::Team {
 public:
  explicit Team(std::size_t threads) : size_(std::max<std::size_t>(threads, 1)) {
    for (std::size_t i = 1; i < size_; ++i) threads_.emplace_back([this, i] { Work(i); });
  }
  ~Team() {
    Run(nullptr);
    for (std::thread& thread : threads_) thread.join();
  }
  [[nodiscard]] std::size_t size() const { return size_; }

  // Calls body(i) for every thread i, here for 0. Null ends the threads.
  void Run(const std::function<void(std::size_t)>* body) {
    body_ = body;
    left_.store(size_ - 1, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    if (body == nullptr) return;
    affinity_.Confine(0);
    (*body)(0);
    while (left_.load(std::memory_order_acquire) != 0) Pause();
    affinity_.Release();
  }

 private:
  void Work(std::size_t i) {
    affinity_.Confine(i);
    for (unsigned seen = 0;;) {
      WaitForChange(seen);
      seen = epoch_.load(std::memory_order_acquire);
      const auto* body = body_;
      if (body == nullptr) return;
      (*body)(i);
      left_.fetch_sub(1, std::memory_order_release);
    }
  }
  void WaitForChange(unsigned seen) {
    const auto patience = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
    while (epoch_.load(std::memory_order_acquire) == seen) {
      if (std::chrono::steady_clock::now() > patience) epoch_.wait(seen, std::memory_order_acquire);
      Pause();
    }
  }

  const std::size_t size_;
  const Affinity affinity_;
  std::atomic<unsigned> epoch_{0};
  std::atomic<std::size_t> left_{0};
  const std::function<void(std::size_t)>* body_ = nullptr;
  std::vector<std::thread> threads_;
};

Streams::Streams(std::size_t threads) : team_(std::make_unique<Team>(threads)) {}
Streams::~Streams() = default;

void Streams::Pass(const std::vector<const float*>& inputs, const std::vector<float*>& outputs, std::size_t size, Store store) {
  const bench::Pass pass{.inputs = &inputs, .outputs = &outputs, .store = store};
  const std::size_t lines = size / kLine;
  const std::function<void(std::size_t)> body = [&](std::size_t i) {
    const std::size_t end = i + 1 == team_->size() ? size : lines * (i + 1) / team_->size() * kLine;
    RunPart(pass, lines * i / team_->size() * kLine, end);
  };
  team_->Run(&body);
}

}  // namespace gradsync::bench
