// Random operations on the journal and on the simplest thing that could be one.
#include <map>
#include <random>
#include <set>

#include "tests/feed/feed_fixture.h"
#include "userspace/feed/filter.h"

namespace outlier {
namespace {

class ModelJournal {
 public:
  void Append(uint64_t tick, std::vector<v1::IncidentChange>* changes) {
    if (changes->empty()) return;
    if (tick <= last_tick) {
      for (size_t i = 0; i < changes->size(); ++i) {
        v1::IncidentChange& c = (*changes)[i];
        c.set_sequence(0);
        for (const Entry& e : entries) {
          if (e.tick == tick && e.ordinal == i && e.change.incident().id() == c.incident().id()) c.set_sequence(e.change.sequence());
        }
      }
      return;
    }
    for (size_t i = 0; i < changes->size(); ++i) {
      (*changes)[i].set_sequence(++last_sequence);
      entries.push_back({tick, i, (*changes)[i]});
    }
    last_tick = tick;
  }
  void Compact(int64_t before_ns) {
    std::map<std::string, const v1::IncidentChange*> newest;
    for (const Entry& e : entries) newest[e.change.incident().id()] = &e.change;
    std::set<std::string> gone;
    for (const auto& [id, c] : newest) {
      if (c->incident().state() == v1::Incident::RESOLVED && c->time().seconds() * 1'000'000'000 < before_ns) gone.insert(id);
    }
    for (const Entry& e : entries) {
      if (gone.contains(e.change.incident().id())) oldest = std::max(oldest, e.change.sequence() + 1);
    }
    std::erase_if(entries, [&](const Entry& e) { return gone.contains(e.change.incident().id()); });
  }
  std::vector<std::string> Read(uint64_t after, size_t limit) const {
    std::vector<std::string> out;
    for (const Entry& e : entries) {
      if (e.change.sequence() > after && out.size() < limit) out.push_back(e.change.SerializeAsString());
    }
    return out;
  }
  std::vector<std::string> Incidents(const v1::Filter& filter, int64_t since_ns) const {
    std::map<std::string, uint64_t> first;
    std::map<uint64_t, const v1::IncidentChange*, std::greater<>> newest_first;
    for (const Entry& e : entries) {
      first.emplace(e.change.incident().id(), e.change.sequence());
      newest_first[first[e.change.incident().id()]] = &e.change;
    }
    std::vector<std::string> out;
    for (const auto& [sequence, c] : newest_first) {
      if (c->time().seconds() * 1'000'000'000 >= since_ns && Matches(filter, c->incident())) out.push_back(c->incident().SerializeAsString());
    }
    return out;
  }

  struct Entry {
    uint64_t tick;
    size_t ordinal;
    v1::IncidentChange change;
  };
  std::vector<Entry> entries;
  uint64_t last_tick = 0, last_sequence = 0, oldest = 1;
};

class JournalAgainstModel : public testing::TestWithParam<uint64_t> {
 protected:
  void Compare() {
    ASSERT_EQ(journal_->last_tick(), model_.last_tick);
    ASSERT_EQ(journal_->last_sequence(), model_.last_sequence);
    ASSERT_EQ(journal_->oldest_sequence(), model_.oldest);
    const uint64_t after = random_() % (model_.last_sequence + 3);
    const int limit = static_cast<int>(random_() % 30);
    auto changes = journal_->Read(after, limit);
    ASSERT_TRUE(changes.ok()) << changes.status();
    std::vector<std::string> got;
    for (const auto& c : *changes) got.push_back(c.SerializeAsString());
    ASSERT_EQ(got, model_.Read(after, limit));

    v1::Filter filter;
    if (random_() % 2) filter.set_workload("w1*");
    if (random_() % 3 == 0) filter.set_min_severity(v1::Incident::MAJOR);
    if (random_() % 3 == 0) filter.set_state(v1::Incident::OPEN);
    const int64_t since = static_cast<int64_t>(random_() % (now_ + 2)) * 1'000'000'000;
    got.clear();
    std::string token;
    do {
      auto page = journal_->Incidents(filter, since, 1 + static_cast<int>(random_() % 5), token, &token);
      ASSERT_TRUE(page.ok()) << page.status();
      for (const auto& i : *page) got.push_back(i.SerializeAsString());
    } while (!token.empty());
    ASSERT_EQ(got, model_.Incidents(filter, since));
  }

  TemporaryFolder folder_;
  std::mt19937_64 random_{GetParam()};
  std::unique_ptr<Journal> journal_;
  ModelJournal model_;
  int64_t now_ = 100;
};

TEST_P(JournalAgainstModel, EveryAnswerIsTheSame) {
  journal_ = OpenJournal(folder_ / "journal.db");
  const std::string feed_id = journal_->feed_id();
  uint64_t tick = 0;
  for (int step = 0; step < 150; ++step) {
    switch (random_() % 8) {
      case 0:
        journal_.reset();
        journal_ = OpenJournal(folder_ / "journal.db");
        ASSERT_EQ(journal_->feed_id(), feed_id);
        break;
      case 1: {
        const int64_t before = static_cast<int64_t>(random_() % now_) * 1'000'000'000;
        ASSERT_TRUE(journal_->Compact(before).ok());
        model_.Compact(before);
        break;
      }
      default: {
        // Sometimes a tick that was there already, as after a crash.
        const uint64_t t = random_() % 5 == 0 ? 1 + random_() % (tick + 1) : (tick += 1 + random_() % 3);
        tick = std::max(tick, t);
        now_ += random_() % 3;
        std::vector<v1::IncidentChange> changes;
        for (uint64_t n = random_() % 4; n > 0; --n) {
          const uint64_t incident = random_() % 25;
          auto change = MakeChange("id-" + std::to_string(incident), static_cast<v1::IncidentChange::Kind>(1 + random_() % 5), now_,
                                   static_cast<v1::Incident::Severity>(1 + incident % 4), "w" + std::to_string(incident));
          if (random_() % 2) change.mutable_incident()->set_state(v1::Incident::RESOLVED);
          changes.push_back(change);
        }
        auto expected = changes;
        ASSERT_TRUE(journal_->Append(t, &changes).ok());
        model_.Append(t, &expected);
        for (size_t i = 0; i < changes.size(); ++i) ASSERT_EQ(changes[i].sequence(), expected[i].sequence());
      }
    }
    ASSERT_NO_FATAL_FAILURE(Compare()) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, JournalAgainstModel, testing::Values(1, 2, 3, 4, 5, 6));

}  // namespace
}  // namespace outlier
