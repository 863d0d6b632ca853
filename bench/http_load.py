"""How fast a served model answers: `wrk` (of Debian) asks a running server at a fixed rate, and at its limit.

At a fixed rate the load is open: requests come as a Poisson stream over many connections, each of which is
hardly ever in use, so that a server that stands still for a moment meets all the requests that would have
come in that time, and each counts with its wait. With fewer connections than are in use at once it would be
asked less just when it is slow, and the percentiles would be those of its good moments.

At the limit a few connections ask again as soon as they are answered. There the percentiles say how long the
queue is, and wrk itself adds what requests would have waited that it could not send (its `stats_correct`).

The reference of the same run is `/healthz` of the same server at its limit: what the server does without a
scorer. The API key comes from PARLEY_KEY; make one that may ask fast, `parley key add load --rate 100000`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from rich.console import Console
from rich.table import Table

SCRIPT = Path(__file__).with_suffix(".lua")
OPEN = 1.0
"""Seconds between two requests of a connection at a fixed rate, and for how long a server may stand still."""
MOST = 400
"""Connections; a server takes 512."""
WARM_UP = 2.0


class Counted(msgspec.Struct):
    """What wrk counted: answers, seconds, microseconds, answers of 400 and more, broken connections."""

    requests: int
    seconds: float
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    max_us: float
    not_ok: int
    broken: int


def load(url: str, ids: Path, *, path: str, connections: int, seconds: float, pause: float) -> Counted:
    """One load.

    Args:
        url: of the server.
        ids: file of them.
        path: that is asked.
        connections: at the same time.
        seconds: for which it is asked.
        pause: mean milliseconds between an answer and the next request of a connection; 0: none.
    """
    words = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{round(seconds)}s"]
    words += ["--timeout", "30s", "--script", str(SCRIPT), url, "--", path, str(ids), f"{pause:.3f}"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"wrk failed: {ended.stderr.strip() or ended.stdout.strip()}")
    return msgspec.json.decode(ended.stdout.strip().splitlines()[-1], type=Counted)


def shown(counted: Counted) -> dict[str, float]:
    """What is reported of a load."""
    return {
        "requests_per_s": round(counted.requests / counted.seconds, 1),
        "p50_ms": counted.p50_us / 1000,
        "p90_ms": counted.p90_us / 1000,
        "p99_ms": counted.p99_us / 1000,
        "p999_ms": counted.p999_us / 1000,
        "max_ms": counted.max_us / 1000,
        "requests": counted.requests,
        "not_ok": counted.not_ok,
        "broken": counted.broken,
    }


def measured(url: str, model: str, ids: Path, wanted: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The loads, one after another."""
    path = f"/v1/models/{model}/predict"
    many = max(1, min(MOST, round(wanted.rate * OPEN)))
    load(url, ids, path=path, connections=wanted.connections, seconds=WARM_UP, pause=0)
    found: dict[str, dict[str, float]] = {}
    if wanted.rate:
        fixed = load(
            url, ids, path=path, connections=many, seconds=wanted.seconds, pause=1000 * many / wanted.rate
        )
        found["fixed_rate"] = {"asked_per_s": wanted.rate, "connections": many} | shown(fixed)
    limit = load(url, ids, path=path, connections=wanted.connections, seconds=wanted.seconds, pause=0)
    found["limit"] = {"connections": wanted.connections} | shown(limit)
    bare = load(url, ids, path="/healthz", connections=wanted.connections, seconds=WARM_UP, pause=0)
    found["reference"] = {"connections": wanted.connections} | shown(bare)
    return found


def table(found: dict[str, dict[str, float]]) -> Table:
    """The loads as people read them."""
    made = Table(box=None, pad_edge=False)
    columns = ("requests_per_s", "p50_ms", "p90_ms", "p99_ms", "max_ms", "not_ok", "broken")
    made.add_column("load")
    for name in columns:
        made.add_column(name.replace("_", " "), justify="right")
    for name, each in found.items():
        made.add_row(name.replace("_", " "), *(f"{each[column]:,.4g}" for column in columns))
    return made


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="of the server, such as http://127.0.0.1:8080")
    parser.add_argument("model", help="that it serves")
    parser.add_argument("ids", type=Path, help="file with an id on each line; asked in turn")
    parser.add_argument("--rate", type=float, default=100, help="requests per second; 0: only the limit")
    parser.add_argument("--seconds", type=float, default=30, help="of each load")
    parser.add_argument("--connections", type=int, default=32, help="at the limit")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    wanted = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed; on Debian: apt-get install wrk")
    if not os.environ.get("PARLEY_KEY"):
        sys.exit("PARLEY_KEY has no API key; make one with `parley key add load --rate 100000`")
    lines = [line for line in wanted.ids.read_text().splitlines() if line]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as kept:
        kept.write("\n".join(lines))
        kept.flush()
        parts = urlsplit(wanted.url)
        url = f"{parts.scheme}://{parts.netloc}/"
        found = measured(url, wanted.model, Path(kept.name), wanted)
    if wanted.json:
        print(json.dumps(found))
    else:
        Console().print(table(found))


if __name__ == "__main__":
    main()
