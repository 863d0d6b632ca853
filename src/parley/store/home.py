"""A party's home folder: settings, identity, catalogue, model shares.

parley.toml      settings, written by `parley init`, edited by people
identity/        the authority that peers pin (ca.pem, ca.key), and what TLS uses (leaf.pem)
handles.key      secret that orders own columns, so that a handle does not give away a name
party.db         catalogue: peers, tables, runs; unless the settings name a database for it
models/          model shares, one file per model; beside those we led a ``.serving.json``, for their use
merged/          pieces of others, of models that we may hold whole, a folder per model
keys/            the party's keys on the ledger, what it has signed and promised with them, and what it
                 must know to fetch a ledger that is lost
ledger/          the ledger itself; all of it can be fetched from the other members
logs/            what happened in each run, a file per run
runs/            what runs need to go on after an interruption, a folder per run
control.port     ``host:port`` of the running party, for our own command line
party.lock       held by the running party
api.address      ``host:port`` of the running party's HTTP API
api.token        what a request to that API has to show
"""

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import msgspec

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.learn.reference import Reference, decode_reference, encode_reference
from parley.learn.shares import ModelShare, decode_share, encode_share
from parley.store.catalogue import Catalogue
from parley.store.database import running_already
from parley.store.opening import named_database, new_database
from parley.store.settings import SETTINGS_FILE, Settings, read_settings, written

CONTROL_FILE: Final = "control.port"
LOCK_FILE: Final = "party.lock"
API_ADDRESS_FILE: Final = "api.address"
API_TOKEN_FILE: Final = "api.token"  # noqa: S105 (where it lies)
_SECRET_BYTES: Final = 32
_REFERENCE: Final = ".serving.json"
_DISOWNED_FILE: Final = "disowned.json"
_MEMBERSHIP_FILE: Final = "consortium.json"
_OWNER_TAG: Final = b"parley/store-owner/v1\0"


class Membership(msgspec.Struct, frozen=True):
    """The consortium a party belongs to, kept apart from the ledger, which may be lost.

    Attributes:
        consortium: id of the ledger.
        sequencer: who ordered when the party came in.
        size: leaves that our ledger had at least, all final, when ``members`` was noted.
        members: the others, active then; they are asked for the ledger if it is lost.
    """

    consortium: str
    sequencer: str
    size: int = 0
    members: tuple[str, ...] = ()


class NodePlan(msgspec.Struct, frozen=True):
    """Where our CometBFT node listens, ``host:port``, and where the others reach it; empty: it dials them."""

    listen: str
    address: str


