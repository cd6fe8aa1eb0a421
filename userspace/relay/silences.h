// Silences: whom nobody is paged for, from when to when, by whose word. Those of the configuration and those of the ledger. Thread-safe.
#pragma once
#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "outlier/config/v1/relay.pb.h"
#include "userspace/ledger/ledger.h"
#include "userspace/delivery/finding.h"

namespace outlier {

class Silences {
 public:
  Silences(Ledger* ledger, Labels labels) : ledger_(ledger), labels_(std::move(labels)) {}
  // Of the ledger.
  absl::Status Load();
  // Instead of those of the configuration so far. INVALID_ARGUMENT: "silences[0].ends: ...", and nothing has changed.
  absl::Status Configure(const google::protobuf::RepeatedPtrField<config::v1::Silence>& silences);
  // The first that covers it, by id.
  std::optional<relay::v1::Silence> Covering(const v1::Incident& incident, WallTime at) const;
  // Needs author, reason, an end after `now` and after its start; no start = now. Returns it with its id.
  absl::StatusOr<relay::v1::Silence> Add(relay::v1::Silence silence, WallTime now);
  absl::StatusOr<relay::v1::Silence> Expire(const std::string& id, WallTime now);
  uint64_t generation() const { return generation_; }     // another where one was added, ended, or configured
  WallTime NextChange(WallTime after) const;              // when the next one begins or ends; max() = none does
  std::vector<relay::v1::Silence> List(bool expired, WallTime now) const;  // by end, the next first

 private:
  Ledger* const ledger_;
  const Labels labels_;
  void Prune(WallTime now);                               // holding mutex_
  std::atomic<uint64_t> generation_ = 1;
  mutable std::mutex mutex_;
  std::vector<relay::v1::Silence> configured_, added_;
};

}  // namespace outlier
