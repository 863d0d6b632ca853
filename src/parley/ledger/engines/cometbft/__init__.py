"""The CometBFT engine: the contract behind ABCI 2.0, and a node's files, process and RPC.

From the bytes upwards: `wire` (protobuf), `messages` (the records of ABCI), `application` (what the
ledger offers to the engine), `dispatch` (a request to an answer), `server` (the socket). The ledger:
`store` and `log` (on disk), `beginning` (the genesis file's app_state), `validators` (who votes and who may
connect), `contract_application` (the contract as an application), `member` (what a party runs), `migration`
(from the embedded engine). Beside them `keys`, `files`, `binary`, `node`, `rpc`, `local` (a network of
several nodes on one machine). What is what: ``spec/cometbft.md``.
"""
