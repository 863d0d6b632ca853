"""How fast a joint model answers: single requests over HTTP, and a long list of ids.

Two organisations and a third that holds no data, each a process of its own, with mutual TLS and a ledger on
this machine; the model is that of the credit example with 100 trees of depth 5, released by both.

Single requests: the real `parley serve` is asked by wrk, at fixed rates and at its limit (see
`http_load.py`). Of the fixed rates the highest counts at which 99 of 100 answers come within 50 ms. The
reference is the same server's `/healthz`, which scores nothing.

A list: the real `parley predict` over tables of --rows people at both parties, rows of the example drawn
again and again under new ids. `rows_per_s` is from the first chunk to the whole output, with tokens, leaves,
the ledger and the files; `whole_rows_per_s` is of the whole command, with reading ids and tables at both
parties and enrolling the passive one. With --interrupted the list is scored once more: when half of it is
there `parley predict` is killed, and begun again; at three quarters the passive party is killed, with the
worker that answers for it, and started again. Every id must be in the output once, with the scores of the
undisturbed one, and counted once on the ledger. The reference is LightGBM, which scores as many rows of the
joined table with as many trees.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import polars as pl
from http_load import Counted, load, shown
from trainings.consortia import Consortium
from trainings.data import Data, example
from trainings.processes import Parties

from parley.data.sources import parse_source, read
from parley.party import compose
from parley.party.releasing import Wanted
from parley.protocols import control
from parley.serving.batch import CHUNK
from parley.store.home import Home

TREES, DEPTH = 100, 5
QUOTA = 100_000_000
RATES = (1000, 1500, 2000, 2500, 3000)
WITHIN_MS = 50.0
FEW = 400
"""Connections at a fixed rate; a server takes 512."""


def plan() -> Data:
    """The example's, with as many trees and predictions."""
    data = example()
    text = re.sub(r"n_estimators = \d+", f"n_estimators = {TREES}", data.plan)
    text = re.sub(r"max_depth = \d+", f"max_depth = {DEPTH}", text)
    return Data(re.sub(r"predictions = [\d_]+", f"predictions = {QUOTA}", text), data.tables)


def release(home: Path, model: str) -> None:
    """One owner's consent."""
    wanted = Wanted(model=model, predictions=QUOTA, until=None)
    said = asyncio.run(compose.release_model(home, wanted))
    if isinstance(said, control.Failed):
        raise SystemExit(f"{said.code}: {said.what}")


def wait_for(status: str, homes: dict[str, Path], model: str) -> None:
    """Until every owner's copy of the ledger has it."""
    for home in homes.values():
        while (parley(home, "model", "show", model)["registered"] or {}).get("status") != status:
            time.sleep(0.1)


def parley(home: Path, *words: object) -> dict[str, Any]:
    """A command's answer."""
    command = [sys.executable, "-m", "parley.cli", *map(str, words), "--home", str(home), "--json"]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = msgspec.json.decode(ended.stdout)
    return answer


def peaks(parties: Parties) -> dict[str, float]:
    """The most memory that each kind of process of ours has held, MiB."""
    kinds = {"parley.serving.answerer": "answerer", "predict": "predict", "serve": "serve"}
    found = parties.peaks()
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            status = (folder / "status").read_text()
        except OSError:
            continue
        peak = re.search(r"VmHWM:\s+(\d+)", status)
        for word, kind in kinds.items():
            if peak and word.encode() in words:
                found[kind] = max(found.get(kind, 0.0), int(peak[1]) / 1024)
    return found


class Served:
    """A running `parley serve`."""

    def __init__(self, home: Path, model: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        words = ("serve", model, "--listen", f"127.0.0.1:{port}", "--home", str(home))
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the server)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "parley.cli", *words], stdout=self._log, stderr=self._log
        )
        while "is served at" not in self._said():
            if self._process.poll() is not None:
                raise SystemExit(self._said())
            time.sleep(0.1)

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


def online(home: Path, model: str, ids: Path, seconds: float) -> dict[str, dict[str, float]]:
    """The loads, one after another."""
    os.environ["PARLEY_KEY"] = str(parley(home, "key", "add", "bench", "--rate", 100_000)["key"])
    served = Served(home, model, 18750)
    path = f"/v1/models/{model}/predict"

    def at(rate: float) -> Counted:
        many = max(1, min(FEW, round(rate)))
        return load(served.url, ids, path=path, connections=many, seconds=seconds, pause=1000 * many / rate)

    try:
        load(served.url, ids, path=path, connections=8, seconds=3, pause=0)
        found = {"100 requests/s": shown(at(100))}
        for rate in RATES:
            found[f"{rate} requests/s"] = shown(at(rate))
            if found[f"{rate} requests/s"]["p99_ms"] > WITHIN_MS:
                break
        found["limit"] = shown(load(served.url, ids, path=path, connections=32, seconds=seconds, pause=0))
        bare = load(served.url, ids, path="/healthz", connections=32, seconds=seconds, pause=0)
        found["reference, /healthz"] = shown(bare)
    finally:
        served.stop()
    return found


