// A world for schedules of rounds with members: the real objects on a clock by hand, and beside them a model of what the rules say. Every
// event goes to both; after each, whoever must have been answered is, with the right answer, and nobody else. Gradients are one-hot at
// (contributor, step), so a taken round shows exactly which contributions are in it, how often and with what factor.
#ifndef GRADSYNC_TEST_NATIVE_MEMBER_WORLD_H_
#define GRADSYNC_TEST_NATIVE_MEMBER_WORLD_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "accumulate/dense_accumulator.h"
#include "accumulate/member_rounds.h"
#include "support.h"

namespace gradsync::accumulate::test_world {

using test::Answer;
using test::Integer;
using Milliseconds = std::chrono::duration<double, std::milli>;

inline constexpr std::int64_t kContributors = 5;
// Few enough for rounds to stay below kInlineBytes: they are reduced by whoever completes them, so answers come at once.
inline constexpr std::int64_t kSteps = 24;

class World {
 public:
  using Rounds = MemberRounds<DenseAccumulator>;

  World(std::mt19937_64& random, Services& services, const MemberRoundsOptions& options, DType dtype)
      : random_(random), services_(services), options_(options), dtype_(dtype) {
    auto rounds =
        Rounds::Create({.gradient = {.name = "w", .dtype = dtype, .shape = {}, .reduction = Reduction::kSum}, .rounds = options}, services);
    EXPECT_OK(rounds.status());
    rounds_ = *rounds;
    for (const std::int64_t member : options.members) members_[member].is_live = true;
  }

  // One random event, legal or not.
  void Act() {
    const std::int64_t who = Integer(random_, 0, kContributors - 1);
    const int event = Integer(random_, 0, 39);
    if (event < 10) return Begin(who);
    if (event < 20) return Apply(who);
    if (event < 27) return Take();
    if (event < 33) return Applied();
    if (event < 35) return ApplyWrongly(who);
    if (event < 36) return Cancel();
    if (event < 38) return Advance(Integer(random_, 1, 12));
    if (event < 39) return Join(who);
    return Integer(random_, 0, 1) == 0 ? Leave(who) : Die(who);
  }

  // Everybody who is there contributes once more or not and leaves, the dead are given up, the chief goes on: all waits must end by that.
  void Drain() {
    for (std::int64_t who = 0; who < kContributors; ++who) {
      if (Integer(random_, 0, 1) == 0) Apply(who);
      if (members_[who].is_live || members_[who].is_dead) Leave(who);
    }
    for (int i = 0; i < 2 * kSteps && (outstanding_ || !takes_.empty() || !entered_.empty()); ++i) {
      if (outstanding_) Applied();
      if (takes_.empty()) Take();
    }
    EXPECT_TRUE(takes_.empty() && entered_.empty()) << "a take is stuck or a contribution is left over";
    for (const auto& [who, member] : members_) EXPECT_FALSE(member.waiting.has_value()) << "contributor " << who << " is stuck";
    EXPECT_EQ(num_taken_, num_entered_);
  }

  [[nodiscard]] bool IsOver() const { return current_ > kSteps - 10; }
  [[nodiscard]] std::int64_t max_lag() const { return max_lag_; }
  [[nodiscard]] std::int64_t num_taken() const { return num_taken_; }

 private:
  struct Wait {
    Answer<StatusOr<Ticket>> answer;
    Cancellation cancellation;
    std::optional<double> deadline;
  };
  struct ModelMember {
    bool is_live = false;
    bool is_dead = false;
    std::int64_t from = 0;
    std::int64_t last = -1;
    std::optional<Ticket> begun = {};
    double begun_at = 0;
    std::optional<Wait> waiting = {};
  };
  struct PendingTake {
    Answer<StatusOr<TakenRound<Tensor>>> answer;
    Cancellation cancellation;
    std::optional<double> deadline;
  };
  struct Entered {
    std::int64_t contributor;
    std::int64_t step;
    double factor;
  };

  [[nodiscard]] const QuorumOptions* quorum() const { return std::get_if<QuorumOptions>(&options_.rule); }
  [[nodiscard]] std::int64_t staleness() const { return quorum() ? 0 : std::get<BoundedStalenessOptions>(options_.rule).staleness; }
  [[nodiscard]] std::int64_t applied() const { return current_ - (outstanding_ ? 1 : 0); }

  // --- the model's rules ---

