"""What ``parley.toml`` may say: each setting with its type, its default and a line about it, stated once."""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from parley.core.errors import UsageError
from parley.data.urls import POSTGRES_SCHEMES, redacted

SETTINGS_FILE: Final = "parley.toml"
_EVERYWHERE: Final = ("0.0.0.0", "::", "[::]", "")  # noqa: S104 (compared, not bound)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of a party. What each means is said beside it, which is what `explained` shows."""

    party: Annotated[str, Meta(description="our name; peers know us by it")]
    listen: Annotated[
        str, Meta(description="HOST:PORT of the one port; empty for a party that only dials out")
    ]
    threads: Annotated[
        int, Meta(ge=0, le=1024, description="threads that computations may use; 0: one per core")
    ] = 0
    patience: Annotated[
        float, Meta(gt=0, description="seconds without a message after which a peer counts as lost")
    ] = 120.0
    minimum_rows: Annotated[int, Meta(ge=1, description="rows that any sum we give away must hold")] = 10
    memory: Annotated[int, Meta(ge=0, description="MiB that one run may use; 0: as much as there is")] = 0
    runs_at_once: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="runs that take place at a time, and as many of other parties",
        ),
    ] = 4
    disk: Annotated[
        int, Meta(ge=0, description="MiB that must be free on the home's disk before a run begins or goes on")
    ] = 256
    drift_psi: Annotated[
        float,
        Meta(
            ge=0, description="population stability index of a column from which on its values have drifted"
        ),
    ] = 0.25
    drift_missing: Annotated[
        float, Meta(ge=0, description="change of the share of missing cells that counts as drift")
    ] = 0.1
    drift_rows: Annotated[
        float, Meta(ge=0, description="change of the row count, as a share of it, that counts as drift")
    ] = 0.5
    address: Annotated[
        str, Meta(description="HOST:PORT by which others reach us; empty if that is listen itself")
    ] = ""
    relay: Annotated[
        bool,
        Meta(description="whether parties that only dial out may reach one another through us, unread"),
    ] = False
    store: Annotated[
        str,
        Meta(
            description="postgresql://USER:${VARIABLE}@HOST/DATABASE for peers, tables and runs; "
            "empty: party.db in the home"
        ),
    ] = ""
    store_schema: Annotated[
        str,
        Meta(max_length=63, description="schema of that database that is ours alone; empty: parley_NAME"),
    ] = ""
    keep_runs: Annotated[
        int,
        Meta(ge=0, description="days for which the record of a run is kept after it has ended; 0: for ever"),
    ] = 0
    keep_journals: Annotated[
        int,
        Meta(ge=1, description="days for which a partner that was away can still hear how a run ended"),
    ] = 7
    keep_logs: Annotated[
        int,
        Meta(
            ge=0,
            description="days for which logs of runs and old ones of our node are kept; 0: for ever",
        ),
    ] = 30
    keep_predictions: Annotated[
        int,
        Meta(
            ge=0,
            description="days for which a prediction can be proven once it is on the ledger; 0: for ever",
        ),
    ] = 1095

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={_shown(self, name)!r}" for name in self.__struct_fields__)
        return f"Settings({values})"

    def schema(self) -> str:
        """Our schema in the database that ``store`` names."""
        return self.store_schema or f"parley_{self.party.replace('-', '_')}"

    api: Annotated[
        str,
        Meta(description="loopback HOST:PORT of the local HTTP API; port 0: any free one; empty: none"),
    ] = "127.0.0.1:0"

    log_format: Annotated[
        Literal["text", "json"],
        Meta(description="how `parley up` writes its log: text for people, or json, an object per line"),
    ] = "text"

    def reached_at(self) -> str:
        """Where others reach us; empty if we only dial out.

        Raises:
            UsageError: we listen on every network, and nothing says under which name.
        """
        if not self.listen:
            return ""
        where = f'address = "HOST:PORT" into {SETTINGS_FILE}'
        return reachable(self.party, self.address or self.listen, where)


