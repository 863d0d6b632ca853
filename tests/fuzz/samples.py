"""Right values of any message type, made from its annotations."""

import types
import typing

import msgspec


def sample(annotation, size=1):  # noqa: PLR0911 (a case for each kind of annotation)
    """A value that a decoder for the annotation takes; ``size``: of containers that may have any."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *metas = typing.get_args(annotation)
        return _within(inner, metas, size)
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return sample(inside[-1 if size > 1 else 0], size)
    if origin is typing.Literal:
        return inside[0]
    if origin is tuple:
        repeats = inside[-1] is Ellipsis
        return tuple(sample(inside[0], size) for _ in range(size)) if repeats else tuple(map(sample, inside))
    if origin in (list, frozenset):
        return [sample(inside[0], size) for _ in range(size)]
    if origin is dict or annotation is dict:
        return {sample(inside[0]): sample(inside[1], size)} if inside else {}
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        hints = typing.get_type_hints(annotation, include_extras=True)
        return annotation(
            **{one.name: sample(hints[one.name], size) for one in msgspec.structs.fields(annotation)}
        )
    if annotation is msgspec.Raw:
        return msgspec.Raw(b"\x91\x01")
    return {int: 3, float: 0.5, bool: True, str: "name", bytes: b"some bytes", type(None): None}[annotation]


def _within(inner, metas, size):
    """A value that keeps to the stated lengths and ranges."""
    stated = {
        name: getattr(meta, name) for meta in metas for name in ("ge", "le", "min_length", "max_length")
    }
    least, most = stated.get("min_length") or 0, stated.get("max_length")
    if inner is bytes or inner is str:
        length = max(least, 4 if most is None else min(4, most))
        return b"b" * length if inner is bytes else "s" * length
    if inner is int:
        return max(stated.get("ge") or 0, 1 if stated.get("le") is None else min(1, stated["le"]))
    return sample(inner, max(size, least))
