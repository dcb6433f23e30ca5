"""The access rules of the service: which hosts, sites and tokens a request may have. They raise problems."""

import hmac
import ipaddress
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.types import Scope

from mirnet.service.problems import Problem, of_error
from mirnet.service.work_queue import ShuttingDown

PROTECTED = ("/v1/", "/metrics")  # paths that need the token
OWN_SITES = ("same-origin", "none")  # of Sec-Fetch-Site: our page, and what a user typed


class AccessRules:
    """Refuses requests by foreign host names, from pages of other sites, without the token, and during shutdown."""

    def __init__(self, hosts: Sequence[str], token: str | None, is_ending: Callable[[], bool]) -> None:
        """`hosts` are names, beside localhost and addresses, by which the service may be called."""
        self._hosts = {host.lower().rstrip(".") for host in hosts}
        self._token = token.encode() if token else None
        self._is_ending = is_ending

    def check(self, scope: Scope) -> None:
        """Raises Problem where the request is refused."""
        headers = Headers(scope=scope)
        self._check_host(headers)
        self._check_site(scope, headers)
        self._check_token(scope, headers)
        if self._is_ending() and scope["method"] not in ("GET", "DELETE"):
            raise of_error(
                ShuttingDown("The service is shutting down and takes nothing more; try again when it is back.")
            )

    def _check_host(self, headers: Headers) -> None:
        if not self._is_own_host(_host_name(headers.get("host", ""))):
            raise Problem("host", "Expected the name of this machine in the Host header, and another came; start with "
                          "--allowed-host NAME to be reached by that name.")  # fmt: skip

    def _is_own_host(self, host: str) -> bool:
        """Names could be bound to this machine's address by an attacker (DNS rebinding); addresses cannot."""
        if host == "localhost" or host.endswith(".localhost") or host in self._hosts:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _check_site(self, scope: Scope, headers: Headers) -> None:
        """Refuses requests that a page of another site sends; a link to our page is allowed."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is None:
            is_foreign = origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
        else:
            is_link = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
            is_foreign = site not in OWN_SITES and not (is_link and not scope["path"].startswith(PROTECTED))
        if is_foreign:
            raise Problem("cross-site", "Pages of other sites may not use this service; open its own page.")

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if not self._token or not scope["path"].startswith(PROTECTED):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_equal = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if not is_equal or scheme.lower() != "bearer":
            raise Problem("token", "Expected the token that the service was started with, as Authorization: Bearer "
                          "TOKEN; the page takes it from the address that the service printed.",
                          {"WWW-Authenticate": 'Bearer realm="mirnet"'})  # fmt: skip


def _host_name(host: str) -> str:
    """The name or address of a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")
