"""Merging a model: giving our piece to the receiver, and, as the receiver, holding the whole forest."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from parley.core.errors import PolicyRefused, UsageError
from parley.core.trace import Trace
from parley.learn.export.forest import Forest, forest_of
from parley.learn.shares import ModelShare, decode_share
from parley.ledger.contract.members import Member, member_path
from parley.ledger.contract.merging import MergeConsent, Merged, merge_path, merged_path
from parley.ledger.contract.models import Model, model_path
from parley.ledger.contract.state import Draft
from parley.net.channel import CheckedChannel, Setting
from parley.net.transport import Transport
from parley.party.ledger import PartyLedger, no_consortium
from parley.party.office import Office
from parley.party.releasing import model_and_plan
from parley.protocols import merging
from parley.store.home import Home

_SETTLED: Final = 10.0
"""Seconds that our copy of the ledger may be behind with what the receiver has read there."""


class Fetched(msgspec.Struct, frozen=True):
    """The pieces that a receiver holds.

    Attributes:
        model: which.
        fetched: owners that gave theirs now.
        held: owners whose piece was here before; ours is one.
    """

    model: str
    fetched: tuple[str, ...]
    held: tuple[str, ...]


def words(draft: Draft, model: str) -> dict[str, str]:
    """By owner, the receiver that it has consented to, of a merge that is not agreed."""
    _, plan = model_and_plan(draft, model)
    found = {owner: draft.find(MergeConsent, merge_path(model, owner)) for owner in plan.terms.parties}
    return {owner: word.receiver for owner, word in found.items() if word is not None}


def receivers(draft: Draft, model: str) -> tuple[str, ...]:
    """Who may hold the whole forest, ascending."""
    return tuple(path.split("/")[2] for path in draft.paths(f"merged/{model}/"))


def still_to_consent(draft: Draft, model: str, receiver: str) -> tuple[str, ...]:
    """Owners whose consent to a receiver is missing; none once the merge is agreed."""
    if receiver in receivers(draft, model):
        return ()
    given = words(draft, model)
    _, plan = model_and_plan(draft, model)
    return tuple(owner for owner in plan.terms.parties if given.get(owner) != receiver)


# ── as an owner ───────────────────────────────────────────────────────────────────────────────────────────


async def serve(office: Office, peer: str, transport: Transport, settled: float = _SETTLED) -> None:
    """Give our piece to a peer, if within ``settled`` seconds the ledger says that it may hold the whole.

    Raises:
        PolicyRefused: it does not say so; the model was withdrawn.
        UsageError: we have no such piece, or it is not the one we committed to.
    """
    trace = Trace(office.clocks.monotonic)
    setting = Setting(merging.STEPS, merging.OWNER, "merging", trace, office.home.settings.patience)

    async def piece_of(model: str) -> bytes:
        return await piece_for(office, peer, model, settled)

    async with CheckedChannel(transport, setting) as channel:
        size = await merging.give(channel, piece_of)
    office.log.about(peer=peer)(f"{peer} has our piece of a model, {size:,} bytes, as every owner agreed")


async def piece_for(office: Office, peer: str, model: str, settled: float = _SETTLED) -> bytes:
    """Our piece, once it is made sure that these are so.

    1. our own copy of the ledger has the merge to that very peer, for good;
    2. the peer is an active member;
    3. the model is not withdrawn;
    4. the file here is the piece that we committed to.
    """
    if office.ledger is None or not await _agreed_for_good(office.ledger, model, peer, settled):  # 1
        raise _not_agreed(model, peer, ())
    draft = office.ledger.draft
    if draft.known(Member, member_path(peer)).standing != "active":  # 2
        raise PolicyRefused(
            "ledger-party-not-active",
            f"{peer} asks for our piece of {model}, and is no active member",
            remedy="see `parley members`",
            public="the ledger does not have you as an active member",
        )
    known = draft.known(Model, model_path(model))
    if known.status == "withdrawn":  # 3
        raise _withdrawn(model)

    def committed() -> bytes:
        piece = office.home.share_text(model)
        _check_committed(office.name, piece, known)  # 4
        return piece

    return await asyncio.to_thread(committed)


async def _agreed_for_good(ledger: PartyLedger, model: str, receiver: str, settled: float) -> bool:
    """Whether the merge is final; our copy may hear of it after the receiver."""
    path = merged_path(model, receiver)
    seen: int | None = None
    try:
        async with asyncio.timeout(settled):
            async for final in ledger.member.changes():
                if ledger.draft.find(Merged, path) is None:
                    seen = None
                elif seen is None:
                    seen = ledger.member.log.size
                if seen is not None and final >= seen:
                    return True
    except TimeoutError:
        pass
    return False


# ── as the receiver ───────────────────────────────────────────────────────────────────────────────────────


async def fetch(office: Office, model: str) -> Fetched:
    """Have the pieces of all other owners here; each is checked against the hash that it committed to.

    Raises:
        UsageError: there is no ledger, or it has no such model.
        PolicyRefused: not every owner has consented, or the model was withdrawn.
        PeerLost: an owner cannot be reached; the pieces that came stay here.
        PeerMisbehaved: an owner sent something else than it committed to.
    """
    if office.ledger is None:
        raise no_consortium(office.name)
    draft = office.ledger.draft
    known, _ = model_and_plan(draft, model)
    missing = still_to_consent(draft, model, office.name)
    if missing:
        raise _not_agreed(model, office.name, missing)
    if known.status == "withdrawn":
        raise _withdrawn(model)
    fetched: list[str] = []
    held: list[str] = []
    for owner, committed in sorted(known.shares.items()):
        here = owner == office.name
        if here or await asyncio.to_thread(_is_held, office.home, model, owner, committed):
            held.append(owner)
            continue
        transport = await office.dial(owner, f"/models/{model}")
        trace = Trace(office.clocks.monotonic)
        setting = Setting(merging.STEPS, merging.RECEIVER, "merging", trace, office.home.settings.patience)
        async with CheckedChannel(transport, setting) as channel:
            piece, _ = await merging.fetch(channel, model, committed)
        await asyncio.to_thread(office.home.keep_piece, model, owner, piece)
        fetched.append(owner)
    return Fetched(model, tuple(fetched), tuple(held))


def holds_whole(home: Home, known: Model) -> bool:
    """Whether the committed pieces of all owners are here."""
    others = {owner: digest for owner, digest in known.shares.items() if owner != home.settings.party}
    return all(_is_held(home, known.run, owner, digest) for owner, digest in others.items())


def _is_held(home: Home, model: str, owner: str, committed: str) -> bool:
    piece = home.pieces(model).get(owner)
    return piece is not None and hashlib.sha256(piece).hexdigest() == committed


def whole_forest(home: Home, model: str, given: Sequence[bytes], known: Model | None) -> Forest:
    """The forest of our piece and of those of the others.

    Args:
        home: ours.
        model: which.
        given: files of the others' pieces; none: those that were fetched.
        known: the model as the ledger has it, if it does; then every piece must be the committed one.

    Raises:
        UsageError: a piece is missing, is none, or is not the committed one; as `forest_of`.
    """
    texts = [home.share_text(model), *(given or home.pieces(model).values())]
    shares: list[ModelShare] = []
    for text in texts:
        share = decode_share(text, model=model)
        if known is not None:
            _check_committed(share.party, text, known)
        shares.append(share)
    return forest_of(shares)


def _check_committed(party: str, piece: bytes, known: Model) -> None:
    digest = hashlib.sha256(piece).hexdigest()
    if known.shares.get(party) != digest:
        raise UsageError(
            "piece-not-committed",
            f"the file with the piece of {party} is not the one that it committed to: its hash is "
            f"{digest[:12]}, on the ledger {known.shares.get(party, 'nothing')[:12]}",
            remedy="restore the file from a copy; `sha256sum` and `parley model show` say which is right",
            public="the piece here is not the one that stands on the ledger",
        )


def _not_agreed(model: str, receiver: str, missing: Sequence[str]) -> PolicyRefused:
    who = f"{', '.join(missing)} did not consent" if missing else "our copy of the ledger has no such consent"
    return PolicyRefused(
        "merge-not-agreed",
        f"{receiver} is not to hold the whole forest of {model}: {who}",
        remedy=f"every owner consents with `parley model merge {model} --to {receiver}`",
        public=f"not every owner has let {receiver} hold the whole forest",
    )


def _withdrawn(model: str) -> PolicyRefused:
    return PolicyRefused(
        "ledger-model-withdrawn",
        f"{model} has been withdrawn; its pieces stay where they are",
        remedy="a withdrawal is final; train another model",
        public="the model has been withdrawn",
    )
