// Streams: the least time that memory allows a pass over arrays of float: reads some, writes some, and does no more than add, with all
// threads at once and the best loop there is: it is tried with ordinary stores and with stores past the caches. What STREAM measures, for
// any number of arrays. Not thread-safe; owns its threads, which wait without sleeping for a moment after each pass.
#ifndef GRADSYNC_BENCH_NATIVE_STREAMS_H_
#define GRADSYNC_BENCH_NATIVE_STREAMS_H_

#include <cstddef>
#include <memory>
#include <vector>

namespace gradsync::bench {

class Streams {
 public:
  enum class Store { kCached, kPastCaches };

  explicit Streams(std::size_t threads);
  ~Streams();
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  // One pass: each output becomes the sum of the inputs. Arrays of `size` elements, all aligned to 64 bytes; at least one input and one
  // output; an output may be an input (then its stores are not past the caches).
  void Pass(const std::vector<const float*>& inputs, const std::vector<float*>& outputs, std::size_t size, Store store);

 private:
  class Team;
  const std::unique_ptr<Team> team_;
};

}  // namespace gradsync::bench

#endif  // GRADSYNC_BENCH_NATIVE_STREAMS_H_
