// A config.json with every member that oci::Spec knows, none with its initial value.
#pragma once

#include <string_view>

namespace kata::oci {

inline constexpr std::string_view kFullSpecJson = R"json({
  "ociVersion": "1.2.0",
  "process": {
    "terminal": true,
    "consoleSize": {"height": 25, "width": 80},
    "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [5, 4294967294], "username": "alice"},
    "args": ["sh", "-c", "echo \"ü\""],
    "env": ["PATH=/bin", "EMPTY="],
    "cwd": "/home",
    "capabilities": {
      "bounding": ["CAP_KILL"], "effective": ["CAP_CHOWN"], "inheritable": ["CAP_NET_RAW"],
      "permitted": ["CAP_SYS_ADMIN", "CAP_KILL"], "ambient": ["CAP_MKNOD"]
    },
    "rlimits": [
      {"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 512},
      {"type": "RLIMIT_CORE", "hard": 18446744073709551615, "soft": 0}
    ],
    "noNewPrivileges": true,
    "apparmorProfile": "profile",
    "oomScoreAdj": -5,
    "scheduler": {
      "policy": "SCHED_DEADLINE", "nice": -3, "priority": 7, "flags": ["SCHED_FLAG_RECLAIM"],
      "runtime": 1000, "deadline": 2000, "period": 18446744073709551615
    },
    "selinuxLabel": "system_u:system_r:container_t:s0",
    "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    "execCPUAffinity": {"initial": "0-1", "final": "2,3"}
  },
  "root": {"path": "rootfs", "readonly": true},
  "hostname": "box",
  "domainname": "example.org",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {
      "destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "ro"],
      "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
      "gidMappings": [{"containerID": 3, "hostID": 2000, "size": 4294967295}]
    }
  ],
  "hooks": {
    "prestart": [{"path": "/bin/a", "args": ["a", "b"], "env": ["K=V"], "timeout": 30}],
    "createRuntime": [{"path": "/bin/b"}],
    "createContainer": [{"path": "/bin/c"}],
    "startContainer": [{"path": "/bin/d"}],
    "poststart": [{"path": "/bin/e"}],
    "poststop": [{"path": "/bin/f"}, {"path": "/bin/g"}]
  },
  "annotations": {"org.example/key": "value", "empty": ""},
  "linux": {
    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
    "gidMappings": [{"containerID": 1, "hostID": 200000, "size": 65535}],
    "sysctl": {"net.ipv4.ip_forward": "1"},
    "resources": {
      "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 5, "minor": 0}],
      "memory": {
        "limit": 9223372036854775807, "reservation": -1, "swap": 9223372036854775807, "kernel": 0, "kernelTCP": 5,
        "swappiness": 60, "disableOOMKiller": false, "useHierarchy": true, "checkBeforeUpdate": true
      },
      "cpu": {
        "shares": 1024, "quota": -1, "burst": 10, "period": 100000, "realtimeRuntime": 950000,
        "realtimePeriod": 1000000, "cpus": "0-3", "mems": "0", "idle": 1
      },
      "pids": {"limit": 100},
      "blockIO": {
        "weight": 10, "leafWeight": 65535,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 600}],
        "throttleWriteBpsDevice": [{"major": 8, "minor": 2, "rate": 18446744073709551615}],
        "throttleReadIOPSDevice": [{"major": 8, "minor": 3, "rate": 300}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 4, "rate": 200}]
      },
      "hugepageLimits": [{"pageSize": "2MB", "limit": 209715200}],
      "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
      "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {}},
      "unified": {"memory.high": "1073741824"}
    },
    "cgroupsPath": "/pods/box",
    "namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}, {"type": "user"}],
    "devices": [
      {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 7},
      {"path": "/dev/pipe", "type": "p"}
    ],
    "seccomp": {
      "defaultAction": "SCMP_ACT_ERRNO",
      "defaultErrnoRet": 38,
      "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
      "flags": ["SECCOMP_FILTER_FLAG_LOG"],
      "listenerPath": "/run/seccomp.sock",
      "listenerMetadata": "metadata",
      "syscalls": [
        {
          "names": ["clone", "getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
          "args": [{"index": 5, "value": 18446744073709551615, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}]
        },
        {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
      ]
    },
    "rootfsPropagation": "rslave",
    "maskedPaths": ["/proc/kcore"],
    "readonlyPaths": ["/proc/sys"],
    "mountLabel": "system_u:object_r:container_file_t:s0",
    "intelRdt": {"closID": "group", "l3CacheSchema": "L3:0=ffff0", "memBwSchema": "MB:0=20"},
    "personality": {"domain": "LINUX32", "flags": ["reserved"]},
    "timeOffsets": {"monotonic": {"secs": -172800, "nanosecs": 5}}
  }
})json";

}  // namespace kata::oci
