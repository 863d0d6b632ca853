"""The HTTP API of a running party, for its own people and their programs. `routes` shows all of it."""
