"""The layers between two parties, from below, and the one at which each error of the network stops.

Whoever asks what is wrong between two parties wants to know how far they came: everything below the layer
of the error is well.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

Layer: TypeAlias = Literal[
    "ourselves",
    "peer",
    "name",
    "proxy",
    "tcp",
    "tls",
    "their-certificate",
    "our-certificate",
    "websocket",
    "link",
    "conversation",
]

LAYERS: Final[tuple[Layer, ...]] = get_args(Layer)

DIALLED: Final[tuple[Layer, ...]] = LAYERS[LAYERS.index("name") : LAYERS.index("link")]
"""The layers that dialling an address passes through."""

_CODES: Final[Mapping[Layer, tuple[str, ...]]] = {
    "ourselves": (
        "authority-expired",
        "authority-key-missing",
        "authority-key-wrong",
        "bad-party-name",
        "identity-corrupt",
        "identity-exists",
        "identity-expired",
        "identity-mismatched",
        "identity-missing",
        "identity-not-writable",
        "identity-not-yet-valid",
        "key-exposed",
        "key-unreadable",
        "no-authority",
        "not-listening",
        "port-unavailable",
        "process-gone",
    ),
    "peer": ("bad-address", "certificate-unreadable", "own-name", "peer-let-go", "unknown-peer"),
    "name": ("name-unknown",),
    "proxy": ("bad-proxy", "proxy-auth", "proxy-refused", "proxy-unreachable"),
    "tcp": ("connect-timeout", "peer-unreachable"),
    "tls": ("handshake-timeout", "tls-failed"),
    "their-certificate": (
        "certificate-expired",
        "certificate-invalid",
        "certificate-not-pinned",
        "certificate-revoked",
    ),
    "our-certificate": ("certificate-unknown-to-peer",),
    "websocket": (
        "fragmented-frame",
        "frame-refused",
        "malformed-websocket",
        "text-frame",
        "unread-replies",
        "upgrade-refused",
    ),
    "link": (
        "chunk-too-large",
        "connection-closed",
        "connection-lost",
        "false-count",
        "false-report",
        "greeting-timeout",
        "lost-chunk",
        "malformed-chunk",
        "malformed-greeting",
        "malformed-path",
        "peer-not-connected",
        "peer-restarted",
        "peer-silent",
        "stream-reused",
        "too-many-streams",
        "unknown-stream",
        "version-mismatch",
        "window-exceeded",
    ),
    "conversation": (
        "bad-path",
        "frame-too-large",
        "left-early",
        "lost-frame",
        "malformed-frame",
        "malformed-message",
        "no-hello",
        "out-of-turn",
        "out-of-turn-recv",
        "out-of-turn-send",
        "party-stopped",
        "silent-peer",
        "stalled-peer",
        "stream-closed",
        "wrong-role",
        "wrong-run",
    ),
}

LAYER_OF: Final[Mapping[str, Layer]] = MappingProxyType(
    {code: layer for layer, codes in _CODES.items() for code in codes}
)
"""The layer at which each error of `parley.net` stops, by its code."""


def layer_of(code: str, least: Layer) -> Layer:
    """The layer of an error that came after everything below ``least`` was found well."""
    found = LAYER_OF.get(code, least)
    return max(found, least, key=LAYERS.index)
