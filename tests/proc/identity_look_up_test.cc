#include "userspace/probes/identity_look_up.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "tests/proc/fake_proc.h"
#include "userspace/probes/proc_text.h"

namespace outlier {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kSecond = 1'000'000'000;

class IdentityLookUpTest : public ::testing::Test {
 protected:
  IdentityLookUpTest() {
    proc_.Write("passwd", "root:x:0:0::/:/bin/sh\nshop:x:1000:1000::/:/bin/sh\n");
    Start(1, 0, 0);
    input_.boot_time_ns = 1000 * kSecond;
  }
  uint64_t TickNs() const { return kSecond / static_cast<uint64_t>(sysconf(_SC_CLK_TCK)); }
  IdentityLookUp::Options Options() const {
    IdentityLookUp::Options options;
    options.proc_root = proc_.root();
    options.passwd_path = proc_.root() + "/passwd";
    return options;
  }
  // A process in /proc and in the samples, kept in the order of keys.
  void Start(int pid, int parent, uint64_t start_ns, uint64_t cgroup_id = 1) {
    FakeProc::Process process;
    process.pid = pid;
    process.parent = parent;
    process.start_ticks = start_ns / TickNs();
    process.executable = "/bin/true";
    proc_.Put(process);
    ProcessSample sample;
    sample.key = {pid, start_ns};
    sample.parent_pid = parent;
    sample.cgroup_id = cgroup_id;
    input_.processes.push_back(sample);
    std::sort(input_.processes.begin(), input_.processes.end(), [](auto& a, auto& b) { return a.key < b.key; });
  }
  std::vector<int> Tick(IdentityLookUp* look_up, uint64_t seconds = 1) {
    input_.boot_time_ns += seconds * kSecond;
    answers_.clear();
    look_up->LookUp(input_, &answers_);
    std::vector<int> pids;
    for (const IdentityObservation& seen : answers_) pids.push_back(seen.key.pid);
    input_.events.clear();
    return pids;
  }
  void Exec(int pid, uint64_t start_ns) {
    LifecycleEvent event;
    event.kind = LifecycleEvent::Kind::kExec;
    event.key = {pid, start_ns};
    input_.events.push_back(event);
  }

