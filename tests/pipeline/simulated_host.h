// SimulatedHost: TickInputs of a small host with services that can be made to misbehave. Seeded; the same calls give the
// same bytes. Numbers resemble what a service that works every 100 ms shows on a real kernel.
#pragma once
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "userspace/stream/tick_input.h"

namespace outlier {

inline constexpr uint64_t kSecondNs = 1'000'000'000;

class SimulatedHost {
 public:
  struct Service {
    std::string name;
    std::string unit;             // systemd unit; "" = an executable outside of any
    int32_t pid = 0;
    uint64_t start_ns = 0;
    Account account = 0;
    // Per second:
    double cores = 0.02;
    double run_delay = 0.005;
    bool contended = true;        // who fills a core, or waits for one, is put off it
    double work = 10;             // wake-ups, each with five reads
    double errors = 0;
    double started = 0;
    double read_seconds = 20e-6;  // of one read
    double memory = 20 << 20;
    double growth = 0;            // bytes a second
    uint64_t memory_limit = 0;    // of its cgroup; 0 = none
    AccountSample total;
    AccountSyscalls syscalls;
    uint64_t cpu_ns = 0;
  };

  explicit SimulatedHost(int services, uint32_t seed = 1) : random_(seed) {
    for (int i = 0; i < services; ++i) {
      Add("service-" + std::to_string(i));
    }
  }
  Service& Add(const std::string& name, const std::string& unit = "", uint64_t memory_limit = 0) {
    Service service;
    service.name = name;
    service.unit = unit;
    service.memory_limit = memory_limit;
    service.account = kFirstWorkloadAccount + 1 + static_cast<Account>(services_.size());
    Start(service);
    return services_.emplace_back(service);
  }
  Service& at(int i) { return services_[i]; }
  uint64_t now_ns() const { return now_ns_; }

  void Start(Service& service) {
    service.pid = ++last_pid_;
    service.start_ns = now_ns_;
    service.cpu_ns = 0;
    IdentityObservation seen;
    seen.key = {service.pid, service.start_ns};
    seen.parent_pid = 1;
    seen.executable = "/srv/" + service.name;
    if (!service.unit.empty()) seen.cgroup_path = "/system.slice/" + service.unit;
    seen.memory_limit_bytes = service.memory_limit;
    seen.user = "root";
    seen.exec = tick_ > 0;
    identities_.push_back(seen);
  }
  void End(Service& service, int wait_status) {
    LifecycleEvent event;
    event.kind = LifecycleEvent::Kind::kEnd;
    event.key = {service.pid, service.start_ns};
    event.parent_pid = 1;
    event.account = service.account;
    event.time_ns = now_ns_;
    event.wait_status = wait_status;
    events_.push_back(event);
    service.pid = 0;
  }
  void OutOfMemory(Service& service) {
    LifecycleEvent event;
    event.kind = LifecycleEvent::Kind::kOomVictim;
    event.key = {service.pid, service.start_ns};
    event.time_ns = now_ns_;
    event.constraint = OomConstraint::kMemoryCgroup;
    event.oom_limit_bytes = 64 << 20;
    events_.push_back(event);
    End(service, 9);
  }
  // The next tick ends so much later: the host slept.
  void Suspend(uint64_t seconds) { slept_ns_ = seconds * kSecondNs; }
  void Send(Command command) { commands_.push_back(std::move(command)); }

  TickInput Tick() {
    const uint64_t slept_ns = std::exchange(slept_ns_, 0);
    now_ns_ += kSecondNs + slept_ns;
    TickInput input;
    input.tick = ++tick_;
    input.boot_time_ns = now_ns_;
    input.wall_time_ns = 1'800'000'000'000'000'000 + static_cast<int64_t>(now_ns_);
    input.interval_ns = tick_ == 1 ? 0 : kSecondNs + slept_ns;
    input.epoch = 1;
    input.boot_id = "simulated";
    input.host.memory_total_bytes = uint64_t{8} << 30;
    input.host.memory_available_bytes = uint64_t{4} << 30;
    input.host.cpus = 2;
    std::map<ProcessKey, ProcessSample> processes;
    for (Service& service : services_) {
      if (service.pid != 0) {
        Work(service);
        ProcessSample sample;
        sample.key = {service.pid, service.start_ns};
        sample.parent_pid = 1;
        sample.threads = 1;
        sample.cpu_ns = service.cpu_ns;
        sample.rss_anonymous_bytes = static_cast<uint64_t>(service.memory);
        sample.comm = service.name;
        processes[sample.key] = sample;
      }
      input.accounts.push_back(service.total);
      input.syscalls.push_back(service.syscalls);
    }
    for (const auto& [key, sample] : processes) input.processes.push_back(sample);
    input.events = std::move(events_);
    input.identities = std::move(identities_);
    input.commands = std::move(commands_);
    events_.clear();
    identities_.clear();
    commands_.clear();
    return input;
  }

 private:
  uint64_t Noisy(double mean) {
    return mean <= 0 ? 0 : static_cast<uint64_t>(mean * std::exp(0.05 * std::normal_distribution<>()(random_)) + 0.5);
  }
  void Work(Service& s) {
    const uint64_t cpu = Noisy(s.cores * 1e9);
    s.cpu_ns += cpu;
    s.total.account = s.syscalls.account = s.account;
    s.total.cpu_ns += cpu;
    s.total.run_delay_ns += Noisy(s.run_delay * 1e9);
    s.total.voluntary_switches += Noisy(s.work);
    s.total.involuntary_switches += Noisy(1 + (s.contended ? 60 * s.cores * s.cores : 0.0) + 250 * s.run_delay);
    s.total.processes_started += Noisy(s.started);
    s.total.processes_ended += Noisy(s.started);
    s.memory += s.growth;
    s.syscalls.errors[0] += Noisy(s.errors);
    const uint64_t reads = Noisy(5 * s.work) + Noisy(s.errors);
    for (uint64_t i = 0; i < reads; ++i) {
      const double ns = s.read_seconds * 1e9 * std::exp(0.3 * std::normal_distribution<>()(random_));
      int bucket = 0;
      while (bucket + 1 < kDurationBuckets && DurationBucketLowerNs(bucket + 1) <= ns) ++bucket;
      s.syscalls.buckets[0][bucket] += 1;
      s.syscalls.duration_sum_ns[0] += static_cast<uint64_t>(ns);
    }
  }

  std::mt19937 random_;
  std::vector<Service> services_;
  uint64_t now_ns_ = 5000 * kSecondNs;
  uint64_t slept_ns_ = 0;
  uint64_t tick_ = 0;
  int32_t last_pid_ = 100;
  std::vector<LifecycleEvent> events_;
  std::vector<IdentityObservation> identities_;
  std::vector<Command> commands_;
};

}  // namespace outlier
