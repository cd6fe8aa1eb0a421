#include "userspace/probes/identity_cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace outlier {
namespace {

const std::string kId = std::string(60, 'a') + "0123";
const std::string kPod = "/kubepods.slice/kubepods-pod11111111_2222_3333_4444_555555555555.slice/cri-containerd-" + kId + ".scope";

class IdentityCgroupTest : public testing::Test {
 protected:
  IdentityCgroupTest() : root_(testing::TempDir() + "/identity_cgroup." + std::to_string(getpid())) {}
  ~IdentityCgroupTest() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  IdentityObservation Described(const std::string& cgroup_path) {
    std::vector<IdentityObservation> seen(1);
    seen[0].cgroup_path = cgroup_path;
    cgroups_.Describe(&seen);
    return seen[0];
  }
  std::string Named(const std::string& cgroup_path) {
    const IdentityObservation seen = Described(cgroup_path);
    return seen.pod_namespace + "|" + seen.pod + "|" + seen.container_name;
  }

  const std::string root_;
  IdentityCgroup cgroups_{root_};
};

TEST_F(IdentityCgroupTest, ContainerdSaysWhichContainerOfWhichPodItIs) {
  Write("/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + kId + "/config.json",
        R"({"ociVersion": "1.1.0", "annotations": {"io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "billing",
            "io.kubernetes.cri.sandbox-name": "shop-7d9f-x2x", "io.kubernetes.cri.sandbox-namespace": "prod"}})");
  EXPECT_EQ(Named(kPod), "prod|shop-7d9f-x2x|billing");
}

TEST_F(IdentityCgroupTest, APodsSandboxIsItsPause) {
  Write("/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io/" + kId + "/config.json",
        R"({"annotations": {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-name": "shop", "io.kubernetes.cri.sandbox-namespace": "prod"}})");
  EXPECT_EQ(Named(kPod), "prod|shop|pause");
}

TEST_F(IdentityCgroupTest, DockerNamesItsContainers) {
  Write("/var/lib/docker/containers/" + kId + "/config.v2.json", R"({"ID": "x", "Name": "/web-1", "Config": {"Labels": {"com.docker.compose.service": "web"}}})");
  EXPECT_EQ(Named("/system.slice/docker-" + kId + ".scope"), "||web-1");
}

TEST_F(IdentityCgroupTest, CriOAndPodmanKeepNamesInTheirStorage) {
  Write("/var/lib/containers/storage/overlay-containers/" + kId + "/userdata/config.json",
        R"({"annotations": {"io.kubernetes.container.name": "api", "io.kubernetes.pod.name": "api-0", "io.kubernetes.pod.namespace": "prod"}})");
  EXPECT_EQ(Named("/kubepods.slice/crio-" + kId + ".scope"), "prod|api-0|api");
  const std::string other(64, 'b');
  Write("/var/lib/containers/storage/overlay-containers/containers.json", R"([{"id": "cc", "names": ["no"]}, {"id": ")" + other + R"(", "names": ["db"]}])");
  EXPECT_EQ(Named("/machine.slice/libpod-" + other + ".scope"), "||db");
}

TEST_F(IdentityCgroupTest, TheKubeletsLinksAreTheLastThatIsAsked) {
  Write("/var/log/containers/shop-7d9f_prod_billing-api-" + kId + ".log", "");
  EXPECT_EQ(Named(kPod), "prod|shop-7d9f|billing-api");
}

TEST_F(IdentityCgroupTest, WhatIsNoAnswerLeavesTheContainerWithoutAName) {
  EXPECT_EQ(Named(kPod), "||");
  const std::string path = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + kId + "/config.json";
  for (const char* text : {"", "{", "[]", "null", "7", R"({"annotations": []})", R"({"annotations": {"io.kubernetes.cri.container-name": 7}})", "\xff\xfe"}) {
    IdentityCgroup fresh(root_);
    Write(path, text);
    std::vector<IdentityObservation> seen(1);
    seen[0].cgroup_path = kPod;
    fresh.Describe(&seen);
    EXPECT_EQ(seen[0].container_name, "") << text;
  }
}

TEST_F(IdentityCgroupTest, ANameThatComesAMomentLaterIsFoundAndALongOneIsCut) {
  EXPECT_EQ(Named(kPod), "||");
  Write("/var/lib/docker/containers/" + kId + "/config.v2.json", R"({"Name": "/)" + std::string(5000, 'x') + "\"}");
  EXPECT_EQ(Described(kPod).container_name, std::string(253, 'x'));
}

TEST_F(IdentityCgroupTest, TheLeastLimitOnTheWayUpIsTheLimit) {
  Write("/sys/fs/cgroup/kubepods.slice/memory.max", "8589934592\n");
  Write("/sys/fs/cgroup/kubepods.slice/shop/memory.max", "536870912\n");
  Write("/sys/fs/cgroup/kubepods.slice/shop/web/memory.max", "max\n");
  EXPECT_EQ(Described("/kubepods.slice/shop/web").memory_limit_bytes, 512u << 20);
  Write("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Described("/docker").memory_limit_bytes, 0u) << "how version 1 says that there is none";
  Write("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "1048576\n");
  EXPECT_EQ(Described("/docker").memory_limit_bytes, 1u << 20) << "and it may change";
  EXPECT_EQ(Described("/none/at/all").memory_limit_bytes, 0u);
  EXPECT_EQ(Described("/../../kubepods.slice").memory_limit_bytes, 0u) << "of a cgroup outside of what is seen here";
}

}  // namespace
}  // namespace outlier
