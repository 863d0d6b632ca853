"""The CometBFT engine: our side of ABCI 2.0, and a node's files, process and RPC.

From the bytes upwards: `wire` (protobuf), `messages` (the records of ABCI), `application` (what the
ledger offers to the engine), `dispatch` (a request to an answer), `server` (the socket); and beside it
`keys`, `files`, `binary`, `node`, `rpc`, `local` (a network of several nodes on one machine).
"""
