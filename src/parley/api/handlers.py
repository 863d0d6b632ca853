"""What each route does. The first line of each says it to users too: it is the route's summary in `/docs`.

Handlers that are coroutines run on the party's event loop and only wait there; the others read files or
compute, and run in threads.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from parley import _native
from parley.api import answers, asked
from parley.api.aside import Aside
from parley.api.metrics import Scene, exposition
from parley.api.responses import Stream, Text
from parley.api.watching import Watchers
from parley.core.plan import read_plan
from parley.learn.export.forest import Forest
from parley.net.certificates import fingerprint_of, grouped
from parley.party import counter, examination, exporting, merging, releasing
from parley.party.chronicle import Chronicle
from parley.party.finding import Finding, is_well
from parley.party.ledger import no_consortium
from parley.party.proving import standing
from parley.party.running import Running
from parley.party.shown.models import ModelShown, model_shown, models_listed
from parley.party.shown.plans import PlanShown, plan_shown
from parley.party.shown.records import record_shown
from parley.party.shown.runs import RunShown, known_run, run_shown
from parley.party.shown.tables import table_shown
from parley.party.site import examine_site
from parley.store.settings import SETTINGS_FILE, explained
from parley.web.delay import LoopDelay
from parley.web.metrics import CONTENT_TYPE


@dataclass(frozen=True)
class Counter:
    """Where requests are answered.

    Attributes:
        running: the party.
        delay: of its event loop.
        aside: threads for what must not hold the event loop up.
        watchers: of its runs.
    """

    running: Running
    delay: LoopDelay
    aside: Aside
    watchers: Watchers = field(default_factory=Watchers)


# ── our party ─────────────────────────────────────────────────────────────────────────────────────────────


def party(at: Counter, _: asked.Nothing) -> answers.PartyShown:
    """Who answers."""
    office, home = at.running.office, at.running.office.home
    return answers.PartyShown(
        party=office.name,
        release=examination.release(),
        home=str(home.path.absolute()),
        listen=home.settings.listen,
        fingerprint=grouped(at.running.identity().fingerprint),
        consortium="" if home.membership is None else home.membership.consortium,
        began=at.running.began,
        threads=office.threads,
        kernels=_native.kernel_path(),
    )


def settings(at: Counter, _: asked.Nothing) -> answers.Settings:
    """Every setting with its value, where that comes from, and what it means."""
    folder = at.running.office.home.path
    found = (
        answers.SettingShown(each.name, each.value, each.source, each.help) for each in explained(folder)
    )
    return answers.Settings(str(folder.absolute() / SETTINGS_FILE), tuple(found))


async def doctor(at: Counter, wanted: asked.AboutPeer) -> answers.Findings:
    """Look for what is wrong, at our own site or between us and a peer; may take some seconds."""
    running = at.running
    findings: tuple[Finding, ...] = ()
    if not wanted.peer:
        office = running.office
        now = datetime.fromtimestamp(office.clocks.wall(), UTC)
        findings = await at.aside.do(examine_site, office.home.path, os.environ, now)
        findings += (Finding("running", "ok", f"{office.name} is running and answers here"),)
    findings += await running.party.examine(wanted.peer)
    return answers.Findings(is_well(findings), findings)


async def peers(at: Counter, _: asked.Nothing) -> answers.Peers:
    """Everyone we know, with our link."""
    links = {each.peer: each for each in at.running.links.figures()}
    shown = []
    for name, peer in sorted(at.running.peers().items()):
        link = links.get(name)
        line = None if link is None else msgspec.convert(link, answers.LinkShown, from_attributes=True)
        fingerprint = grouped(fingerprint_of(peer.certificate))
        shown.append(answers.PeerShown(name, peer.address, fingerprint, line))
    return answers.Peers(tuple(shown))


def tables(at: Counter, _: asked.Nothing) -> answers.Tables:
    """Our tables: where they lie and who may use them."""
    records = at.running.office.home.catalogue.tables().values()
    return answers.Tables(tuple(table_shown(each) for each in records))


# ── plans and runs ────────────────────────────────────────────────────────────────────────────────────────


def plans(at: Counter, wanted: asked.ListPlans) -> answers.Plans:
    """The plans that wait for approval: who has approved, and what each party would learn."""
    home = at.running.office.home
    with Chronicle.open(home) as ledger:
        found = [each for each in ledger.plans() if wanted.all or each.plan.status == "open"]
    return answers.Plans(tuple(plan_shown(home, each) for each in found))


def plan(at: Counter, wanted: asked.OnePlan) -> PlanShown:
    """One plan on the ledger, open or decided."""
    home = at.running.office.home
    with Chronicle.open(home) as ledger:
        found = ledger.plan(ledger.identify("plan", wanted.plan))
    return plan_shown(home, found)


def runs(at: Counter, _: asked.Nothing) -> answers.Runs:
    """The runs we led or followed, and how each ended."""
    return answers.Runs(tuple(run_shown(each) for each in at.running.office.home.catalogue.runs()))


def run(at: Counter, wanted: asked.OneRun) -> RunShown:
    """Where a run stands, since when, and why."""
    return run_shown(known_run(at.running.office.home, wanted.run))


async def submit(at: Counter, wanted: asked.SubmitPlan) -> RunShown:
    """Run a plan, whose label we hold; answers at once with the run, which goes on by itself."""
    read = await at.aside.do(read_plan, wanted.plan)
    begun = at.running.party.submit(read, wanted.wait, wanted.priority)
    return run_shown(known_run(at.running.office.home, begun))


async def cancel(at: Counter, wanted: asked.OneRun) -> RunShown:
    """End a run without a model, at every party; answers before it has ended."""
    await at.running.party.cancel(wanted.run)
    return run_shown(known_run(at.running.office.home, wanted.run))


async def resume(at: Counter, wanted: asked.OneRun) -> RunShown:
    """Go on at once with a run that stands still; by itself it tries every few seconds."""
    await at.running.party.resume(wanted.run)
    return run_shown(known_run(at.running.office.home, wanted.run))


async def watch(at: Counter, wanted: asked.OneRun) -> Stream:
    """How a run goes, as events until it is over: `state` with the run, `progress` with one of its phases."""
    return Stream(at.watchers.watch(at.running, wanted.run, at.aside))


# ── models and the ledger ─────────────────────────────────────────────────────────────────────────────────


def models(at: Counter, _: asked.Nothing) -> answers.Models:
    """The models we hold a piece of, and which of them are released."""
    return answers.Models(models_listed(at.running.office.home))


def model(at: Counter, wanted: asked.OneModel) -> ModelShown:
    """Our piece of a model, who holds the others, what the ledger says of it, what the columns are worth."""
    return model_shown(at.running.office.home, wanted.model)


async def release(at: Counter, wanted: asked.ReleaseModel) -> releasing.Consented:
    """Consent to a model's release for predictions, for us and by the grants that cover it."""
    office = at.running.office
    if office.ledger is None:
        raise no_consortium(office.name)
    terms = releasing.Wanted(model=wanted.model, predictions=wanted.predictions, until=wanted.until)
    return await releasing.release(office.ledger, terms)


