"""Group, encryption, domain-tagged hashing and randomness: a thin face over ``parley._native``."""