@dataclass(frozen=True)
class Home:
    """An opened home folder. Its catalogue is opened when it is first asked for.

    Attributes:
        path: of the folder.
        settings: as they were when it was opened.
        environment: where variables of the settings are looked up.
    """

    path: Path
    settings: Settings
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @classmethod
    def create(cls, path: Path, settings: Settings) -> Self:
        """Make the folder.

        Raises:
            UsageError: it already holds a party, or its store cannot be made or is another's.
        """
        if (path / SETTINGS_FILE).exists():
            raise UsageError(
                "home-exists",
                f"{path} already is the home of a party",
                remedy="choose another folder with --home, or use this one as it is",
            )
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        (path / "models").mkdir(exist_ok=True, mode=0o700)
        home = cls(path, settings)
        if not (path / "handles.key").exists():  # else an attempt was made before
            write_atomically(path / "handles.key", secrets.token_bytes(_SECRET_BYTES))
        Catalogue.create(new_database(path, settings, home.environment)).claim(home.owner)
        write_atomically(path / SETTINGS_FILE, written(settings).encode())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a folder that `create` made.

        Raises:
            UsageError: there is none, or its settings are not valid.
        """
        return cls(path, read_settings(path))

    @cached_property
    def catalogue(self) -> Catalogue:
        """Peers, tables and runs.

        Raises:
            UsageError: ``store-of-another``, ``catalogue-version``, and whatever `store.database` names.
        """
        catalogue = Catalogue(named_database(self.path, self.settings, self.environment))
        if self.settings.store:  # a file in the home is the home's
            catalogue.claim(self.owner)
        return catalogue

    @property
    def owner(self) -> str:
        """What tells this home from others, in a database that several may share."""
        return hashlib.sha256(_OWNER_TAG + self.handles_secret).hexdigest()[:32]

    @contextmanager
    def held(self, settings: Settings | None = None) -> Iterator[Callable[[], None]]:
        """Keep other processes from running this party while entered: here, and wherever its store is used.

        Gives a function that makes sure of it anew, to be called now and then; it may wait.

        Args:
            settings: others than the home's own, of the store to be held.

        Raises:
            UsageError: ``party-running``, on entering and of the function too.
        """
        handle = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise running_already(f"the party of {self.path}") from None
            opened = named_database(self.path, settings or self.settings, self.environment)
            with closing(opened) as database, database.hold() as make_sure:
                yield make_sure
        finally:
            os.close(handle)

    @property
    def membership(self) -> Membership | None:
        """The party's consortium, if it belongs to one."""
        path = _kept(self.path, _MEMBERSHIP_FILE)
        return msgspec.json.decode(path.read_bytes(), type=Membership) if path.exists() else None

    def keep_membership(self, membership: Membership) -> None:
        """Note that the party belongs to a consortium now."""
        (self.path / "keys").mkdir(exist_ok=True, mode=0o700)
        write_atomically(self.path / "keys" / _MEMBERSHIP_FILE, msgspec.json.encode(membership))

    @property
    def disowned(self) -> dict[str, str]:
        """Members whose certificate on the ledger does not count, by its fingerprint: we have one by hand."""
        path = _kept(self.path, _DISOWNED_FILE)
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str]) if path.exists() else {}

    def disown(self, member: str, fingerprint: str) -> None:
        """Note that the certificate that the ledger has of a member does not count; another one would."""
        noted = msgspec.json.encode(self.disowned | {member: fingerprint})
        (self.path / "keys").mkdir(exist_ok=True, mode=0o700)
        write_atomically(self.path / "keys" / _DISOWNED_FILE, noted)

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
    def api_address(self) -> str:
        """Where the running party's HTTP API answers, ``host:port``.

        Raises:
            UsageError: ``api-off``, or ``party-not-running``: nothing says where.
        """
        if not self.settings.api:
            raise UsageError(
                "api-off",
                f"{self.settings.party} has no API: {SETTINGS_FILE} says api = ''",
                remedy=f'write api = "127.0.0.1:0" into {SETTINGS_FILE}, and start the party again',
            )
        try:
            return (self.path / API_ADDRESS_FILE).read_text()
        except OSError:
            raise UsageError(
                "party-not-running",
                f"no {API_ADDRESS_FILE} is in its home",
                remedy=f"start it with `parley up --home {self.path}`",
            ) from None

    def keep_api_address(self, address: str) -> None:
        """Note where the HTTP API answers; empty: nowhere any more."""
        path = self.path / API_ADDRESS_FILE
        if address:
            write_atomically(path, address.encode())
        else:
            path.unlink(missing_ok=True)

    @property
    def api_token_file(self) -> Path:
        """Where the token of the HTTP API lies."""
        return self.path / API_TOKEN_FILE

    def api_token(self, *, renewed: bool = False) -> str:
        """The token of the HTTP API, 256 random bits as text; made if there is none, or to be another one."""
        if not renewed:
            try:
                return self.api_token_file.read_text()
            except OSError:
                pass  # none yet
        token = secrets.token_urlsafe(_SECRET_BYTES)
        write_atomically(self.api_token_file, token.encode())
        return token

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
        """Where certificates and private keys lie."""
        return self.path / "identity"

    def journal_folder(self, run: str) -> Path:
        """Where what is kept of a run lies while it lasts."""
        return self.path / "runs" / run

    def journals(self) -> list[str]:
        """The runs of which anything is kept beside their record."""
        folder = self.path / "runs"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

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
        return decode_share(self.share_text(model), model=model)

    def share_text(self, model: str) -> bytes:
        """Our piece of a model as the file has it: what its committed hash is of.

        Raises:
            UsageError: there is none.
        """
        try:
            return (self.path / "models" / f"{model}.json").read_bytes()
        except OSError:
            raise UsageError(
                "no-such-model", f"this party holds no share of model {model!r}", remedy="see `parley models`"
            ) from None

    def keep_piece(self, model: str, party: str, piece: bytes) -> None:
        """Write another party's piece of a model that we may hold whole, as its own file has it."""
        folder = self.path / "merged" / model
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(folder / f"{party}.json", piece)

    def pieces(self, model: str) -> dict[str, bytes]:
        """By party, the others' pieces of a model that we hold, ascending."""
        folder = self.path / "merged" / model
        return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.json"))}

    def models(self) -> list[str]:
        """The models we hold a share of."""
        files = (self.path / "models").glob("*.json")
        return sorted(path.stem for path in files if not path.name.endswith(_REFERENCE))

    def keep_reference(self, reference: Reference) -> Path:
        """Write what is kept of a training for when its model is used; says where."""
        path = self._reference_file(reference.alone.model)
        write_atomically(path, encode_reference(reference))
        return path

    def reference(self, model: str) -> Reference | None:
        """What is kept of a training; nothing if another party led it, or an earlier release.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            data = self._reference_file(model).read_bytes()
        except FileNotFoundError:
            return None
        return decode_reference(data, model=model)

    def _reference_file(self, model: str) -> Path:
        return self.path / "models" / f"{model}{_REFERENCE}"


def belongs(folder: Path) -> bool:
    """Whether the party of a home folder belongs to a consortium."""
    return _kept(folder, _MEMBERSHIP_FILE).exists()


def _kept(folder: Path, name: str) -> Path:
    """Where a file lies that outlives the ledger; beside the ledger in homes that were made earlier."""
    path = folder / "keys" / name
    return path if path.exists() else folder / "ledger" / name
