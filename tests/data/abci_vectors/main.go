// Prints the golden vectors of tests/unit/test_comet_messages.py and test_comet_files.py: ABCI envelopes
// as CometBFT itself encodes them, in hex, by name, and key files as it writes them. To make them anew: go mod tidy && go run . > vectors.json
package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	"github.com/cometbft/cometbft/p2p"
	"github.com/cometbft/cometbft/privval"
	"github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"
)

var (
	when  = time.Date(2026, 2, 3, 4, 5, 6, 789_000_001, time.UTC)
	early = time.Time{}
	key   = ed25519.GenPrivKeyFromSecret([]byte("parley"))
	hash  = bytes.Repeat([]byte{0xab}, 32)
	txs   = [][]byte{[]byte("a=1"), {}, bytes.Repeat([]byte{7}, 300)}
)

func update(power int64) abci.ValidatorUpdate {
	return abci.Ed25519ValidatorUpdate(key.PubKey().Bytes(), power)
}

func misbehaviour() []abci.Misbehavior {
	offender := abci.Validator{Address: key.PubKey().Address(), Power: 10}
	return []abci.Misbehavior{
		{Type: abci.MisbehaviorType_DUPLICATE_VOTE, Validator: offender, Height: 5, Time: when, TotalVotingPower: 40},
		{Type: abci.MisbehaviorType_LIGHT_CLIENT_ATTACK, Time: early},
	}
}

func commit() abci.CommitInfo {
	voter := abci.Validator{Address: key.PubKey().Address(), Power: 10}
	return abci.CommitInfo{Round: 1, Votes: []abci.VoteInfo{{Validator: voter, BlockIdFlag: 2}}}
}

func requests() map[string]*abci.Request {
	params := types.DefaultConsensusParams().ToProto()
	address := key.PubKey().Address()
	return map[string]*abci.Request{
		"echo":     abci.ToRequestEcho("héllo"),
		"flush":    abci.ToRequestFlush(),
		"info":     abci.ToRequestInfo(&abci.RequestInfo{Version: "0.39.4", BlockVersion: 11, P2PVersion: 8, AbciVersion: "2.0.0"}),
		"query":    abci.ToRequestQuery(&abci.RequestQuery{Path: "/p2p/filter/id/00ff", Data: []byte{1}, Height: -1, Prove: true}),
		"check":    abci.ToRequestCheckTx(&abci.RequestCheckTx{Tx: []byte("a=1"), Type: abci.CheckTxType_Recheck}),
		"commit":   abci.ToRequestCommit(),
		"snapshot": abci.ToRequestListSnapshots(&abci.RequestListSnapshots{}),
		"offer":    abci.ToRequestOfferSnapshot(&abci.RequestOfferSnapshot{Snapshot: &abci.Snapshot{Height: 9, Hash: hash}, AppHash: hash}),
		"load":     abci.ToRequestLoadSnapshotChunk(&abci.RequestLoadSnapshotChunk{Height: 9, Format: 1, Chunk: 2}),
		"apply":    abci.ToRequestApplySnapshotChunk(&abci.RequestApplySnapshotChunk{Index: 1, Chunk: hash, Sender: "x"}),
		"init": abci.ToRequestInitChain(&abci.RequestInitChain{
			Time: when, ChainId: "consortium", ConsensusParams: &params,
			Validators: []abci.ValidatorUpdate{update(10), update(0)}, AppStateBytes: []byte("{}"), InitialHeight: 1,
		}),
		"prepare": abci.ToRequestPrepareProposal(&abci.RequestPrepareProposal{
			MaxTxBytes: 4194304, Txs: txs, Misbehavior: misbehaviour(), Height: 7, Time: when,
			NextValidatorsHash: hash, ProposerAddress: address,
		}),
		"process": abci.ToRequestProcessProposal(&abci.RequestProcessProposal{
			Txs: txs, ProposedLastCommit: commit(), Misbehavior: misbehaviour(), Hash: hash, Height: 7, Time: when,
			NextValidatorsHash: hash, ProposerAddress: address,
		}),
		"extend": abci.ToRequestExtendVote(&abci.RequestExtendVote{Hash: hash, Height: 7, Time: when, Txs: txs}),
		"verify": abci.ToRequestVerifyVoteExtension(&abci.RequestVerifyVoteExtension{Hash: hash, Height: 7}),
		"finalize": abci.ToRequestFinalizeBlock(&abci.RequestFinalizeBlock{
			Txs: txs, DecidedLastCommit: commit(), Misbehavior: misbehaviour(), Hash: hash, Height: 1 << 40, Time: when,
			NextValidatorsHash: hash, ProposerAddress: address,
		}),
	}
}

