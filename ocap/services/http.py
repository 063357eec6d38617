"""HTTP requests to hosts that the host program named, and to no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import trio

from ocap.extras import extra

if TYPE_CHECKING:
    import httpx

MAX_ANSWER = 2 * 1024 * 1024
"""Bytes of a body, unless the host program says otherwise: it must fit into one message."""

MAX_SECONDS = 30.0
"""For a request with all its redirects, unless the host program says otherwise."""

MAX_REDIRECTS = 5
"""In a row; more are a loop."""


class Http:
    """HTTP and HTTPS to some origins: exactly these schemes, hosts and ports.

    Every redirect is held against them too. No cookies are kept from one request to the next, and nothing
    is taken from the environment (proxies, `.netrc`), so what a vat sends is all that is sent. An allowed
    name may lead to any address: who answers for it in the DNS is trusted. Needs the extra `ocap[http]`.

    Args:
        hosts: `https://api.example.org`, or `api.example.org` for short; `http://localhost:8080`.
        max_bytes: of the body of an answer.
        max_seconds: for a request with all its redirects.

    Raises:
        ValueError: a host that is none, or has a path; the host program's fault.
        MissingExtraError: httpx is not installed.
    """

    def __init__(self, hosts: Iterable[str], *, max_bytes: int = MAX_ANSWER, max_seconds: float = MAX_SECONDS) -> None:
        with extra("http"):
            import httpx  # noqa: PLC0415 - the other services do without it
        self._httpx = httpx
        if isinstance(hosts, str):
            raise ValueError("hosts: expected several, not one str")  # noqa: TRY004 - the config reader's error
        self._allowed = {self._origin(host) for host in hosts}
        self._max_bytes = max_bytes
        self._max_seconds = max_seconds
        self._tls: Any = None

    def _origin(self, host: str) -> tuple[str, str, int | None]:
        try:
            url = self._httpx.URL(host if "://" in host else f"https://{host}")
        except self._httpx.InvalidURL as error:
            raise ValueError(f"{host!r} is no host: {error}") from None
        if (
            url.scheme not in ("http", "https")
            or not url.host
            or url.path not in ("", "/")
            or url.query
            or url.userinfo
        ):
            raise ValueError(f"{host!r} is no host; write https://api.example.org or http://localhost:8080")
        return _origin_of(url)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """As `request("GET", ...)`."""
        return await self.request("GET", url, headers)

    async def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | str = b""
    ) -> dict[str, Any]:
        """Make a request and answer with what came.

        Returns:
            `status`, an int; `url`, after redirects; `headers`, by names in lower case; `body`, bytes.

        Raises:
            PermissionError: the host, or one it redirects to, is not allowed; the caller's fault.
            ValueError: no URL, or a body over the limit.
            TimeoutError: it took too long.
            ConnectionError: no connection, or the other side broke the protocol.
        """
        with trio.move_on_after(self._max_seconds):
            try:
                return await self._request(method, url, headers, body)
            except (self._httpx.InvalidURL, self._httpx.UnsupportedProtocol) as error:
                raise ValueError(f"{url!r}: {error}") from None
            except self._httpx.HTTPError as error:
                raise ConnectionError(f"{type(error).__name__}: {error}") from None
        raise TimeoutError(f"no answer within {self._max_seconds:g} seconds")

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | str
    ) -> dict[str, Any]:
        httpx = self._httpx
        if self._tls is None:
            self._tls = httpx.create_ssl_context(trust_env=False)
        # One client for a request: it would keep cookies, and so tell one vat's requests of another's.
        async with httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=None) as client:
            # What comes is counted as it comes, so nothing that unfolds to more.
            asked = {"accept-encoding": "identity", **{name.lower(): text for name, text in (headers or {}).items()}}
            request = client.build_request(method, url, headers=asked, content=body)
            for _ in range(MAX_REDIRECTS + 1):
                self._check(request.url)
                response = await client.send(request, stream=True)
                try:
                    if response.next_request is None:
                        return await self._answer(response)
                    request = response.next_request
                finally:
                    await response.aclose()
        raise ConnectionError(f"{url}: more than {MAX_REDIRECTS} redirects")

    def _check(self, url: httpx.URL) -> None:
        if _origin_of(url) not in self._allowed:
            raise PermissionError(f"{url.scheme}://{url.netloc.decode()} is not among the hosts of this service")
        if url.userinfo:
            raise ValueError("no user and password in the URL: use a header")

    async def _answer(self, response: httpx.Response) -> dict[str, Any]:
        body = bytearray()
        # Cancelled where it reads, and not left where we count: so what httpcore has opened is closed in order.
        with trio.CancelScope() as reading:
            async for part in response.aiter_raw():
                body += part
                if len(body) > self._max_bytes:
                    reading.cancel()
        if len(body) > self._max_bytes:
            raise ValueError(f"{response.url}: the body is over the limit of {self._max_bytes} bytes")
        headers = dict(response.headers.items())
        return {"status": response.status_code, "url": str(response.url), "headers": headers, "body": bytes(body)}


def _origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)
