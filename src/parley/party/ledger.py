"""The party's side of the ledger: founding, reading, signing and submitting."""

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from parley.core.errors import PolicyRefused, UsageError
from parley.core.files import write_atomically
from parley.crypto.signatures import SigningKey
from parley.ledger.contract import Founder, Genesis, Receipt, View
from parley.ledger.contract.consortium import CONSORTIUM, VERSIONS, Consortium, ContractVersions
from parley.ledger.contract.endpoints import Endpoint, endpoint_path
from parley.ledger.contract.fields import Role
from parley.ledger.contract.members import Member
from parley.ledger.contract.rules import NEWEST
from parley.ledger.contract.state import Draft
from parley.ledger.encoding import EncodingError, Value
from parley.ledger.engines.embedded.high_water import HIGH_WATER_FILE
from parley.ledger.engines.embedded.log import MemberLog, not_fetched
from parley.ledger.engines.embedded.promises import PROMISE_FILE
from parley.ledger.engines.engine import LedgerEngine
from parley.ledger.transaction import SignedTransaction, Transaction, sign
from parley.net.certificates import announced_by
from parley.store.catalogue import Peer
from parley.store.home import Home, Membership
from parley.store.keys import LedgerKeys, next_cosigning

REMEDIES: Final = {
    "role-not-allowed": "an observer holds no tables and takes part in no runs; it votes and cosigns",
    "member-suspended": "the other members end a suspension with `parley propose reinstate`",
    "party-not-active": "see `parley members`; a suspended or removed party takes part in nothing new",
    "runs-exhausted": "raise `runs` in the [limits] of the plan; that makes a new plan to be approved",
    "plan-decided": "change the plan and run it; that makes a new plan to be approved",
    "voted-already": "a ballot is final",
    "type-unknown": "the ledger follows an earlier version of the contract: `parley propose version`",
    "merged-already": "nothing more is needed: it fetches the pieces with `parley model export`",
    "model-not-trained": "its run has to finish first, with a piece of every party: see `parley runs`",
    "model-withdrawn": "a withdrawal is final; train another model",
    "not-an-owner": "only the parties of its plan decide about a model: see `parley model show`",
    "quota-exceeded": "release at most what the plan has left: `parley model show` says how much",
    "time-out-of-range": "choose an end that lies ahead, and for a release within the time of the plan",
}
"""What to do about refusals, by code, where there is more to say than to read the history."""
READ_HISTORY: Final = "see `parley ledger show` for what led to it"
EXPIRES_AFTER: Final = 1000
"""Heights after which a transaction that has not come in never will."""


def open_log(home: Home, consortium: str = "") -> MemberLog:
    """This party's copy of the ledger."""
    keys = LedgerKeys.create(home.path / "keys")
    origin = f"parley/{consortium}" if consortium else ""
    log = MemberLog(home.path / "ledger", home.settings.party, keys.cosigning, origin, marks_of(home))
    following = next_cosigning(home.path / "keys")
    if following is not None:
        log.hold(following)
    return log


def marks_of(home: Home) -> Path:
    """The folder of what binds our cosigning key: beside it, since who loses the ledger still has the key.

    Releases before kept these files with the ledger; they are brought over.
    """
    folder, before = home.path / "keys", home.path / "ledger"
    folder.mkdir(exist_ok=True, mode=0o700)
    for name in (HIGH_WATER_FILE, PROMISE_FILE):
        if (before / name).exists():
            if not (folder / name).exists():
                write_atomically(folder / name, (before / name).read_bytes())
            (before / name).unlink()
    return folder


def found_consortium(home: Home, name: str, certificate: str, role: Role, now: int) -> str:
    """Begin a ledger with this party as its only member and sequencer; returns the consortium's id.

    Raises:
        UsageError: the party belongs to a consortium already, or does not know how others reach it.
    """
    if home.membership is not None:
        raise UsageError(
            "consortium-exists",
            f"{home.settings.party} belongs to a consortium already",
            remedy="use another home for another consortium",
        )
    reached_at = home.settings.reached_at()
    keys = LedgerKeys.create(home.path / "keys")
    founder = Founder(name=home.settings.party, role=role, **keys.public())
    spec = Genesis(
        name=name,
        founders=(founder,),
        time=now,
        nonce=secrets.token_hex(16),
        sequencer=home.settings.party,
        version=NEWEST,
    )
    log = open_log(home)
    log.begin(spec.value())
    author = Author(home.settings.party, keys.signing, consortium_of(log.replica.state))
    endpoint = announcement(reached_at, certificate)
    signed = author.sign("member.announce", endpoint, log.replica.height)
    executed, dropped = log.prepare([signed.data], now)
    if dropped:
        raise UsageError("consortium-not-founded", str(dropped), remedy="report it")
    log.seal(executed)
    log.add_signatures(log.size, log.cosign(now).signatures)
    log.store.close()
    home.keep_membership(Membership(author.consortium, home.settings.party))
    return author.consortium


