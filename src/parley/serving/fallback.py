"""What scores an id that a passive party lacks, or while it is away."""

from parley.core.errors import UsageError
from parley.learn.shares import ActiveShare
from parley.store.home import Home


def alone_of(home: Home, model: str) -> ActiveShare:
    """The model of the active party's columns alone, made with the joint one.

    Raises:
        UsageError: ``no-fallback-model``: an earlier release trained it; or the file cannot be read.
    """
    reference = home.reference(model)
    if reference is None:
        raise UsageError(
            "no-fallback-model",
            f"of model {model} no model of our columns alone is kept, which the fallback active-only needs",
            remedy="choose the fallback refuse or missing, or train again with this release",
        )
    return reference.alone
