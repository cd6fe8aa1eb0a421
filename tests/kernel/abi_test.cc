// The layout of what crosses into the kernel: the built object's own BTF against abi.h as this compiler sees it.
#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "bpf/abi.h"
#include "bpf/outlier.skel.h"

namespace outlier {
namespace {

class ObjectTypes : public ::testing::Test {
 protected:
  void SetUp() override {
    size_t size = 0;
    const void* elf = outlier_bpf__elf_bytes(&size);
    skeleton_bytes_.assign(static_cast<const char*>(elf), size);
    object_.reset(bpf_object__open_mem(skeleton_bytes_.data(), size, nullptr));
    ASSERT_NE(object_, nullptr);
    types_ = bpf_object__btf(object_.get());
    ASSERT_NE(types_, nullptr);
  }
  const btf_type* Struct(const char* name) const {
    const int id = btf__find_by_name_kind(types_, name, BTF_KIND_STRUCT);
    return id < 0 ? nullptr : btf__type_by_id(types_, id);
  }
  size_t Offset(const char* type, const std::string& member) const {
    const btf_type* t = Struct(type);
    for (int i = 0; t != nullptr && i < btf_vlen(t); ++i) {
      if (member == btf__name_by_offset(types_, btf_members(t)[i].name_off)) return btf_member_bit_offset(t, i) / 8;
    }
    return ~size_t{0};
  }

  std::string skeleton_bytes_;
  struct Close {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
  };
  std::unique_ptr<bpf_object, Close> object_;
  const btf* types_ = nullptr;
};

TEST_F(ObjectTypes, SizesAreWhatTheHeaderSays) {
#define EXPECT_SIZE(type)                  \
  ASSERT_NE(Struct(#type), nullptr);       \
  EXPECT_EQ(Struct(#type)->size, sizeof(type))
  EXPECT_SIZE(outlier_account);
  EXPECT_SIZE(outlier_assignment);
  EXPECT_SIZE(outlier_executable);
  EXPECT_SIZE(outlier_executable_use);
  EXPECT_SIZE(outlier_syscalls);
  EXPECT_SIZE(outlier_process);
  EXPECT_SIZE(outlier_event);
  EXPECT_SIZE(outlier_end_event);
  EXPECT_SIZE(outlier_exec_event);
  EXPECT_SIZE(outlier_oom_event);
}

TEST_F(ObjectTypes, OffsetsAreWhatTheHeaderSays) {
  EXPECT_EQ(Offset("outlier_account", "syscalls_moved"), offsetof(outlier_account, syscalls_moved));
  EXPECT_EQ(Offset("outlier_process", "cgroup_id"), offsetof(outlier_process, cgroup_id));
  EXPECT_EQ(Offset("outlier_process", "in_flight_ns"), offsetof(outlier_process, in_flight_ns));
  EXPECT_EQ(Offset("outlier_process", "comm"), offsetof(outlier_process, comm));
  EXPECT_EQ(Offset("outlier_syscalls", "buckets"), offsetof(outlier_syscalls, buckets));
  EXPECT_EQ(Offset("outlier_event", "time_ns"), offsetof(outlier_event, time_ns));
  EXPECT_EQ(Offset("outlier_exec_event", "path"), offsetof(outlier_exec_event, path));
  EXPECT_EQ(Offset("outlier_exec_event", "arguments"), offsetof(outlier_exec_event, arguments));
  EXPECT_EQ(Offset("outlier_oom_event", "limit_pages"), offsetof(outlier_oom_event, limit_pages));
}

// The memory that is reported for maps counts on these (userspace/loader/map_memory.cc).
TEST_F(ObjectTypes, TaskStorageIsAsLargeAsItsAccountingBelieves) {
  EXPECT_EQ(Struct("thread_state")->size, 112u);
  EXPECT_EQ(Struct("process_sums")->size, 208u);
  EXPECT_EQ(Struct("process_syscalls")->size, 1952u);
}

}  // namespace
}  // namespace outlier
