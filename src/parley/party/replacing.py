"""Replacing our identity, for instance because its key was stolen: on the ledger first, then in use.

Until the ledger has it, our peers know us by the old certificate only, so we reach them with that one, until
it is final or a member refuses it: a member acts on the announcement as soon as it has it, maybe before us.
The ledger's keys are others than that of the port: who stole that one cannot say on the ledger who we are.
"""

import ssl
from typing import Final

from parley.ledger.contract import Receipt
from parley.ledger.contract.endpoints import Endpoint, endpoint_path
from parley.party.credentials import forget_next, next_identity, take_over
from parley.party.ledger import PartyLedger, announcement
from parley.store.home import Home

PATIENCE: Final = 60.0
"""Seconds that the announcement may take to come onto the ledger."""


async def replace_identity(ledger: PartyLedger, home: Home) -> Receipt | None:
    """Finish a replacement that was begun, if there is one; returns the receipt if it was announced now.

    What was announced before is not announced again; nothing is replaced before it is final.

    Raises:
        PolicyRefused: the contract refused it; nothing is replaced.
        PeerLost: it did not come in in time; it may yet, and is then taken up by itself.
    """
    async with ledger.replacing:
        following = next_identity(home.identity_folder)
        if following is None or not ledger.member.log.size:
            return None
        receipt = None
        ledger.announcing = True
        if _is_announced(ledger, home.settings.party, following.certificate_pem):
            if ledger.member.log.final_size < ledger.member.log.size:
                return None  # maybe nobody else has it yet; this is tried again when more is final
        else:
            body = announcement(home.settings.reached_at(), following.certificate_pem)
            receipt = await ledger.demand("member.announce", body, PATIENCE)
        take_over(home.identity_folder)
        forget_next(home.identity_folder)
        return receipt


def change_over(ledger: PartyLedger | None, home: Home) -> None:
    """A member refuses our certificate: if another one is on its way to the ledger, that member has it.

    Then it may keep from us, by refusing us, the very signatures by which we would learn that it is final.
    """
    if ledger is not None and ledger.announcing and next_identity(home.identity_folder) is not None:
        take_over(home.identity_folder)


def _is_announced(ledger: PartyLedger, party: str, pem: str) -> bool:
    endpoint = ledger.draft.find(Endpoint, endpoint_path(party))
    return endpoint is not None and bytes.fromhex(endpoint.certificate) == ssl.PEM_cert_to_DER_cert(pem)
