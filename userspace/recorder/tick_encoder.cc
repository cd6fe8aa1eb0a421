#include <fmt/format.h>

#include "userspace/recorder/column_io.h"
#include "userspace/recorder/columns.h"
#include "userspace/recorder/syscall_cells.h"
#include "userspace/recorder/tick_codec.h"

namespace outlier {
namespace {

using namespace recording;

absl::Status TooLarge(uint64_t tick, std::string_view what, size_t size, size_t limit) {
  return absl::ResourceExhaustedError(fmt::format("cannot record tick {}: {} {}, at most {} fit", tick, size, what, limit));
}

void WriteProcesses(const std::vector<ProcessSample>& previous, const std::vector<ProcessSample>& rows, v1::Processes* out) {
  const std::vector<size_t> from = WriteRows(previous, rows, [](const ProcessSample& p) { return p.key; }, out->mutable_rows());
  const auto before = [&](size_t i) { return from[i] == kNew ? nullptr : &previous[from[i]]; };
  // A few rows at a time: they stay in the cache while all columns take their field from them.
  constexpr size_t kBlock = 64;
  for (size_t begin = 0; begin < rows.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, rows.size());
    Columns(out, [&](Column* column, auto get) { WritePart(rows, begin, end, before, get, column); });
  }
  size_t next = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const ProcessSample* old = before(i);
    if (rows[i].comm == (old != nullptr ? old->comm : std::string())) continue;
    AddGap(i, &next, out->mutable_comm()->mutable_gap());
    AddText(rows[i].comm, out->mutable_comm());
  }
}

void WriteAccounts(const std::vector<AccountSample>& previous, const std::vector<AccountSample>& rows, v1::Accounts* out) {
  const std::vector<size_t> from = WriteRows(previous, rows, [](const AccountSample& a) { return a.account; }, out->mutable_rows());
  const auto before = [&](size_t i) { return from[i] == kNew ? nullptr : &previous[from[i]]; };
  Columns(out, [&](Column* column, auto get) { WriteColumn(rows, before, get, column); });
}

void WriteSyscalls(const std::vector<AccountSyscalls>& rows, KnownSyscalls* known, v1::Syscalls* out) {
  size_t next = 0, base = 0;
  uint64_t before = 0;
  for (const AccountSyscalls& row : rows) {
    out->add_account(static_cast<int64_t>(row.account - before));
    before = row.account;
    AccountSyscalls& old = (*known)[row.account];
    ForEachChange(row, old, [&](size_t cell, uint64_t difference) {
      AddGap(base + cell, &next, out->mutable_gap());
      out->add_difference(static_cast<int64_t>(difference));
    });
    for (int c = 0; c < kSyscallClasses; ++c) {
      if (row.has_changed(c)) old.TakeClass(c, row);
    }
    base += kSyscallCells;
  }
}

// Tables without a yesterday: each row is told relative to the one before it.
template <class Row, class Table>
void WriteTable(const std::vector<Row>& rows, Table* out) {
  out->set_rows(static_cast<uint32_t>(rows.size()));
  const auto before = [&](size_t i) { return i == 0 ? nullptr : &rows[i - 1]; };
  Columns(out, [&](Column* column, auto get) { WriteColumn(rows, before, get, column); });
  TextColumns(out, [&](v1::Texts* texts, auto get) { WriteTexts(rows, get, texts); });
}

void WriteLosses(const std::vector<LossSample>& previous, const std::vector<LossSample>& rows, v1::Losses* out) {
  bool same = previous.size() == rows.size();
  for (size_t i = 0; same && i < rows.size(); ++i) same = rows[i].name == previous[i].name;
  if (!same) {
    out->mutable_name();  // present, even when there are no losses left
    for (const LossSample& row : rows) AddText(row.name, out->mutable_name());
  }
  const auto before = [&](size_t i) { return same ? &previous[i] : nullptr; };
  Columns(out, [&](Column* column, auto get) { WriteColumn(rows, before, get, column); });
}

}  // namespace

absl::Status TickEncoder::Encode(const TickInput& input, std::string* out) {
  const auto fits = [](size_t n, size_t limit) { return n <= limit; };
  if (!fits(input.processes.size(), kMaxTickRows)) return TooLarge(input.tick, "processes", input.processes.size(), kMaxTickRows);
  if (!fits(input.events.size(), kMaxTickRows)) return TooLarge(input.tick, "events", input.events.size(), kMaxTickRows);
  if (!fits(input.identities.size(), kMaxTickRows)) return TooLarge(input.tick, "look-ups", input.identities.size(), kMaxTickRows);
  if (!fits(input.commands.size(), kMaxTickRows)) return TooLarge(input.tick, "commands", input.commands.size(), kMaxTickRows);
  if (!fits(input.losses.size(), kMaxTickRows)) return TooLarge(input.tick, "loss counters", input.losses.size(), kMaxTickRows);
  if (!fits(input.probes_missing.size(), kMaxTickRows)) return TooLarge(input.tick, "probes", input.probes_missing.size(), kMaxTickRows);
  if (!fits(input.accounts.size(), kMaxTickAccounts)) return TooLarge(input.tick, "accounts", input.accounts.size(), kMaxTickAccounts);
  if (!fits(input.syscalls.size(), kMaxTickAccounts)) return TooLarge(input.tick, "accounts", input.syscalls.size(), kMaxTickAccounts);

  v1::Tick tick;
  tick.set_tick(input.tick);
  tick.set_boot_time_ns(input.boot_time_ns);
  tick.set_interval_ns(input.interval_ns);
  tick.set_wall_time_ns(input.wall_time_ns);
  tick.set_epoch(input.epoch);
  if (input.boot_id != previous_.boot_id) AddText(input.boot_id, tick.mutable_boot_id());
  for (const std::string& probe : input.probes_missing) AddText(probe, tick.mutable_probes_missing());
  WriteProcesses(previous_.processes, input.processes, tick.mutable_processes());
  WriteAccounts(previous_.accounts, input.accounts, tick.mutable_accounts());
  WriteSyscalls(input.syscalls, &previous_.syscalls, tick.mutable_syscalls());
  WriteTable(input.events, tick.mutable_events());
  WriteTable(input.identities, tick.mutable_identities());
  WriteTable(input.commands, tick.mutable_commands());
  HostFields([&](auto get) {
    tick.mutable_host()->add_value(static_cast<int64_t>(ToWord(get(input.host)) - ToWord(get(previous_.host))));
  });
  WriteLosses(previous_.losses, input.losses, tick.mutable_losses());

  previous_.processes = input.processes;
  previous_.accounts = input.accounts;
  ForgetSyscallsOfGoneAccounts(input.accounts, &previous_.syscalls);
  previous_.host = input.host;
  previous_.losses = input.losses;
  previous_.boot_id = input.boot_id;
  const size_t size = tick.ByteSizeLong();  // and keeps the sizes of its parts
  if (size > kMaxTickBytes) return TooLarge(input.tick, "bytes", size, kMaxTickBytes);
  out->resize(size);
  tick.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(out->data()));
  return absl::OkStatus();
}

}  // namespace outlier