  FakeProc proc_;
  TickInput input_;
  std::vector<IdentityObservation> answers_;
};

TEST_F(IdentityLookUpTest, EveryProcessOfTheFirstTickIsLookedUpOnce) {
  Start(50, 1, 5 * kSecond);
  IdentityLookUp look_up(Options());
  EXPECT_THAT(Tick(&look_up), ElementsAre(1, 50));
  EXPECT_THAT(Tick(&look_up), IsEmpty());
  EXPECT_THAT(Tick(&look_up, 100), IsEmpty());
}

TEST_F(IdentityLookUpTest, AShortChildIsNeverLookedUpAndALongerOneAfterThreeSeconds) {
  IdentityLookUp look_up(Options());
  Tick(&look_up);
  Start(60, 1, input_.boot_time_ns + kSecond / 2);
  EXPECT_THAT(Tick(&look_up), IsEmpty());
  EXPECT_THAT(Tick(&look_up), IsEmpty());
  EXPECT_THAT(Tick(&look_up), IsEmpty());  // 2.5 s old
  EXPECT_THAT(Tick(&look_up), ElementsAre(60));
  EXPECT_THAT(Tick(&look_up), IsEmpty());
  EXPECT_EQ(look_up.gone(), 0u);
}

TEST_F(IdentityLookUpTest, AChildInACgroupOfItsOwnIsLookedUpAtOnceAndAgainAfterThreeSeconds) {
  IdentityLookUp look_up(Options());
  Tick(&look_up);
  Start(60, 1, input_.boot_time_ns + kSecond / 2, 77);
  EXPECT_THAT(Tick(&look_up), ElementsAre(60));
  EXPECT_THAT(Tick(&look_up), IsEmpty());
  EXPECT_THAT(Tick(&look_up), IsEmpty());
  EXPECT_THAT(Tick(&look_up), ElementsAre(60));
  EXPECT_THAT(Tick(&look_up, 10), IsEmpty());
}

TEST_F(IdentityLookUpTest, AChangedCgroupIsLookedUp) {
  Start(50, 1, 5 * kSecond);
  IdentityLookUp look_up(Options());
  Tick(&look_up);
  input_.processes[1].cgroup_id = 9;
  EXPECT_THAT(Tick(&look_up), ElementsAre(50));
  EXPECT_FALSE(answers_[0].exec);
  EXPECT_THAT(Tick(&look_up), IsEmpty());
}

TEST_F(IdentityLookUpTest, AProcessThatExecutedIsLookedUpAndTheAnswerSaysSo) {
  Start(50, 1, 5 * kSecond);
  IdentityLookUp look_up(Options());
  Tick(&look_up);
  Exec(50, 5 * kSecond);
  Exec(51, 6 * kSecond);  // over already
  EXPECT_THAT(Tick(&look_up), ElementsAre(50));
  EXPECT_TRUE(answers_[0].exec);
  EXPECT_EQ(look_up.gone(), 0u);
}

TEST_F(IdentityLookUpTest, AnotherProcessUnderTheSamePidIsNotBelieved) {
  Start(50, 1, 5 * kSecond);
  Start(51, 1, 5 * kSecond);
  proc_.Remove(50);
  FakeProc::Process other;
  other.pid = 51;
  other.start_ticks = 5 * kSecond / TickNs() + 2;
  proc_.Put(other);
  Start(52, 1, 5 * kSecond);
  other.pid = 52;
  other.start_ticks = 5 * kSecond / TickNs() + 1;  // within the clock tick that rounding costs
  proc_.Put(other);
  IdentityLookUp look_up(Options());
  EXPECT_THAT(Tick(&look_up), ElementsAre(1, 52));
  EXPECT_EQ(look_up.gone(), 2u);
  std::vector<LossSample> losses = {{"a", 1}, {"identity_e", 1}, {"z", 1}};
  look_up.AppendLosses(&losses);
  std::vector<std::string> names;
  for (const LossSample& loss : losses) names.push_back(loss.name);
  EXPECT_THAT(names, ElementsAre("a", "identity_deferred", "identity_e", "identity_gone", "z"));
  EXPECT_EQ(losses[3].count, 2u);
}

TEST_F(IdentityLookUpTest, TheWorkOfATickIsBoundedAndWhatWaitsIsCounted) {
  for (int pid = 100; pid < 125; ++pid) Start(pid, 1, 5 * kSecond);
  auto options = Options();
  options.max_per_tick = 10;
  IdentityLookUp look_up(options);
  std::vector<int> all;
  for (const size_t expected : {10u, 10u, 6u, 0u}) {
    const std::vector<int> pids = Tick(&look_up);
    EXPECT_EQ(pids.size(), expected);
    all.insert(all.end(), pids.begin(), pids.end());
  }
  EXPECT_EQ(std::set<int>(all.begin(), all.end()).size(), 26u);
  EXPECT_EQ(look_up.deferred(), 16u + 6u);
}

TEST_F(IdentityLookUpTest, KernelThreadsAreNotLookedUp) {
  Start(50, 2, 5 * kSecond);
  input_.processes[1].kernel_thread = true;
  IdentityLookUp look_up(Options());
  EXPECT_THAT(Tick(&look_up), ElementsAre(1));
}

TEST_F(IdentityLookUpTest, AnAnswerHoldsWhoItIsAndNoArguments) {
  FakeProc::Process process;
  process.pid = 70;
  process.parent = 4;
  process.start_ticks = 500;
  process.comm = "node) x";
  process.user = 1000;
  process.executable = "/usr/bin/node (deleted)";
  process.command_line = std::string("node\0/srv/billing.js\0--password=secret\0", 39);
  process.cgroup = "3:memory:/m\n0::/system.slice/billing.service\n";
  proc_.Put(process);
  ProcessSample sample;
  sample.key = {70, 500 * TickNs() + 3};
  input_.processes.push_back(sample);
  IdentityLookUp look_up(Options());
  Tick(&look_up);
  ASSERT_EQ(answers_.size(), 2u);
  const IdentityObservation& seen = answers_[1];
  EXPECT_EQ(seen.executable, "/usr/bin/node");
  EXPECT_EQ(seen.script, "/srv/billing.js");
  EXPECT_EQ(seen.cgroup_path, "/system.slice/billing.service");
  EXPECT_EQ(seen.user, "shop");
  EXPECT_EQ(seen.user_id, 1000u);
  EXPECT_EQ(seen.parent_pid, 4);
  EXPECT_EQ(seen.comm, "node) x");
  EXPECT_EQ(seen.key, sample.key);
  EXPECT_EQ(answers_[0].user, "root");
}

TEST_F(IdentityLookUpTest, AnUnreadableExecutableIsTakenFromAnAbsoluteNameOnly) {
  for (const auto& [pid, line] : std::vector<std::pair<int, std::string>>{{70, "/usr/sbin/named"}, {71, "sshd: user"}, {72, "/usr/bin/x renamed itself"}}) {
    FakeProc::Process process;
    process.pid = pid;
    process.user = 4242;
    process.command_line = line + std::string(1, '\0');
    proc_.Put(process);
    ProcessSample sample;
    sample.key = {pid, 100 * TickNs()};
    input_.processes.push_back(sample);
  }
  IdentityLookUp look_up(Options());
  Tick(&look_up);
  ASSERT_EQ(answers_.size(), 4u);
  EXPECT_EQ(answers_[1].executable, "/usr/sbin/named");
  EXPECT_EQ(answers_[2].executable, "");
  EXPECT_EQ(answers_[3].executable, "");
  EXPECT_EQ(answers_[1].user, "4242");
}

TEST(IdentityLookUpLive, ThisProcessIsFoundWithItsExecutableInodeAndSize) {
  TickInput input;
  input.processes.resize(1);
  const auto stat = [] {
    std::ifstream file("/proc/self/stat");
    std::string text((std::istreambuf_iterator<char>(file)), {});
    return *ParseProcStat(text);
  }();
  input.processes[0].key = {getpid(), stat.start_ticks * (kSecond / static_cast<uint64_t>(sysconf(_SC_CLK_TCK))) + 1};
  input.boot_time_ns = input.processes[0].key.start_time_ns;
  IdentityLookUp look_up;
  std::vector<IdentityObservation> answers;
  look_up.LookUp(input, &answers);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].executable, std::filesystem::read_symlink("/proc/self/exe").string());
  EXPECT_EQ(answers[0].executable_size, std::filesystem::file_size("/proc/self/exe"));
  EXPECT_GT(answers[0].executable_inode, 0u);
  EXPECT_GT(answers[0].executable_mtime_ns, 0);
  EXPECT_EQ(answers[0].script, "");
}

}  // namespace
}  // namespace outlier
