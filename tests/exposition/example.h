// A page with every metric: two sources, one of them away, hostile names, two sinks.
#pragma once
#include "tests/sinks/examples.h"
#include "userspace/exposition/exposition.h"

namespace outlier::examples {

inline constexpr char kAddress[] = "unix:///run/outlierd/outlierd.sock";

inline std::vector<relay::v1::SinkStatus> Sinks() {
  std::vector<relay::v1::SinkStatus> sinks(2);
  sinks[0].set_name("search");
  sinks[0].set_state(relay::v1::SinkStatus::DELIVERING);
  sinks[0].set_delivered(1234);
  sinks[0].set_retried(5);
  sinks[0].mutable_last_success_time()->set_seconds(1'772'359'800);
  sinks[0].mutable_last_success_time()->set_nanos(500'000'000);
  relay::v1::SourcePosition* position = sinks[0].add_sources();
  position->set_source(kAddress);
  position->set_host_name("db-1");
  position->set_feed_id(kFeedId);
  position->set_sequence(100);
  position->set_last_sequence(110);
  position->mutable_lag()->set_seconds(3);
  position->mutable_lag()->set_nanos(250'000'000);
  position->set_connected(true);
  sinks[1].set_name("on\"call\\\n");
  sinks[1].set_state(relay::v1::SinkStatus::SUSPENDED);
  sinks[1].set_refused(2);
  sinks[1].set_expired(1);
  sinks[1].set_dead_letters(2);
  *sinks[1].add_sources() = *position;
  relay::v1::SourcePosition* away = sinks[1].add_sources();
  away->set_source("web-1:7443");
  away->set_host_name("web-1");
  away->set_feed_id("feed-of-web-1");
  return sinks;
}

inline void Fill(Exposition* exposition) {
  exposition->SetOpen(Source(), {});
  for (const Finding& finding : {Opened(), Updated(), RestartLoop(), Silenced(), Minimal(), Hostile(), GapRecord()}) exposition->Observe(finding);
  exposition->SetOpen(Source(), std::vector{Updated().incident(), RestartLoop().incident(), Hostile().incident()});
  exposition->Observe(HostStatus());
  Samples hostile = HostileSamples();
  hostile.source.set_feed_id("feed-of-web-2");
  hostile.sample.set_lost(7);
  exposition->Observe(hostile);
  exposition->SetStatus(kAddress, *HostStatus().status);
  exposition->SetSinks(Sinks());
  exposition->SetSilences(1);
}

}  // namespace outlier::examples
