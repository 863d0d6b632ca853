module parley/abci_vectors

go 1.25.0

require github.com/cometbft/cometbft v0.39.4
