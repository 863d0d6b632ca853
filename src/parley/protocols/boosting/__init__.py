"""Boosted trees over columns that stay with their owners (SecureBoost, Cheng et al. 2021, with low-bit sums).

    active (label, own columns)                          passive (own columns), one or more
      SecretKey of k messages ── PublicKeyOffer ──────────▶
                              ◀────────── ColumnsOffer ──── bins per column, never names or edges
    for each tree
      g, h → small integers   ── TreeBegins ──────────────▶ rows and columns drawn
      (r·G, g·G+r·P₁, h·G+r·P₂) ── GradientBlock … ───────▶ decoded, checked
      for each level
                              ◀──────── HistogramBlock … ── sums of the smaller children, merged
      decrypt, best split        over all parties' columns      where small, re-randomised
                              ── Splits ──────────────────▶ its own: (node, column, bins to the left)
                              ◀──────────── Directions ──── left/right bits of those nodes' rows
                              ── Memberships ─────────────▶ left/right bits of the others' nodes
                              ── TrainingEnds ────────────▶ how many of its splits the model keeps

What is learnt besides the model: the active party learns, for each open node, sums of gradients and
hessians and row counts per group of bins of the passive columns (never of fewer rows than the passive
party's minimum); a passive party learns which rows stand in which node. Assumption: semi-honest
parties, decisional Diffie-Hellman in ristretto255. ``spec/boosting.md`` has the argument and the cost.
"""

from parley.protocols.boosting.active import ActiveOutcome, active
from parley.protocols.boosting.messages import ACTIVE, PASSIVE, STEPS, Resources
from parley.protocols.boosting.passive import passive

__all__ = ["ACTIVE", "PASSIVE", "STEPS", "ActiveOutcome", "Resources", "active", "passive"]
