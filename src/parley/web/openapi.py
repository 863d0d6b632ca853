"""The OpenAPI 3.1 document, made of the routes and of their types.

What stands where: https://spec.openapis.org/oas/v3.1.0
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from parley.party.examination import release
from parley.web.problems import Problem

_WHERE: Final = "#/components/schemas/{name}"
_IN_PATH: Final = re.compile(r"\{(\w+)\}")
_FIELD: Final = re.compile(r"^ *([a-z_, ]+): (.+)$")


@dataclass(frozen=True)
class Route:
    """One thing that can be asked.

    Attributes:
        method: of HTTP.
        path: with the names of fields in braces.
        takes: the type of the request.
        answers: the type of the answer, or the media type of one that is no JSON.
        who: may ask.
        does: the handler.
        status: of a good answer.
        text: a field that may come as the whole body, and that body's media type.
    """

    method: Literal["GET", "POST"]
    path: str
    takes: type[msgspec.Struct]
    answers: type[Any] | str
    who: str
    does: Callable[[Any, Any], Any]
    status: int = 200
    text: tuple[str, str] | None = None

    @property
    def summary(self) -> str:
        """What it does, in a line."""
        return (self.does.__doc__ or "").strip().splitlines()[0]


@dataclass(frozen=True)
class About:
    """What a document says beside its routes.

    Attributes:
        title: of it.
        description: whom it is for.
        schemes: ways to show who asks, as OpenAPI has them, by name.
        shown: names of the ways that a route takes, by who may ask it; any one of them will do.
        note: for the page: how to show it, as HTML.
        who: for the page: words for who may ask.
    """

    title: str
    description: str
    schemes: Mapping[str, Mapping[str, str]]
    shown: Mapping[str, tuple[str, ...]]
    note: str
    who: Mapping[str, str]


def document(about: About, routes: Iterable[Route]) -> dict[str, Any]:
    """The document of some routes."""
    routes = tuple(routes)
    types = [each.answers for each in routes if not isinstance(each.answers, str)]
    asked = list({each.takes for each in routes})
    _, schemas = msgspec.json.schema_components([Problem, *types, *asked], ref_template=_WHERE)
    needs = {
        each.takes.__name__: schemas.pop(each.takes.__name__)
        for each in routes
        if each.takes.__name__ in schemas
    }
    for schema in schemas.values():
        _explain(schema)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(about, route, needs[route.takes.__name__])
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": about.title,
            "version": release(),
            "description": about.description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {name: dict(scheme) for name, scheme in about.schemes.items()},
        },
    }


def _operation(about: About, route: Route, needs: Mapping[str, Any]) -> dict[str, Any]:
    fields, required = needs.get("properties", {}), needs.get("required", [])
    operation: dict[str, Any] = {
        "operationId": route.does.__name__,
        "summary": route.summary,
        "security": [{name: []} for name in about.shown.get(route.who, ())],
        "x-who": route.who,
        "parameters": list(_parameters(route, fields, required)),
        "responses": {
            str(route.status): {"description": "Done.", "content": _content(route.answers)},
            "default": {
                "description": "What is wrong, and what to do about it.",
                "content": {"application/json": {"schema": {"$ref": _WHERE.format(name=Problem.__name__)}}},
            },
        },
    }
    body = _body(route, fields, required)
    return operation | ({"requestBody": body} if body else {})


def _parameters(route: Route, fields: Mapping[str, Any], required: Iterable[str]) -> Iterator[dict[str, Any]]:
    in_path = _IN_PATH.findall(route.path)
    for name, schema in fields.items():
        in_body = route.method == "POST" and name not in in_path
        if in_body and (route.text is None or name == route.text[0]):
            continue
        yield {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in required and not in_body,
            "description": schema.get("description", ""),
            "schema": {key: value for key, value in schema.items() if key != "description"},
        }


def _body(route: Route, fields: Mapping[str, Any], required: Iterable[str]) -> dict[str, Any]:
    in_path = _IN_PATH.findall(route.path)
    inside = {name: schema for name, schema in fields.items() if name not in in_path}
    if route.method != "POST" or not inside:
        return {}
    schema = {
        "type": "object",
        "properties": inside,
        "required": [name for name in required if name in inside],
        "additionalProperties": False,
    }
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if route.text is not None:
        content[route.text[1]] = {"schema": inside[route.text[0]]}
    return {"required": True, "content": content}


def _content(answer: type[Any] | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {answer.partition(";")[0]: {}}
    return {"application/json": {"schema": {"$ref": _WHERE.format(name=answer.__name__)}}}


def _explain(schema: dict[str, Any]) -> None:
    """Move what a docstring says of attributes to the properties."""
    text, _, attributes = schema.get("description", "").partition("Attributes:")
    if text:
        schema["description"] = " ".join(text.split())
    names: list[str] = []
    for line in attributes.splitlines():
        if found := _FIELD.match(line):
            names = [name.strip() for name in found[1].split(",")]
            said = found[2]
        else:
            said = line.strip()
        for name in names:
            properties = schema.get("properties", {})
            if name in properties and said:
                before = properties[name].get("description", "")
                properties[name]["description"] = f"{before} {said}".strip().replace("``", "`")
