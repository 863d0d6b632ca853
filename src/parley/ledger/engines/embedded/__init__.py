"""The embedded engine: one member's machine orders, every member executes and cosigns.

The sequencer can delay, but can neither fork the log nor commit what the contract forbids: a block
counts only when a majority of the members has executed it, come to the same state root, and signed.

    store.py         the log and the state on disk
    high_water.py    the highest checkpoint ever signed, beside it
    loading.py       reading both again, and noticing damage
    log.py           one member's log: the only place that signs
    cosigner.py      what a member checks before it signs
    watch.py         transactions that are wanted in
    replication.py   the conversation between the sequencer and a follower
    gossip.py        the conversation in which members compare what they hold
    workbench.py     what the next three share: the log's one thread, reasons to stop
    ordering.py      as the sequencer
    following.py     as a follower
    comparing.py     beside both
    promises.py      what this member promised when the sequencer was lost
    handover.py      how another member takes the log over
    member.py        one member's engine: all of these together
"""
