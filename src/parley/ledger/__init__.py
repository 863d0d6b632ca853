"""The agreed record: the contract's rules, the Merkle log, checkpoints, proofs, the offline verifier."""
