#include "tests/outlierctl/ctl_run.h"

namespace outlier::ctl {
namespace {

int RunWith(Context& context, const std::string& address, std::vector<std::string> arguments) {
  context.now = TestNow;
  context.zone = absl::UTCTimeZone();
  arguments.insert(arguments.begin(), {"outlierctl", "--address", address});
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return Run(static_cast<int>(argv.size()), argv.data(), context);
}

google::protobuf::Timestamp At(int hour, int minute, int second) {
  google::protobuf::Timestamp time;
  time.set_seconds(absl::ToUnixSeconds(absl::FromCivil(absl::CivilSecond(2026, 11, 22, hour, minute, second), absl::UTCTimeZone())));
  return time;
}

}  // namespace

absl::Time TestNow() { return absl::FromCivil(absl::CivilSecond(2026, 11, 22, 14, 5, 0), absl::UTCTimeZone()); }

std::vector<std::string> Outcome::lines() const {
  std::vector<std::string> lines;
  std::istringstream stream(out);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Outcome RunCtl(const std::string& address, std::vector<std::string> arguments) {
  std::ostringstream out, err;
  Interrupt interrupt;
  Context context{.out = out, .err = err, .interrupt = interrupt};
  const int status = RunWith(context, address, std::move(arguments));
  return {status, out.str(), err.str()};
}

v1::Incident SampleIncident(const std::string& id, const std::string& workload) {
  v1::Incident i;
  i.set_id(id);
  i.set_state(v1::Incident::OPEN);
  i.set_severity(v1::Incident::CRITICAL);
  i.set_score(91);
  i.set_pattern(v1::Incident::STEP);
  i.set_summary(workload + ": CPU 98 % of a core, expected 1-4 %, higher");
  i.mutable_workload()->set_name(workload);
  i.mutable_workload()->set_kind(v1::Workload::SYSTEMD_UNIT);
  i.mutable_workload()->set_unit("shop.service");
  *i.mutable_onset_time() = At(14, 2, 11);
  *i.mutable_opened_time() = At(14, 2, 15);
  *i.mutable_updated_time() = At(14, 2, 15);
  v1::Contribution& c = *i.add_contributions();
  c.set_signal("process.cpu.utilization");
  c.set_unit("1");
  c.set_direction(v1::Contribution::UP);
  c.set_observed(0.98);
  c.set_expected(0.02);
  c.set_lower(0.01);
  c.set_upper(0.04);
  c.set_tail_probability(1e-9);
  v1::Suspect& s = *i.add_suspects();
  s.mutable_workload()->set_name("backup");
  s.mutable_process()->set_pid(4242);
  s.mutable_process()->set_executable("/usr/bin/backup");
  s.set_share(0.8);
  s.add_evidence("its CPU grew from 0 to 0.9 cores at the onset");
  i.mutable_coverage()->set_sampled_share(0.5);
  i.mutable_coverage()->set_events_lost(3);
  i.mutable_coverage()->add_probes_missing("syscall_latency");
  v1::LifeEvent& e = *i.add_changes();
  e.set_kind("opened");
  *e.mutable_time() = At(14, 2, 15);
  e.set_detail("critical");
  return i;
}

v1::IncidentChange SampleChange(v1::IncidentChange::Kind kind, const v1::Incident& incident) {
  v1::IncidentChange change;
  change.set_kind(kind);
  *change.mutable_time() = incident.updated_time();
  *change.mutable_incident() = incident;
  return change;
}

BackgroundRun::BackgroundRun(const std::string& address, std::vector<std::string> arguments) {
  thread_ = std::thread([this, address, arguments = std::move(arguments)] {
    Context context{.out = out_, .err = err_, .interrupt = interrupt_};
    status_ = RunWith(context, address, arguments);
  });
}

BackgroundRun::~BackgroundRun() {
  if (thread_.joinable()) End();
}

Outcome BackgroundRun::End() {
  interrupt_.Raise();
  thread_.join();
  return {status_, out_buffer_.text(), err_buffer_.text()};
}

bool BackgroundRun::WaitForOut(const std::string& text) { return WaitFor(out_buffer_, text); }
bool BackgroundRun::WaitForErr(const std::string& text) { return WaitFor(err_buffer_, text); }

bool BackgroundRun::WaitFor(const SharedBuffer& buffer, const std::string& text) {
  for (int k = 0; k < 2000; ++k) {
    if (buffer.text().find(text) != std::string::npos) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::string BackgroundRun::SharedBuffer::text() const {
  std::lock_guard lock(mutex_);
  return text_;
}

BackgroundRun::SharedBuffer::int_type BackgroundRun::SharedBuffer::overflow(int_type c) {
  std::lock_guard lock(mutex_);
  if (c != traits_type::eof()) text_.push_back(static_cast<char>(c));
  return 0;
}

std::streamsize BackgroundRun::SharedBuffer::xsputn(const char* bytes, std::streamsize n) {
  std::lock_guard lock(mutex_);
  text_.append(bytes, n);
  return n;
}

}  // namespace outlier::ctl
