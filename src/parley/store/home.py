"""A party's home folder: settings, identity, catalogue, model shares.

parley.toml      settings, written by `parley init`, edited by people
identity/        certificate and private key
handles.key      secret that orders own columns, so that a handle does not give away a name
party.db         catalogue: peers, tables, runs
models/          model shares, one file per model
logs/            what happened in each run, a file per run
runs/            what runs need to go on after an interruption, a folder per run
control.port     ``host:port`` of the running party, for our own command line
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.learn.shares import ModelShare, decode_share, encode_share
from parley.store.catalogue import Catalogue
from parley.store.settings import SETTINGS_FILE, Settings, read_settings, written

CONTROL_FILE: Final = "control.port"
_SECRET_BYTES: Final = 32


class Membership(msgspec.Struct, frozen=True):
    """The consortium a party belongs to, and who ordered its ledger when it came in."""

    consortium: str
    sequencer: str


class NodePlan(msgspec.Struct, frozen=True):
    """Where our CometBFT node listens, ``host:port``, and where the others reach it; empty: it dials them."""

    listen: str
    address: str


@dataclass(frozen=True)
class Home:
    """An opened home folder."""

    path: Path
    settings: Settings
    catalogue: Catalogue

    @classmethod
    def create(cls, path: Path, settings: Settings) -> Self:
        """Make the folder.

        Raises:
            UsageError: it already holds a party.
        """
        if (path / SETTINGS_FILE).exists():
            raise UsageError(
                "home-exists",
                f"{path} already is the home of a party",
                remedy="choose another folder with --home, or use this one as it is",
            )
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (path / "models").mkdir(exist_ok=True, mode=0o700)
        write_atomically(path / "handles.key", secrets.token_bytes(_SECRET_BYTES))
        Catalogue.create(path / "party.db")
        write_atomically(path / SETTINGS_FILE, written(settings).encode())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder that `create` made.

        Raises:
            UsageError: there is none, or its settings are not valid.
        """
        return cls(path, read_settings(path), Catalogue(path / "party.db"))

    @property
    def membership(self) -> Membership | None:
        """The party's consortium, if it belongs to one."""
        path = self.path / "ledger" / "consortium.json"
        return msgspec.json.decode(path.read_bytes(), type=Membership) if path.exists() else None

    def keep_membership(self, membership: Membership) -> None:
        """Note that the party belongs to a consortium now."""
        (self.path / "ledger").mkdir(exist_ok=True, mode=0o700)
        write_atomically(self.path / "ledger" / "consortium.json", msgspec.json.encode(membership))

    @property
    def control(self) -> str:
        """Where our own command line reaches the running party, ``host:port``."""
        if self.settings.listen:
            return self.settings.listen
        try:
            return (self.path / CONTROL_FILE).read_text()
        except OSError:
            raise UsageError(
                "party-not-running",
                f"no {CONTROL_FILE} is in its home",
                remedy=f"start it with `parley up --home {self.path}`",
            ) from None

    def keep_control(self, address: str) -> None:
        """Note where our own command line reaches us, if no setting says so."""
        if not self.settings.listen:
            write_atomically(self.path / CONTROL_FILE, address.encode())

    @property
    def node_folder(self) -> Path:
        """The home of our CometBFT node."""
        return (self.path / "node").absolute()

    @property
    def node(self) -> NodePlan | None:
        """Our CometBFT node, if it has been prepared."""
        path = self.node_folder / "node.json"
        return msgspec.json.decode(path.read_bytes(), type=NodePlan) if path.exists() else None

    def keep_node(self, node: NodePlan) -> None:
        """Note where our CometBFT node listens."""
        self.node_folder.mkdir(exist_ok=True, mode=0o700)
        write_atomically(self.node_folder / "node.json", msgspec.json.encode(node))

    @property
    def identity_folder(self) -> Path:
        """Where certificate and private key lie."""
        return self.path / "identity"

    def journal_folder(self, run: str) -> Path:
        """Where what is kept of a run lies while it lasts."""
        return self.path / "runs" / run

    @property
    def handles_secret(self) -> bytes:
        """32 bytes that order own columns in joint models."""
        return (self.path / "handles.key").read_bytes()

    def keep_share(self, share: ModelShare) -> Path:
        """Write our piece of a model; says where."""
        path = self.path / "models" / f"{share.model}.json"
        write_atomically(path, encode_share(share))
        return path

    def knows_run(self, run: str) -> bool:
        """Whether a run of that name has been here, or there is a model of that name."""
        return self.catalogue.has_run(run) or (self.path / "models" / f"{run}.json").exists()

    def share(self, model: str) -> ModelShare:
        """Our piece of a model.

        Raises:
            UsageError: there is none, or it cannot be read.
        """
        try:
            data = (self.path / "models" / f"{model}.json").read_bytes()
        except OSError:
            raise UsageError(
                "no-such-model", f"this party holds no share of model {model!r}", remedy="see `parley models`"
            ) from None
        return decode_share(data, model=model)

    def models(self) -> list[str]:
        """The models we hold a share of."""
        return sorted(path.stem for path in (self.path / "models").glob("*.json"))
