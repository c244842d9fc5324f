"""The agent in a VM that the test starts by hand: disks, interfaces and memory that come and go, which need a
machine of their own. The test speaks the agent API itself (ttrpc over the virtio-serial port)."""

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import harness

MAC, LATE_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
MIB = 1 << 20


# --- protobuf: what the few messages here need ---


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """A string, bytes (also a message) or an unsigned number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def parse(data):
    """[(number, value)]; messages stay bytes."""
    fields, at = [], 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            fields.append((tag >> 3, number()))
        else:
            assert tag & 7 == 2, f"wire type {tag & 7}"
            length = number()
            fields.append((tag >> 3, data[at:at + length]))
            at += length
    return fields


def storage(driver, source, mount_point, fstype="ext4", options=("ro",)):
    return (field(1, driver) + field(3, source) + field(4, fstype) +
            b"".join(field(5, option) for option in options) + field(6, mount_point))


def interface(name, mac, address, device_path=""):
    return (field(2, name) + field(3, field(2, address) + field(3, "24")) + field(4, 1400) + field(5, mac) +
            field(6, device_path))


class Refused(Exception):
    pass


class Agent:
    """Calls over one connection, one at a time."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(harness.COMMAND_TIMEOUT_S)
        self.socket.connect(path)
        self.stream = -1

    def close(self):
        self.socket.close()

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError("the agent closed the connection")
            data += part
        return data

    def call(self, method, payload=b"", service="grpc.AgentService"):
        self.stream += 2
        request = field(1, service) + field(2, method) + field(3, payload)
        self.socket.sendall(struct.pack(">IIBB", len(request), self.stream, 1, 0) + request)
        size, stream, kind, _ = struct.unpack(">IIBB", self.read(10))
        assert (stream, kind) == (self.stream, 2), (stream, kind)
        response = dict(parse(self.read(size)))
        status = dict(parse(response.get(1, b"")))
        if status.get(1, 0) != 0:
            raise Refused(f"{status[1]}: {status.get(2, b'').decode()}")
        return response.get(2, b"")

    def metrics(self):
        text = dict(parse(self.call("GetMetrics")))[1].decode()
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(harness.COMMAND_TIMEOUT_S)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r")
        self.lines.readline()  # the greeting
        self.execute("qmp_capabilities")

    def close(self):
        self.lines.close()
        self.socket.close()

    def execute(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self.lines.readline())
            if "error" in answer:
                raise AssertionError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]


