"""The node's question whether a peer may connect, which it asks as a query.

With ``filter_peers`` a node asks twice for every connection, in and out: by address when the
connection stands, ``/p2p/filter/addr/IP:PORT``, and by node id once the peer has proven its key,
``/p2p/filter/id/ID``. Only the second is proof of anything. Source: ABCI 2.0 specification,
"Expected behaviour", and CometBFT's configuration reference, ``filter_peers``.
"""

from dataclasses import dataclass
from typing import Final

_ADDRESS: Final = "/p2p/filter/addr/"
_ID: Final = "/p2p/filter/id/"


@dataclass(frozen=True)
class PeerAddress:
    """May somebody connect from here?"""

    address: str


@dataclass(frozen=True)
class PeerId:
    """May the holder of this node key connect? See `keys.node_id`."""

    node_id: str


PeerQuestion = PeerAddress | PeerId


def peer_question(path: str) -> PeerQuestion | None:
    """The question that a query's path asks; None for every other query."""
    if path.startswith(_ADDRESS):
        return PeerAddress(path.removeprefix(_ADDRESS))
    if path.startswith(_ID):
        return PeerId(path.removeprefix(_ID))
    return None
