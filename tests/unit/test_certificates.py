"""A party's identity: what is created, kept, read back and refused."""

import ssl
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from parley.core.errors import UsageError
from parley.net.authority import VALIDITY, Authority, create_identity, create_single
from parley.net.certificates import Identity, announced_by, fingerprint_of, grouped, valid_until
from parley.net.tls import PeerPin


def test_an_identity_names_its_party_in_subject_and_alternative_name():
    identity = create_identity("north-bank")
    certificate = x509.load_pem_x509_certificate(identity.leaf_pem.encode())
    assert certificate.subject.rfc4514_string() == "CN=north-bank"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["north-bank"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_two_identities_of_one_name_differ():
    assert create_identity("bank").fingerprint != create_identity("bank").fingerprint


def test_the_key_does_not_show():
    identity = create_identity("bank")
    assert "PRIVATE" not in repr(identity)
    assert "PRIVATE" not in str(identity)


@pytest.mark.parametrize("name", ["", "Bank", "1bank", "bank_a", "-a", "a" * 33, "bänk", "bank\n", "a.b"])
def test_a_bad_party_name_is_refused(name):
    with pytest.raises(UsageError) as caught:
        create_identity(name)
    assert caught.value.code == "bad-party-name"


def test_saved_and_loaded_it_is_the_same(tmp_path):
    identity = create_identity("bank")
    identity.save(tmp_path / "id")
    assert Identity.load(tmp_path / "id") == identity
    assert stat.S_IMODE((tmp_path / "id" / "leaf.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "id").iterdir()) == ["ca.pem", "leaf.pem"]


def test_an_identity_without_an_authority_is_kept_in_the_files_of_earlier_releases(tmp_path):
    identity = create_single("bank")
    identity.save(tmp_path)
    assert Identity.load(tmp_path) == identity
    assert not identity.has_authority
    assert sorted(path.name for path in tmp_path.iterdir()) == ["certificate.pem", "key.pem"]


def test_an_existing_identity_is_never_overwritten(tmp_path):
    first = create_identity("bank")
    first.save(tmp_path)
    with pytest.raises(UsageError, match="holds an identity already"):
        create_identity("bank").save(tmp_path)
    assert Identity.load(tmp_path) == first


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        create_identity("bank").save(tmp_path / "file" / "id")
    assert caught.value.code == "identity-not-writable"


def leaf_of(identity):
    return identity.private_key_pem + identity.leaf_pem


ANOTHER = create_identity("bank")


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("leaf.pem", None, "identity-missing"),
        ("ca.pem", None, "identity-missing"),
        ("leaf.pem", ANOTHER.leaf_pem, "key-unreadable"),
        ("leaf.pem", ANOTHER.private_key_pem, "certificate-unreadable"),
        ("ca.pem", "rubbish", "certificate-unreadable"),
        ("ca.pem", "\N{SNOWMAN}", "identity-corrupt"),
        ("leaf.pem", ANOTHER.private_key_pem + create_identity("bank").leaf_pem, "identity-mismatched"),
        ("leaf.pem", leaf_of(ANOTHER), "identity-mismatched"),
        ("ca.pem", ANOTHER.certificate_pem, "identity-mismatched"),
    ],
)
def test_a_damaged_identity_is_refused_with_what_is_wrong(tmp_path, file, content, code):
    create_identity("bank").save(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        Identity.load(tmp_path)
    assert caught.value.code == code
    assert "PRIVATE" not in str(caught.value)


def test_a_key_that_others_can_read_is_refused(tmp_path):
    create_identity("bank").save(tmp_path)
    (tmp_path / "leaf.pem").chmod(0o640)
    with pytest.raises(UsageError, match="read by other users"):
        Identity.load(tmp_path)


def test_validity_has_two_ends(tmp_path):
    create_identity("bank").save(tmp_path)
    now = datetime.now(UTC)
    Identity.load(tmp_path, now=now + VALIDITY - timedelta(hours=1))
    with pytest.raises(UsageError) as late:
        Identity.load(tmp_path, now=now + VALIDITY + timedelta(hours=1))
    with pytest.raises(UsageError) as early:
        Identity.load(tmp_path, now=now - timedelta(days=2))
    assert (late.value.code, early.value.code) == ("identity-expired", "identity-not-yet-valid")


def test_fingerprints_are_hex_and_grouped_for_people():
    identity = create_identity("bank")
    assert fingerprint_of(identity.certificate_pem) == identity.fingerprint
    assert int(identity.fingerprint, 16).bit_length() <= 256
    shown = grouped(identity.fingerprint)
    assert [len(group) for group in shown.split()] == [4] * 16
    assert shown.replace(" ", "").lower() == identity.fingerprint


def test_a_pin_is_checked_when_it_is_made():
    assert PeerPin("bank", create_identity("bank").certificate_pem).fingerprint
    with pytest.raises(UsageError):
        PeerPin("bank", "rubbish")
    with pytest.raises(UsageError):
        PeerPin("Bank", create_identity("bank").certificate_pem)


def test_a_text_that_tls_cannot_be_told_of_holds_no_certificate():
    pem = create_identity("bank").certificate_pem
    assert PeerPin("bank", "Subject: bank\n" + pem).fingerprint == fingerprint_of(pem)
    for text in (pem.replace("-----END", "----END"), pem + "-----BEGIN CERTIFICATE-----\n", "bänk\n" + pem):
        with pytest.raises(UsageError) as caught:
            PeerPin("bank", text)
        assert caught.value.code == "certificate-unreadable"


def test_an_announced_certificate_counts_only_if_it_is_one_and_names_who_announced_it():
    pem = create_identity("bank").certificate_pem
    der = ssl.PEM_cert_to_DER_cert(pem)
    assert announced_by("bank", der) == pem
    assert announced_by("operator", der) is None
    for broken in (b"", b"\0", b"\x30\x82", der[:-1], der + b"\0"):
        assert announced_by("bank", broken) is None


# ── the authority ─────────────────────────────────────────────────────────────────────────────────────


def test_an_authority_signs_for_its_party_alone_and_no_other_authority():
    authority = x509.load_pem_x509_certificate(Authority.create("bank").certificate_pem.encode())
    found = authority.extensions.get_extension_for_class
    assert found(x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    assert found(x509.NameConstraints).value.permitted_subtrees == [x509.DNSName("bank")]
    assert found(x509.KeyUsage).value.key_cert_sign
    assert not found(x509.KeyUsage).value.digital_signature


def test_what_it_issues_later_is_pinned_already_and_never_outlives_it():
    authority = Authority.create("bank")
    first, second = authority.issue(), authority.issue()
    assert first.fingerprint == second.fingerprint
    assert first.leaf_fingerprint != second.leaf_fingerprint
    assert first.private_key_pem != second.private_key_pem
    assert authority.issue(validity=timedelta(days=100_000)).ends == valid_until(authority.certificate_pem)


def test_an_authority_at_its_end_issues_nothing():
    authority = Authority.create("bank", now=datetime.now(UTC) - timedelta(days=4000))
    with pytest.raises(UsageError) as caught:
        authority.issue()
    assert caught.value.code == "authority-expired"


def test_the_authority_is_read_from_its_folder_or_with_its_key_from_elsewhere(tmp_path):
    authority = Authority.create("bank")
    authority.issue().save(tmp_path)
    with pytest.raises(UsageError) as missing:
        Authority.load(tmp_path)
    authority.save(tmp_path)
    assert Authority.load(tmp_path) == authority
    elsewhere = (tmp_path / "ca.key").rename(tmp_path / "safe")
    assert Authority.load(tmp_path, elsewhere) == authority
    Authority.create("bank").save(tmp_path)
    with pytest.raises(UsageError) as wrong:
        Authority.load(tmp_path)
    create_single("bank").save(tmp_path / "single")
    with pytest.raises(UsageError) as none:
        Authority.load(tmp_path / "single")
    codes = [each.value.code for each in (missing, wrong, none)]
    assert codes == ["authority-key-missing", "authority-key-wrong", "no-authority"]
    assert "PRIVATE" not in repr(authority)
