"""The command ``parley``: its groups, and what every command does with an error."""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from parley.cli import (
    api,
    bench,
    config,
    consortium,
    data,
    demo,
    doctor,
    explain,
    exports,
    grants,
    home,
    identity,
    keys,
    ledger,
    models,
    options,
    peer,
    plans,
    predict,
    predictions,
    receipts,
    releases,
    run,
    runs,
    serve,
    store,
    up,
    votes,
)
from parley.cli.output import INTERRUPTED, Failure, Problem, complain, remarks
from parley.core.errors import ParleyError, ProtocolBug, UsageError

_TEXT: Final = """Organisations train one model together; every row stays at home.

\b
The way to a first model, at each organisation:
  parley init --name bank --listen 0.0.0.0:7443   make a home folder and a certificate
  parley consortium create NAME                   at the first, then `parley invite` for the others
  parley join STRING                              at each of the others
  parley up                                       serve until Ctrl-C
  parley data add accounts accounts.csv --id id   say which table may be used
  parley run plan.toml                            at the party that holds the label
  parley plans, parley approve ID                 at those whose tables it uses

`parley demo` shows all of it with three parties on this machine.

\b
Exit codes: 0 done, 1 stopped, 2 usage or data, 3 refused by a rule, 4 peer lost,
5 peer misbehaved, 6 peer stopped, 7 budget used up, 70 our own mistake, 130 Ctrl-C.
"""

app = options.group(_TEXT)
app.command("init")(home.init)
app.add_typer(identity.app, name="identity")
app.add_typer(consortium.app, name="consortium")
app.command("invite")(consortium.invite)
app.command("join")(consortium.join)
app.command("members")(consortium.members)
app.command("votes")(votes.votes)
app.command("vote")(votes.vote)
app.add_typer(votes.app, name="propose")
app.command("up")(up.up)
app.command("doctor")(doctor.doctor)
app.command("explain")(explain.explain)
app.add_typer(config.app, name="config")
app.add_typer(store.app, name="store")
app.add_typer(api.app, name="api")
app.add_typer(keys.app, name="key")
app.add_typer(data.app, name="data")
app.add_typer(run.app, name="run")
app.command("plans")(plans.plans)
app.add_typer(plans.app, name="plan")
app.command("approve")(plans.approve)
app.command("reject")(plans.reject)
app.add_typer(grants.app, name="grant")
app.command("grants")(grants.grants)
app.command("runs")(runs.runs)
app.command("models")(models.models)
models.app.command("prove")(predictions.prove)
models.app.command("release")(releases.release)
models.app.command("withdraw")(releases.withdraw)
models.app.command("merge")(exports.merge)
models.app.command("export")(exports.export)
app.add_typer(models.app, name="model")
app.command("predict")(predict.predict)
app.command("serve")(serve.serve)
ledger.app.command("prove")(receipts.prove)
ledger.app.command("keys")(receipts.keys)
ledger.app.command("check-proof")(receipts.check_proof)
app.add_typer(ledger.app, name="ledger")
app.add_typer(peer.app, name="peer")
app.command("demo")(demo.demo)
app.command("bench", context_settings=bench.PASS_ON)(bench.bench)


def _say_version(wanted: bool) -> None:  # noqa: FBT001 (called by the option below)
    if wanted:
        sys.stdout.write(f"parley {version('parley')}\n")
        raise typer.Exit


@app.callback()
def _parley(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Nothing of its own; its help is the text above."""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        words: the command and its arguments; by default those that the program was started with.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if words is None else words) or ["--help"]
    as_json = "--json" in arguments
    try:
        code = app(arguments, prog_name="parley", standalone_mode=False)
    except ParleyError as error:
        problem = Problem.of(error)
    except Failure as error:
        problem = error.problem
    except TyperException as error:
        problem = _misused(error)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has enough of it; nothing more may be written, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 (the last resort: no traceback for people)
        problem = _unforeseen(error)
    else:
        return code if isinstance(code, int) else 0
    complain(problem, as_json=as_json)
    return problem.exit_code


def _misused(error: TyperException) -> Problem:
    """The command line itself is wrong."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "parley"
    what = error.format_message().rstrip(".")
    remedy = f"see `{command} --help`"
    return Problem.of(UsageError("bad-arguments", what[:1].lower() + what[1:], remedy=remedy))


def _unforeseen(error: Exception) -> Problem:
    if os.environ.get("PARLEY_DEBUG") == "1":
        remarks().print(traceback.format_exc(), markup=False)
    return Problem.of(
        ProtocolBug(
            "internal",
            f"{type(error).__name__}: {error}",
            remedy="please report it, with what PARLEY_DEBUG=1 shows of it",
        )
    )
