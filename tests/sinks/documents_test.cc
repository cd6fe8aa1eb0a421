#include "userspace/sinks/documents.h"

#include <gtest/gtest.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tests/sinks/examples.h"

namespace outlier {
namespace {

using examples::Now;
using Document = nlohmann::json;  // compared without the order of its keys

Document Parse(const std::string& text) { return Document::parse(text, nullptr, false); }

Document Of(const Finding& finding) {
  std::string rest;
  WriteFinding(finding, Now(), &rest);
  return Parse("{" + rest);
}

TEST(Documents, AChangeIsWhatItsFieldsPromise) {
  EXPECT_EQ(Of(examples::Updated()), Parse(R"json({
    "@timestamp": "2026-03-01T10:01:00.500Z",
    "message": "redis-server.service: resident memory 412 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s, full in about 6 min",
    "ecs": {"version": "8.17.0"},
    "event": {"kind": "alert", "category": ["process"], "type": ["info"], "action": "outlier.incident.updated",
              "id": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:102", "sequence": 102, "module": "outlier", "dataset": "outlier.change",
              "severity": 4, "risk_score": 91.25, "start": "2026-03-01T10:00:00.000Z", "created": "2026-03-01T10:20:00.000Z",
              "reason": "redis-server.service: resident memory 412 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s, full in about 6 min"},
    "labels": {"environment": "production", "team": "storage"},
    "host": {"id": "c0ffee5a1d3e4b6f8a7c9e2d1f0b3a54", "name": "db-1", "boot": {"id": "7a1e2c9d-4f3b-4c58-9e60-b1d2a3c4e5f6"}},
    "service": {"name": "redis-server.service"},
    "process": {"executable": "/usr/bin/redis-server"},
    "user": {"name": "redis"},
    "outlier": {
      "source": {"host_id": "c0ffee5a1d3e4b6f8a7c9e2d1f0b3a54", "host_name": "db-1", "boot_id": "7a1e2c9d-4f3b-4c58-9e60-b1d2a3c4e5f6",
                 "feed_id": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40"},
      "workload": {"name": "redis-server.service", "kind": "SYSTEMD_UNIT", "executable": "/usr/bin/redis-server", "unit": "redis-server.service", "user": "redis"},
      "change": {"sequence": 102, "kind": "UPDATED"},
      "incident": {
        "id": "9a3f6c1e55d07b28", "state": "OPEN", "severity": "CRITICAL", "pattern": "DRIFT", "score": 91.25,
        "summary": "redis-server.service: resident memory 412 MiB, expected 96.4-118 MiB, growing 5.1 MiB/s, full in about 6 min",
        "acknowledged": false,
        "onset_time": "2026-03-01T10:00:00.000Z", "opened_time": "2026-03-01T10:00:24.250Z", "updated_time": "2026-03-01T10:01:00.500Z",
        "recurrences_per_week": 0.0004, "promised_per_week": 1.0, "feedback_factor": 1.0, "growth_per_second": 5347737.6, "time_to_exhaustion_seconds": 360.0,
        "contributions": [
          {"signal": "process.memory.usage", "unit": "By", "series": "process.memory.usage", "direction": "UP",
           "observed": 432013312.0, "expected": 112197632.0, "lower": 101082726.4, "upper": 123731968.0, "tail_probability": 1e-16},
          {"signal": "process.syscall.rate", "unit": "{call}/s", "series": "process.syscall.rate{syscall.class=file}", "direction": "UP",
           "observed": 5120.0, "expected": 1200.0, "lower": 900.0, "upper": 1500.0, "tail_probability": 4e-06, "attributes": {"syscall.class": "file"}}],
        "suspects": [
          {"workload": {"name": "backup", "kind": "EXECUTABLE", "executable": "/usr/local/bin/backup", "user": "root"},
           "process": {"pid": 4242, "executable": "/usr/local/bin/backup"}, "share": 0.75,
           "evidence": ["started 3 s before the onset", "its disk reads rose from 0 to 180 MiB/s"]},
          {"workload": {"name": "redis-server.service", "kind": "SYSTEMD_UNIT", "executable": "/usr/bin/redis-server", "unit": "redis-server.service", "user": "redis"},
           "process": {"pid": 811, "executable": "/usr/bin/redis-server"}, "share": 0.25, "evidence": ["it departs itself"]}],
        "related_incident_ids": ["1c02d9e7f04b6a83"],
        "changes": [{"kind": "opened", "time": "2026-03-01T10:00:24.250Z"},
                    {"kind": "severity", "time": "2026-03-01T10:01:00.500Z", "detail": "major to critical"}],
        "coverage": {"events_lost": 12, "sampled_share": 0.98, "probes_missing": ["syscall_latency"]}},
      "lead": {"signal": "process.memory.usage", "unit": "By", "series": "process.memory.usage", "direction": "UP",
               "observed": 432013312.0, "expected": 112197632.0, "lower": 101082726.4, "upper": 123731968.0, "tail_probability": 1e-16},
      "influencers": ["backup", "redis-server.service"]}})json"));
}

TEST(Documents, TheKindOfAChangeIsSaidInTheWordsOfEcs) {
  const auto words = [](const Finding& finding) {
    const Document event = Of(finding)["event"];
    return fmt::format("{} {}", event["type"][0].get<std::string>(), event["action"].get<std::string>());
  };
  EXPECT_EQ(words(examples::Opened()), "start outlier.incident.opened");
  EXPECT_EQ(words(examples::Updated()), "info outlier.incident.updated");
  EXPECT_EQ(words(examples::Acknowledged()), "info outlier.incident.acknowledged");
  EXPECT_EQ(words(examples::Feedback()), "info outlier.incident.feedback");
  EXPECT_EQ(words(examples::Resolved()), "end outlier.incident.resolved");
}

TEST(Documents, AResolvedIncidentSaysWhenItEnded) {
  const Document d = Of(examples::Resolved());
  EXPECT_EQ(d["event"]["end"], "2026-03-01T10:10:00.125Z");
  EXPECT_EQ(d["outlier"]["incident"]["resolved_time"], "2026-03-01T10:10:00.125Z");
  EXPECT_EQ(d["outlier"]["incident"]["state"], "RESOLVED");
  EXPECT_EQ(d["outlier"]["incident"]["acknowledged"], true);
  EXPECT_EQ(d["outlier"]["incident"]["feedback"], "useful");
  EXPECT_FALSE(Of(examples::Opened())["event"].contains("end"));
}

TEST(Documents, AWorkloadOfAPodIsFoundByTheNamesOfEcs) {
  const Document d = Of(examples::RestartLoop());
  EXPECT_EQ(d["container"]["id"], "4be1c92f7d0a5e6638c1d2f40b9a7e51c3d8f60a2b47e9150c6d3f8a1e7b9024");
  EXPECT_EQ(d["orchestrator"], Parse(R"({"namespace":"shop","resource":{"name":"billing-7d9f"}})"));
  EXPECT_EQ(d["process"], Parse(R"({"executable":"/usr/local/bin/node"})"));
  EXPECT_EQ(d["outlier"]["workload"]["script"], "/srv/billing.js");
  EXPECT_EQ(d["outlier"]["incident"]["restart"], Parse(R"({"cause":"CRASH_LOOP","exit_code":1,"signal":0,"count":4})"));
  EXPECT_FALSE(d["outlier"]["incident"].contains("recurrences_per_week")) << "a kernel fact opened it";
  EXPECT_EQ(Of(examples::Silenced())["process"]["name"], "backup") << "its workload is an executable";
  Finding host = examples::Opened();
  host.change.mutable_incident()->mutable_workload()->set_kind(v1::Workload::HOST);
  EXPECT_EQ(Of(host)["event"]["category"], Parse(R"(["host"])"));
}

TEST(Documents, ASilenceIsTold) {
  EXPECT_EQ(Of(examples::Silenced())["outlier"]["silence"], Parse(R"({"id":"window-7","author":"mira","reason":"the yearly full backup"})"));
  EXPECT_FALSE(Of(examples::Opened())["outlier"].contains("silence"));
}

TEST(Documents, AGapIsAnErrorOfThePipelineWithNothingOfAnIncident) {
  EXPECT_EQ(Of(examples::GapRecord()), Parse(R"json({
    "@timestamp": "2026-03-01T10:08:50.000Z",
    "message": "changes 60 to 99 of the feed of db-1 did not arrive (compacted): 40 are lost",
    "ecs": {"version": "8.17.0"},
    "event": {"kind": "pipeline_error", "category": ["host"], "type": ["info"], "action": "outlier.feed.gap",
              "id": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:gap:60-99-1772359730000", "module": "outlier", "dataset": "outlier.change",
              "created": "2026-03-01T10:20:00.000Z"},
    "labels": {"environment": "production", "team": "storage"},
    "host": {"id": "c0ffee5a1d3e4b6f8a7c9e2d1f0b3a54", "name": "db-1", "boot": {"id": "7a1e2c9d-4f3b-4c58-9e60-b1d2a3c4e5f6"}},
    "outlier": {
      "source": {"host_id": "c0ffee5a1d3e4b6f8a7c9e2d1f0b3a54", "host_name": "db-1", "boot_id": "7a1e2c9d-4f3b-4c58-9e60-b1d2a3c4e5f6",
                 "feed_id": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40"},
      "gap": {"first_sequence": 60, "last_sequence": 99, "lost": 40, "reason": "compacted"}}})json"));
  EXPECT_EQ(Of(examples::UnknownGap())["message"], "changes of the feed of db-1 did not arrive (feed_replaced): how many are lost is unknown");
  EXPECT_EQ(Of(examples::UnknownGap())["outlier"]["gap"], Parse(R"({"reason":"feed_replaced"})"));
}

TEST(Documents, TheLeastThatIsSureIsEnough) {
  EXPECT_EQ(Of(examples::Minimal()), Parse(R"json({
    "@timestamp": "2026-03-01T10:08:20.000Z",
    "ecs": {"version": "8.17.0"},
    "event": {"kind": "alert", "category": ["process"], "type": ["start"], "action": "outlier.incident.opened",
              "id": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40:108", "sequence": 108, "module": "outlier", "dataset": "outlier.change",
              "risk_score": 0.0, "created": "2026-03-01T10:20:00.000Z"},
    "outlier": {"source": {"feed_id": "5f0c9a62d1b84c7e9b1f3a7d2e6c8b40"},
                "change": {"sequence": 108, "kind": "OPENED"},
                "incident": {"id": "00000000000000a1", "score": 0.0, "acknowledged": false}}})json"));
  Finding timeless = examples::Minimal();
  timeless.change.clear_time();
  EXPECT_EQ(Of(timeless)["@timestamp"], "2026-03-01T10:20:00.000Z") << "a data stream takes nothing without a time";
}

TEST(Documents, HostileNamesAreDataAndImpossibleNumbersAreLeftOut) {
  const Document d = Of(examples::Hostile());
  ASSERT_FALSE(d.is_discarded());
  const std::vector<std::string> a = examples::HostileTexts();
  EXPECT_EQ(d["outlier"]["workload"]["name"], a[0]);
  EXPECT_EQ(d["outlier"]["workload"]["executable"], "/tmp/" + a[3]);
  EXPECT_EQ(d["outlier"]["workload"]["unit"], a[5]);
  EXPECT_EQ(d["host"]["name"], a[2]);
  const Document& lead = d["outlier"]["lead"];
  EXPECT_FALSE(lead.contains("observed") || lead.contains("expected") || lead.contains("lower"));
  EXPECT_EQ(lead["upper"], std::numeric_limits<double>::max());
  EXPECT_EQ(d["outlier"]["incident"]["coverage"]["events_lost"], std::numeric_limits<int64_t>::max());
  for (const auto& [key, value] : d["outlier"]["incident"]["contributions"][0]["attributes"].items()) {
    EXPECT_EQ(key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"), std::string::npos) << key;
  }
}

TEST(Documents, TheSeriesOfAContributionIsItsCommonName) {
  for (const Finding& finding : examples::All()) {
    const Document d = Of(finding);
    for (int i = 0; i < finding.incident().contributions_size(); ++i) {
      EXPECT_EQ(d["outlier"]["incident"]["contributions"][static_cast<size_t>(i)]["series"], SeriesName(finding.incident().contributions(i)));
    }
  }
}

TEST(Documents, SamplesAreScoresSignalsAndTheHost) {
  const Samples samples = examples::HostStatus();
  std::string score, signal, host;
  AppendScore(samples, samples.sample.workloads(0), "prod", Now(), &score);
  AppendSignal(samples, samples.sample.workloads(0), samples.sample.workloads(0).values(2), "prod", Now(), &signal);
  AppendHost(samples, "prod", Now(), &host);
  EXPECT_EQ(Parse(score), Parse(R"json({
    "data_stream": {"type": "metrics", "dataset": "outlier.score", "namespace": "prod"},
    "@timestamp": "2026-03-01T10:10:10.000Z", "ecs": {"version": "8.17.0"},
    "event": {"kind": "metric", "module": "outlier", "dataset": "outlier.score"},
    "labels": {"environment": "production", "team": "storage"},
    "host": {"id": "c0ffee5a1d3e4b6f8a7c9e2d1f0b3a54", "name": "db-1", "boot": {"id": "7a1e2c9d-4f3b-4c58-9e60-b1d2a3c4e5f6"}},
    "service": {"name": "redis-server.service"},
    "outlier": {
      "workload": {"name": "redis-server.service", "kind": "SYSTEMD_UNIT", "executable": "/usr/bin/redis-server", "unit": "redis-server.service", "user": "redis"},
      "score": 91.25,
      "state": {"processes": 1, "restarts": 0, "uptime_seconds": 86400.5, "cpu_utilization": 0.37, "memory_bytes": 432013312, "warming_up": false}}})json"));
  EXPECT_EQ(Parse(signal)["outlier"]["signal"], Parse(R"json({
    "name": "process.syscall.rate", "unit": "{call}/s", "series": "process.syscall.rate{syscall.class=file}",
    "attributes": {"syscall.class": "file"}, "value": 5120.0})json"));
  EXPECT_EQ(Parse(signal)["data_stream"]["dataset"], "outlier.signal");
  EXPECT_EQ(Parse(host)["event"], Parse(R"({"kind":"state","module":"outlier","dataset":"outlier.host"})"));
  EXPECT_EQ(Parse(host)["outlier"], Parse(R"json({
    "budget": {"false_alarms_per_week": {"promised": 1.0, "achieved": 0.8, "lower": 0.1, "upper": 2.9, "expected": 1.02},
               "cpu_percent": {"promised": 1.0, "achieved": 0.31}, "memory_bytes": {"promised": 134217728, "achieved": 63963136}},
    "host": {"uptime_seconds": 86400.25, "ticks": 86400, "workloads": 112, "processes": 431, "series": 4928, "warming_up": 3, "open_incidents": 4},
    "losses": {"exec_over_rate": 3, "ring_full_exec": 0, "workloads_full": 1}})json"));
}

}  // namespace
}  // namespace outlier
