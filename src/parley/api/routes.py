"""The whole API, one line for each thing that can be asked.

Who may: ``anyone`` on this machine, or who shows the ``token`` of the home. What a route does is said by the
first line of its handler; what it takes and answers, by the types. The OpenAPI document is made of all that.
"""

from typing import Final

from parley.api import answers, asked, handlers, pages
from parley.party.releasing import Consented
from parley.party.shown.models import ModelShown
from parley.party.shown.plans import PlanShown
from parley.party.shown.runs import RunShown
from parley.web.metrics import CONTENT_TYPE
from parley.web.openapi import Route

_EVENTS: Final = "text/event-stream"
_EXPORT: Final = "/v1/models/{model}/export"
_BYTES: Final = "application/octet-stream"
_TOML: Final = ("plan", "application/toml")

# fmt: off
ROUTES: Final = (
    Route("GET", "/v1/party", asked.Nothing, answers.PartyShown, "token", handlers.party),
    Route("GET", "/v1/settings", asked.Nothing, answers.Settings, "token", handlers.settings),
    Route("GET", "/v1/doctor", asked.AboutPeer, answers.Findings, "token", handlers.doctor),
    Route("GET", "/v1/peers", asked.Nothing, answers.Peers, "token", handlers.peers),
    Route("GET", "/v1/tables", asked.Nothing, answers.Tables, "token", handlers.tables),
    Route("GET", "/v1/plans", asked.ListPlans, answers.Plans, "token", handlers.plans),
    Route("GET", "/v1/plans/{plan}", asked.OnePlan, PlanShown, "token", handlers.plan),
    Route("GET", "/v1/runs", asked.Nothing, answers.Runs, "token", handlers.runs),
    Route("POST", "/v1/runs", asked.SubmitPlan, RunShown, "token", handlers.submit, 202, _TOML),
    Route("GET", "/v1/runs/{run}", asked.OneRun, RunShown, "token", handlers.run),
    Route("GET", "/v1/runs/{run}/events", asked.OneRun, _EVENTS, "token", handlers.watch),
    Route("POST", "/v1/runs/{run}/cancel", asked.OneRun, RunShown, "token", handlers.cancel, 202),
    Route("POST", "/v1/runs/{run}/resume", asked.OneRun, RunShown, "token", handlers.resume, 202),
    Route("GET", "/v1/models", asked.Nothing, answers.Models, "token", handlers.models),
    Route("GET", "/v1/models/{model}", asked.OneModel, ModelShown, "token", handlers.model),
    Route("POST", "/v1/models/{model}/release", asked.ReleaseModel, Consented, "token", handlers.release),
    Route("POST", "/v1/models/{model}/withdraw", asked.OneModel, ModelShown, "token", handlers.withdraw),
    Route("POST", "/v1/models/{model}/merge", asked.MergeModel, answers.MergeShown, "token", handlers.merge),
    Route("GET", f"{_EXPORT}/json", asked.OneModel, "application/json", "token", handlers.piece),
    Route("GET", f"{_EXPORT}/lightgbm", asked.OneModel, "text/plain", "token", handlers.lightgbm),
    Route("GET", f"{_EXPORT}/onnx", asked.OneModel, _BYTES, "token", handlers.onnx),
    Route("GET", f"{_EXPORT}/inputs", asked.OneModel, "application/json", "token", handlers.inputs),
    Route("GET", "/v1/ledger", asked.Nothing, answers.LedgerShown, "token", handlers.ledger),
    Route("GET", "/v1/ledger/records", asked.Page, answers.Records, "token", handlers.records),
    Route("GET", "/metrics", asked.Nothing, CONTENT_TYPE, "token", handlers.metrics),
    Route("GET", "/openapi.json", asked.Nothing, "application/json", "anyone", pages.openapi),
    Route("GET", "/docs", asked.Nothing, "text/html; charset=utf-8", "anyone", pages.docs),
)
# fmt: on
