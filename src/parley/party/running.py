"""A party while it runs, for what serves beside its peer port: the HTTP API, later the console."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from parley.net.certificates import Identity
from parley.net.handover import Tickets
from parley.net.links import Links
from parley.party.board import Board
from parley.party.office import Office
from parley.party.service import Party
from parley.store.catalogue import Peer


@dataclass(frozen=True)
class Running:
    """What of a running party may be looked at and asked for; only its home in other threads than its own.

    Attributes:
        identity: who we are now.
        office: home, clocks, ledger, log.
        party: takes plans and decisions about runs.
        links: with the peers.
        board: what goes on in the runs.
        peers: everyone we know, by name.
        tickets: of our port.
        began: when it was started, seconds since 1970.
    """

    identity: Callable[[], Identity]
    office: Office
    party: Party
    links: Links
    board: Board
    peers: Callable[[], Mapping[str, Peer]]
    tickets: Tickets
    began: float


Beside = Callable[[Running], AbstractAsyncContextManager[None]]
"""Serves beside a running party as long as it runs."""


def alone(_running: Running) -> AbstractAsyncContextManager[None]:
    """Nothing serves beside the party."""
    return nullcontext()
