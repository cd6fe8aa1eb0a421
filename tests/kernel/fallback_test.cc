// What is opened where something is missing: each case in a child process that gives up what it must do without.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "userspace/loader/kernel_features.h"
#include "userspace/probes/bpf_probe_set.h"
#include "userspace/probes/doctor.h"
#include "userspace/probes/open_probes.h"

namespace outlier {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Everything that OpenProbes says, as text: "mode ebpf", "message ...", "probe NAME STATE reason | lost", "collects", "error ...".
std::string Opened(const config::v1::Config& config = {}) {
  std::vector<std::string> messages;
  const auto probes = OpenProbes(config, &messages);
  std::string text;
  for (const std::string& message : messages) text += "message " + message + "\n";
  if (!probes.ok()) return text + "error " + std::string(probes.status().message()) + "\n";
  text += "mode " + (*probes)->mode() + "\n";
  for (const v1::ProbeState& state : (*probes)->states()) {
    text += "probe " + state.name() + " " + v1::ProbeState::State_Name(state.state()) + " " + state.reason() + " | " + state.blind_to() + "\n";
  }
  TickInput input;
  const absl::Status status = (*probes)->Collect(&input);
  return text + (status.ok() && !input.processes.empty() ? "collects\n" : "error " + std::string(status.message()) + "\n");
}

// Runs `part` in a child and returns what it returned; "cannot: ..." where `give_up` could not do it.
std::string InChild(const std::function<std::string()>& give_up, const std::function<std::string()>& part) {
  int ends[2];
  if (pipe(ends) != 0) return "cannot: pipe";
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    const std::string refused = give_up();
    const std::string text = refused.empty() ? part() : "cannot: " + refused;
    for (size_t at = 0; at < text.size();) {
      const ssize_t n = write(ends[1], text.data() + at, text.size() - at);
      if (n <= 0) break;
      at += static_cast<size_t>(n);
    }
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) text += "wait status " + std::to_string(status) + "\n";
  return text;
}

std::string BecomeNobody() {
  constexpr uid_t kNobody = 65534;
  return setresgid(kNobody, kNobody, kNobody) == 0 && setresuid(kNobody, kNobody, kNobody) == 0 ? "" : "become another user";
}
// Root by name only.
std::string DropCapabilities() {
  cap_t none = cap_init();
  const bool dropped = cap_set_proc(none) == 0;
  cap_free(none);
  return dropped ? "" : "drop capabilities";
}
std::string HideBtf() {
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "have mounts of its own";
  return mount("none", "/sys/kernel/btf", "tmpfs", 0, nullptr) == 0 ? "" : "hide /sys/kernel/btf";
}

class Fallback : public ::testing::Test {
 protected:
  void SetUp() override {
    const KernelFeatures features = ProbeKernel();
    if (!features.missing.empty()) GTEST_SKIP() << "nothing to give up: " << features.missing.front();
  }
};

#define SKIP_IF_CANNOT(text) \
  if ((text).starts_with("cannot: ")) GTEST_SKIP() << (text)

TEST_F(Fallback, WithoutRootItPollsAndSaysThatRootIsMissing) {
  const std::string text = InChild(BecomeNobody, [] { return Opened(); });
  SKIP_IF_CANNOT(text);
  EXPECT_THAT(text, AllOf(HasSubstr("message not root: user 65534"), HasSubstr("mode proc\n"), HasSubstr("collects\n")));
  EXPECT_THAT(text, AllOf(HasSubstr("probe tasks DEGRADED"), HasSubstr("probe lifecycle DEGRADED"), HasSubstr("probe syscall_latency FAILED")));
}

TEST_F(Fallback, WithoutBtfItPollsAndSaysThatBtfIsMissing) {
  const std::string text = InChild(HideBtf, [] { return Opened(); });
  SKIP_IF_CANNOT(text);
  if (text.find("mode ebpf") != std::string::npos) GTEST_SKIP() << "libbpf finds this kernel's BTF elsewhere, too";
  EXPECT_THAT(text, AllOf(HasSubstr("message no BTF: "), HasSubstr("mode proc\n"), HasSubstr("collects\n"), HasSubstr("watching through /proc")));
}

