"""The HTTP front of a served model: from a client's request to a `Scorer`, and back."""
