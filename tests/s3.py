"""A small S3 server of our own, for tests: no product, and only as much as reading asks for.

It answers GET with ranges, HEAD and ListObjectsV2 for one bucket by path-style addresses, and refuses
what is not signed (AWS Signature Version 4, header form) with the key that it was given. Of what real
stores do besides it tries nothing: redirects between regions, throttling, checksums of parts, policies.
"""

import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

KEY, SECRET = "AKIDEXAMPLE", "hunter2/secret+key"


class Store(ThreadingHTTPServer):
    """The objects of bucket ``bank`` by key; what was asked stands in ``asked``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, int]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": "eu-test-1",
        }


@contextmanager
def store() -> Iterator[Store]:
    """A server, while it lasts."""
    server = Store()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Store

    def do_HEAD(self):
        self._object()

    def do_GET(self):
        query = dict(parse_qsl(urlsplit(self.path).query))
        if query.get("list-type") == "2":
            self._listing(query.get("prefix", ""))
        else:
            self._object()

    def log_message(self, *_):
        pass

    def _object(self):
        data = self.server.objects.get(unquote(urlsplit(self.path).path).removeprefix("/bank/"))
        if not self._signed():
            return self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        if data is None:
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "Last-Modified": "Wed, 21 Oct 2026 07:28:00 GMT",
        }
        asked = self.headers.get("Range")
        if asked is None:
            return self._answer(200, data, headers)
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(len(data), int(last) + 1) if first and last else len(data)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        return self._answer(206, data[start:end], headers)

    def _listing(self, prefix):
        if not self._signed():
            return self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-10-21T07:28:00.000Z</LastModified>"
            f'<ETag>"e"</ETag><Size>{len(data)}</Size></Contents>'
            for key, data in sorted(self.server.objects.items())
            if key.startswith(prefix)
        )
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        return self._answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _answer(self, status, data, headers=None):
        self.server.asked.append((self.command, self.path, len(data)))
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _signed(self):
        """Whether the request bears the signature that its key makes."""
        scheme, _, rest = self.headers.get("Authorization", "").partition(" ")
        fields = dict(each.strip().split("=", 1) for each in rest.split(",") if "=" in each)
        if scheme != "AWS4-HMAC-SHA256" or not fields.get("Credential", "").startswith(KEY + "/"):
            return False
        parts = urlsplit(self.path)
        names = fields["SignedHeaders"].split(";")
        pairs = sorted(parse_qsl(parts.query, keep_blank_values=True))
        canonical = "\n".join(
            (
                self.command,
                quote(unquote(parts.path), safe="/-_.~"),
                "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs),
                *(f"{name}:{' '.join(self.headers[name].split())}" for name in names),
                "",
                fields["SignedHeaders"],
                self.headers["x-amz-content-sha256"],
            )
        )
        scope = fields["Credential"].split("/", 1)[1]
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"{scheme}\n{self.headers['x-amz-date']}\n{scope}\n{digest}"
        key = b"AWS4" + SECRET.encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.compare_digest(hmac.digest(key, text.encode(), "sha256").hex(), fields["Signature"])