  [[nodiscard]] bool IsAwaited(const ModelMember& m) const { return m.is_live && m.from <= current_ && m.last < current_; }
  template <typename Predicate>
  [[nodiscard]] std::int64_t CountMembers(Predicate&& is_one) const {
    return std::ranges::count_if(members_, [&](const auto& entry) { return is_one(entry.second); });
  }
  [[nodiscard]] std::int64_t CountFresh() const {
    const auto found = entered_.find(current_);
    if (found == entered_.end()) return 0;
    return std::ranges::count_if(found->second, [&](const Entered& e) { return e.step == current_; });
  }
  [[nodiscard]] std::int64_t Needed() const {
    if (!quorum()) return 0;
    return std::min(quorum()->quorum, CountMembers([&](const ModelMember& m) { return m.is_dead || (m.is_live && m.from <= current_); }));
  }
  [[nodiscard]] bool IsLost() const {
    return CountFresh() + CountMembers([&](const ModelMember& m) { return IsAwaited(m); }) < Needed();
  }
  [[nodiscard]] bool HasEnded() const {
    return entered_.empty() && CountMembers([](const ModelMember& m) { return m.is_live; }) == 0;
  }
  [[nodiscard]] bool IsComplete() const {
    if (outstanding_ || !entered_.contains(current_) || CountFresh() < Needed()) return false;
    const bool is_due = quorum() && due_at_ && now_ >= *due_at_;
    return is_due || CountMembers([&](const ModelMember& m) { return IsAwaited(m); }) == 0;
  }
  [[nodiscard]] double WaitOf() const {
    if (const auto* fixed = std::get_if<FixedWait>(&quorum()->wait)) return fixed->ms;
    const auto& adaptive = std::get<AdaptiveWait>(quorum()->wait);
    if (arrivals_.empty()) return adaptive.max_ms;
    const auto count = std::min<std::size_t>(arrivals_.size(), static_cast<std::size_t>(adaptive.window));
    std::vector<double> last(arrivals_.end() - static_cast<std::ptrdiff_t>(count), arrivals_.end());
    std::ranges::sort(last);
    const double median = (last[(count - 1) / 2] + last[count / 2]) / 2;
    return std::clamp(adaptive.multiplier * median, adaptive.min_ms, adaptive.max_ms);
  }

  void SkipEmptyRounds() {
    while (!outstanding_ && !entered_.contains(current_)) {
      const auto comes = [&](const auto& wants) { return CountMembers(wants) > 0; };
      if (comes([&](const ModelMember& m) { return m.is_live && std::max(m.from, m.last + 1) <= current_; })) return;
      if (entered_.empty() && !comes([](const ModelMember& m) { return m.is_live; })) return;
      NextRound();
    }
  }
  void NextRound() {
    ++current_;
    due_at_.reset();
  }

  // Gives everybody the model's answer and compares.
  void Settle() {
    SkipEmptyRounds();
    while (!takes_.empty() && (HasEnded() || IsComplete() || (!outstanding_ && IsLost()))) {
      const bool is_round = IsComplete();
      CheckTake(takes_.front(), is_round);
      takes_.pop_front();
    }
    for (const PendingTake& take : takes_) ASSERT_FALSE(take.answer.HasCome()) << "a take was answered too early, round " << current_;
    for (auto& [who, member] : members_) {
      if (!member.waiting) continue;
      const std::int64_t step = quorum() ? std::max(member.last + 1, current_) : member.last + 1;
      if (IsLost()) {
        Expect(member, Code::kUnavailable);
      } else if (applied() >= step - staleness()) {
        CheckTicket(member, step);
      } else {
        ASSERT_FALSE(member.waiting->answer.HasCome()) << "contributor " << who << " began too early";
      }
    }
  }

  void CheckTicket(ModelMember& member, std::int64_t step) {
    ASSERT_TRUE(member.waiting->answer.HasCome()) << "step " << step << " may begin";
    const auto ticket = member.waiting->answer.Wait();
    ASSERT_OK(ticket.status());
    EXPECT_EQ(ticket->step, step);
    EXPECT_EQ(ticket->applied, applied());
    EXPECT_EQ(ticket->lag, step - applied());
    EXPECT_GE(ticket->lag, 0);
    EXPECT_LE(ticket->lag, staleness());
    max_lag_ = std::max(max_lag_, ticket->lag);
    member.waiting.reset();
    member.begun = *ticket;
    member.begun_at = now_;
    if (quorum() && !due_at_) due_at_ = now_ + WaitOf();
  }

