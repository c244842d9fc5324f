"""What a service manager does for its services (sd_notify(3)), and how a program without a library talks to it."""

import os
import socket
import threading


class ServiceManager:
    """A socket for NOTIFY_SOCKET. `messages` are those that have come; a barrier is answered at once."""

    def __init__(self, path):
        self.messages = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            message, fds, _, _ = socket.recv_fds(self.socket, 4096, 1)
            for fd in fds:
                os.close(fd)
            if not message:
                return
            self.messages.append(message.decode())

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.socket.getsockname())
        self.thread.join()
        self.socket.close()


# Shell: a function that sends its argument to NOTIFY_SOCKET. Perl without its modules; 1 is AF_UNIX, 2 SOCK_DGRAM.
NOTIFY = """notify() {
  perl -e 'socket(S, 1, 2, 0) && connect(S, pack("Sa*", 1, $ENV{NOTIFY_SOCKET})) && defined send(S, $ARGV[0], 0) or die $!' "$1"
}
"""
