#include "userspace/base/file.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

namespace outlier {
namespace {

class FileTest : public ::testing::Test {
 protected:
  FileTest() {
    char name[] = "/tmp/file_test.XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~FileTest() override { std::filesystem::remove_all(folder_); }
  std::string folder_;
};

TEST_F(FileTest, WhatIsWrittenIsReadBackAndNothingElseIsLeft) {
  const std::string path = folder_ + "/a";
  const std::string content("x\0\xff\n", 4);
  ASSERT_TRUE(WriteFileAtomically(path, "older and longer").ok());
  ASSERT_TRUE(WriteFileAtomically(path, content, 0600).ok());
  EXPECT_EQ(*ReadFile(path), content);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
  struct stat status;
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(FileTest, ErrorsNameWhatWasTriedAndOnWhat) {
  const absl::Status missing = ReadFile(folder_ + "/none").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(missing.message().find(folder_ + "/none"), absl::string_view::npos);
  EXPECT_EQ(WriteFileAtomically(folder_ + "/no/folder", "x").code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(folder_ + "/big", std::string(100, 'x')).ok());
  EXPECT_EQ(ReadFile(folder_ + "/big", 99).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(ReadFile(folder_ + "/big", 100).ok());
  EXPECT_FALSE(ReadFile(folder_).ok());
  EXPECT_FALSE(MakeFolders(folder_ + "/big/below").ok());
  EXPECT_EQ(ErrnoStatus("open", "a\nb", EACCES).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ErrnoStatus("open", "a\nb", ENOSPC).message().find('\n'), absl::string_view::npos);
}

TEST_F(FileTest, FoldersAreMadeAndMayExist) {
  EXPECT_TRUE(MakeFolders(folder_ + "/a/b/c").ok());
  EXPECT_TRUE(MakeFolders(folder_ + "/a/b/c").ok());
  EXPECT_TRUE(std::filesystem::is_directory(folder_ + "/a/b/c"));
}

TEST_F(FileTest, ADamagedFileIsSetAsideUnderANewNameEachTime) {
  for (int n = 1; n <= 2; ++n) {
    ASSERT_TRUE(WriteFileAtomically(folder_ + "/s", std::to_string(n)).ok());
    EXPECT_EQ(*SetAside(folder_ + "/s"), folder_ + "/s.damaged-" + std::to_string(n));
  }
  EXPECT_EQ(*ReadFile(folder_ + "/s.damaged-1"), "1");
  EXPECT_FALSE(SetAside(folder_ + "/s").ok());
}

}  // namespace
}  // namespace outlier
