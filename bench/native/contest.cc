#include "contest.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <sstream>

namespace gradsync::bench {

Contest::Contest(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    const std::size_t equals = argument.find('=');
    if (!argument.starts_with("--") || equals == std::string_view::npos) Fail("expected arguments of the form --name=value");
    arguments_.emplace(argument.substr(2, equals - 2), argument.substr(equals + 1));
  }
}

std::string Contest::Text(std::string_view name) const {
  const auto found = arguments_.find(name);
  if (found == arguments_.end()) Fail(std::string("expected the argument --").append(name));
  return found->second;
}

std::int64_t Contest::Integer(std::string_view name) const {
  const std::string text = Text(name);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) Fail(std::string("expected an integer for --").append(name));
  return value;
}

void Contest::Require(bool is_right, std::string_view what) const {
  if (!is_right) Fail(std::string("wrong result: ").append(what));
}

void Contest::Fail(std::string_view message) {
  std::cerr << message << '\n';
  std::exit(1);
}

int Contest::Serve(std::string_view note) {
  std::cout << R"({"contestants": [)";
  for (std::size_t i = 0; i < contestants_.size(); ++i) std::cout << (i == 0 ? "\"" : ", \"") << contestants_[i].first << '"';
  std::cout << R"(], "note": ")" << note << "\"}" << std::endl;
  using Clock = std::chrono::steady_clock;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string verb;
    std::string name;
    int count = 0;
    words >> verb >> name >> count;
    const auto found = std::find_if(contestants_.begin(), contestants_.end(), [&](const auto& entry) { return entry.first == name; });
    if (verb != "run" || found == contestants_.end() || count < 1) Fail("expected `run <contestant> <count>` but received `" + line + "`");
    found->second();
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i < count; ++i) found->second();
    const std::chrono::duration<double, std::milli> time = Clock::now() - begin;
    std::cout << R"({"ms": )" << time.count() / count << '}' << std::endl;
  }
  return 0;
}

}  // namespace gradsync::bench