@dataclass(frozen=True)
class Setting:
    """One setting as it is now.

    Attributes:
        name: as the file has it.
        value: in use.
        source: whether the file says so, or nothing does and it is the default.
        help: what it means, in a line.
    """

    name: str
    value: object
    source: Literal["file", "default"]
    help: str


def reachable(party: str, address: str, where: str) -> str:
    """The address, if it is one that others can dial.

    Args:
        party: whose.
        address: ``host:port``.
        where: what is to be written, and into what, if it is not.

    Raises:
        UsageError: it stands for every network, and says nothing about where others reach it.
    """
    if address.rpartition(":")[0] in _EVERYWHERE:
        raise UsageError(
            "address-unknown",
            f"{party} listens on {address}, which does not say how others reach it",
            remedy=f"write {where}, as the others are to dial it",
        )
    return address


def read_settings(folder: Path) -> Settings:
    """The settings of a home folder.

    Raises:
        UsageError: ``no-home``: there are none; ``bad-settings``: they are not valid.
    """
    stated = _stated(folder)
    for name in stated:
        if name not in Settings.__struct_fields__:
            raise _unknown(folder, name)
    try:
        settings = msgspec.convert(stated, Settings)
    except msgspec.ValidationError as error:
        raise _bad(folder, str(error)) from None
    checked_store(settings.store)
    return settings


def checked_store(store: str) -> str:
    """The setting ``store``, if it is one.

    Raises:
        UsageError: ``bad-settings``.
    """
    if store and not store.startswith(POSTGRES_SCHEMES):
        raise UsageError(
            "bad-settings",
            f"{redacted(store)!r} names no store",
            remedy="give the url of a PostgreSQL database, postgresql://USER:${VARIABLE}@HOST/DATABASE, or "
            "nothing for a file in the home",
        )
    return store


def explained(folder: Path) -> tuple[Setting, ...]:
    """Every setting of a home folder with where its value comes from, in the order of `Settings`.

    Raises:
        UsageError: as `read_settings`.
    """
    settings, stated = read_settings(folder), _stated(folder)
    return tuple(
        Setting(name, _shown(settings, name), "file" if name in stated else "default", text)
        for name, text in helps().items()
    )


def helps() -> Mapping[str, str]:
    """The line about each setting, by name."""
    properties = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    return {name: properties[name]["description"] for name in Settings.__struct_fields__}


def written(settings: Settings) -> str:
    """The text of a settings file."""
    values = ((name, getattr(settings, name)) for name in Settings.__struct_fields__)
    lines = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in values]
    return "\n".join(["# Settings of this party; `parley config show` explains them.", *lines, ""])


def _shown(settings: Settings, name: str) -> object:
    """The value of a setting, without a password."""
    value = getattr(settings, name)
    return redacted(value) if name == "store" else value


def _stated(folder: Path) -> dict[str, Any]:
    try:
        text = (folder / SETTINGS_FILE).read_bytes().decode()
    except OSError:
        raise UsageError(
            "no-home",
            f"{folder} is not the home of a party",
            remedy="run `parley init`, or name the folder with --home",
        ) from None
    except UnicodeDecodeError as error:
        raise _bad(folder, str(error)) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _bad(folder, str(error)) from None


def _bad(folder: Path, why: str) -> UsageError:
    return UsageError(
        "bad-settings",
        f"{folder / SETTINGS_FILE} is not valid: {why}",
        remedy=f"correct it; the settings are {', '.join(Settings.__struct_fields__)}",
    )


def _unknown(folder: Path, name: str) -> UsageError:
    names = Settings.__struct_fields__
    near = difflib.get_close_matches(name.lower().replace("-", "_"), names, 1)
    return UsageError(
        "bad-settings",
        f"{folder / SETTINGS_FILE} is not valid: there is no setting {name[:64]!r}",
        remedy=f"did you mean {near[0]!r}?" if near else f"remove it; the settings are {', '.join(names)}",
    )
