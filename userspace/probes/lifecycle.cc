#include "userspace/probes/lifecycle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "userspace/probes/identity_arguments.h"
#include "userspace/probes/probe.h"
#include "userspace/probes/tasks.h"

namespace outlier {
namespace {

template <class T>
std::optional<T> As(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

LifecycleEvent Common(const outlier_event& event, LifecycleEvent::Kind kind) {
  LifecycleEvent out;
  out.kind = kind;
  out.key = {event.pid, event.start_time_ns};
  out.parent_pid = event.parent_pid;
  out.account = event.account;
  out.time_ns = event.time_ns;
  out.cgroup_id = event.cgroup_id;
  out.comm = CommText(event.comm);
  return out;
}

OomConstraint Constraint(uint32_t constraint) {
  switch (constraint) {
    case OUTLIER_OOM_HOST: return OomConstraint::kHost;
    case OUTLIER_OOM_MEMORY: return OomConstraint::kMemoryCgroup;
    case OUTLIER_OOM_MEMORY_AND_SWAP: return OomConstraint::kMemoryPlusSwapCgroup;
    default: return OomConstraint::kNone;
  }
}

std::vector<std::string> SplitArguments(const char* bytes, size_t size) {
  std::vector<std::string> arguments;
  for (size_t at = 0; at < size;) {
    const size_t length = strnlen(bytes + at, size - at);
    arguments.emplace_back(bytes + at, length);
    at += length + 1;
  }
  return arguments;
}

// The first process that is not before `key`: ordered by pid, then by start.
auto FindProcess(const TickInput& input, const ProcessKey& key) {
  return std::lower_bound(input.processes.begin(), input.processes.end(), key,
                          [](const ProcessSample& sample, const ProcessKey& wanted) { return sample.key < wanted; });
}

}  // namespace

void LifecycleReader::Take(std::span<const std::byte> bytes) {
  const auto event = As<outlier_event>(bytes);
  if (!event) return;
  if (event->kind == OUTLIER_EVENT_END) {
    const auto end = As<outlier_end_event>(bytes);
    if (!end) return;
    LifecycleEvent& out = events_.emplace_back(Common(*event, LifecycleEvent::Kind::kEnd));
    out.wait_status = end->wait_status;
    out.cpu_ns = end->cpu_ns;
  } else if (event->kind == OUTLIER_EVENT_OOM_VICTIM) {
    const auto oom = As<outlier_oom_event>(bytes);
    if (!oom) return;
    LifecycleEvent& out = events_.emplace_back(Common(*event, LifecycleEvent::Kind::kOomVictim));
    out.constraint = Constraint(oom->constraint);
    out.oom_limit_bytes = oom->limit_pages * page_bytes_;
    out.oom_killer_pid = oom->killer_pid;
  } else if (event->kind == OUTLIER_EVENT_EXEC) {
    const auto exec = As<outlier_exec_event>(bytes);
    if (!exec) return;
    events_.push_back(Common(*event, LifecycleEvent::Kind::kExec));
    Exec& out = execs_.emplace_back();
    out.key = {event->pid, event->start_time_ns};
    out.parent_pid = event->parent_pid;
    out.user_id = event->user_id;
    out.cgroup_id = event->cgroup_id;
    out.inode = exec->executable_inode;
    out.size = exec->executable_size;
    out.mtime_ns = exec->executable_mtime_ns;
    out.path.assign(exec->path, strnlen(exec->path, sizeof exec->path));
    out.arguments = SplitArguments(exec->arguments, std::min<size_t>(exec->arguments_bytes, sizeof exec->arguments));
    out.comm = CommText(event->comm);
  }
}

LifecycleReader::LifecycleReader(uint64_t page_bytes)
    : page_bytes_(page_bytes), proc_fd_(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

LifecycleReader::~LifecycleReader() {
  if (proc_fd_ >= 0) close(proc_fd_);
}

std::optional<LifecycleReader::File> LifecycleReader::Learn(const ProcessKey& key, uint64_t cgroup_id) {
  struct stat status {};
  const std::string exe = fmt::format("{}/exe", key.pid);
  if (fstatat(proc_fd_, exe.c_str(), &status, 0) != 0) return std::nullopt;
  const File file{status.st_ino, status.st_dev};
  if (executable_paths_.contains(status.st_ino) && (cgroup_id == 0 || cgroup_paths_.contains(cgroup_id))) return file;
  const auto seen = LookUpProcess(key, proc_fd_, &users_);
  if (!seen) return std::nullopt;
  if (cgroup_paths_.size() >= kRemembered) cgroup_paths_.clear();
  if (executable_paths_.size() >= kRemembered) executable_paths_.clear();
  executable_paths_[seen->executable_inode] = seen->executable;
  if (cgroup_id != 0) cgroup_paths_[cgroup_id] = seen->cgroup_path;
  return file;
}

void LifecycleReader::Complete(LifecycleEvent* victim, const TickInput& input) const {
  // Its own end first: a pid of the scan may be somebody else's by now.
  for (const LifecycleEvent& end : events_) {
    if (end.kind != LifecycleEvent::Kind::kEnd || end.key.pid != victim->key.pid || end.time_ns < victim->time_ns) continue;
    victim->key = end.key;
    victim->comm = end.comm;
    victim->parent_pid = end.parent_pid;
    victim->account = end.account;
    victim->cgroup_id = end.cgroup_id;
    return;
  }
  const auto at = FindProcess(input, {victim->key.pid, 0});
  if (at == input.processes.end() || at->key.pid != victim->key.pid) return;
  victim->key = at->key;
  victim->comm = at->comm;
  victim->parent_pid = at->parent_pid;
}

void LifecycleReader::Finish(TickInput* input) {
  const auto is_known = [](const LifecycleEvent& event) { return event.key.start_time_ns != 0; };
  for (std::vector<LifecycleEvent>* events : {&early_, &events_}) {
    for (LifecycleEvent& event : *events) {
      if (!is_known(event)) Complete(&event, *input);
    }
  }
  const auto early = std::stable_partition(events_.begin(), events_.end(), is_known);
  input->events = std::exchange(early_, {early, events_.end()});
  input->events.insert(input->events.end(), std::make_move_iterator(events_.begin()), std::make_move_iterator(early));
  events_.clear();
  for (const Exec& exec : execs_) {
    const auto at = FindProcess(*input, exec.key);
    if (at == input->processes.end() || at->key != exec.key) input->identities.push_back(Observation(exec));
  }
  execs_.clear();
}

IdentityObservation LifecycleReader::Observation(const Exec& exec) {
  IdentityObservation out;
  out.key = exec.key;
  out.parent_pid = exec.parent_pid;
  out.user_id = exec.user_id;
  out.user = users_.Of(exec.user_id);
  out.exec = true;
  out.executable = ResolvedPath(exec);
  out.script = ScriptOf(out.executable, exec.arguments, "");
  out.executable_inode = exec.inode;
  out.executable_size = exec.size;
  out.executable_mtime_ns = exec.mtime_ns;
  out.comm = exec.comm;
  const auto cgroup = cgroup_paths_.find(exec.cgroup_id);
  if (cgroup != cgroup_paths_.end()) out.cgroup_path = cgroup->second;
  return out;
}

std::string LifecycleReader::ResolvedPath(const Exec& exec) const {
  const auto known = executable_paths_.find(exec.inode);
  if (known != executable_paths_.end()) return known->second;
  // A path of another mount namespace may name another file here: believed only if the inode agrees.
  const std::unique_ptr<char, decltype(&free)> real(realpath(exec.path.c_str(), nullptr), free);
  struct stat status {};
  if (real != nullptr && stat(real.get(), &status) == 0 && status.st_ino == exec.inode) return real.get();
  return exec.path;
}

}  // namespace outlier

namespace outlier::probes::lifecycle {
namespace {

constexpr int kExerciseStatus = 37;  // an exit code that nothing else here has

class Lifecycle final : public Probe {
 public:
  void Collect(const ProbeTick& tick, TickInput* input) override {
    tick.kernel.ReadEvents([this](std::span<const std::byte> event) { reader_.Take(event); });
    reader_.Finish(input);
  }
  void Learn(const ProcessKey& key, uint64_t cgroup_id, KernelPrograms* kernel) override {
    if (const auto file = reader_.Learn(key, cgroup_id)) kernel->KnowExecutable(file->inode, file->device);
  }
  void Exercise() override {
    child_ = fork();
    if (child_ == 0) _exit(kExerciseStatus);
    if (child_ > 0) waitpid(child_, nullptr, 0);
  }
  std::string Missed(const TickInput&, const TickInput& after) const override {
    const bool told = std::any_of(after.events.begin(), after.events.end(), [&](const LifecycleEvent& event) {
      return event.kind == LifecycleEvent::Kind::kEnd && event.key.pid == child_ && event.wait_status == kExerciseStatus << 8;
    });
    return told ? "" : "it did not tell the end of a child made for the purpose";
  }

 private:
  LifecycleReader reader_{static_cast<uint64_t>(sysconf(_SC_PAGESIZE))};
  pid_t child_ = -1;
};

}  // namespace

std::unique_ptr<Probe> Make() { return std::make_unique<Lifecycle>(); }

}  // namespace outlier::probes::lifecycle
