// Contest: the native side of a benchmark case. A program names its contestants (ours, the limit), checks their results, then serves:
//
//   int main(int argc, char** argv) {
//     bench::Contest contest(argc, argv);                     // --contributors=4 --bytes=16777216
//     const auto bytes = contest.Integer("bytes");
//     ...
//     contest.Require(is_right, "the mean of 4 gradients");   // ends the program, with a message, unless true
//     contest.Add("ours", [&] { OneRound(); });
//     contest.Add("limit", [&] { TheLeastThereIs(); });
//     return contest.Serve("what a reader must know");
//   }
//
// Protocol, one line each, the same as that of bench/rivals/contest.py: it prints {"contestants": [...], "note": "..."} once all is set up,
// then answers each line `run <contestant> <count>` with {"ms": <mean milliseconds of count rounds, after one that is not timed>}, until
// its input ends. One thread; the contestants may have more.
#ifndef GRADSYNC_BENCH_NATIVE_CONTEST_H_
#define GRADSYNC_BENCH_NATIVE_CONTEST_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gradsync::bench {

class Contest {
 public:
  using Round = std::function<void()>;

  // Reads arguments of the form --name=value.
  Contest(int argc, char** argv);

  // The value of an argument; ends the program when it is missing or malformed.
  [[nodiscard]] std::int64_t Integer(std::string_view name) const;
  [[nodiscard]] std::string Text(std::string_view name) const;
  void Require(bool is_right, std::string_view what) const;
  void Add(std::string name, Round round) { contestants_.emplace_back(std::move(name), std::move(round)); }
  // Gives the exit status.
  int Serve(std::string_view note);

 private:
  [[noreturn]] static void Fail(std::string_view message);

  std::map<std::string, std::string, std::less<>> arguments_;
  std::vector<std::pair<std::string, Round>> contestants_;
};

}  // namespace gradsync::bench

#endif  // GRADSYNC_BENCH_NATIVE_CONTEST_H_
