"""A new cosigning key for the party: on disk first, then on the ledger, then in use."""

from typing import Final

from parley.core.errors import PolicyRefused
from parley.ledger.contract import Receipt, View
from parley.ledger.contract.members import Key, Member, key_path, member_path
from parley.ledger.contract.state import Draft
from parley.party.ledger import READ_HISTORY, Author, PartyLedger, consortium_of
from parley.store.home import Home
from parley.store.keys import LedgerKeys, draw_next_cosigning, settle_cosigning

PATIENCE: Final = 60.0
"""Seconds that the rotation may take to come onto the ledger."""


async def rotate(ledger: PartyLedger, home: Home) -> Receipt:
    """Replace our cosigning key; the engine signs with the new one from the block on that has it.

    A CometBFT node, whose vote the old one still bears in the block behind that, is started again by itself.

    Raises:
        UsageError: ``ledger-not-fetched``.
        PolicyRefused: the contract refused it.
        PeerLost: it did not come in in time; it may yet, and the new key is then used by itself.
    """
    ledger.check_begun()
    folder, member = home.path / "keys", ledger.member
    old, following = LedgerKeys.load(folder).cosigning, draw_next_cosigning(folder)
    member.hold(following)
    author = Author(member.name, old, consortium_of(ledger.view))
    body = {"kind": "cosigning", "public": following.public.hex()}
    receipt = await member.submit(author.sign("key.rotate", body, member.log.replica.height), PATIENCE)
    if not receipt.accepted:
        raise PolicyRefused(
            f"ledger-{receipt.code}",
            f"the ledger refused key.rotate as receipt {receipt.number}: {receipt.reason}",
            remedy=READ_HISTORY,
        )
    settle(home, ledger.view)
    return receipt


def settle(home: Home, view: View) -> None:
    """Put the next key in place if the ledger has it, for instance because we stopped in between."""
    draft = Draft(view)
    member = draft.find(Member, member_path(home.settings.party))
    if member is not None and member.cosigning:
        settle_cosigning(
            home.path / "keys", bytes.fromhex(draft.known(Key, key_path(member.cosigning)).public)
        )