def enlarged(data: Data, folder: Path, homes: dict[str, Path], rows: int) -> Path:
    """Put tables of so many people in the place of the example's; returns a file with all their ids."""
    random = np.random.default_rng(11)
    ids = pl.Series("id", np.arange(10_000_000, 10_000_000 + rows)).cast(pl.String)
    for party, (table, source) in data.tables.items():
        frame = read(parse_source(source))
        drawn = frame[random.integers(0, len(frame), rows)].with_columns(id=ids)
        path = folder / f"large-{party}.parquet"
        drawn[random.permutation(rows)].write_parquet(path)
        catalogue = Home.open(homes[party]).catalogue
        catalogue.keep_table(msgspec.structs.replace(catalogue.table(table), source=str(path)))
    path = folder / "ids.parquet"
    pl.DataFrame({"id": ids}).write_parquet(path)
    return path


class Lists:
    """Scores lists of a model at a party.

    Args:
        home: the party's.
        parties: that run.

    Attributes:
        most: memory that each kind of process has held, MiB.
    """

    def __init__(self, home: Path, model: str, ids: Path, parties: Parties) -> None:
        self._home, self._model, self._ids, self._parties = home, model, ids, parties
        self.most: dict[str, float] = {}

    def score(self, out: Path, until: Callable[[], bool] = lambda: False) -> dict[str, Any] | None:
        """One `parley predict`; nothing if it was killed, which it is when ``until`` says so."""
        words = (
            "predict",
            self._model,
            "--ids",
            str(self._ids),
            "--out",
            str(out),
            "--home",
            str(self._home),
        )
        command = [sys.executable, "-m", "parley.cli", *words, "--json"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            while process.poll() is None:
                for kind, peak in peaks(self._parties).items():
                    self.most[kind] = max(self.most.get(kind, 0.0), peak)
                if until():
                    process.kill()
                    return None
                time.sleep(0.05)
            answer: dict[str, Any] = msgspec.json.decode(process.stdout.read() if process.stdout else b"")
        if process.returncode:
            raise SystemExit(answer)
        return answer

    def used(self) -> int:
        """Predictions that the ledger counts."""
        return int(parley(self._home, "model", "show", self._model)["registered"]["release"]["used"])

    def memory(self) -> dict[str, float]:
        """What each kind of process has held."""
        return {f"{kind}_mib": round(peak) for kind, peak in sorted(self.most.items())}


def batch(lists: Lists, out: Path) -> dict[str, float]:
    """One list."""
    began = time.perf_counter()
    answer = lists.score(out) or {}
    seconds = time.perf_counter() - began
    rates = {"rows_per_s": answer["ids"] / answer["seconds"], "whole_rows_per_s": answer["ids"] / seconds}
    return rates | lists.memory()


def interrupted(lists: Lists, parties: Parties, passive: Path, undisturbed: Path) -> dict[str, float]:
    """The same list while processes are killed; what was resumed, and memory."""
    out = undisturbed.with_name(f"interrupted{undisturbed.suffix}")
    whole = pl.read_parquet(undisturbed).drop("receipt")
    parts, used = -(-len(whole) // CHUNK), lists.used()

    def scored() -> int:
        return len(list(out.with_name(f"{out.name}.parts").glob("*-*.parquet")))

    lists.score(out, lambda: scored() >= parts // 2)
    if out.exists():
        raise SystemExit("the list was done before it was half done")
    killed = False

    def passes() -> bool:
        nonlocal killed
        if not killed and scored() >= 3 * parts // 4:
            killed = True
            for worker in answerers(passive):
                os.kill(worker, signal.SIGKILL)
            parties.kill(passive.name)
            parties.start(passive)
        return False

    answer = lists.score(out, passes) or {}
    if not killed:
        raise SystemExit("the list was done before the passive party was killed")
    if not pl.read_parquet(out).drop("receipt").equals(whole):
        raise SystemExit("the output is not the undisturbed one")
    deadline = time.monotonic() + 60
    while lists.used() != used + len(whole):
        if time.monotonic() > deadline:
            raise SystemExit(f"the ledger counts {lists.used() - used:,} of {len(whole):,}")
        time.sleep(0.2)
    return {"ids": len(whole), "resumed": answer["resumed"]} | lists.memory()


def answerers(home: Path) -> list[int]:
    """Workers of a passive party."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"parley.serving.answerer" in words and str(home).encode() in words:
                found.append(int(folder.name))
    return found


def reference(data: Data, rows: int) -> float:
    """Rows per second that LightGBM scores on one core more than it has: the joined table, as many trees."""
    frames = [read(parse_source(source)) for _, source in data.tables.values()]
    tables = [frame.drop("id").select(pl.selectors.numeric()).to_numpy() for frame in frames]
    shortest = min(map(len, tables))
    joined = np.concatenate([table[:shortest] for table in tables], axis=1)
    label = (joined[:, 0] > np.median(joined[:, 0])).astype(float)
    model = lightgbm.LGBMClassifier(n_estimators=TREES, max_depth=DEPTH, verbose=-1).fit(joined, label)
    large = joined[np.random.default_rng(3).integers(0, shortest, rows)]
    began = time.perf_counter()
    model.booster_.predict(large)
    return rows / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the list")
    parser.add_argument("--interrupted", action="store_true", help="score the list again, killing processes")
    parser.add_argument("--seconds", type=float, default=20, help="of each load")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    chosen = parser.parse_args()
    data = plan()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        consortium = Consortium("with", folder, data)
        try:
            homes = {party: folder / "with" / party for party in data.tables}
            consortium.run()
            (model,) = Home.open(homes["bank"]).models()
            wait_for("trained", homes, model)
            for home in homes.values():
                release(home, model)
            wait_for("released", homes, model)
            asked = folder / "asked.txt"
            asked.write_text("\n".join(common(data)[:10_000]))
            requests = online(homes["bank"], model, asked, chosen.seconds) if chosen.seconds else {}
            consortium.parties.stop()
            ids = enlarged(data, folder, homes, chosen.rows)
            consortium.parties.start(
                *(folder / "with" / party for party in ("bank", "operator", "regulator"))
            )
            while asyncio.run(compose.look(homes["bank"])) is None:
                time.sleep(0.1)
            lists, out = Lists(homes["bank"], model, ids, consortium.parties), folder / "scores.parquet"
            long = batch(lists, out) if chosen.rows else {}
            killed = {}
            if chosen.rows and chosen.interrupted:
                killed = interrupted(lists, consortium.parties, homes["operator"], out)
                print("list, interrupted      ", killed)
        finally:
            consortium.parties.stop()
    rows_per_s = reference(data, chosen.rows) if chosen.rows else 0.0
    show(requests, long, rows_per_s)
    if chosen.json:
        print(json.dumps(as_json(requests, long, rows_per_s) | {"interrupted": killed}))


def common(data: Data) -> list[str]:
    """Ids that both parties have, as the first writes them."""
    first, second = (read(parse_source(source))["id"].cast(pl.String) for _, source in data.tables.values())
    known = set(second.str.replace_all(r"\D", ""))
    return [each for each in first if "".join(filter(str.isdigit, each)) in known]


def show(requests: dict[str, dict[str, float]], long: dict[str, float], rows_per_s: float) -> None:
    """Print for people."""
    for name, each in requests.items():
        print(f"{name:22} " + "  ".join(f"{key} {value:,.4g}" for key, value in each.items()))
    if long:
        print("list                   " + "  ".join(f"{key} {value:,.0f}" for key, value in long.items()))
        print(f"reference, LightGBM    rows_per_s {rows_per_s:,.0f}")


def as_json(
    requests: dict[str, dict[str, float]], long: dict[str, float], rows_per_s: float
) -> dict[str, object]:
    """The same for machines."""
    slow = requests.get("100 requests/s", {})
    sustained = [
        each["requests_per_s"]
        for name, each in requests.items()
        if name.split()[0].isdecimal() and each["p99_ms"] <= WITHIN_MS
    ]
    return {
        "p50_ms": slow.get("p50_ms"),
        "p99_ms": slow.get("p99_ms"),
        "requests_per_s": max(sustained, default=0.0),
        "batch_rows_per_s": long.get("rows_per_s"),
        "reference_rows_per_s": rows_per_s,
        "loads": requests,
        "batch": long,
        "cores": multiprocessing.cpu_count(),
    }


if __name__ == "__main__":
    main()
