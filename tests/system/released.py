"""A released model in a consortium of real processes, and its programs."""

import http.client
import json
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from parley.cli.shell import free_port
from parley.data.binning import encode_columns
from parley.data.sources import parse_source, read
from parley.learn.scoring import directions, margins
from parley.store.home import Home

from tests.system.parties import PATIENCE, _said, arguments, environment, plan, until
from tests.system.test_consortium import approved

ENOUGH = 1_000_000


def trained(bank, operator, folder, **words):
    """A model of both; returns it."""
    path = plan(folder, **({"predictions": ENOUGH, "trees": 4} | words))
    run = bank.done("run", approved(bank, operator, path))["run"]
    until(lambda: model_status(operator, run) == "trained")
    return run


def model_status(party, model):
    shown = party.done("model", "show", model)
    return (shown["registered"] or {}).get("status")


def released(bank, operator, model, predictions):
    """Both release it for so many predictions."""
    bank.done("model", "release", model, "--predictions", predictions)
    operator.done("model", "release", model, "--predictions", predictions)
    until(lambda: model_status(bank, model) == model_status(operator, model) == "released")


def joined(model, **homes):
    """Margins by normalised id, of everyone whom both know, as the shares on one machine give them."""
    shares = {name: Home.open(home).share(model) for name, home in homes.items()}
    frames = {}
    for name, home in homes.items():
        record = next(iter(Home.open(home).catalogue.tables().values()))
        frame = read(parse_source(record.source))
        frames[name] = frame.with_columns(key=pl.col("id").cast(pl.String).str.replace_all(r"\D", ""))
    both = frames["bank"].join(frames["operator"], on="key", how="inner", suffix="_of_operator")
    left = []
    for name in shares["bank"].owners:
        bins = {column.name: column.bins for column in shares[name].columns}
        left.append(directions(shares[name].rules, encode_columns(both, bins, threads=1).codes))
    found = margins(shares["bank"].trees, shares["bank"].initial, left, len(both))
    return dict(zip(both["key"].to_list(), np.atleast_2d(found)[0].tolist(), strict=True))


class Service:
    """A running `parley serve`, and a client with a key."""

    def __init__(self, party, model, *options):
        self.party, self.model = party, model
        self.port = free_port()
        self.key = party.done("key", "add", f"client{self.port}", "--rate", "100000")["key"]
        self.log = party.home / f"serve{self.port}.log"
        self._words = ("serve", model, "--listen", f"127.0.0.1:{self.port}", *options, "--home", party.home)
        self.process = None

    def start(self):
        begins = len(self.log.read_text()) if self.log.exists() else 0
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                arguments(*self._words), stdout=file, stderr=subprocess.STDOUT, env=environment()
            )
        until(lambda: self.process.poll() is not None or "is served at" in self.log.read_text()[begins:])
        assert self.process.poll() is None, self.log.read_text()
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(20) == 0, self.log.read_text()
        finally:
            self.process.kill()

    def request(self, method, path, body=None, key=None):
        """Status and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            headers = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json"}
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content.startswith(b"{") else content.decode()
        finally:
            connection.close()

    def ask(self, *ids):
        """Status, and the predictions or the error."""
        status, answer = self.request("POST", f"/v1/models/{self.model}/predict", {"ids": list(ids)})
        return status, answer["predictions"] if status == 200 else answer

    def joint(self, *ids):
        """Whether all are scored by all parties' columns now."""
        status, answer = self.ask(*ids)
        return status == 200 and {each["basis"] for each in answer} == {"joint"}

    def shown(self):
        return self.request("GET", f"/v1/models/{self.model}")[1]


@contextmanager
def serving(party, model, *options):
    service = Service(party, model, *options).start()
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.stop()


def answerers(party):
    """Process ids of the workers of a party that answer for models."""
    found = []
    for number in (each.name for each in Path("/proc").iterdir() if each.name.isdecimal()):
        words = _said(Path("/proc") / number / "cmdline")
        if b"parley.serving.answerer" in words and str(party.home).encode() in words:
            found.append(int(number))
    return found


def soon(check, patience=PATIENCE):
    """Wait until a check holds that may raise meanwhile."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