async def withdraw(at: Counter, wanted: asked.OneModel) -> ModelShown:
    """End the use of a model for good, at every party."""
    office = at.running.office
    if office.ledger is None:
        raise no_consortium(office.name)
    releasing.model_and_plan(office.ledger.draft, wanted.model)
    await office.ledger.demand("model.withdraw", {"model": wanted.model})
    return await at.aside.do(model_shown, office.home, wanted.model)


async def merge(at: Counter, wanted: asked.MergeModel) -> answers.MergeShown:
    """Consent that one owner may hold the whole forest of a model, for good."""
    office, model, receiver = at.running.office, wanted.model, wanted.receiver
    if office.ledger is None:
        raise no_consortium(office.name)
    releasing.model_and_plan(office.ledger.draft, model)
    receipt = await office.ledger.demand("model.merge", {"model": model, "receiver": receiver})
    missing = merging.still_to_consent(office.ledger.draft, model, receiver)
    return answers.MergeShown(model, receiver, receipt.number, missing)


def piece(at: Counter, wanted: asked.OneModel) -> Text:
    """Our own piece of a model, as the file is."""
    home = at.running.office.home
    home.share(wanted.model)
    return _file(home.share_text(wanted.model), "application/json", f"{wanted.model}.json")


async def lightgbm(at: Counter, wanted: asked.OneModel) -> Text:
    """The whole forest for LightGBM; the first time, pieces are fetched from their owners, who must agree."""
    content = await _whole(at, wanted.model, exporting.lightgbm_file)
    return _file(content, "text/plain; charset=utf-8", f"{wanted.model}.txt")


async def onnx(at: Counter, wanted: asked.OneModel) -> Text:
    """The whole forest as ONNX, in the same way."""
    content = await _whole(at, wanted.model, exporting.onnx_file)
    return _file(content, "application/octet-stream", f"{wanted.model}.onnx")


async def inputs(at: Counter, wanted: asked.OneModel) -> Text:
    """What a row holds that such a file takes."""
    content = await _whole(at, wanted.model, lambda forest: forest.described())
    return _file(content, "application/json", f"{wanted.model}{exporting.INPUTS}")


async def _whole(at: Counter, model: str, written: Callable[[Forest], bytes]) -> bytes:
    """The whole forest, written in some form."""
    office = at.running.office
    if not await at.aside.do(exporting.is_whole_here, office.home, model):
        await merging.fetch(office, model)
    return await at.aside.do(lambda: written(exporting.whole(office.home, model)))


def _file(content: bytes, media: str, name: str) -> Text:
    return Text(content, media, {"content-disposition": f'attachment; filename="{name}"'})


async def ledger(at: Counter, _: asked.Nothing) -> answers.LedgerShown:
    """Where our copy of the ledger stands."""
    office = at.running.office
    if office.ledger is None:
        raise no_consortium(office.name)
    condition = await counter.condition(office.ledger.member)

    def stands() -> answers.LedgerShown:
        with Chronicle.open(office.home) as chronicle:
            return answers.LedgerShown(condition.halted, condition, standing(chronicle))

    return await at.aside.do(stands)


def records(at: Counter, wanted: asked.Page) -> answers.Records:
    """A part of the ledger's history; refused requests are records too."""
    with Chronicle.open(at.running.office.home) as chronicle:
        size, end = chronicle.size, wanted.first + wanted.limit
        found = tuple(record_shown(each) for each in chronicle.part(wanted.first, wanted.limit))
    return answers.Records(found, end if end < size else None, size)


# ── for machines ──────────────────────────────────────────────────────────────────────────────────────────


async def metrics(at: Counter, _: asked.Nothing) -> Text:
    """Figures of this party for Prometheus."""
    scene = await Scene.taken(at.running, at.delay, at.aside)
    return Text(exposition(scene).encode(), CONTENT_TYPE, {})
