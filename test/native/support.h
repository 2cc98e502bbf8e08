// Helpers of the native tests: tensors from literals, a place where a callback's answer can be waited for, one seed that is always printed.
// Header only; used by one test thread at a time, except Answer, which is thread-safe.
#ifndef GRADSYNC_TEST_NATIVE_SUPPORT_H_
#define GRADSYNC_TEST_NATIVE_SUPPORT_H_

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/status.h"

namespace gradsync::test {

// A view with the data and dimensions it looks at.
template <typename T>
struct Array {
  Shape shape;
  std::vector<T> data;

  [[nodiscard]] TensorView view() const {
    return {.dtype = kDTypeOf<T>, .shape = shape, .data = data.data(), .bytes = data.size() * sizeof(T)};
  }
  [[nodiscard]] MutableTensorView mutable_view() {
    return {.dtype = kDTypeOf<T>, .shape = shape, .data = data.data(), .bytes = data.size() * sizeof(T)};
  }
};

template <typename T>
Array<T> Vector(std::vector<T> data) {
  return {.shape = {static_cast<std::int64_t>(data.size())}, .data = std::move(data)};
}

template <typename T>
std::vector<T> Elements(const Tensor& tensor) {
  const auto elements = tensor.as<T>();
  return {elements.begin(), elements.end()};
}

// Where a callback puts its answer. Fails the test when it is called twice, or not within a minute.
template <typename T>
class Answer {
 public:
  [[nodiscard]] auto Callback() const {
    return [state = state_](T value) {
      const std::lock_guard lock(state->mutex);
      EXPECT_FALSE(state->value.has_value()) << "the callback was called twice";
      state->value.emplace(std::move(value));
      state->changed.notify_all();
    };
  }
  [[nodiscard]] bool HasCome() const {
    const std::lock_guard lock(state_->mutex);
    return state_->value.has_value();
  }
  // What `look` says of an answer that has come.
  template <typename Look>
  auto Peek(Look&& look) const {
    const std::lock_guard lock(state_->mutex);
    return look(*state_->value);
  }
  T Wait() {
    std::unique_lock lock(state_->mutex);
    const bool came = state_->changed.wait_for(lock, std::chrono::minutes(1), [this] { return state_->value.has_value(); });
    if (!came) {
      ADD_FAILURE() << "the callback was not called";
      return Internal("the callback was not called");
    }
    return std::move(*state_->value);
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<T> value;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

// GRADSYNC_SEED repeats a failed run.
inline std::uint64_t Seed() {
  const char* text = std::getenv("GRADSYNC_SEED");
  const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : 20240229;
  ::testing::Test::RecordProperty("seed", std::to_string(seed));
  return seed;
}

inline int Integer(std::mt19937_64& random, int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); }

#define EXPECT_OK(expression) EXPECT_EQ((expression), ::gradsync::OkStatus())
#define ASSERT_OK(expression) ASSERT_EQ((expression), ::gradsync::OkStatus())

inline std::ostream& operator<<(std::ostream& out, const Status& status) { return out << status.ToString(); }

}  // namespace gradsync::test

namespace gradsync {
// Found by gtest through argument-dependent lookup.
inline void PrintTo(const Status& status, std::ostream* out) { *out << status.ToString(); }
}  // namespace gradsync

#endif  // GRADSYNC_TEST_NATIVE_SUPPORT_H_
