"""Serving."""

import asyncio
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from parley.party.compose import serve
from parley.party.running import Beside, alone
from parley.store.settings import read_settings


def up(*, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Serve until Ctrl-C: answer peers, run our plans.

    \b
    Example:
      parley up
      parley up --json >> parley.log

    SIGTERM ends it like Ctrl-C. The first line says where we listen; from then on there is a line
    for whatever happens. With --json every line is an object with "time" and "text".

    We dial through the proxy that HTTPS_PROXY names (http://USER:PASSWORD@HOST:PORT), except the
    hosts in NO_PROXY.

    The party runs the engine that its consortium uses. When the members have voted for CometBFT, it
    goes over by itself, and then starts and ends our CometBFT node too.

    Our own programs reach it by HTTP, from this machine only: see `parley api`. Where
    OTEL_EXPORTER_OTLP_ENDPOINT is set, spans of our runs go there.

    \b
    Remedies:
      api-not-loopback, api-port-unavailable   change "api" in parley.toml
      port-unavailable   another program has the port: stop it, or change "listen" in parley.toml
      party-running      it runs already, here or wherever its store is used: one is enough
      store-unreachable  see that the database runs that "store" in parley.toml names
      no-home            run `parley init`, or name the folder with --home
      cometbft-missing   install CometBFT as the message says, or name the binary in PARLEY_COMETBFT
      node-not-prepared  run `parley consortium node --listen HOST:PORT`
    """
    asyncio.run(_serve(home, as_json=as_json))


def _api(home: Path) -> Beside:
    if not read_settings(home).api:
        return alone
    from parley.api.server import serving  # noqa: PLC0415 (everything else does without it)

    return serving


async def _serve(home: Path, *, as_json: bool) -> None:
    def log(text: str) -> None:
        moment = time.localtime()
        if as_json:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z", moment)
            line = msgspec.json.encode({"time": stamp, "text": text}).decode()
        else:
            line = f"{time.strftime('%H:%M:%S', moment)}  {text}"
        with suppress(OSError):  # a log on a full disk must not end what goes on
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    serving = asyncio.ensure_future(serve(home, log, _api(home)))
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        log("stopped")
