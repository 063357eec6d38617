"""Opens many connections and holds them: python -m benchmarks.crowd ADDRESS COUNT SECONDS HEAD [--again]

ADDRESS is a port or a socket's path. Each says HEAD and no more; with `--again`, a byte more each second, in which a
new one is opened for each that was ended. Prints what became of them as JSON, when all are open or the seconds are
over, and once more when its input ends, until when it holds on.
"""

from __future__ import annotations

import errno
import json
import resource
import selectors
import socket
import sys
from time import monotonic, sleep

AT_ONCE = 100
"""Connections that are being opened; more than a listener lets wait would only be dropped."""

DRIBBLE = 1.0
"""Seconds between two bytes."""


class Crowd:
    """Connections to one address.

    Attributes:
        missing: how many are still to be begun.
        opened: how many were there.
        refused: how many were not let in.
        ended: how many were ended by the other side, as far as that was looked at.
    """

    def __init__(self, address: str, count: int, head: bytes) -> None:
        self._address: tuple[str, int] | str = ("127.0.0.1", int(address)) if address.isdecimal() else address
        self._family = socket.AF_INET if address.isdecimal() else socket.AF_UNIX
        self._count = count
        self._head = head
        self._open: set[socket.socket] = set()
        self._opening = selectors.DefaultSelector()
        self.missing = count
        self.begun = self.opened = self.refused = self.ended = 0

    def is_under_way(self) -> bool:
        return bool(self.missing or self._opening.get_map())

    def go_on(self) -> None:
        """Begin as many as there is room for, and take those that are there."""
        while self.missing and len(self._opening.get_map()) < AT_ONCE:
            if not self._begin():
                sleep(0.001)  # so many wait already: once more
                break
        if self._opening.get_map():
            for key, _ in self._opening.select(0.05):
                one = key.fileobj
                assert isinstance(one, socket.socket)
                self._opening.unregister(one)
                if one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    self.refused += 1
                    one.close()
                else:
                    self._hold(one)

    def _begin(self) -> bool:
        one = socket.socket(self._family)
        one.setblocking(False)
        code = one.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            one.close()
            return False
        self.missing -= 1
        self.begun += 1
        if code == 0:
            self._hold(one)
        else:
            self._opening.register(one, selectors.EVENT_WRITE)
        return True

    def _hold(self, one: socket.socket) -> None:
        self.opened += 1
        self._open.add(one)
        self._say(one, self._head)

    def dribble(self) -> None:
        """Say a byte more, and have those that were ended opened anew."""
        for one in [*self._open]:
            self._say(one, self._head[-1:])
            if one in self._open and _is_ended(one):
                self._let_go(one)
        self.missing = self._count - len(self._open) - len(self._opening.get_map())

    def _say(self, one: socket.socket, text: bytes) -> None:
        try:
            one.send(text)
        except BlockingIOError:
            pass  # it is not listened to
        except OSError:
            self._let_go(one)

    def _let_go(self, one: socket.socket) -> None:
        self.ended += 1
        self._open.remove(one)
        one.close()

    def tell(self) -> None:
        told = {"begun": self.begun, "opened": self.opened, "refused": self.refused, "ended": self.ended}
        print(json.dumps(told), flush=True)


def _is_ended(one: socket.socket) -> bool:
    """Whether the other side has answered, which is the end of it, or gone."""
    try:
        one.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def main(address: str, count: str, seconds: str, head: str, *again: str) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd, deadline = Crowd(address, int(count), head.encode()), monotonic() + float(seconds)
    while crowd.is_under_way() and monotonic() < deadline:
        crowd.go_on()
    crowd.tell()
    with selectors.DefaultSelector() as words:
        words.register(sys.stdin, selectors.EVENT_READ)
        due = monotonic() + DRIBBLE
        while not words.select(0.05 if again else None):
            if monotonic() >= due:
                due = monotonic() + DRIBBLE
                crowd.dribble()
            crowd.go_on()
    crowd.tell()


if __name__ == "__main__":
    main(*sys.argv[1:])
