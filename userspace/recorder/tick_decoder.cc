#include <fmt/format.h>

#include "userspace/recorder/column_io.h"
#include "userspace/recorder/columns.h"
#include "userspace/recorder/syscall_cells.h"
#include "userspace/recorder/tick_codec.h"

namespace outlier {
namespace {

using namespace recording;

bool ReadProcesses(v1::Processes* in, const std::vector<ProcessSample>& previous, std::vector<ProcessSample>* rows) {
  std::vector<size_t> from;
  if (!ReadRows(in->rows(), previous.size(), kMaxTickRows, &from)) return false;
  rows->resize(from.size());
  const auto before = [&](size_t i) { return from[i] == kNew ? nullptr : &previous[from[i]]; };
  bool ok = true;
  Columns(in, [&](Column* column, auto get) { ok = ok && ReadColumn(*column, before, get, rows); });
  if (!ok) return false;
  for (size_t i = 0; i < rows->size(); ++i) {
    if (before(i) != nullptr) (*rows)[i].comm = before(i)->comm;
  }
  std::vector<size_t> changed;
  if (in->comm().gap_size() != in->comm().length_size() || !FromGaps(in->comm().gap(), rows->size(), &changed)) return false;
  TextReader reader(in->comm());
  for (const size_t i : changed) {
    if (!reader.Next(&(*rows)[i].comm)) return false;
  }
  return reader.done();
}

bool ReadAccounts(v1::Accounts* in, const std::vector<AccountSample>& previous, std::vector<AccountSample>* rows) {
  std::vector<size_t> from;
  if (!ReadRows(in->rows(), previous.size(), kMaxTickAccounts, &from)) return false;
  rows->resize(from.size());
  const auto before = [&](size_t i) { return from[i] == kNew ? nullptr : &previous[from[i]]; };
  bool ok = true;
  Columns(in, [&](Column* column, auto get) { ok = ok && ReadColumn(*column, before, get, rows); });
  return ok;
}

bool ReadSyscalls(const v1::Syscalls& in, KnownSyscalls* known, std::vector<AccountSyscalls>* rows) {
  const size_t size = static_cast<size_t>(in.account_size());
  if (size > kMaxTickAccounts || in.gap_size() != in.difference_size()) return false;
  rows->resize(size);
  size_t next = 0;
  int told = 0;
  uint64_t before = 0;
  for (size_t row = 0; row < size; ++row) {
    before += static_cast<uint64_t>(in.account(static_cast<int>(row)));
    (*rows)[row].account = static_cast<Account>(before);
    AccountSyscalls& last = (*known)[(*rows)[row].account];
    SyscallCells cells = ToCells(last);
    const size_t end = (row + 1) * kSyscallCells;
    (*rows)[row].changed = 0;
    while (told < in.gap_size() && next + in.gap(told) < end) {
      const size_t cell = next + in.gap(told);
      cells[cell - row * kSyscallCells] += static_cast<uint64_t>(in.difference(told));
      (*rows)[row].changed |= 1 << ClassOfCell(cell - row * kSyscallCells);
      next = cell + 1;
      ++told;
    }
    FromCells(cells, &(*rows)[row]);
    last = (*rows)[row];
  }
  return told == in.gap_size();
}

template <class Row, class Table>
bool ReadTable(Table* in, std::vector<Row>* rows) {
  if (in->rows() > kMaxTickRows) return false;
  rows->resize(in->rows());
  const auto before = [&](size_t i) { return i == 0 ? nullptr : &(*rows)[i - 1]; };
  bool ok = true;
  Columns(in, [&](Column* column, auto get) { ok = ok && ReadColumn(*column, before, get, rows); });
  TextColumns(in, [&](v1::Texts* texts, auto get) { ok = ok && ReadTexts(*texts, get, rows); });
  return ok;
}

bool ReadLosses(v1::Losses* in, const std::vector<LossSample>& previous, std::vector<LossSample>* rows) {
  const bool same = !in->has_name();
  if (!same && static_cast<size_t>(in->name().length_size()) > kMaxTickRows) return false;
  rows->resize(same ? previous.size() : in->name().length_size());
  TextReader reader(in->name());
  for (size_t i = 0; i < rows->size(); ++i) {
    if (same) {
      (*rows)[i].name = previous[i].name;
    } else if (!reader.Next(&(*rows)[i].name)) {
      return false;
    }
  }
  const auto before = [&](size_t i) { return same ? &previous[i] : nullptr; };
  bool ok = true;
  Columns(in, [&](Column* column, auto get) { ok = ok && ReadColumn(*column, before, get, rows); });
  return ok;
}

// Enumerations index tables further on: a value no build ever wrote must not get there.
bool ValuesAreKnown(const TickInput& input) {
  for (const LifecycleEvent& e : input.events) {
    if (e.kind > LifecycleEvent::Kind::kOomVictim || e.constraint > OomConstraint::kMemoryPlusSwapCgroup) return false;
  }
  for (const Command& c : input.commands) {
    if (c.kind > Command::Kind::kLast) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<TickInput> TickDecoder::Decode(std::string_view bytes) {
  v1::Tick tick;
  if (bytes.size() > kMaxTickBytes || !tick.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError("not a tick");
  }
  TickInput input;
  input.tick = tick.tick();
  input.boot_time_ns = tick.boot_time_ns();
  input.interval_ns = tick.interval_ns();
  input.wall_time_ns = tick.wall_time_ns();
  input.epoch = tick.epoch();
  input.boot_id = previous_.boot_id;
  if (tick.has_boot_id() && !TextReader(tick.boot_id()).Next(&input.boot_id)) return absl::DataLossError("boot id");
  if (static_cast<size_t>(tick.probes_missing().length_size()) > kMaxTickRows) return absl::DataLossError("missing probes");
  input.probes_missing.resize(tick.probes_missing().length_size());
  TextReader probes(tick.probes_missing());
  for (std::string& probe : input.probes_missing) {
    if (!probes.Next(&probe)) return absl::DataLossError("missing probes");
  }
  if (!ReadProcesses(tick.mutable_processes(), previous_.processes, &input.processes)) return absl::DataLossError("processes");
  if (!ReadAccounts(tick.mutable_accounts(), previous_.accounts, &input.accounts)) return absl::DataLossError("accounts");
  if (!ReadSyscalls(tick.syscalls(), &previous_.syscalls, &input.syscalls)) return absl::DataLossError("syscalls");
  if (!ReadTable(tick.mutable_events(), &input.events)) return absl::DataLossError("events");
  if (!ReadTable(tick.mutable_identities(), &input.identities)) return absl::DataLossError("identities");
  if (!ReadTable(tick.mutable_commands(), &input.commands)) return absl::DataLossError("commands");
  int field = 0;
  HostFields([&](auto get) {
    // A field that a later build added is absent in older recordings: as one tick before.
    const uint64_t difference = field < tick.host().value_size() ? static_cast<uint64_t>(tick.host().value(field)) : 0;
    ++field;
    FromWord(ToWord(get(std::as_const(previous_.host))) + difference, &get(input.host));
  });
  if (!ReadLosses(tick.mutable_losses(), previous_.losses, &input.losses)) return absl::DataLossError("losses");
  if (!ValuesAreKnown(input)) return absl::DataLossError("a kind of event or command that this build does not know");

  previous_.processes = input.processes;
  previous_.accounts = input.accounts;
  ForgetSyscallsOfGoneAccounts(input.accounts, &previous_.syscalls);
  previous_.host = input.host;
  previous_.losses = input.losses;
  previous_.boot_id = input.boot_id;
  return input;
}

}  // namespace outlier
