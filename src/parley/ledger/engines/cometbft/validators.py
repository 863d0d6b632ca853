"""Whose votes decide blocks, and whose nodes may connect, by the contract's state.

Every active member that has a node is a validator, all with one power; its key is its cosigning key. A member
has a node once it has announced one, or from the beginning if the chain's genesis gives it one: so a newcomer
that is still installing does not count among those whose votes are waited for. If no such member is active,
the suspended ones keep the chain going, since a chain without validators ends.
"""

from collections.abc import Mapping
from typing import Final

from parley.ledger.contract.endpoints import Node, node_holder, node_path
from parley.ledger.contract.members import Key, Member, key_path, member_path
from parley.ledger.contract.state import Draft, View
from parley.ledger.engines.cometbft.application import ValidatorPower
from parley.ledger.engines.cometbft.keys import address

POWER: Final = 10
"""Voting power of every validator."""


def validators(view: View, genesis_nodes: Mapping[str, str]) -> dict[bytes, str]:
    """The member behind every validator key, ascending by member."""
    draft = Draft(view)
    members = [draft.known(Member, path) for path in draft.paths("member/")]
    ready = [
        member for member in members if member.name in genesis_nodes or draft.has(node_path(member.name))
    ]
    chosen = [member for member in ready if member.standing == "active"]
    chosen = chosen or [member for member in ready if member.standing == "suspended"]
    return {_public(draft, member): member.name for member in chosen}


def updates(before: View, after: View, genesis_nodes: Mapping[str, str]) -> tuple[ValidatorPower, ...]:
    """What a block changes of the validators, ascending by key; a rotated key is one out and one in."""
    old, new = validators(before, genesis_nodes), validators(after, genesis_nodes)
    gone = [ValidatorPower(key, 0) for key in old if key not in new]
    come = [ValidatorPower(key, POWER) for key in new if key not in old]
    return tuple(sorted(gone + come, key=lambda one: one.public_key))


def member_at(view: View, validator: bytes) -> str | None:
    """The member whose cosigning key, now or formerly, has this validator address."""
    draft = Draft(view)
    for path in draft.paths("key/"):
        key = draft.known(Key, path)
        if key.kind == "cosigning" and address(bytes.fromhex(key.public)) == validator:
            return key.member
    return None


def may_connect(view: View, genesis_nodes: Mapping[str, str], node: str) -> bool:
    """Whether a node is that of a member which is active or suspended.

    The node a member has announced counts; before it has announced one, the node the genesis gives it.
    """
    draft = Draft(view)
    holder = node_holder(draft, node)
    if holder is None:
        unannounced = (name for name, known in sorted(genesis_nodes.items()) if known == node)
        holder = next((name for name in unannounced if draft.find(Node, node_path(name)) is None), None)
    member = None if holder is None else draft.find(Member, member_path(holder))
    return member is not None and member.standing in ("active", "suspended")


def node_holders(view: View, genesis_nodes: Mapping[str, str]) -> dict[str, str]:
    """The member behind every node id that may connect."""
    draft = Draft(view)
    announced = {
        known.member: known.node for known in (draft.known(Node, path) for path in draft.paths("node/"))
    }
    return {node: member for member, node in (dict(genesis_nodes) | announced).items()}


def _public(draft: Draft, member: Member) -> bytes:
    return bytes.fromhex(draft.known(Key, key_path(member.cosigning)).public)