  void CheckTake(PendingTake& take, bool is_round) {
    ASSERT_TRUE(take.answer.HasCome()) << "round " << current_ << " is complete";
    const auto taken = take.answer.Wait();
    if (!is_round) {
      const bool has_died = CountMembers([](const ModelMember& m) { return m.is_dead; }) > 0;
      ASSERT_EQ(taken.status().code(), has_died ? Code::kUnavailable : Code::kOutOfRange);
      return;
    }
    ASSERT_OK(taken.status());
    EXPECT_EQ(taken->step, current_);
    std::vector<double> expected(kContributors * kSteps);
    for (const Entered& e : entered_.at(current_)) expected[static_cast<std::size_t>(e.contributor * kSteps + e.step)] += e.factor;
    ASSERT_EQ(ElementsOf(taken->result), expected) << "round " << current_;
    EXPECT_EQ(taken->contributions.size(), entered_.at(current_).size());
    EXPECT_TRUE(std::ranges::is_sorted(taken->contributions, {}, &Contribution::contributor));
    num_taken_ += static_cast<std::int64_t>(taken->contributions.size());
    entered_.erase(current_);
    outstanding_ = current_;
    NextRound();
  }

  [[nodiscard]] std::vector<double> ElementsOf(const Tensor& tensor) const {
    if (dtype_ == DType::kFloat64) return test::Elements<double>(tensor);
    const auto integers = test::Elements<std::int64_t>(tensor);
    return {integers.begin(), integers.end()};
  }

  void Expect(ModelMember& member, Code code) {
    ASSERT_TRUE(member.waiting->answer.HasCome());
    EXPECT_EQ(member.waiting->answer.Wait().status().code(), code);
    member.waiting.reset();
  }

  // --- events ---

  std::pair<Deadline, std::optional<double>> RandomDeadline() {
    if (Integer(random_, 0, 3) != 0) return {Deadline::Infinite(), std::nullopt};
    const int ms = Integer(random_, 1, 20);
    return {Deadline::At(services_.timer.Now() + std::chrono::milliseconds(ms)), now_ + ms};
  }

  void Begin(std::int64_t who) {
    ModelMember& member = members_[who];
    Wait wait;
    const auto [deadline, at] = RandomDeadline();
    wait.deadline = at;
    wait.cancellation = rounds_->control().Begin(who, deadline, wait.answer.Callback());
    if (!member.is_live || member.begun || member.waiting) {
      ASSERT_EQ(wait.answer.Wait().status().code(), Code::kFailedPrecondition);
    } else {
      member.waiting = wait;
    }
    Settle();
  }

  StatusOr<Receipt> Contribute(std::int64_t who, std::int64_t step) {
    const auto at = static_cast<std::size_t>(who * kSteps + std::clamp<std::int64_t>(step, 0, kSteps - 1));
    if (dtype_ == DType::kFloat64) return rounds_->accumulator().Apply(step, who, OneHot<double>(at).view());
    return rounds_->accumulator().Apply(step, who, OneHot<std::int64_t>(at).view());
  }
  template <typename T>
  static test::Array<T> OneHot(std::size_t at) {
    std::vector<T> data(kContributors * kSteps);
    data[at] = 1;
    return test::Vector(std::move(data));
  }

  void Apply(std::int64_t who) {
    ModelMember& member = members_[who];
    if (!member.begun || !member.is_live) return;
    const std::int64_t step = member.begun->step;
    const auto receipt = Contribute(who, step);
    ASSERT_OK(receipt.status());
    const bool is_late = step < current_;
    const LatePolicy late = quorum() ? quorum()->late : LatePolicy{};
    ASSERT_FALSE(is_late && !quorum()) << "bounded staleness loses nobody's round";
    ASSERT_EQ(receipt->is_accepted, !is_late || late.kind != LatePolicy::Kind::kDrop);
    EXPECT_EQ(receipt->local_step, step);
    EXPECT_EQ(receipt->global_step, std::max(step, current_));
    double factor = 1;
    if (is_late && late.kind == LatePolicy::Kind::kScaleInverse) factor = 1.0 / static_cast<double>(1 + current_ - step);
    if (is_late && late.kind == LatePolicy::Kind::kScaleExponential) factor = std::pow(late.decay, static_cast<double>(current_ - step));
    EXPECT_EQ(receipt->factor.has_value(), is_late && late.is_scaling());
    EXPECT_EQ(receipt->factor.value_or(1), factor);
    if (receipt->is_accepted) {
      entered_[std::max(step, current_)].push_back({.contributor = who, .step = step, .factor = factor});
      ++num_entered_;
    }
    arrivals_.push_back(now_ - member.begun_at);
    member.last = step;
    member.begun.reset();
    Settle();
  }

  // A second time, a step that was not begun, somebody who is no member.
  void ApplyWrongly(std::int64_t who) {
    const ModelMember& member = members_[who];
    const std::int64_t step = Integer(random_, 0, static_cast<int>(current_) + 3);
    if (member.is_live && member.begun && member.begun->step == step) return;
    const Code code = Contribute(who, step).status().code();
    const bool is_repeat = member.is_live && step <= member.last;
    ASSERT_EQ(code, is_repeat ? Code::kAlreadyExists : Code::kFailedPrecondition);
    Settle();
  }

