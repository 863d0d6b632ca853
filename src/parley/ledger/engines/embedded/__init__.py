"""The embedded engine: one member's machine orders, every member executes and cosigns.

The sequencer can delay, but can neither fork the log nor commit what the contract forbids: a block
counts only when a majority of the members has executed it, come to the same state root, and signed.

    store.py         the log and the state on disk
    sequencer.py     orders transactions into blocks
    cosigner.py      what a member checks before it signs
    replication.py   the conversation between the two
    gossip.py        members compare checkpoints and pass on transactions
    member.py        one member's engine: all of these together
"""
