"""What the node's mempool has let in since the last block, for the proposals that wait for company.

A commitment to rounds comes from every party of a run at about the same time, since they end a round
together. Alone each would get a block, and a block costs far more than what stands in it.
"""

from collections.abc import Collection, Iterator
from typing import Final

from parley.ledger.engines.cometbft.files import BLOCK_BYTES

COMPANY: Final = 0.1
"""Seconds that a proposal waits; short beside what the others give a proposer (`files.Pace`)."""
_UNHURRIED: Final = ("run.align", "round.commit", "rounds.commit")
"""Types of transactions for which a training does not wait; at its end it does, and this long at most."""


class Arrivals:
    """Transactions in the order in which they came; no more bytes of them than a block holds.

    What is beyond that waits in the mempool alone. The node may forget what is here when it ends: then it is
    proposed all the same, as it was let in.
    """

    def __init__(self) -> None:
        self._hurried: dict[bytes, bool] = {}
        self._room = BLOCK_BYTES

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._hurried)

    def add(self, tx: bytes, type_: str) -> None:
        """Note a transaction of a type."""
        if tx not in self._hurried and len(tx) <= self._room:
            self._room -= len(tx)
            self._hurried[tx] = type_ not in _UNHURRIED

    def clear(self) -> None:
        """A block was committed; what is left in the mempool is looked at again and comes anew."""
        self._hurried.clear()
        self._room = BLOCK_BYTES

    def pause(self, txs: Collection[bytes]) -> float:
        """Seconds for which a proposal of these waits: none if there is anything that somebody waits for."""
        unhurried = bool(txs) and not any(self._hurried.values()) and all(tx in self._hurried for tx in txs)
        return COMPANY if unhurried else 0.0
