"""Addresses as people write them."""

from parley.core.errors import UsageError

_PORTS = range(1, 1 << 16)


def address_of(text: str) -> tuple[str, int]:
    """Split ``host:port``; a port of 1 to 65535.

    Raises:
        UsageError: it is something else.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    number = int(port) if port.isascii() and port.isdigit() else 0
    if not host or any(letter in host for letter in "/@[] ") or number not in _PORTS:
        raise UsageError(
            "bad-address",
            f"{text!r} is not an address",
            remedy="write it as HOST:PORT, such as 127.0.0.1:7443",
        )
    return host, number
