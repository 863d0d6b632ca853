"""Which certificates a pinned authority vouches for: a zoo of wrong ones, each shown at both ends."""

import asyncio
import functools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from parley.core.errors import PeerError, PolicyRefused, UsageError
from parley.net.authority import Authority, create_identity, create_single
from parley.net.certificates import Identity, announced_by, check_pinnable, read_certificate
from parley.net.vouching import TOLERANCE, Unvouched, check_vouched
from parley.net.websocket import PeerListener, PeerPin, dial

from tests.channels import identity_of, pin_of

pytestmark = pytest.mark.timeout(60)

DAY = timedelta(days=1)
BOTH = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
NOW = datetime.now(UTC).replace(microsecond=0)


# ── certificates of any make ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Made:
    """A certificate with its key; the default is one that passes."""

    name: str = "left"
    unit: str = ""
    alternative: tuple = ("left",)
    signs: bool = False
    usage: bool = True
    ends: tuple = BOTH
    begins: datetime = NOW - DAY
    until: datetime = NOW + 30 * DAY
    key: object = field(default_factory=Ed25519PrivateKey.generate)
    by: "Made | None" = None

    @functools.cached_property
    def subject(self):
        names = [x509.NameAttribute(NameOID.COMMON_NAME, self.name)]
        if self.unit:
            names.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, self.unit))
        return x509.Name(names)

    @functools.cached_property
    def certificate(self):
        signer = self.by or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(signer.subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.begins)
            .not_valid_after(self.until)
            .add_extension(x509.BasicConstraints(ca=self.signs, path_length=None), critical=True)
        )
        if self.usage:
            builder = builder.add_extension(usage(certificates=self.signs), critical=True)
        if self.alternative:
            names = [x509.DNSName(each) for each in self.alternative]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if self.ends:
            builder = builder.add_extension(x509.ExtendedKeyUsage(self.ends), critical=False)
        ed = isinstance(signer.key, Ed25519PrivateKey)
        return builder.sign(signer.key, None if ed else hashes.SHA256())

    @functools.cached_property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self):
        kind = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


def usage(*, certificates):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
        "crl_sign encipher_only decipher_only"
    )
    wanted = "key_cert_sign" if certificates else "digital_signature"
    return x509.KeyUsage(**{name: name == wanted for name in names.split()})


AUTHORITY = Made(unit="authority", signs=True, alternative=(), ends=())
GOOD = Made(by=AUTHORITY)
BETWEEN = Made(unit="between", signs=True, alternative=(), ends=(), by=AUTHORITY)
STRANGER = Made(unit="authority", signs=True, alternative=(), ends=())

ZOO = {
    "of another authority of the same name": (replace(GOOD, by=STRANGER), "certificate-not-pinned"),
    "that signed itself": (Made(), "certificate-not-pinned"),
    "of an authority between": (replace(GOOD, by=BETWEEN), "certificate-not-pinned"),
    "expired": (replace(GOOD, until=NOW - TOLERANCE - DAY / 24), "certificate-expired"),
    "not yet valid": (replace(GOOD, begins=NOW + TOLERANCE + DAY / 24), "certificate-expired"),
    "an authority below the authority": (BETWEEN, "certificate-invalid"),
    "the authority itself": (AUTHORITY, "certificate-invalid"),
    "an authority for TLS": (replace(GOOD, signs=True), "certificate-invalid"),
    "in another name": (replace(GOOD, name="other", alternative=("other",)), "certificate-invalid"),
    "with another alternative name": (replace(GOOD, alternative=("left", "other")), "certificate-invalid"),
    "without an alternative name": (replace(GOOD, alternative=()), "certificate-invalid"),
    "for servers only": (replace(GOOD, ends=BOTH[:1]), "certificate-invalid"),
    "for clients only": (replace(GOOD, ends=BOTH[1:]), "certificate-invalid"),
    "for mail": (replace(GOOD, ends=(ExtendedKeyUsageOID.EMAIL_PROTECTION,)), "certificate-invalid"),
    "for anything": (replace(GOOD, ends=()), "certificate-invalid"),
    "without a key usage": (replace(GOOD, usage=False), "certificate-invalid"),
    "with an RSA key": (replace(GOOD, key=rsa.generate_private_key(65537, 2048)), "certificate-invalid"),
    "with a key of another kind": (
        replace(GOOD, key=ec.generate_private_key(ec.SECP256R1())),
        "certificate-invalid",
    ),
}


def shown(made, *more):
    """An identity that presents a certificate, and whatever else, whatever its authority says."""
    return Identity("left", "".join(each.pem for each in more) or made.pem, made.pem, made.key_pem)


def refused(made, pin=AUTHORITY, now=NOW):
    with pytest.raises(Unvouched) as caught:
        check_vouched(made.certificate, pin.certificate, "left", now)
    return caught.value.code


async def hold(_peer, _path, transport):
    await transport.recv()


