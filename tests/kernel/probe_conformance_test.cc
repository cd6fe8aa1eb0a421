// What every line of probes.def promises on this kernel.
#include <regex>

#include "tests/kernel/kernel_session.h"
#include "userspace/probes/syscall_classes.h"

namespace outlier {
namespace {

class EveryProbe : public KernelSession, public testing::WithParamInterface<int> {
 protected:
  const ProbeSpec& spec() const { return ProbeSpecs()[GetParam()]; }
  Probe& probe() const { return *probes_->probes()[GetParam()]; }
};

TEST_P(EveryProbe, SaysWhatIsLostWithoutItAndWhatItNeverSees) {
  EXPECT_FALSE(spec().lost_without.empty());
  EXPECT_FALSE(spec().blind_to.empty());
  EXPECT_TRUE(std::regex_match(spec().oldest_kernel, std::regex("[0-9]+\\.[0-9]+"))) << spec().oldest_kernel;
}

TEST_P(EveryProbe, LoadsAndAttachesByItself) {
  probes_.reset();
  const auto kernel = KernelPrograms::Load({.probes = {spec().name}, .syscall_table = SyscallTable(), .futex_waits = FutexWaits()});
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_TRUE((*kernel)->runs(spec().name));
  EXPECT_TRUE((*kernel)->refused().empty());
  int programs = 0;
  for (const ProgramStatistics& program : (*kernel)->Statistics()) {
    EXPECT_TRUE(program.name.starts_with(spec().name + "_")) << program.name << " is not of this probe, but was loaded";
    ++programs;
  }
  EXPECT_GT(programs, 0);
}

TEST_P(EveryProbe, NoticesItsExercise) {
  const TickInput before = Tick();
  EXPECT_NE(probe().Missed(before, before), "") << "this check would not fail";
  std::string missed;
  EXPECT_TRUE(TickUntil([&] {  // again if the host got between
    const TickInput earlier = input_;
    probe().Exercise();
    Tick();
    missed = probe().Missed(earlier, input_);
    return missed.empty();
  })) << missed;
}

TEST_P(EveryProbe, IsListedWithItsStateAndItsBlindSpot) {
  const auto states = probes_->states();
  ASSERT_EQ(states.size(), ProbeSpecs().size());
  const v1::ProbeState& state = states[GetParam()];
  EXPECT_EQ(state.name(), spec().name);
  EXPECT_EQ(state.state(), v1::ProbeState::ON);
  EXPECT_EQ(state.blind_to(), spec().blind_to);
}

TEST_P(EveryProbe, CanBeSwitchedOffUnlessEverythingNeedsIt) {
  config::v1::Probes off;
  const auto* field = config::v1::Probes::descriptor()->FindFieldByName(spec().name);
  if (field == nullptr) GTEST_SKIP() << "the configuration has no switch for it";
  off.GetReflection()->SetString(&off, field, "off");
  probes_.reset();
  std::vector<std::string> messages;
  const auto opened = BpfProbeSet::Open(off, &messages);
  ASSERT_EQ(opened.ok(), !spec().required) << opened.status();
  if (!opened.ok()) return;
  EXPECT_EQ((*opened)->states()[GetParam()].state(), v1::ProbeState::OFF);
  EXPECT_EQ((*opened)->states()[GetParam()].blind_to(), spec().lost_without);
}

INSTANTIATE_TEST_SUITE_P(Probes, EveryProbe, testing::Range(0, static_cast<int>(ProbeSpecs().size())),
                         [](const testing::TestParamInfo<int>& info) { return ProbeSpecs()[info.param].name; });

}  // namespace
}  // namespace outlier
