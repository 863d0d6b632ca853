"""One request of the node, one call of the application, one answer. No I/O.

Translates between the records of ABCI and those of `application`, and decides what an exception of
the application means: a refusal where a refusal is safe, a halt of the node where it is not.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

from parley.core.errors import ProtocolBug
from parley.ledger.engines.cometbft import requests, responses
from parley.ledger.engines.cometbft.application import (
    Application,
    FinalizeResult,
    Genesis,
    Offence,
    ValidatorPower,
)
from parley.ledger.engines.cometbft.parts import (
    ExecTxResult,
    Misbehaviour,
    MisbehaviourKind,
    PublicKey,
    Timestamp,
    Validator,
    ValidatorUpdate,
)
from parley.ledger.engines.cometbft.requests import Request
from parley.ledger.engines.cometbft.responses import Response, Restoration, Vote
from parley.ledger.engines.cometbft.wire import encode, malformed

FAILED: Final = 0xFFFF
"""The code of a refusal because the application failed while it looked at the input."""

_KEY_BYTES: Final = 32
_LOG: Final = logging.getLogger(__name__)


def answer(application: Application, request: Request) -> Response:
    """The response to a request.

    Raises:
        PeerMisbehaved: the request lacks what it must have.
        Exception: the application failed where only a halt is safe.

    """
    match request:
        case requests.EchoRequest():
            return responses.EchoResponse(request.message)
        case requests.FlushRequest():
            return responses.FlushResponse()
        case requests.CheckTxRequest() | requests.QueryRequest():
            return _foreign(application, request)
        case requests.PrepareProposalRequest() | requests.ProcessProposalRequest():
            return _proposal(application, request)
        case (
            requests.InfoRequest()
            | requests.InitChainRequest()
            | requests.FinalizeBlockRequest()
            | requests.CommitRequest()
        ):
            return _consensus(application, request)
        case _:
            return _unused(request)


# What decides about state: failures halt


def _consensus(
    application: Application,
    request: requests.InfoRequest
    | requests.InitChainRequest
    | requests.FinalizeBlockRequest
    | requests.CommitRequest,
) -> Response:
    match request:
        case requests.InfoRequest():
            # app_version stays 0: it goes into the first header, so a newer program would find another
            # chain than the one it is to replay. Which rules a block has is the contract's own record.
            committed = application.info()
            return responses.InfoResponse(
                data="parley",
                version=committed.version,
                last_block_height=committed.height,
                last_block_app_hash=committed.app_hash,
            )
        case requests.InitChainRequest():
            return responses.InitChainResponse(application.init_chain(_genesis(request)))
        case requests.FinalizeBlockRequest():
            return _finalize(application, request)
        case requests.CommitRequest():
            return responses.CommitResponse(application.commit())


def _finalize(
    application: Application, request: requests.FinalizeBlockRequest
) -> responses.FinalizeBlockResponse:
    result = application.finalize(
        request.txs,
        request.height,
        _nanoseconds(request.time),
        tuple(_offence(evidence) for evidence in request.misbehaviour),
        request.proposer_address,
    )
    if len(result.tx_results) != len(request.txs):
        raise ProtocolBug(
            "abci-results",
            f"block {request.height}: {len(result.tx_results)} results for {len(request.txs)} transactions",
            remedy="report it with the block",
        )
    return _outcome(result)


def _outcome(result: FinalizeResult) -> responses.FinalizeBlockResponse:
    return responses.FinalizeBlockResponse(
        tx_results=tuple(
            ExecTxResult(code=tx.code, data=tx.data, log=tx.log, events=tx.events) for tx in result.tx_results
        ),
        validator_updates=tuple(
            ValidatorUpdate(PublicKey(update.public_key), update.power) for update in result.validator_updates
        ),
        app_hash=result.app_hash,
    )


def _genesis(request: requests.InitChainRequest) -> Genesis:
    return Genesis(
        chain_id=request.chain_id,
        time=_nanoseconds(request.time),
        initial_height=request.initial_height,
        validators=tuple(_power(update) for update in request.validators),
        app_state=request.app_state,
    )


def _power(update: ValidatorUpdate) -> ValidatorPower:
    if update.pub_key is None or len(update.pub_key.ed25519) != _KEY_BYTES:
        raise malformed("a validator of the genesis without an Ed25519 key")
    return ValidatorPower(update.pub_key.ed25519, update.power)


def _offence(evidence: Misbehaviour) -> Offence:
    validator = evidence.validator or Validator()
    known = evidence.kind in set(MisbehaviourKind)
    return Offence(
        kind=MisbehaviourKind(evidence.kind) if known else MisbehaviourKind.UNKNOWN,
        address=validator.address,
        power=validator.power,
        height=evidence.height,
        time=_nanoseconds(evidence.time),
    )


def _nanoseconds(time: Timestamp | None) -> int:
    if time is None:
        raise malformed("a message without its time")
    return time.nanoseconds


# What carries foreign input and changes nothing: failures refuse


def _foreign(application: Application, request: requests.CheckTxRequest | requests.QueryRequest) -> Response:
    match request:
        case requests.CheckTxRequest():

            def check() -> responses.CheckTxResponse:
                verdict = application.check_tx(request.tx)
                return responses.CheckTxResponse(code=verdict.code, log=verdict.log)

            return _refusing("check_tx", check, responses.CheckTxResponse(code=FAILED, log="not understood"))
        case requests.QueryRequest():

            def ask() -> responses.QueryResponse:
                reply = application.query(request.path, request.data, request.height)
                return responses.QueryResponse(
                    code=reply.code, log=reply.log, key=request.data, value=reply.value, height=reply.height
                )

            return _refusing("query", ask, responses.QueryResponse(code=FAILED, log="not understood"))


def _proposal(
    application: Application, request: requests.PrepareProposalRequest | requests.ProcessProposalRequest
) -> Response:
    time = _nanoseconds(request.time)
    match request:
        case requests.PrepareProposalRequest():

            def prepare() -> responses.PrepareProposalResponse:
                txs = application.prepare(request.txs, request.max_tx_bytes, request.height, time)
                return _proposed(txs, request.max_tx_bytes)

            return _refusing("prepare", prepare, responses.PrepareProposalResponse())
        case requests.ProcessProposalRequest():

            def process() -> responses.ProcessProposalResponse:
                accepted = application.process(request.txs, request.height, time)
                return responses.ProcessProposalResponse(Vote.ACCEPT if accepted else Vote.REJECT)

            return _refusing("process", process, responses.ProcessProposalResponse(Vote.REJECT))


def _proposed(txs: Sequence[bytes], max_bytes: int) -> responses.PrepareProposalResponse:
    """The proposal, if it fits: the node would stop at one that does not."""
    proposal = responses.PrepareProposalResponse(tuple(txs))
    size = len(encode(proposal))
    if size > max_bytes:
        raise ProtocolBug(
            "abci-proposal",
            f"the application proposes {size} bytes of transactions, at most {max_bytes} fit the block",
            remedy="report it with the configuration",
        )
    return proposal


def _refusing(method: str, call: Callable[[], Response], refusal: Response) -> Response:
    try:
        return call()
    except Exception:  # noqa: BLE001 (what another organisation wrote must not stop this node)
        _LOG.exception("the application failed in %s; the input is refused", method)
        return refusal


# What a consortium does not use


def _unused(
    request: requests.ListSnapshotsRequest
    | requests.OfferSnapshotRequest
    | requests.LoadSnapshotChunkRequest
    | requests.ApplySnapshotChunkRequest
    | requests.ExtendVoteRequest
    | requests.VerifyVoteExtensionRequest,
) -> Response:
    match request:
        case requests.ListSnapshotsRequest():
            return responses.ListSnapshotsResponse()
        case requests.OfferSnapshotRequest():
            return responses.OfferSnapshotResponse(Restoration.ABORT)
        case requests.LoadSnapshotChunkRequest():
            return responses.LoadSnapshotChunkResponse()
        case requests.ApplySnapshotChunkRequest():
            return responses.ApplySnapshotChunkResponse(Restoration.ABORT)
        case requests.ExtendVoteRequest():
            return responses.ExtendVoteResponse()
        case requests.VerifyVoteExtensionRequest():
            return responses.VerifyVoteExtensionResponse(Vote.REJECT)
