"""Terminals: in the foreground, through a console socket, resized while running."""

import array
import fcntl
import json
import os
import pty
import signal
import socket
import struct
import subprocess
import termios

import harness
from harness import KataTest, processes_with, wait_until


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class TerminalReader:
    """Collects what a pty master shows until its other side is gone."""

    def __init__(self, master):
        self.master = master
        self.text = ""
        os.set_blocking(master, False)

    def poll(self):
        try:
            while True:
                data = os.read(self.master, 65536)
                if not data:
                    break
                self.text += data.decode(errors="replace")
        except (BlockingIOError, OSError):
            pass
        return self.text

    def wait_for(self, text):
        wait_until(lambda: text in self.poll(), f"{text!r} on the terminal, which shows {self.text!r}",
                   3 * harness.SETTLE_TIMEOUT_S)


class Terminal(KataTest):
    def terminal_bundle(self, *args):
        bundle = self.bundle(*args)
        bundle.config["process"]["terminal"] = True
        bundle.write()
        return bundle

    def receive_console(self, listener):
        connection, _ = listener.accept()
        with connection:
            fds = array.array("i")
            _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_LEN(fds.itemsize))
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(data[:fds.itemsize])
        return fds[0]

    def console_socket(self):
        path = os.path.join(self.dir, "console.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.settimeout(harness.COMMAND_TIMEOUT_S)
        listener.bind(path)
        listener.listen()
        self.addCleanup(listener.close)
        return path, listener

    def test_console_socket_resize_and_exit(self):
        path, listener = self.console_socket()
        # A trapped signal ends busybox's read with an error, hence "|| continue".
        bundle = self.terminal_bundle("sh", "-c", "tty; stty size; trap 'stty size' WINCH; echo ready; "
                                      "while :; do read line || continue; echo \"got $line\"; [ $line = quit ] && exit 3; done")
        container = self.new_id()
        self.kata("create", "--bundle", bundle.path, "--console-socket", path, "--pid-file", self.pid_file(container),
                  container)
        master = self.receive_console(listener)
        self.addCleanup(os.close, master)
        set_size(master, 30, 90)
        terminal = TerminalReader(master)
        self.kata("start", container)
        terminal.wait_for("ready")
        self.assertRegex(terminal.text, "^/dev/pts/0\r\n30 90\r\n")
        set_size(master, 41, 133)
        terminal.wait_for("41 133")
        os.write(master, b"hello\n")
        terminal.wait_for("got hello")
        os.write(master, b"quit\n")
        self.wait_status(container, "stopped")
        self.kata("delete", container)

    def test_foreground_run_on_a_terminal(self):
        bundle = self.terminal_bundle("sh", "-c", "stty size; echo ready; read x; echo got $x; exit 9")
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        set_size(master, 25, 77)
        process = subprocess.Popen(self.command("run", "--bundle", bundle.path, self.new_id()), stdin=slave,
                                   stdout=slave, stderr=slave, env=self.environment, start_new_session=True)
        os.close(slave)
        terminal = TerminalReader(master)
        terminal.wait_for("ready")
        self.assertIn("25 77", terminal.text)
        os.write(master, b"input\r")
        terminal.wait_for("got input")
        self.assertEqual(process.wait(timeout=harness.COMMAND_TIMEOUT_S), 9)

    def test_files_get_lines_as_they_were_written(self):
        container = self.create(self.bundle("sleep", "600"))
        self.kata("start", container)
        executed = self.kata("exec", "--tty", container, "sh", "-c", "[ -t 1 ] && echo one; echo two")
        self.assertEqual(executed.stdout, "one\ntwo\n")
        self.kata("delete", "--force", container)
        run = self.kata("run", "--bundle", self.terminal_bundle("sh", "-c", "[ -t 1 ] && echo one; echo two").path,
                        self.new_id())
        self.assertEqual(run.stdout, "one\ntwo\n")

    def test_ctrl_c_reaches_the_foreground_process(self):
        path, listener = self.console_socket()
        container = self.new_id()
        self.kata("create", "--bundle",
                  self.terminal_bundle("sh", "-c", "trap 'echo interrupted; exit 4' INT; echo ready; "
                                       "while :; do sleep 0.1; done").path, "--console-socket", path, container)
        master = self.receive_console(listener)
        self.addCleanup(os.close, master)
        terminal = TerminalReader(master)
        self.kata("start", container)
        terminal.wait_for("ready")
        os.write(master, b"\x03")
        terminal.wait_for("interrupted")
        self.wait_status(container, "stopped")
        self.kata("delete", container)

    def test_exec_with_a_terminal(self):
        container = self.create(self.bundle("sleep", "600"))
        self.kata("start", container)
        path, listener = self.console_socket()
        process = os.path.join(self.dir, "process.json")
        with open(process, "w", encoding="utf-8") as f:
            json.dump({"terminal": True, "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
                       "args": ["sh", "-c", "tty; stty size; echo yes"], "consoleSize": {"height": 21, "width": 71}}, f)
        self.kata("exec", "--process", process, "--detach", "--console-socket", path, container)
        master = self.receive_console(listener)
        self.addCleanup(os.close, master)
        terminal = TerminalReader(master)
        terminal.wait_for("yes")
        self.assertIn("/dev/pts/0\r\n21 71\r\n", terminal.text)
        self.kata("delete", "--force", container)

    def test_detached_terminal_needs_a_console_socket(self):
        bundle = self.terminal_bundle("sh")
        result = self.kata("create", "--bundle", bundle.path, self.new_id(), check=False)
        self.assert_one_line_error(result, "console socket")

    def test_signal_to_a_foreground_run_reaches_the_container(self):
        bundle = self.bundle("sh", "-c", "trap 'echo term; exit 6' TERM; echo ready; while :; do sleep 0.1; done")
        process = subprocess.Popen(self.command("run", "--bundle", bundle.path, self.new_id()), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        self.assertEqual((process.returncode, out), (6, "term\n"), err)

    @staticmethod
    def silent_process(name):
        """It says by a file, and not by output, that it is ready for a signal."""
        return "sh", "-c", f"trap 'exit 6' INT; > /tmp/{name}; while :; do sleep 0.1; done"

    def start_in_foreground(self, ready, *command):
        process = subprocess.Popen(self.command(*command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment, text=True)
        wait_until(lambda: os.path.exists(ready), "the process to be ready", harness.COMMAND_TIMEOUT_S)
        return process

    def test_ctrl_c_before_any_output(self):
        bundle = self.bundle(*self.silent_process("run"))
        container = self.new_id()
        run = self.start_in_foreground(os.path.join(bundle.rootfs, "tmp/run"), "run", "--bundle", bundle.path, container)
        # The process may run before the client knows, which takes a signal until then for the end of the start.
        pid_file = os.path.join(self.dir, "exec.pid")
        execution = self.start_in_foreground(os.path.join(bundle.rootfs, "tmp/exec"), "exec", "--pid-file", pid_file,
                                             container, *self.silent_process("exec"))
        wait_until(lambda: os.path.exists(pid_file), "the client to know", harness.COMMAND_TIMEOUT_S)
        for process in (execution, run):
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
            self.assertEqual((process.returncode, out, err), (6, "", ""))

    def test_ctrl_c_while_an_exec_starts(self):
        container = self.create(self.bundle("sleep", "600"))
        self.kata("start", container)
        os.kill(self.vmm_pid(container), signal.SIGSTOP)  # so that it does not get further than that
        process = subprocess.Popen(self.command("exec", container, "sleep", "4711"), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment, text=True)
        wait_until(lambda: any(c.strip() == "sleep 4711" for _, c in processes_with(self.marker)), "kata-shim of the exec")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=harness.COMMAND_TIMEOUT_S)
        os.kill(self.vmm_pid(container), signal.SIGCONT)
        self.assertNotEqual(process.returncode, 0)
        self.assertIn("interrupted by SIGINT", err)
        wait_until(lambda: "4711" not in self.kata("exec", container, "ps", "-o", "args").stdout,
                   "the process in the guest to be gone")
        self.assertEqual(self.state(container)["status"], "running")
        self.kata("delete", "--force", container)


if __name__ == "__main__":
    harness.main()
