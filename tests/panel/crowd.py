"""Opens many connections and holds them: `crowd.py ADDRESS COUNT SECONDS HEAD`, with a port or a socket's path.

Each says HEAD and no more. Prints what became of them as JSON, when all are open or the seconds are over, and holds
on until its input ends.
"""

from __future__ import annotations

import errno
import json
import resource
import selectors
import socket
import sys
import time

AT_ONCE = 100
"""Connections that are being opened; more than a listener lets wait would only be dropped."""


class Crowd:
    def __init__(self, address: str, head: bytes) -> None:
        self.address: tuple[str, int] | str = ("127.0.0.1", int(address)) if address.isdecimal() else address
        self.family = socket.AF_INET if address.isdecimal() else socket.AF_UNIX
        self.head = head
        self.open: list[socket.socket] = []
        self.opening = selectors.DefaultSelector()
        self.refused = 0

    def begin(self) -> bool:
        one = socket.socket(self.family)
        one.setblocking(False)
        code = one.connect_ex(self.address)
        if code == 0:
            self.hold(one)
        elif code == errno.EINPROGRESS:
            self.opening.register(one, selectors.EVENT_WRITE)
        else:
            one.close()
            return False  # so many wait already: once more
        return True

    def hold(self, one: socket.socket) -> None:
        try:
            one.send(self.head)
        except OSError:
            self.refused += 1
        self.open.append(one)

    def go_on(self) -> None:
        for key, _ in self.opening.select(0.05):
            one = key.fileobj
            assert isinstance(one, socket.socket)
            self.opening.unregister(one)
            if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.refused += 1
                one.close()
            else:
                self.hold(one)


def main(address: str, count: str, seconds: str, head: str) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd, begun, deadline = Crowd(address, head.encode()), 0, time.monotonic() + float(seconds)
    while len(crowd.open) + crowd.refused < int(count) and time.monotonic() < deadline:
        while begun < int(count) and len(crowd.opening.get_map()) < AT_ONCE:
            if not crowd.begin():
                time.sleep(0.001)
                break
            begun += 1
        if crowd.opening.get_map():
            crowd.go_on()
    print(json.dumps({"begun": begun, "opened": len(crowd.open), "refused": crowd.refused}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