TEST_F(Fallback, WithoutLeaveToLoadItPollsAndSaysSo) {
  const std::string text = InChild(DropCapabilities, [] { return Opened(); });
  SKIP_IF_CANNOT(text);
  if (text.find("mode ebpf") != std::string::npos) GTEST_SKIP() << "this kernel lets everybody load BPF";
  EXPECT_THAT(text, AllOf(HasSubstr("message no leave to load BPF: bpf(2) says "), HasSubstr("mode proc\n"), HasSubstr("collects\n")));
}

TEST_F(Fallback, WhatWasDemandedAndIsRefusedIsAnError) {
  config::v1::Config config;
  config.mutable_probes()->set_syscall_latency("on");
  const std::string text = InChild(DropCapabilities, [&] { return Opened(config); });
  SKIP_IF_CANNOT(text);
  if (text.find("mode ebpf") != std::string::npos) GTEST_SKIP() << "this kernel lets everybody load BPF";
  EXPECT_THAT(text, HasSubstr("error probes.syscall_latency is \"on\" but cannot be loaded: no leave to load BPF"));
}

TEST_F(Fallback, TheDoctorSaysWhatIsMissingToo) {
  const std::string text = InChild(BecomeNobody, [] {
    std::string told;
    for (const v1::ProbeState& state : DoctorProbes()) told += state.name() + " " + v1::ProbeState::State_Name(state.state()) + " " + state.reason() + "\n";
    return told;
  });
  SKIP_IF_CANNOT(text);
  EXPECT_THAT(text, AllOf(HasSubstr("tasks DEGRADED not root"), HasSubstr("lifecycle DEGRADED not root"), HasSubstr("syscall_latency FAILED not root")));
}

// OpenProbes with room for so many descriptors, so that some program is refused while it is loaded or attached.
std::string WithDescriptors(rlim_t descriptors) {
  const auto give_up = [&] {
    const rlimit limit{descriptors, descriptors};
    return std::string(setrlimit(RLIMIT_NOFILE, &limit) == 0 ? "" : "limit descriptors");
  };
  return InChild(give_up, [] { return Opened(); });
}

TEST_F(Fallback, WhicheverProgramIsRefusedTheRestGoesOnAndWhatIsLostIsSaid) {
  const auto is_whole = [](const std::string& text) {
    return text.find("mode ebpf") != std::string::npos && text.find("message ") == std::string::npos && text.find("\ncollects") != std::string::npos;
  };
  rlim_t too_few = 12, enough = 128;
  ASSERT_TRUE(is_whole(WithDescriptors(enough)));
  while (enough - too_few > 1) {
    const rlim_t middle = (too_few + enough) / 2;
    (is_whole(WithDescriptors(middle)) ? enough : too_few) = middle;
  }
  // From there on down, one descriptor less each time, until it is the optional probe alone that is refused.
  bool optional_alone = false;
  for (rlim_t descriptors = too_few; descriptors > 8 && !optional_alone; --descriptors) {
    const std::string text = WithDescriptors(descriptors);
    EXPECT_EQ(text.find("wait status"), std::string::npos) << descriptors << ": " << text;
    EXPECT_TRUE(text.find("message ") != std::string::npos || text.find("error ") != std::string::npos) << "said: " << descriptors << ": " << text;
    if (text.find("mode ebpf") == std::string::npos || text.find("probe syscall_latency FAILED") == std::string::npos) continue;
    optional_alone = true;
    EXPECT_THAT(text, AllOf(HasSubstr("probe tasks ON"), HasSubstr("probe lifecycle ON"), HasSubstr("message probe syscall_latency is off: "),
                            HasSubstr("(oldest kernel: ")))
        << descriptors;
    for (const ProbeSpec& spec : ProbeSpecs()) {
      if (spec.name != "syscall_latency") continue;
      EXPECT_THAT(text, AllOf(HasSubstr("lost: " + spec.lost_without), HasSubstr("| " + spec.lost_without)));
    }
  }
  EXPECT_TRUE(optional_alone) << "no limit refused the optional probe alone";
}

}  // namespace
}  // namespace outlier
