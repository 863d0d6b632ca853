"""The HTTP API of our running party: where it answers, and its token."""

import http.client
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from parley.cli.options import DEFAULT_HOME, HomeOption, JsonOption, group
from parley.cli.output import answer, facts
from parley.core.errors import UsageError
from parley.store.home import Home

_TEXT: Final = """The HTTP API of our running party: where it answers.

\b
Examples:
  parley api
  parley api token
  curl -H "Authorization: Bearer $(parley api token)" http://127.0.0.1:PORT/v1/runs

It answers on this machine only, to whoever shows the token; /docs in a browser says all that can be
asked. `api` in parley.toml is its address; by default any free port of 127.0.0.1. This command ends
with 0 only if the API answers, so it tells whether the party is well enough to be asked.

\b
Remedies:
  party-not-running   start it: `parley up`
  api-off             write api = "127.0.0.1:0" into parley.toml, and start the party again
"""
_PATIENCE: Final = 10.0

app = group(_TEXT)


@app.callback(invoke_without_command=True)
def show(context: typer.Context, *, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """See `_TEXT`, which is the help."""
    if context.invoked_subcommand is not None:
        return
    opened = Home.open(home)
    address = opened.api_address
    _ask(opened, address)
    record = {"url": f"http://{address}", "token_file": str(opened.api_token_file)}

    def said(console: Console) -> None:
        facts(console, [("answers at", record["url"]), ("for people", f"{record['url']}/docs")])
        facts(console, [("its token is in", record["token_file"])])

    answer(record, said, as_json=as_json)


@app.command("token")
def token(
    *,
    new: Annotated[
        bool, typer.Option("--new", help="Make another one; the old one holds no longer.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Print the token that requests have to show.

    \b
    Examples:
      parley api token
      parley api token --new

    Whoever has it may do with our party what we may: keep it as you keep the home. It lies in api.token
    in the home folder, readable for its user only, and stays the same until --new, which holds at once.
    """
    text = Home.open(home).api_token(renewed=new)

    def said(console: Console) -> None:
        console.print(Text(text), soft_wrap=True)

    answer({"token": text}, said, as_json=as_json)


def _ask(home: Home, address: str) -> None:
    """Have the API say who answers.

    Raises:
        UsageError: nobody does.
    """
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_PATIENCE)
    try:
        connection.request("GET", "/v1/party", headers={"Authorization": f"Bearer {home.api_token()}"})
        status = connection.getresponse().status
        trouble = "" if status == http.client.OK else f"it answers {status}"
    except (OSError, http.client.HTTPException) as error:
        trouble = str(error) or type(error).__name__
    finally:
        connection.close()
    if trouble:
        raise UsageError(
            "party-not-running",
            f"{home.settings.party} does not answer at http://{address}: {trouble}",
            remedy=f"start it with `parley up --home {home.path}`",
        )
