"""Answering single requests for predictions."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parley.cli.lines import printer
from parley.cli.options import DEFAULT_HOME, HomeOption
from parley.cli.predict import FALLBACKS, FallbackName, FallbackOption, ModelArgument
from parley.core.errors import UsageError
from parley.core.log import Log
from parley.party.compose import log_of, own_party
from parley.serving.monitor import Monitor
from parley.serving.online import OnlineScorer
from parley.serving.program import Choices, at_work
from parley.serving.subject import Subject
from parley.store.home import Home

if TYPE_CHECKING:
    from parley.serving.http.server import Place

_MS = 1000.0


def serve(  # noqa: PLR0913 (one for each option)
    model: ModelArgument,
    *,
    listen: Annotated[
        str, typer.Option("--listen", help="HOST:PORT; beyond this machine only with a certificate.")
    ] = "127.0.0.1:8750",
    fallback: FallbackOption = FallbackName.refuse,
    deadline: Annotated[
        float, typer.Option("--deadline", min=1, help="Milliseconds in which the other parties must answer.")
    ] = 1000.0,
    delay: Annotated[
        float,
        typer.Option("--delay", min=0, help="Milliseconds for which requests gather while others are asked."),
    ] = 2.0,
    certificate: Annotated[
        Path | None,
        typer.Option(
            "--certificate", help="PEM file, for HTTPS; read again when it changes.", dir_okay=False
        ),
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", help="PEM file of its private key.")] = None,
    oidc_issuer: Annotated[
        str, typer.Option("--oidc-issuer", help="URL of an issuer whose tokens count beside API keys.")
    ] = "",
    oidc_audience: Annotated[
        str, typer.Option("--oidc-audience", help="The audience that its tokens must be for.")
    ] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Write the log as an object per line.")] = False,
) -> None:
    """Answer requests for predictions over HTTP until Ctrl-C.

    \b
    Example:
      parley key add webshop
      parley serve run-0123456789abcdef
      curl -H "Authorization: Bearer $KEY" --json '{"id": "0012-3456"}' \\
        http://127.0.0.1:8750/v1/models/run-0123456789abcdef/predict

    Run it at the party with the label, beside `parley up`; the others only have to be up. What is
    asked at the same time goes to each of them in one exchange. What it offers is described at
    /docs, and how it does is told at /metrics.

    While another party is away, or lacks an id, the fallback holds: with refuse the request is
    refused within the deadline, with active-only it gets the score of our own columns alone, which
    says so, with missing none. Every prediction is counted on the ledger, within a second.

    \b
    Remedies:
      model-not-released       every owner runs `parley model release`
      serve-port-unavailable   choose another port with --listen
      serve-not-loopback       give --certificate and --key
      no-fallback-model        choose another --fallback
      party-not-running        start ours with `parley up`
    """
    from parley.serving.http.oidc import Issuer  # noqa: PLC0415 (everything else does without the front)
    from parley.serving.http.server import Place  # noqa: PLC0415

    if bool(oidc_issuer) != bool(oidc_audience):
        raise UsageError(
            "bad-arguments",
            "an issuer goes with an audience",
            remedy="give both --oidc-issuer and --oidc-audience, or neither",
        )
    opened = Home.open(home)
    subject = Subject.of(opened, model)
    log = log_of(opened.settings, printer("json" if as_json else "text"))
    issuer = Issuer(oidc_issuer, oidc_audience) if oidc_issuer else None
    place = Place(listen, home, certificate, key, issuer)
    choices = Choices(FALLBACKS[fallback.value], deadline / _MS, degrades=True)
    asyncio.run(_until_stopped(_serve(subject, place, choices, delay / _MS, log)))
    log("stopped")


async def _serve(subject: Subject, place: "Place", choices: Choices, delay: float, log: Log) -> None:
    from parley.serving.http.server import listening  # noqa: PLC0415

    monitor = Monitor()
    async with at_work(subject, choices, own_party(subject.home.path), log, monitor) as program:
        await program.met()
        scorer = OnlineScorer(program.engine, program.accountant, monitor, log, delay=delay)
        scoring = asyncio.create_task(scorer.run())
        try:
            async with listening(scorer, place, monitor, log):
                await scoring
        finally:
            scoring.cancel()
            await asyncio.gather(scoring, return_exceptions=True)


async def _until_stopped(serving: Coroutine[Any, Any, None]) -> None:
    """Until SIGINT or SIGTERM."""
    task = asyncio.ensure_future(serving)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
