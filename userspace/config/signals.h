// The signals a rule's `ignore` may name: the public list of the interface. A new signal adds its name here.
#pragma once
#include <array>
#include <string_view>

namespace outlier {

inline constexpr auto kSignalNames = std::to_array<std::string_view>({
    "process.cpu.utilization",
    "process.cpu.run_delay",
    "process.memory.usage",
    "process.memory.anonymous",
    "process.memory.swap",
    "process.paging.faults",
    "process.disk.io",
    "process.context_switches",
    "process.thread.count",
    "workload.process.count",
    "workload.process.started",
    "workload.process.ended",
    "workload.restarts",
    "workload.exits",
    "process.uptime",
    "process.syscall.rate",
    "process.syscall.errors",
    "process.syscall.duration",
    "process.syscall.in_flight",
    "host.pressure",
    "host.memory.available",
    "host.cpu.utilization",
    "host.process.forks",
});

}  // namespace outlier
