module parley/abci_vectors

go 1.25.0

require (
	github.com/cometbft/cometbft v0.39.4
	github.com/cosmos/gogoproto v1.7.2
)