  void Join(std::int64_t who) {
    ModelMember& member = members_[who];
    std::optional<std::int64_t> from;
    if (Integer(random_, 0, 2) == 0) from = current_ + Integer(random_, -1, 3);
    const auto first = rounds_->control().Join(who, from);
    const std::int64_t earliest = std::max(current_, member.last + 1);
    if (member.is_live) {
      ASSERT_EQ(first.status().code(), Code::kAlreadyExists);
    } else if (from.value_or(earliest) < earliest) {
      ASSERT_EQ(first.status().code(), Code::kInvalidArgument);
    } else {
      ASSERT_OK(first.status());
      ASSERT_EQ(*first, from.value_or(earliest));
      member.is_live = true;
      member.is_dead = false;
      member.from = *first;
      member.last = *first - 1;
    }
    Settle();
  }

  void Leave(std::int64_t who) { Go(who, rounds_->control().Leave(who), false); }
  void Die(std::int64_t who) { Go(who, rounds_->control().Die(who), true); }
  void Go(std::int64_t who, const Status& status, bool is_death) {
    ModelMember& member = members_[who];
    const bool is_there = member.is_live || (member.is_dead && !is_death);
    ASSERT_EQ(status.code(), is_there || is_death ? Code::kOk : Code::kFailedPrecondition);
    if (is_there) {
      member.is_live = false;
      member.is_dead = is_death;
      member.begun.reset();
      if (member.waiting) Expect(member, Code::kCancelled);
    }
    Settle();
  }

  void Take() {
    PendingTake take;
    const auto [deadline, at] = RandomDeadline();
    take.deadline = at;
    take.cancellation = rounds_->Take(deadline, take.answer.Callback());
    takes_.push_back(take);
    Settle();
  }

  void Applied() {
    if (Integer(random_, 0, 7) == 0) {
      ASSERT_EQ(rounds_->control().Applied(current_).code(), Code::kFailedPrecondition) << "that round was not taken";
    }
    if (!outstanding_) return;
    ASSERT_OK(rounds_->control().Applied(*outstanding_));
    outstanding_.reset();
    ASSERT_EQ(rounds_->control().Applied(current_ - 1).code(), Code::kFailedPrecondition) << "twice";
    Settle();
  }

  void Cancel() {
    if (!takes_.empty() && Integer(random_, 0, 1) == 0) {
      const auto which = takes_.begin() + Integer(random_, 0, static_cast<int>(takes_.size()) - 1);
      which->cancellation.Cancel();
      ASSERT_EQ(which->answer.Wait().status().code(), Code::kCancelled);
      takes_.erase(which);
    }
    ModelMember& member = members_[Integer(random_, 0, kContributors - 1)];
    if (member.waiting) {
      member.waiting->cancellation.Cancel();
      Expect(member, Code::kCancelled);
    }
    Settle();
  }

  // In whole milliseconds, so that what is due at each moment is done before the next.
  void Advance(int ms) {
    for (int i = 0; i < ms && !::testing::Test::HasFatalFailure(); ++i) {
      services_.timer.Advance(std::chrono::milliseconds(1));
      ++now_;
      const auto is_over = [&](const auto& wait) { return wait.deadline && now_ >= *wait.deadline && wait.answer.HasCome(); };
      std::erase_if(takes_, [&](PendingTake& take) {
        return is_over(take) && take.answer.Peek([](const auto& taken) { return taken.status().code() == Code::kDeadlineExceeded; });
      });
      for (auto& [who, member] : members_) {
        if (member.waiting && is_over(*member.waiting) &&
            member.waiting->answer.Peek([](const auto& ticket) { return ticket.status().code() == Code::kDeadlineExceeded; })) {
          member.waiting.reset();
        }
      }
      Settle();
      for (const PendingTake& take : takes_) ASSERT_FALSE(take.deadline && now_ >= *take.deadline) << "a deadline was missed";
    }
  }

  std::mt19937_64& random_;
  Services& services_;
  const MemberRoundsOptions options_;
  const DType dtype_;
  std::shared_ptr<Rounds> rounds_;

  double now_ = 0;  // ms
  std::map<std::int64_t, ModelMember> members_;
  std::int64_t current_ = 0;
  std::optional<std::int64_t> outstanding_;
  std::optional<double> due_at_;                          // once the current round began
  std::map<std::int64_t, std::vector<Entered>> entered_;  // round -> contributions
  std::deque<PendingTake> takes_;
  std::vector<double> arrivals_;
  std::int64_t num_entered_ = 0;
  std::int64_t num_taken_ = 0;
  std::int64_t max_lag_ = 0;
};

}  // namespace gradsync::accumulate::test_world

#endif  // GRADSYNC_TEST_NATIVE_MEMBER_WORLD_H_
