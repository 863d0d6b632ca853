"""What can be wrong at our own site: the home folder, the machine, the certificate, the ledger's copy.

Nothing is changed and nobody is dialled. Each check is by itself, so that one that fails hides no other.
"""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from parley import _native
from parley.core.errors import ParleyError, UsageError
from parley.net.authority import CA_KEY_FILE
from parley.net.certificates import Identity, valid_until
from parley.net.proxy import Proxies
from parley.party.chronicle import Chronicle
from parley.party.credentials import AUTHORITY_WARNING, is_due, next_identity, next_step
from parley.party.finding import Finding
from parley.party.ledger import announced
from parley.store.home import API_TOKEN_FILE, Home, belongs
from parley.store.migrations import VERSION, check
from parley.store.opening import named_database
from parley.store.settings import SETTINGS_FILE, Settings, read_settings

MIB: Final = 1 << 20
LEAST_DISK: Final = 100 * MIB
SOME_DISK: Final = 2048 * MIB
"""Bytes free below which a party soon stops, and below which somebody should look."""
SOME_MEMORY: Final = 1024 * MIB
"""Bytes available below which a run of ordinary size may be ended by the system."""

_OTHERS: Final = 0o077
_MEMORY_FILE: Final = Path("/proc/meminfo")


def examine_site(folder: Path, environment: Mapping[str, str], now: datetime) -> tuple[Finding, ...]:
    """Look at everything of our own that a party needs.

    Raises:
        UsageError: ``no-home``: there is nothing to look at.
    """
    settings = None
    try:
        settings = read_settings(folder)
        findings = [Finding("settings", "ok", f"{folder / SETTINGS_FILE} is valid")]
    except UsageError as error:
        if error.code == "no-home":
            raise
        findings = [Finding.of("settings", error)]
    findings += [
        private(folder),
        certificate(folder, settings, now),
        store(folder, settings, environment),
        ledger(folder, settings),
        authority(folder, now),
        disk(folder, shutil.disk_usage(folder).free),
        memory(available_memory(), 0 if settings is None else settings.memory),
        cores(usable_cores(), 0 if settings is None else settings.threads),
        kernels(_native.kernel_path, _native.available_kernels()),
        proxy(environment),
    ]
    return tuple(findings)


def private(folder: Path) -> Finding:
    """Whether what lies in the home is for its user only."""
    path, mode = folder.absolute(), stat.S_IMODE(folder.stat().st_mode)
    if not mode & _OTHERS:
        return Finding("home", "ok", f"{path} is open to its user only")
    exposed = [secret for secret in _secrets(folder) if stat.S_IMODE(secret.stat().st_mode) & _OTHERS & 0o066]
    if exposed:
        names = ", ".join(str(each.relative_to(folder)) for each in exposed)
        return Finding(
            "home",
            "failure",
            f"other users of this machine can read {names} in {path} (mode {mode:04o}, expected 0700)",
            f"run `chmod 700 {path}`, and think of what others may have read",
        )
    return Finding(
        "home",
        "warning",
        f"other users of this machine can look into {path} (mode {mode:04o}, expected 0700)",
        f"run `chmod 700 {path}`",
    )


def certificate(folder: Path, settings: Settings | None, now: datetime) -> Finding:
    """Whether key and certificate can be used, and for how long."""
    try:
        identity = Identity.load(folder / "identity", now=now)
    except ParleyError as error:
        return Finding.of("certificate", error)
    if settings is not None and settings.party != identity.party:
        return Finding(
            "certificate",
            "failure",
            f"the certificate names {identity.party}, {SETTINGS_FILE} names {settings.party}",
            f'write party = "{identity.party}" into {SETTINGS_FILE}',
        )
    found = f"{identity.party}'s for TLS, valid until {identity.ends:%Y-%m-%d}"
    if is_due(identity, now):
        left = f"{found}: {(identity.ends - now).days} days"
        return Finding("certificate", "warning", left, next_step(folder / "identity"))
    return Finding("certificate", "ok", found)


def authority(folder: Path, now: datetime) -> Finding:
    """Whether what our peers pin will do for long, and is what the ledger says; whether its key is here."""
    try:
        identity = Identity.load(folder / "identity", now=now)
    except ParleyError:
        return Finding("authority", "skipped", "not looked at: the certificate for TLS cannot be used")
    if next_identity(folder / "identity") is not None:
        return Finding(
            "authority",
            "warning",
            "a new one is ready, and not on the ledger yet",
            "run `parley up`, and see `parley ledger status` for who is missing",
        )
    if (elsewhere := _other_on_ledger(folder, identity)) is not None:
        return elsewhere
    if not identity.has_authority:
        return Finding("authority", "ok", "none: our peers pin the certificate for TLS itself")
    end = valid_until(identity.certificate_pem)
    found = f"valid until {end:%Y-%m-%d}"
    if end - now < AUTHORITY_WARNING:
        remedy = "run `parley identity replace` in time: the peers have to pin the new one"
        return Finding("authority", "warning", f"{found}: {(end - now).days} days", remedy)
    if not (folder / "identity" / CA_KEY_FILE).exists():
        found += f"; {CA_KEY_FILE} is kept elsewhere"
    return Finding("authority", "ok", found)


def _other_on_ledger(folder: Path, identity: Identity) -> Finding | None:
    """The finding if our copy of the ledger has another certificate of ours: the members refuse this one."""
    if not belongs(folder):
        return None
    try:
        with Chronicle.open(Home.open(folder)) as chronicle:
            known = announced(chronicle.view, identity.party)
    except (ParleyError, sqlite3.DatabaseError):  # told by the other checks
        return None
    if known is None or known.certificate == identity.certificate_pem:
        return None
    return Finding(
        "authority",
        "failure",
        "the ledger has another certificate of ours: the members refuse the one in identity/",
        "restore the newer identity/; if it is lost, run `parley identity replace --at-once`",
        "certificate-revoked",
    )