async def met(presented, pin):
    """The error of who dials it, and why it is turned away where it dials; None: it is let in."""
    reasons, codes = [], []
    pinned = PeerPin("left", pin)
    async with PeerListener(
        "127.0.0.1",
        0,
        identity_of("right"),
        {"left": pinned},
        hold,
        on_refused=lambda _, why: reasons.append(why),
    ) as listener:
        try:
            await (await dial(listener.address, presented, pin_of("right"), "/x")).close()
        except (PeerError, PolicyRefused) as error:
            codes.append(error.code)
            while not reasons:
                await asyncio.sleep(0.01)
    async with PeerListener("127.0.0.1", 0, presented, {"right": pin_of("right")}, hold) as listener:
        try:
            await (await dial(listener.address, identity_of("right"), pinned, "/x")).close()
        except (PeerError, PolicyRefused) as error:
            assert set(codes) <= {"certificate-unknown-to-peer", "tls-failed"}
            return error, reasons[0]
    assert not reasons
    return None


# ── the zoo ───────────────────────────────────────────────────────────────────────────────────────────


async def test_what_the_authority_signed_for_both_ends_passes():
    assert await met(shown(GOOD, AUTHORITY), AUTHORITY.pem) is None
    assert await met(create_identity("left"), create_identity("left").certificate_pem) is not None


@pytest.mark.parametrize("animal", ZOO)
async def test_anything_else_passes_at_neither_end(animal):
    made, code = ZOO[animal]
    assert refused(made) == code
    error, reason = await met(shown(made, AUTHORITY), AUTHORITY.pem)
    # where OpenSSL refuses already it says so in its own words, and the pin stands for all of it
    assert error.code in {code, "certificate-not-pinned"}, error
    assert error.remedy
    assert "its certificate" in reason or "no TLS 1.3 session" in reason


def test_a_weak_key_is_refused():
    """OpenSSL does not even present one."""
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 (that is the point)
    assert refused(replace(GOOD, key=weak)) == "certificate-invalid"


async def test_a_chain_is_two_certificates_whatever_else_is_sent():
    """OpenSSL finds the way over the authority between; it is no way for us."""
    made = replace(GOOD, by=BETWEEN)
    error, reason = await met(shown(made, BETWEEN, AUTHORITY), AUTHORITY.pem)
    assert error.code == "certificate-not-pinned"
    assert "[certificate-not-pinned]" in reason


async def test_a_peer_signs_in_its_own_name_only():
    """Two pinned authorities: neither can sign for the other, however it names itself."""
    made = replace(GOOD, by=AUTHORITY, name="other", alternative=("other",))
    pins = {"left": PeerPin("left", AUTHORITY.pem), "other": pin_of("other")}
    reasons = []
    async with PeerListener(
        "127.0.0.1", 0, identity_of("right"), pins, hold, on_refused=lambda _, why: reasons.append(why)
    ) as listener:
        with pytest.raises(PolicyRefused):
            await dial(listener.address, shown(made, AUTHORITY), pin_of("right"), "/x")
        while not reasons:
            await asyncio.sleep(0.01)
    assert "[certificate-not-pinned]" in reasons[0]


def test_clocks_may_differ_a_little_at_either_end_of_a_life():
    for made in (GOOD, replace(GOOD, by=replace(AUTHORITY, until=NOW + 40 * DAY))):
        for moment in (made.begins - TOLERANCE, made.until + TOLERANCE):
            check_vouched(made.certificate, made.by.certificate, "left", moment)
        for moment in (made.begins - TOLERANCE * 2, made.until + TOLERANCE * 2):
            assert refused(made, made.by, moment) == "certificate-expired"


def test_an_authority_that_has_ended_vouches_for_nothing():
    old = replace(AUTHORITY, until=NOW - DAY / 2)
    assert refused(replace(GOOD, by=old), old) == "certificate-expired"


@pytest.mark.parametrize(
    "pin",
    [
        replace(AUTHORITY, usage=False),
        replace(AUTHORITY, key=ec.generate_private_key(ec.SECP256R1())),
        replace(AUTHORITY, key=rsa.generate_private_key(65537, 2048)),
    ],
)
def test_an_authority_that_could_never_vouch_is_not_pinned(pin):
    assert refused(replace(GOOD, by=pin), pin) == "certificate-invalid"
    with pytest.raises(UsageError) as caught:
        check_pinnable(pin.pem)
    assert caught.value.code == "certificate-invalid"
    assert announced_by("left", pin.certificate.public_bytes(serialization.Encoding.DER)) is None


# ── homes from before ─────────────────────────────────────────────────────────────────────────────────


async def test_a_certificate_that_signs_itself_is_its_own_pin_and_signs_nothing_else():
    single = create_single("left")
    assert await met(single, single.certificate_pem) is None
    key = serialization.load_pem_private_key(single.private_key_pem.encode(), None)
    parent = Made(key=key)
    error, reason = await met(shown(replace(GOOD, by=parent)), single.certificate_pem)
    assert error.code == "certificate-not-pinned"
    assert "certificate" in reason
    error, _ = await met(create_single("left"), single.certificate_pem)
    assert error.code == "certificate-not-pinned"


async def test_an_old_certificate_expires_too():
    old = create_single("left", now=NOW - timedelta(days=800))
    error, reason = await met(old, old.certificate_pem)
    assert error.code == "certificate-expired"
    assert "[certificate-expired]" in reason


def test_a_party_judges_its_own_files_as_its_peers_will():
    authority = Authority.create("left")
    leaf, pin = (read_certificate(each) for each in (authority.issue().leaf_pem, authority.certificate_pem))
    check_vouched(leaf, pin, "left", NOW)
    with pytest.raises(Unvouched):
        check_vouched(leaf, pin, "right", NOW)
