// The table of probes that `status` and `probe doctor` show.
#pragma once
#include "outlier/v1/feed.pb.h"
#include "userspace/outlierctl/context.h"

namespace outlier::ctl {

void PrintProbes(Context& context, const v1::Status& status);

}  // namespace outlier::ctl