def store(folder: Path, settings: Settings | None, environment: Mapping[str, str]) -> Finding:
    """Whether the database of peers, tables and runs answers, is whole, and is one that we can work with."""
    if settings is None:
        return Finding("store", "skipped", "not looked at: the settings are not valid")
    try:
        with closing(named_database(folder, settings, environment)) as database:
            damage, exposure = database.damage(), database.exposure()
            version = check(database, database.read(database.version))
            size = database.size()
    except ParleyError as error:
        return Finding.of("store", error)
    found = f"{database.kind}, {database.place}"
    if damage:
        return Finding(
            "store", "failure", f"{found}: {damage}", "stop the party and restore it from a backup"
        )
    if exposure:
        return Finding("store", "warning", f"{found}: {exposure}", "add sslmode=verify-full to the url")
    steps = "" if version == VERSION else f" of {VERSION}, brought up to date when it is next used"
    return Finding("store", "ok", f"{found}: version {version}{steps}, {size / 1000:,.0f} kB")


def ledger(folder: Path, settings: Settings | None) -> Finding:
    """Whether our copy of the ledger can be read."""
    if settings is None:
        return Finding("ledger", "skipped", "not looked at: the settings are not valid")
    if not belongs(folder):
        return Finding("ledger", "skipped", "we belong to no consortium")
    path = folder / "ledger" / "ledger.db"
    trouble = _damage(path) if path.exists() else ""
    if trouble:
        return Finding(
            "ledger",
            "failure",
            f"{path}: {trouble}",
            "stop the party and move the file away, but not the file beside it; the others have the ledger",
        )
    try:
        with Chronicle.open(Home.open(folder)) as chronicle:
            found = f"{chronicle.size:,} records, {chronicle.final:,} final, height {chronicle.height:,}"
    except ParleyError as error:
        return Finding.of("ledger", error)
    return Finding("ledger", "ok", found)


def disk(folder: Path, free: int) -> Finding:
    """Whether there is room where the home lies; ``free`` in bytes."""
    found = f"{free // MIB:,} MiB free where {folder.absolute()} lies"
    if free < LEAST_DISK:
        return Finding("disk", "failure", found, f"free at least {SOME_DISK // MIB:,} MiB")
    if free < SOME_DISK:
        return Finding("disk", "warning", found, f"free at least {SOME_DISK // MIB:,} MiB before a large run")
    return Finding("disk", "ok", found)


def memory(available: int | None, allowed: int) -> Finding:
    """Whether a run has the memory it may use.

    Args:
        available: bytes; None where the system does not say.
        allowed: MiB that one run may use; 0 for no limit.
    """
    if available is None:
        return Finding("memory", "skipped", "this system does not say how much memory is available")
    found = f"{available // MIB:,} MiB available"
    if allowed:
        found += f"; a run may use {allowed:,} MiB"
    if allowed * MIB > available:
        return Finding("memory", "warning", found, f"lower memory in {SETTINGS_FILE}, or end other programs")
    if available < SOME_MEMORY:
        return Finding("memory", "warning", found, "end other programs before a large run")
    return Finding("memory", "ok", found)


def cores(usable: int, threads: int) -> Finding:
    """Whether the threads fit the cores; ``threads``: as set, 0 for one per core."""
    found = f"{usable} usable, {threads or usable} threads for computations"
    if threads > usable:
        return Finding("cores", "warning", found, f"lower threads in {SETTINGS_FILE}: more are no faster")
    return Finding("cores", "ok", found)


def kernels(used: Callable[[], str], available: Sequence[str]) -> Finding:
    """Which machine code computes; ``used`` raises `ValueError` if what was asked for is not there."""
    try:
        name = used()
    except ValueError as error:
        return Finding("kernels", "failure", str(error), "unset PARLEY_KERNELS")
    if name != available[0]:
        return Finding(
            "kernels", "warning", f"{name}, though this processor has {available[0]}", "unset PARLEY_KERNELS"
        )
    if name == "portable":
        return Finding(
            "kernels",
            "warning",
            "portable: this processor has no AVX2",
            "runs take longer here; results are equal",
        )
    return Finding("kernels", "ok", f"{name}, the fastest that this processor has")


def proxy(environment: Mapping[str, str]) -> Finding:
    """What `parley up` dials through, if it is started in the same environment."""
    try:
        proxies = Proxies.read(environment)
    except UsageError as error:
        return Finding.of("proxy", error)
    if not proxies.host:
        return Finding("proxy", "ok", "HTTPS_PROXY is not set: peers are dialled directly")
    besides = f", except {', '.join(proxies.direct)}" if proxies.direct else ""
    return Finding("proxy", "ok", f"HTTPS_PROXY is set: through {proxies.host}:{proxies.port}{besides}")


def available_memory() -> int | None:
    """Bytes that programs can still get; None where the system does not say."""
    try:
        lines = _MEMORY_FILE.read_text().splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return kilobytes[0] * 1024 if kilobytes else None


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def _secrets(folder: Path) -> Iterator[Path]:
    identity = folder / "identity"
    yield from (path for path in folder.rglob("*.key") if path.is_file())
    others = (identity / "leaf.pem", identity / "key.pem", folder / "party.db", folder / API_TOKEN_FILE)
    yield from (path for path in others if path.exists())


def _damage(path: Path) -> str:
    """What is wrong with a database; empty if nothing is. It is read only."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        return f"it cannot be read: {error}"
    return "" if answer == "ok" else str(answer)
