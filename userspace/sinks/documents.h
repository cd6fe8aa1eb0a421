// What findings and samples are as documents of Elasticsearch and OpenSearch: fields of ECS where it has one, else below `outlier`. Which fields there
// are is described in deploy/search/generate.py, which makes the mappings. Pure functions.
#pragma once
#include <string>
#include <string_view>

#include "userspace/delivery/finding.h"

namespace outlier {

// Replaces *out by the document of a change or of a gap without its opening brace: `"@timestamp":...}`. It goes into a data stream and into an index,
// into the one behind AppendDataStream().
void WriteFinding(const Finding& finding, WallTime now, std::string* out);

// Appends whole documents. `stream_namespace`: of the data stream.
void AppendScore(const Samples& samples, const v1::WorkloadState& state, std::string_view stream_namespace, WallTime now, std::string* out);
void AppendSignal(const Samples& samples, const v1::WorkloadState& state, const v1::SeriesValue& value, std::string_view stream_namespace, WallTime now,
                  std::string* out);
void AppendHost(const Samples& samples, std::string_view stream_namespace, WallTime now, std::string* out);  // of samples.status

// `{"data_stream":{...},`: what a document in a data stream begins with.
void AppendDataStream(std::string_view type, std::string_view dataset, std::string_view stream_namespace, std::string* out);

// What a gap record says: "changes 60 to 99 of the feed of db-1 did not arrive (compacted): 40 are lost".
std::string GapSentence(const Finding& finding);

}  // namespace outlier
