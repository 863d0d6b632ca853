"""Looking for what must not be read in bytes that were overheard."""

import base64
import struct
from urllib.parse import quote

CONTENT_TYPES = range(20, 24)
"""Of TLS records: change of cipher, alert, handshake, application data (RFC 8446, 5.1)."""
APPLICATION_DATA = 23
_TELLING = 6
"""Bytes of a form that random bytes do not happen to have."""


def forms(word):
    """A word as it may be written: plainly, in other encodings, in base64 at any place of three."""
    data = word.encode()
    shifted = (base64.b64encode(bytes(by) + data)[-(-by * 4 // 3) : -4] for by in range(3))
    wide = [word.encode(name) for name in ("utf-16-le", "utf-16-be", "utf-32-le")]
    plain = {
        data,
        data[::-1],
        data.upper(),
        data.hex().encode(),
        quote(word, safe="").encode(),
        *wide,
        *shifted,
    }
    return {form for form in plain if len(form) >= _TELLING}


def found(words, data):
    """Those of the words that can be read in the data, in any form."""
    return {word for word in words for form in forms(word) if form in data}


def tls_records(data):
    """Content types and contents of TLS records, the last perhaps cut short; else an error."""
    at, records = 0, []
    while at + 5 <= len(data):
        kind, version, size = struct.unpack_from(">BHH", data, at)
        assert kind in CONTENT_TYPES, f"byte {at} begins no record: {data[at : at + 5].hex()}"
        assert version in (0x0301, 0x0303), hex(version)
        records.append((kind, data[at + 5 : at + 5 + size]))
        at += 5 + size
    return records
