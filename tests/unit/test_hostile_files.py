"""What somebody hands us as a file or a string is refused with what is wrong, whatever it holds."""

import msgspec
import pytest

from parley.cli.receipts import _trusted
from parley.core.errors import UsageError
from parley.learn.shares import decode_share
from parley.ledger.engines.cometbft.beginning import Beginning
from parley.ledger.engines.embedded import gossip, replication
from parley.party.invitations import Invitation

DEEP = b"[" * 100_000 + b"]" * 100_000
STRANGE = (DEEP, b'{"format": "\xff"}', b"", b"[]", b'{"a": ' + DEEP + b"}")


@pytest.mark.parametrize("data", STRANGE)
def test_a_model_share_of_another_kind_is_refused(data):
    with pytest.raises(UsageError) as caught:
        decode_share(data)
    assert caught.value.code == "share-malformed"


@pytest.mark.parametrize("data", STRANGE)
def test_a_file_of_keys_of_another_kind_is_refused(data, tmp_path):
    (tmp_path / "keys").write_bytes(data)
    with pytest.raises(UsageError) as caught:
        _trusted(tmp_path / "keys")
    assert caught.value.code == "keys-unreadable"


@pytest.mark.parametrize("data", STRANGE)
def test_a_chain_that_begins_otherwise_is_refused(data):
    with pytest.raises(UsageError) as caught:
        Beginning.read(data)
    assert caught.value.code == "app-state-invalid"


@pytest.mark.parametrize("until", [-1, 1 << 36, 2**63 - 1])
def test_an_invitation_until_a_day_that_no_certificate_can_name_is_refused(until):
    good = Invitation.fresh("insurer", "bank:7443", "bank", "00" * 32, "ab" * 32, 1_900_000_000)
    assert Invitation.parse(good.text, 0.0).identity.party == "insurer"
    with pytest.raises(UsageError) as caught:
        Invitation.parse(msgspec.structs.replace(good, until=until).text, 0.0)
    assert caught.value.code == "bad-invitation"


@pytest.mark.parametrize(
    "change", [{"successor": "a\nb"}, {"member": "Bank"}, {"size": 2**53}, {"era": 2**53}]
)
def test_a_promise_that_has_no_encoding_on_the_ledger_does_not_decode(change):
    shown = {"epoch": 1, "successor": "bank", "member": "bank", "era": 0, "size": 1, "root": bytes(32)}
    good = gossip.Promised(**shown, signature=bytes(64))
    tip = gossip.Tip(b"", 0, 0, (msgspec.structs.replace(good, **change),))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(tip), type=gossip.Tip)


def test_no_place_in_a_log_is_beyond_what_the_ledger_can_count():
    block = replication.Block(2**53, (b"",), b"")
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(block), type=replication.Block)