def no_consortium(party: str) -> UsageError:
    """The error of a party without a ledger."""
    return UsageError(
        "no-consortium",
        f"{party} belongs to no consortium",
        remedy="run `parley consortium create`, or join one with `parley join`",
    )


def consortium_of(view: View) -> str:
    """The id of the ledger that this state belongs to."""
    return Draft(view).known(Consortium, CONSORTIUM).id


@dataclass(frozen=True)
class Author:
    """Signs transactions of one member.

    Attributes:
        name: of the member.
        key: that signs.
        consortium: id of the ledger.
    """

    name: str
    key: SigningKey
    consortium: str

    def sign(self, type_: str, body: Mapping[str, Value], height: int) -> SignedTransaction:
        """A signed transaction that may come in until some heights after ``height``."""
        asked = Transaction(
            consortium=self.consortium,
            sender=self.name,
            key=self.key.key_id,
            type=type_,
            body=dict(body),
            expires=height + EXPIRES_AFTER,
            nonce=secrets.token_hex(16),
        )
        return sign(asked, self.key)


class PartyLedger:
    """The ledger as the running party uses it.

    Args:
        member: its engine.
        keys: its keys.
    """

    def __init__(self, member: LedgerEngine, keys: LedgerKeys) -> None:
        self.member = member
        self.replacing = asyncio.Lock()
        """Held by whoever finishes a replacement of our identity: its announcement is made once."""
        self.announcing = False
        """Whether such an announcement is on its way."""
        self._keys = keys

    @property
    def view(self) -> View:
        """The state that this member has executed."""
        return self.member.log.replica.state

    @property
    def draft(self) -> Draft:
        """The state as typed records; raises as `check_begun`."""
        self.check_begun()
        return Draft(self.view)

    def check_begun(self) -> None:
        """Raise ``ledger-not-fetched`` while nothing of the ledger is here: new to us, or lost."""
        if not self.member.log.size:
            raise not_fetched(self.member.name)

    @property
    def version(self) -> int:
        """Of the contract, whose rules hold for what is submitted now."""
        eras = self.draft.known(ContractVersions, VERSIONS)
        return eras.at(self.member.log.replica.height + 1)

    async def transact(self, type_: str, body: Mapping[str, Value], patience: float = 30.0) -> Receipt:
        """Sign and submit a transaction; returns its receipt once it is final, accepted or refused.

        Raises as `check_begun`, and as the engine's ``submit``.
        """
        self.check_begun()
        author = Author(self.member.name, self._keys.signing, consortium_of(self.view))
        try:
            signed = author.sign(type_, body, self.member.log.replica.height)
        except EncodingError as error:
            raise UsageError(
                "not-for-the-ledger",
                f"the ledger takes no such {type_}: {error}",
                remedy="use shorter text without control characters",
            ) from None
        return await self.member.submit(signed, patience)

    async def demand(self, type_: str, body: Mapping[str, Value], patience: float = 30.0) -> Receipt:
        """As `transact`, for what must be accepted.

        Raises:
            PolicyRefused: the contract refused it; the receipt's number stands in the text.
        """
        receipt = await self.transact(type_, body, patience)
        check_accepted(type_, receipt)
        return receipt


def check_accepted(type_: str, receipt: Receipt) -> None:
    """Raise `PolicyRefused` unless the contract accepted the transaction; names the receipt's number."""
    if not receipt.accepted:
        raise PolicyRefused(
            f"ledger-{receipt.code}",
            f"the ledger refused {type_} as receipt {receipt.number}: {receipt.reason}",
            remedy=REMEDIES.get(receipt.code, READ_HISTORY),
            public=f"the ledger refused {type_}: {receipt.code}",
        )


def announcement(address: str, certificate_pem: str) -> dict[str, Value]:
    """The body of a transaction that says how a member is reached."""
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    return {"address": address, "certificate": certificate.public_bytes(Encoding.DER).hex()}


def announced(view: View, member: str) -> Peer | None:
    """How a member is reached and what is pinned of it, as it said; None if it said nothing usable.

    The contract takes any bytes as a certificate; what is not the member's own is not usable.
    """
    endpoint = Draft(view).find(Endpoint, endpoint_path(member))
    certificate = None if endpoint is None else announced_by(member, bytes.fromhex(endpoint.certificate))
    return None if endpoint is None or certificate is None else Peer(member, endpoint.address, certificate)


def neighbours(view: View) -> Iterator[Peer]:
    """Every member that is not removed and has said how it is reached, ascending by name."""
    draft = Draft(view)
    for path in draft.paths("member/"):
        member = draft.known(Member, path)
        peer = announced(view, member.name) if member.standing in ("active", "suspended") else None
        if peer is not None:
            yield peer


def placeless(view: View) -> Iterator[str]:
    """Members with whom nobody has a link: those that were removed, or announced nothing usable, by name."""
    draft = Draft(view)
    for path in draft.paths("member/"):
        member = draft.known(Member, path)
        silent = not draft.has(endpoint_path(member.name))
        if member.standing == "removed" or not (silent or announced(view, member.name)):
            yield member.name
