"""What protocols give away: the leakage statement of each, in words that a plan's approver reads."""