func responses() map[string]*abci.Response {
	events := []abci.Event{{Type: "tx", Attributes: []abci.EventAttribute{{Key: "kind", Value: "vote", Index: true}, {}}}}
	return map[string]*abci.Response{
		"exception": abci.ToResponseException("no"),
		"echo":      abci.ToResponseEcho("héllo"),
		"flush":     abci.ToResponseFlush(),
		"info":      abci.ToResponseInfo(&abci.ResponseInfo{Data: "parley", Version: "0.1", AppVersion: 1, LastBlockHeight: 300, LastBlockAppHash: hash}),
		"init":      abci.ToResponseInitChain(&abci.ResponseInitChain{AppHash: hash}),
		"query":     abci.ToResponseQuery(&abci.ResponseQuery{Code: 1, Log: "no", Key: []byte("k"), Value: []byte("v"), Height: 7, Codespace: "p"}),
		"check":     abci.ToResponseCheckTx(&abci.ResponseCheckTx{Code: 4294967295, Data: []byte("d"), Log: "no", GasWanted: 1, Codespace: "p"}),
		"commit":    abci.ToResponseCommit(&abci.ResponseCommit{RetainHeight: 5}),
		"snapshot":  abci.ToResponseListSnapshots(&abci.ResponseListSnapshots{}),
		"offer":     abci.ToResponseOfferSnapshot(&abci.ResponseOfferSnapshot{Result: abci.ResponseOfferSnapshot_ABORT}),
		"load":      abci.ToResponseLoadSnapshotChunk(&abci.ResponseLoadSnapshotChunk{}),
		"apply":     abci.ToResponseApplySnapshotChunk(&abci.ResponseApplySnapshotChunk{Result: abci.ResponseApplySnapshotChunk_ABORT}),
		"prepare":   abci.ToResponsePrepareProposal(&abci.ResponsePrepareProposal{Txs: txs}),
		"process":   abci.ToResponseProcessProposal(&abci.ResponseProcessProposal{Status: abci.ResponseProcessProposal_REJECT}),
		"extend":    abci.ToResponseExtendVote(&abci.ResponseExtendVote{}),
		"verify":    abci.ToResponseVerifyVoteExtension(&abci.ResponseVerifyVoteExtension{Status: abci.ResponseVerifyVoteExtension_ACCEPT}),
		"finalize": abci.ToResponseFinalizeBlock(&abci.ResponseFinalizeBlock{
			Events: events, TxResults: []*abci.ExecTxResult{{Code: 3, Data: []byte("d"), Log: "l", Events: events, Codespace: "p"}, {}},
			ValidatorUpdates: []abci.ValidatorUpdate{update(10), update(0)}, AppHash: hash,
		}),
	}
}

// files are the key files as CometBFT writes them.
func files() map[string]string {
	nodeKey, err := cmtjson.Marshal(&p2p.NodeKey{PrivKey: key})
	if err != nil {
		panic(err)
	}
	validator := privval.FilePVKey{Address: key.PubKey().Address(), PubKey: key.PubKey(), PrivKey: key}
	validatorKey, err := cmtjson.MarshalIndent(validator, "", "  ")
	if err != nil {
		panic(err)
	}
	state, err := cmtjson.MarshalIndent(privval.FilePVLastSignState{}, "", "  ")
	if err != nil {
		panic(err)
	}
	return map[string]string{
		"node_key": string(nodeKey), "priv_validator_key": string(validatorKey), "priv_validator_state": string(state),
		"seed": hex.EncodeToString(key[:32]),
	}
}

func put(into map[string]string, name string, message proto.Message) {
	encoded, err := proto.Marshal(message)
	if err != nil {
		panic(err)
	}
	into[name] = hex.EncodeToString(encoded)
}

func main() {
	asked, answered := map[string]string{}, map[string]string{}
	for name, message := range requests() {
		put(asked, name, message)
	}
	for name, message := range responses() {
		put(answered, name, message)
	}
	out := map[string]any{
		"address":   hex.EncodeToString(key.PubKey().Address()),
		"files":     files(),
		"key":       hex.EncodeToString(key.PubKey().Bytes()),
		"requests":  asked,
		"responses": answered,
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(out); err != nil {
		panic(err)
	}
}
