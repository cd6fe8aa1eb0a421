// What the kernel tests share: the probes opened once a test, ticks collected and added up.
#pragma once
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "userspace/loader/kernel_features.h"
#include "userspace/probes/bpf_probe_set.h"

namespace outlier {

class KernelSession : public ::testing::Test {
 protected:
  void SetUp() override {
    const KernelFeatures features = ProbeKernel();
    if (!features.missing.empty()) GTEST_SKIP() << features.missing.front();
    std::vector<std::string> messages;
    auto opened = BpfProbeSet::Open({}, &messages);
    ASSERT_TRUE(opened.ok()) << opened.status();
    probes_ = std::move(*opened);
    for (const v1::ProbeState& state : probes_->states()) ASSERT_EQ(state.state(), v1::ProbeState::ON) << state.reason();
    Tick();
  }

  const TickInput& Tick() {
    input_ = TickInput();
    EXPECT_TRUE(probes_->Collect(&input_).ok());
    for (const LifecycleEvent& event : input_.events) events_.push_back(event);
    for (const IdentityObservation& seen : input_.identities) identities_.push_back(seen);
    for (const AccountSyscalls& account : input_.syscalls) syscalls_[account.account] = account;
    return input_;
  }

  // Ticks until `done` or for `seconds`.
  bool TickUntil(const std::function<bool()>& done, double seconds = 10) {
    for (int i = 0; i < static_cast<int>(seconds * 20); ++i) {
      Tick();
      if (done()) return true;
      usleep(50'000);
    }
    return false;
  }

  const ProcessSample* Find(int32_t pid) const {
    for (const ProcessSample& sample : input_.processes) {
      if (sample.key.pid == pid) return &sample;
    }
    return nullptr;
  }

  // The process has been scanned and is charged to `account` from now on.
  void AssignTo(int32_t pid, Account account) {
    ASSERT_TRUE(TickUntil([&] { return Find(pid) != nullptr; }));
    const AccountAssignment assignment{Find(pid)->key, account};
    probes_->Assign(std::span(&assignment, 1));
    Tick();
  }

  const LifecycleEvent* Event(LifecycleEvent::Kind kind, int32_t pid) const {
    for (const LifecycleEvent& event : events_) {
      if (event.kind == kind && event.key.pid == pid) return &event;
    }
    return nullptr;
  }

  uint64_t Loss(const std::string& name) const {
    for (const LossSample& loss : input_.losses) {
      if (loss.name == name) return loss.count;
    }
    return 0;
  }

  uint64_t Calls(Account account, SyscallClass c) const {
    const auto at = syscalls_.find(account);
    if (at == syscalls_.end()) return 0;
    uint64_t calls = 0;
    for (const uint32_t bucket : at->second.buckets[static_cast<size_t>(c)]) calls += bucket;
    return calls;
  }
  uint32_t Errors(Account account, SyscallClass c) const {
    const auto at = syscalls_.find(account);
    return at == syscalls_.end() ? 0 : at->second.errors[static_cast<size_t>(c)];
  }

  std::unique_ptr<BpfProbeSet> probes_;
  TickInput input_;
  std::vector<LifecycleEvent> events_;
  std::vector<IdentityObservation> identities_;
  std::map<Account, AccountSyscalls> syscalls_;
};

}  // namespace outlier
