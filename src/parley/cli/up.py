"""Serving."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from parley.cli.lines import Format, printer
from parley.cli.options import DEFAULT_HOME, HomeOption
from parley.core.errors import UsageError
from parley.core.log import Log
from parley.party.compose import log_of, serve
from parley.party.running import Beside, Running
from parley.store.settings import Settings, read_settings

_FORMS: Final[dict[str, Format]] = {"text": "text", "json": "json"}


class _Form(StrEnum):
    """What --log-format takes."""

    text = "text"
    json = "json"


def up(
    *,
    log_format: Annotated[
        _Form | None,
        typer.Option(
            "--log-format", help="How the log is written; without it as `log_format` in parley.toml."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Short for --log-format json.")] = False,
) -> None:
    """Serve until Ctrl-C: answer peers, run our plans.

    \b
    Example:
      parley up
      parley up --log-format json >> parley.log

    SIGTERM ends it like Ctrl-C. The first line says where we listen; from then on there is a line
    for whatever happens. With --log-format json every line is an object with "time" (UTC), "level",
    "party" and "text", and where they apply "run", "role", "peer" and "code". What happens in one
    run is told by `parley run logs RUN`.

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
    settings = read_settings(home)
    form = _form(settings.log_format, log_format, as_json=as_json)
    asyncio.run(_serve(home, log_of(settings, printer(form)), _beside(settings)))


def _beside(settings: Settings) -> Beside:
    from parley.serving.beside import models_in_use  # noqa: PLC0415 (everything else does without these)

    if not settings.api:
        return models_in_use
    from parley.api.server import serving  # noqa: PLC0415

    @asynccontextmanager
    async def both(running: Running) -> AsyncIterator[None]:
        async with models_in_use(running), serving(running):
            yield

    return both


def _form(stated: Format, asked: str | None, *, as_json: bool) -> Format:
    """How the log is written: as the command says, or else the settings.

    Raises:
        UsageError: the command says two things.
    """
    if as_json and asked == "text":
        raise UsageError(
            "bad-arguments",
            "--json asks for another form of the log than --log-format text",
            remedy="leave one of the two out",
        )
    return "json" if as_json else _FORMS.get(asked or "", stated)


async def _serve(home: Path, log: Log, beside: Beside) -> None:
    serving = asyncio.ensure_future(serve(home, log, beside))
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        log("stopped")
