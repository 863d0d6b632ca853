"""The two Ed25519 keys of a node, in the files and addresses that CometBFT gives them.

The validator key signs votes; the node key proves a node to its peers, and its address is the node id.
An address is the first 20 bytes of SHA-256 of the public key. CometBFT writes a private key as the 32
secret bytes followed by the 32 public ones (RFC 8032, section 5.1.5, and its own "Data structures",
section "Public Key Cryptography").
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PUBLIC: Final = "tendermint/PubKeyEd25519"
_PRIVATE: Final = "tendermint/PrivKeyEd25519"
_ADDRESS_BYTES: Final = 20


def address(public_key: bytes) -> bytes:
    """The 20 bytes by which blocks and evidence name the holder of a public key of 32 bytes."""
    return hashlib.sha256(public_key).digest()[:_ADDRESS_BYTES]


def node_id(public_key: bytes) -> str:
    """The id of the node with this node key, as `peers.PeerId` and persistent peers have it."""
    return address(public_key).hex()


def public_key_json(public_key: bytes) -> dict[str, str]:
    """A public key as the genesis file has it."""
    return {"type": _PUBLIC, "value": _base64(public_key)}


@dataclass(frozen=True)
class KeyPair:
    """An Ed25519 key; shows only its public half.

    Args:
        seed: the 32 secret bytes.

    """

    seed: bytes

    @classmethod
    def generate(cls) -> Self:
        """A fresh key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def public_key(self) -> bytes:
        """The 32 public bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"KeyPair(public_key={self.public_key.hex()})"

    def _private_json(self) -> dict[str, str]:
        return {"type": _PRIVATE, "value": _base64(self.seed + self.public_key)}

    def node_key_file(self) -> str:
        """``node_key.json``: the key as the one that proves the node to its peers."""
        return json.dumps({"priv_key": self._private_json()}, separators=(",", ":"))

    def validator_key_file(self) -> str:
        """``priv_validator_key.json``: the key as the one that signs votes."""
        public = self.public_key
        content = {
            "address": address(public).hex().upper(),
            "pub_key": public_key_json(public),
            "priv_key": self._private_json(),
        }
        return json.dumps(content, indent=2)


FRESH_VALIDATOR_STATE: Final = json.dumps({"height": "0", "round": 0, "step": 0}, indent=2)
"""``priv_validator_state.json`` of a key that has signed nothing."""


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
