"""Where the API listens, and which hosts a request may be for."""

import socket
from contextlib import closing

import pytest

from parley.api.guard import name_of
from parley.api.server import bound
from parley.core.errors import UsageError


@pytest.mark.parametrize("where", ["127.0.0.1:0", "localhost:0", "127.9.9.9:0"])
def test_a_loopback_address_is_listened_on_and_small_answers_go_out_at_once(where):
    listening, host = bound(where)
    with closing(listening):
        assert host == where.partition(":")[0]
        assert listening.getsockname()[1] > 0
        assert listening.proto == socket.IPPROTO_TCP  # by which asyncio sets TCP_NODELAY


@pytest.mark.parametrize("where", ["0.0.0.0:7444", "192.0.2.1:0", "[::]:7444", "api.example:7444"])
def test_any_other_address_is_refused_with_what_to_do_instead(where):
    with pytest.raises(UsageError) as caught:
        bound(where)
    assert caught.value.code == "api-not-loopback"
    assert "ssh -L" in caught.value.remedy


@pytest.mark.parametrize("where", ["127.0.0.1", "127.0.0.1:x", ":0"])
def test_what_is_no_address_is_said_to_be_none(where):
    with pytest.raises(UsageError) as caught:
        bound(where)
    assert caught.value.code == "bad-address"


def test_a_port_that_is_taken_is_named():
    listening, host = bound("127.0.0.1:0")
    with closing(listening), pytest.raises(UsageError) as caught:
        bound(f"{host}:{listening.getsockname()[1]}")
    assert caught.value.code == "api-port-unavailable"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("127.0.0.1:80", "127.0.0.1"),
        ("LocalHost", "localhost"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("localhost:", ""),
        ("localhost:8o", ""),
    ],
)
def test_the_name_in_a_host_header(header, name):
    assert name_of(header) == name
