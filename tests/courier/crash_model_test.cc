// Random runs against a naive model: at every step the relay may die, the server may do anything, the source may go, come and be wiped.
#include <random>

#include "tests/courier/bench.h"

namespace outlier {
namespace {

using Action = Page::Action;

// One seed can be run alone: OUTLIER_SEED=17. More than are run each time: OUTLIER_SEEDS=2000.
template <class Run>
void ForSeeds(int runs, Run run) {
  const char* one = std::getenv("OUTLIER_SEED");
  if (const char* more = std::getenv("OUTLIER_SEEDS")) runs = std::atoi(more);
  for (int seed = one != nullptr ? std::atoi(one) : 1, last = one != nullptr ? seed : runs; seed <= last; ++seed) {
    SCOPED_TRACE(fmt::format("OUTLIER_SEED={}", seed));
    run(seed);
    if (testing::Test::HasFailure()) return;
  }
}

class Dice {
 public:
  explicit Dice(int seed) : random_(static_cast<uint64_t>(seed)) {}
  bool Chance(double p) { return std::uniform_real_distribution<>(0, 1)(random_) < p; }
  int Below(int n) { return std::uniform_int_distribution<>(0, n - 1)(random_); }

 private:
  std::mt19937_64 random_;
};

void Happen(FakeFeed* feed, Dice* dice, WallTime now, int* next_id) {
  const int changes = dice->Below(6);
  for (int i = 0; i < changes; ++i) {
    const auto& open = feed->open();
    if (open.empty() || dice->Chance(0.4)) {
      feed->Open(fmt::format("i{}", (*next_id)++), now, static_cast<v1::Incident::Severity>(1 + dice->Below(4)));
      continue;
    }
    auto it = open.begin();
    std::advance(it, dice->Below(static_cast<int>(open.size())));
    const std::string id = it->first;
    if (dice->Chance(0.5)) {
      feed->Resolve(id, now);
    } else {
      feed->Update(id, now, static_cast<v1::Incident::Severity>(1 + dice->Below(4)));
    }
  }
}

Says Mood(Dice* dice) {
  static constexpr Says kMoods[] = {Says::kTakes, Says::kTakes, Says::kTakes, Says::kUnavailable, Says::kUnauthorized, Says::kLost, Says::kNoConnection};
  return kMoods[dice->Below(static_cast<int>(std::size(kMoods)))];
}

TEST(CrashModelTest, AStreamSinkGetsEverythingOrItIsCountedAndInOrder) {
  ForSeeds(60, [](int seed) {
    Dice dice(seed);
    Bench bench(false);
    bench.config().mutable_delivery()->set_max_items(static_cast<uint32_t>(1 + dice.Below(20)));
    bench.stream.limits.works_ahead = seed % 2 == 0;
    bench.stream.limits.knows_repeats = seed % 4 == 0;
    bench.overtakes = [&] { return dice.Chance(0.5); };
    bench.hangs = [&] { return dice.Chance(0.5); };
    double throttled = 0;
    bench.stream.item = [&](const Finding&, WallTime) { return throttled > 0 && dice.Chance(throttled) ? ItemOutcome::kRetry : ItemOutcome::kDelivered; };
    Says mood = Says::kTakes;
    const auto poison = [&](const Finding& f) { return !f.gap && f.change.sequence() % 37 == 5; };
    bench.stream.says = [&](const auto& findings, WallTime) {
      const bool bad = std::any_of(findings.begin(), findings.end(), poison);
      return bad && (mood == Says::kTakes || mood == Says::kLost) ? Says::kRefuses : mood;
    };
    int ids = 0, crashes = 0, lost_answers = 0;
    for (int step = 0; step < 120; ++step) {
      Happen(&bench.feed(), &dice, bench.now, &ids);
      if (dice.Chance(0.2)) mood = Mood(&dice);
      if (seed % 3 == 0) throttled = dice.Chance(0.3) ? 0.3 : 0;
      if (mood == Says::kLost) ++lost_answers;
      if (dice.Chance(0.1)) bench.feed().Disconnect();
      if (dice.Chance(0.1)) bench.feed().up = !bench.feed().up;
      bench.Read(static_cast<size_t>(1 + dice.Below(10)));
      bench.now += milliseconds(100 + dice.Below(1) * 60'000 + (dice.Chance(0.3) ? 90'000 : 0));
      const int sends = dice.Below(4);
      for (int i = 0; i < sends; ++i) {
        const bool answered = !dice.Chance(0.1);
        if (!bench.Send(answered)) break;
        if (answered) continue;
        bench.Restart();
        ++crashes;
        break;
      }
      if (dice.Chance(0.05)) {
        bench.Restart();
        ++crashes;
      }
    }
    mood = Says::kTakes;
    throttled = 0;
    bench.feed().up = true;
    bench.Run(hours(1));
    std::set<uint64_t> dead;
    const auto letters = bench.ledger().DeadLetters("oncall", 10'000);
    ASSERT_TRUE(letters.ok());
    for (const auto& letter : *letters) dead.insert(letter.change().sequence());
    std::map<std::string, uint64_t> last;
    std::set<std::string> seen;
    // In the order of sending: a server that is sent two requests at once keeps the newest, whatever comes last.
    for (const std::vector<Finding>& request : bench.stream.sent) {
      for (const Finding& one : request) {
        if (!seen.insert(FindingKey(one)).second) continue;  // a repeat
        uint64_t& before = last[IncidentKey(one.incident())];
        EXPECT_GT(one.change.sequence(), before) << FindingKey(one) << " out of order";
        before = one.change.sequence();
      }
    }
    for (const auto& change : bench.feed().journal()) {
      const std::string key = fmt::format("feed0:{}", change.sequence());
      EXPECT_EQ(bench.stream.times.contains(key) + dead.contains(change.sequence()), 1) << key << " lost, or counted twice";
      EXPECT_EQ(dead.contains(change.sequence()), change.sequence() % 37 == 5) << key;
      EXPECT_LE(bench.stream.times[key] - 1, crashes + lost_answers + bench.forgotten) << key;
    }
    EXPECT_EQ(bench.Status().delivered() + bench.Status().refused(), bench.feed().journal().size());
  });
}

TEST(CrashModelTest, APagerHoldsWhatIsOpenAndNothingElse) {
  ForSeeds(120, [](int seed) {
    Dice dice(seed);
    Bench bench(true);
    bench.config().mutable_paging()->set_max_pages_per_hour(100'000);
    bench.config().mutable_paging()->set_hold_down(0);
    if (dice.Chance(0.3)) bench.pager.capabilities.pages_per_request = 5;
    if (seed % 2 == 0) bench.pager.capabilities.repeat_open = seconds(60);
    if (seed % 4 == 0) bench.pager.capabilities.repeat_resolved = minutes(15);
    Says mood = Says::kTakes;
    bench.pager.says = [&](const Page&, WallTime) { return mood; };
    bench.Run(seconds(2));
    int ids = 0, wipes = 0;
    bool disturbed = false;
    std::set<std::string> ever;  // incident keys
    for (int step = 0; step < 150; ++step) {
      Happen(&bench.feed(), &dice, bench.now, &ids);
      for (const auto& change : bench.feed().journal()) ever.insert(IncidentKey(change.incident()));
      if (dice.Chance(0.2)) mood = Mood(&dice);
      if (mood == Says::kLost) disturbed = true;
      if (dice.Chance(0.1)) bench.feed().Disconnect();
      if (dice.Chance(0.1)) bench.feed().up = !bench.feed().up;
      if (dice.Chance(0.01)) bench.feed().Wipe(fmt::format("wiped{}", ++wipes));
      bench.Read(static_cast<size_t>(1 + dice.Below(10)));
      bench.now += milliseconds(100 + (dice.Chance(0.3) ? 90'000 : 0) + (dice.Chance(0.05) ? 3'600'000 : 0));
      const int sends = dice.Below(4);
      for (int i = 0; i < sends; ++i) {
        const bool answered = !dice.Chance(0.1);
        if (!bench.Send(answered)) break;
        if (answered) continue;
        disturbed = true;
        bench.Restart();
        break;
      }
      if (dice.Chance(0.05)) bench.Restart();
      ASSERT_EQ(bench.pager.violations, std::vector<std::string>{}) << "step " << step;
    }
    mood = Says::kTakes;
    bench.feed().up = true;
    bench.Run(hours(3));
    std::set<std::string> there, should;
    for (const auto& [key, one] : bench.pager.open) there.insert(one.incident);
    for (const auto& [id, incident] : bench.feed().open()) should.insert(IncidentKey(incident));
    EXPECT_EQ(there, should) << "a ghost, or somebody who was not paged";
    std::map<std::string, int> opened;
    uint64_t digested = 0;
    for (const auto& one : bench.pager.said) {
      if (one.action == Action::kDigest) digested += std::strtoull(one.text.c_str(), nullptr, 10);
      if (one.action != Action::kOpen) continue;
      ++opened[one.incident];
      if (!disturbed) { EXPECT_EQ(opened[one.incident], 1) << one.incident << ": a second page"; }
    }
    for (const auto& [key, one] : bench.pager.open) EXPECT_EQ(one.severity, bench.feed().open().at(one.key).severity()) << "the latest state";
    if (wipes == 0) { EXPECT_GE(digested + opened.size(), ever.size()) << "opened and resolved, and nobody was ever told"; }
    EXPECT_EQ(bench.Status().open_there(), should.size());
  });
}

// A sink that is not told of what a silence covers, while silences come and go.
TEST(CrashModelTest, AChatIsToldWhatIsOpenAndNotSilencedAndNoEndAlone) {
  ForSeeds(60, [](int seed) {
    Dice dice(seed);
    Bench bench(false);
    bench.stream.limits.opens_after_silence = true;
    if (seed % 2 == 0 || dice.Chance(0.7)) bench.stream.limits.max_items = 1;
    bench.stream.wants = [](const Finding& finding) {
      const v1::IncidentChange::Kind kind = finding.change.kind();
      return (kind == v1::IncidentChange::OPENED && !finding.silence) || kind == v1::IncidentChange::RESOLVED;
    };
    // Else what was told just before a crash may be told again, and its end not, where it was silenced anew before that.
    const bool calm = seed % 2 == 0;
    Says mood = Says::kTakes;
    bench.stream.says = [&](const auto&, WallTime) { return mood; };
    std::string silence;
    int ids = 0, disturbed = 0;
    for (int step = 0; step < 150; ++step) {
      Happen(&bench.feed(), &dice, bench.now, &ids);
      if (dice.Chance(0.2)) mood = Mood(&dice);
      if (mood == Says::kLost && calm) mood = Says::kUnavailable;
      if (mood == Says::kLost) ++disturbed;
      if (dice.Chance(0.1)) bench.feed().Disconnect();
      if (dice.Chance(0.1)) bench.feed().up = !bench.feed().up;
      if (dice.Chance(0.1)) {
        relay::v1::Silence added;
        added.set_author("ann");
        added.set_reason("known");
        added.mutable_match()->set_workload(dice.Chance(0.3) ? "*" : fmt::format("w-i*{}", dice.Below(10)));
        *added.mutable_ends() = ToTimestamp(bench.now + seconds(1 + dice.Below(600)));
        silence = bench.silences().Add(added, bench.now)->id();
      } else if (dice.Chance(0.05) && !silence.empty()) {
        (void)bench.silences().Expire(silence, bench.now);
      }
      bench.Read(static_cast<size_t>(1 + dice.Below(10)));
      bench.now += milliseconds(100 + (dice.Chance(0.3) ? 90'000 : 0));
      const int sends = dice.Below(4);
      for (int i = 0; i < sends; ++i) {
        const bool answered = calm || !dice.Chance(0.1);
        if (!bench.Send(answered)) break;
        if (answered) continue;
        ++disturbed;
        bench.Restart();
        break;
      }
      if (dice.Chance(0.05)) bench.Restart();
    }
    mood = Says::kTakes;
    bench.feed().up = true;
    bench.Run(hours(1));
    std::map<std::string, int> opened, ended;
    for (const auto& one : bench.stream.taken) {
      if (one.change.kind() == v1::IncidentChange::RESOLVED) {
        EXPECT_GT(opened[one.incident], 0) << one.incident << ": an end alone";
        ++ended[one.incident];
        continue;
      }
      EXPECT_FALSE(one.silenced) << one.incident;
      ++opened[one.incident];
      EXPECT_LE(opened[one.incident], 1 + disturbed) << one.incident;
      if (disturbed == 0) { EXPECT_EQ(ended[one.incident], 0) << one.incident << ": opened after its end"; }
    }
    for (const auto& [id, incident] : bench.feed().open()) {
      EXPECT_GT(opened[IncidentKey(incident)], 0) << id << ": nobody was told";
      EXPECT_EQ(ended[IncidentKey(incident)], 0) << id;
    }
    for (const auto& [key, times] : opened) {
      if (!calm || times == 0) continue;
      EXPECT_EQ(times, 1) << key;
      EXPECT_EQ(ended[key] > 0, !bench.feed().open().contains(key.substr(key.find(':') + 1))) << key;
    }
    const auto followed = bench.ledger().Followed("oncall");
    for (const auto& row : *followed) {
      EXPECT_TRUE(bench.feed().open().contains(row.change().incident().id())) << row.incident_key();
      EXPECT_FALSE(row.quiet()) << row.incident_key();
    }
  });
}

TEST(CrashModelTest, TheLedgerHoldsOnlyWhatIsNeeded) {
  Bench bench(true);
  bench.config().mutable_paging()->set_max_pages_per_hour(100'000);
  bench.Run(seconds(2));
  for (int i = 0; i < 200; ++i) {
    bench.feed().Open(fmt::format("i{}", i), bench.now);
    bench.Run(seconds(3));
    bench.feed().Resolve(fmt::format("i{}", i), bench.now);
    bench.Run(seconds(3));
  }
  EXPECT_LE(bench.ledger().Held("oncall")->size(), 1u);
}

}  // namespace
}  // namespace outlier
