// Which field of a row goes into which column, in one place for both directions. Each Columns(columns, visit) calls
// visit(column, accessor) for every numeric field; texts are handled beside, for only some rows have them.
#pragma once
#include "outlier/recording/v1/recording.pb.h"
#include "userspace/stream/tick_input.h"

namespace outlier::recording {

// A new field of a row costs one line in recording.proto and one here.
#define OUTLIER_COLUMN(field) visit(columns->mutable_##field(), [](auto& row) -> auto& { return row.field; })
#define OUTLIER_KEY_COLUMN(field) visit(columns->mutable_##field(), [](auto& row) -> auto& { return row.key.field; })

template <class Visit>
void Columns(v1::Processes* columns, Visit visit) {
  OUTLIER_KEY_COLUMN(pid);
  OUTLIER_KEY_COLUMN(start_time_ns);
  OUTLIER_COLUMN(parent_pid);
  OUTLIER_COLUMN(user_id);
  OUTLIER_COLUMN(threads);
  OUTLIER_COLUMN(kernel_thread);
  OUTLIER_COLUMN(cgroup_id);
  OUTLIER_COLUMN(cpu_ns);
  OUTLIER_COLUMN(run_delay_ns);
  OUTLIER_COLUMN(voluntary_switches);
  OUTLIER_COLUMN(involuntary_switches);
  OUTLIER_COLUMN(major_faults);
  OUTLIER_COLUMN(read_bytes);
  OUTLIER_COLUMN(write_bytes);
  OUTLIER_COLUMN(rss_file_bytes);
  OUTLIER_COLUMN(rss_anonymous_bytes);
  OUTLIER_COLUMN(rss_shared_bytes);
  OUTLIER_COLUMN(swap_bytes);
  OUTLIER_COLUMN(in_flight_ns);
  OUTLIER_COLUMN(in_flight_class);
}

template <class Visit>
void Columns(v1::Accounts* columns, Visit visit) {
  OUTLIER_COLUMN(account);
  OUTLIER_COLUMN(cpu_ns);
  OUTLIER_COLUMN(run_delay_ns);
  OUTLIER_COLUMN(voluntary_switches);
  OUTLIER_COLUMN(involuntary_switches);
  OUTLIER_COLUMN(major_faults);
  OUTLIER_COLUMN(read_bytes);
  OUTLIER_COLUMN(write_bytes);
  OUTLIER_COLUMN(processes_started);
  OUTLIER_COLUMN(processes_ended);
  OUTLIER_COLUMN(exits_by_code);
  OUTLIER_COLUMN(exits_by_signal);
}

template <class Visit>
void Columns(v1::Events* columns, Visit visit) {
  OUTLIER_COLUMN(kind);
  OUTLIER_KEY_COLUMN(pid);
  OUTLIER_KEY_COLUMN(start_time_ns);
  OUTLIER_COLUMN(parent_pid);
  OUTLIER_COLUMN(account);
  OUTLIER_COLUMN(time_ns);
  OUTLIER_COLUMN(wait_status);
  OUTLIER_COLUMN(cpu_ns);
  OUTLIER_COLUMN(constraint);
  OUTLIER_COLUMN(oom_limit_bytes);
  OUTLIER_COLUMN(oom_killer_pid);
  OUTLIER_COLUMN(cgroup_id);
}

template <class Visit>
void Columns(v1::Identities* columns, Visit visit) {
  OUTLIER_KEY_COLUMN(pid);
  OUTLIER_KEY_COLUMN(start_time_ns);
  OUTLIER_COLUMN(parent_pid);
  OUTLIER_COLUMN(user_id);
  OUTLIER_COLUMN(exec);
  OUTLIER_COLUMN(executable_inode);
  OUTLIER_COLUMN(executable_size);
  OUTLIER_COLUMN(executable_mtime_ns);
  OUTLIER_COLUMN(memory_limit_bytes);
}

template <class Visit>
void Columns(v1::Commands* columns, Visit visit) {
  OUTLIER_COLUMN(kind);
}

template <class Visit>
void Columns(v1::Losses* columns, Visit visit) {
  OUTLIER_COLUMN(count);
}

#undef OUTLIER_COLUMN
#undef OUTLIER_KEY_COLUMN

template <class Visit>
void TextColumns(v1::Events* columns, Visit visit) {
  visit(columns->mutable_comm(), [](auto& row) -> auto& { return row.comm; });
}

template <class Visit>
void TextColumns(v1::Identities* columns, Visit visit) {
  visit(columns->mutable_cgroup_path(), [](auto& row) -> auto& { return row.cgroup_path; });
  visit(columns->mutable_executable(), [](auto& row) -> auto& { return row.executable; });
  visit(columns->mutable_script(), [](auto& row) -> auto& { return row.script; });
  visit(columns->mutable_user(), [](auto& row) -> auto& { return row.user; });
  visit(columns->mutable_comm(), [](auto& row) -> auto& { return row.comm; });
  visit(columns->mutable_container_name(), [](auto& row) -> auto& { return row.container_name; });
  visit(columns->mutable_pod(), [](auto& row) -> auto& { return row.pod; });
  visit(columns->mutable_pod_namespace(), [](auto& row) -> auto& { return row.pod_namespace; });
}

template <class Visit>
void TextColumns(v1::Commands* columns, Visit visit) {
  visit(columns->mutable_incident_id(), [](auto& row) -> auto& { return row.incident_id; });
  visit(columns->mutable_author(), [](auto& row) -> auto& { return row.author; });
  visit(columns->mutable_incident(), [](auto& row) -> auto& { return row.incident; });
  visit(columns->mutable_config(), [](auto& row) -> auto& { return row.config; });
}

// HostSample as a row of numbers, in declaration order.
template <class Visit>
void HostFields(Visit visit) {
  visit([](auto& h) -> auto& { return h.cpu_ns; });
  visit([](auto& h) -> auto& { return h.cpu_is_exact; });
  visit([](auto& h) -> auto& { return h.cpus; });
  visit([](auto& h) -> auto& { return h.memory_total_bytes; });
  visit([](auto& h) -> auto& { return h.memory_available_bytes; });
  visit([](auto& h) -> auto& { return h.forks; });
  visit([](auto& h) -> auto& { return h.pressure_some_us[0]; });
  visit([](auto& h) -> auto& { return h.pressure_some_us[1]; });
  visit([](auto& h) -> auto& { return h.pressure_some_us[2]; });
  visit([](auto& h) -> auto& { return h.has_pressure; });
}

}  // namespace outlier::recording