class Machine(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="kata-e2e-agent-")
        self.addCleanup(shutil.rmtree, self.directory)
        content = self.path("content")
        os.mkdir(content)
        for name in "cold", "hot", "scsi", "pmem":
            subprocess.run(["mkfs.ext4", "-q", "-F", "-d", content, self.path(name), "16M"], check=True)
        with open(self.path("swap"), "wb") as f:
            f.truncate(16 * MIB)
        os.chmod(self.path("swap"), 0o600)
        subprocess.run(["mkswap", "-q", self.path("swap")], check=True)
        self.start()

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self):
        command = [
            harness.QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-machine",
            "q35,accel=tcg,sata=off,usb=off,i8042=off,smm=off,nvdimm=on", "-cpu", "max", "-smp", "1", "-m",
            "size=256M,slots=2,maxmem=1G", "-qmp", f"unix:{self.path('qmp')},server=on,wait=off", "-chardev",
            f"file,id=console,path={self.path('console')}", "-chardev",
            f"socket,id=agent,path={self.path('agent')},server=on,wait=off", "-device",
            "virtio-serial-pci,id=serial0,disable-legacy=on", "-device", "virtconsole,chardev=console", "-device",
            "virtserialport,chardev=agent,name=agent.channel.0", "-device", "pcie-root-port,id=port0,addr=3,chassis=1",
            "-device", "pcie-root-port,id=port1,addr=4,chassis=2", "-device", "virtio-scsi-pci,id=scsi0,addr=8",
            "-netdev", "hubport,id=net0,hubid=0", "-device", f"virtio-net-pci,netdev=net0,mac={MAC},addr=7,romfile=",
            "-netdev", "hubport,id=net1,hubid=0"
        ]
        for name, device in ("cold", "virtio-blk-pci,addr=5,"), ("swap", "virtio-blk-pci,addr=6,"), ("hot", ""), (
                "scsi", ""):
            command += ["-drive", f"if=none,id={name},format=raw,file={self.path(name)}"]
            if device:
                command += ["-device", device + f"drive={name}"]
        command += [
            "-kernel", harness.KERNEL, "-initrd", harness.INITRD, "-append",
            "clocksource=hpet tsc=unstable no_timer_check noreplace-smp reboot=t net.ifnames=0 console=hvc0 panic=1 "
            "agent.server_addr=serial://agent.channel.0 agent.hotplug_timeout=60 agent.log=debug"
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

        def stop():
            process.kill()
            process.wait()

        self.addCleanup(stop)
        harness.wait_until(lambda: os.path.exists(self.path("agent")) and os.path.exists(self.path("qmp")),
                           "the sockets of the VM")
        self.qmp = Qmp(self.path("qmp"))
        self.addCleanup(self.qmp.close)
        self.agent = Agent(self.path("agent"))
        self.addCleanup(self.agent.close)
        try:
            self.agent.call("Check", service="grpc.Health")
        except (OSError, EOFError) as error:
            with open(self.path("console"), errors="replace") as f:
                raise AssertionError(f"the agent does not answer; the console ends in\n{f.read()[-3000:]}") from error

    def volume_bytes(self, path):
        for number, value in parse(self.agent.call("GetVolumeStats", field(1, path))):
            usage = dict(parse(value)) if number == 1 else {}
            if usage.get(4) == 1:
                return usage[2]
        raise AssertionError("no bytes in the answer")

    def test_disks(self):
        base = "/run/kata-containers/sandbox/storage/"
        # Plugged in only after the agent has been told to expect them.
        self.qmp.execute("device_add", driver="scsi-hd", id="disk1", bus="scsi0.0", drive="scsi", **{
            "scsi-id": 0,
            "lun": 1
        })
        self.qmp.execute("device_add", driver="virtio-blk-pci", id="disk0", bus="port0", drive="hot")
        self.qmp.execute("object-add", **{"qom-type": "memory-backend-file", "id": "pmem", "mem-path": self.path("pmem"),
                                          "size": 16 * MIB, "share": True})
        self.qmp.execute("device_add", driver="nvdimm", id="nvdimm0", memdev="pmem")
        storages = [("blk", "05", "cold"), ("blk", "03/00", "hot"), ("scsi", "0:1", "scsi"),
                    ("mmioblk", "/dev/vda", "by-node"), ("nvdimm", "/dev/pmem0", "pmem")]
        self.agent.call("CreateSandbox",
                        b"".join(field(3, storage(driver, source, base + name)) for driver, source, name in storages))
        for _, _, name in storages:
            self.assertTrue(8 * MIB < self.volume_bytes(base + name) < 17 * MIB, name)
        self.agent.call("AddSwap", field(1, bytes([6])))
        self.assertGreater(int(self.agent.metrics()['kata_guest_meminfo{item="swap_total"}']), 15 * MIB)
        with self.assertRaisesRegex(Refused, "swap on '/dev/vd.': "):
            self.agent.call("AddSwap", field(1, bytes([5])))
        self.agent.call("DestroySandbox")

    def test_interfaces(self):
        self.agent.call("UpdateInterface", field(1, interface("eth5", MAC, "192.0.2.10")))
        self.qmp.execute("device_add", driver="virtio-net-pci", id="nic1", bus="port1", netdev="net1", mac=LATE_MAC,
                         romfile="")
        self.agent.call("UpdateInterface", field(1, interface("eth6", LATE_MAC, "198.51.100.10", "04/00")))
        interfaces = self.agent.call("ListInterfaces")
        for text in b"eth5", b"192.0.2.10", b"eth6", b"198.51.100.10", MAC.encode(), LATE_MAC.encode():
            self.assertIn(text, interfaces)
        route = field(2, "192.0.2.1") + field(3, "eth5")
        routes = self.agent.call("UpdateRoutes", field(1, field(1, route)))
        self.assertIn(b"0.0.0.0", routes)
        self.assertIn(b"198.51.100.0/24", routes)
        neighbour = field(1, field(2, "192.0.2.1")) + field(2, "eth5") + field(3, "02:00:00:00:00:99")
        self.agent.call("AddARPNeighbors", field(1, field(1, neighbour)))
        with self.assertRaisesRegex(Refused, "12: .*no program 'iptables-save'"):
            self.agent.call("GetIPTables")

    def test_memory(self):
        before = self.agent.metrics()
        self.qmp.execute("object-add", **{"qom-type": "memory-backend-ram", "id": "more", "size": 128 * MIB})
        self.qmp.execute("device_add", driver="pc-dimm", id="dimm0", memdev="more")

        # The kernel takes the memory into use in its own time, before or after this.
        self.agent.call("OnlineCPUMem")
        total = 'kata_guest_meminfo{item="mem_total"}'
        harness.wait_until(lambda: int(self.agent.metrics()[total]) - int(before[total]) >= 120 * MIB, "the memory")
        # Containers may take of it what they may take of the rest: all but the reserve.
        expected = int(self.agent.metrics()[total]) - 32 * MIB

        def limit():
            with open(self.path("console"), errors="replace") as f:
                logged = re.findall(r'"limits of all containers".*"memory":"(\d+)"', f.read())
            return int(logged[-1]) if logged else 0
        harness.wait_until(lambda: abs(limit() - expected) < 4 * MIB, "the limit of the containers")
        with self.assertRaisesRegex(Refused, "12: .*no probe interface"):
            self.agent.call("MemHotplugByProbe", field(1, bytes([0])))
        for method in "ResizeVolume", "SetPolicy", "MemAgentMemcgSet", "MemAgentCompactSet":
            with self.assertRaisesRegex(Refused, "^12: "):
                self.agent.call(method)


if __name__ == "__main__":
    unittest.main()
