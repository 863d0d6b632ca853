"""An OpenAPI document as a page for people, without any script."""

import base64
import hashlib
import html
from collections.abc import Iterator, Mapping
from typing import Any, Final

from parley.web.openapi import About

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1a1a1a}
h1{font-size:1.5rem}h2{font-size:1rem;margin:2rem 0 .25rem;border-top:1px solid #ddd;padding-top:1rem}
code{font-family:ui-monospace,monospace;font-size:.9em}table{border-collapse:collapse;margin:.5rem 0}
td,th{text-align:left;vertical-align:top;padding:.15rem 1rem .15rem 0}th{color:#666;font-weight:400}
.who{color:#666}
"""
_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-{hash}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(about: About, described: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The page of a document, and the headers that keep anything else from running in it."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    headers = {"content-security-policy": _POLICY.format(hash=digest)}
    return "".join(_page(about, described)).encode(), headers


def _page(about: About, described: Mapping[str, Any]) -> Iterator[str]:
    title = _text(described["info"]["title"])
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield f"<style>{_STYLE}</style>"
    yield f"<h1>{title}</h1><p>{_text(described['info']['description'])} Release "
    yield f"{_text(described['info']['version'])}. As a document: "
    yield '<a href="/openapi.json">openapi.json</a>.</p>'
    yield f"<p>{about.note}</p>"
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield from _operation(about, path, method, operation)
    yield "<h1>Types</h1>"
    for name, schema in described["components"]["schemas"].items():
        yield f'<h2 id="{_text(name)}"><code>{_text(name)}</code></h2>'
        yield f"<p>{_text(schema.get('description', ''))}</p>"
        yield _fields(schema.get("properties", {}), schema.get("required", ()))


def _operation(about: About, path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    who = _text(about.who[operation["x-who"]])
    yield f"<h2><code>{method.upper()} {_text(path)}</code></h2><p>{_text(operation['summary'])}"
    yield f' <span class="who">({who})</span></p>'
    parameters = {each["name"]: each["schema"] | each for each in operation["parameters"]}
    yield _fields(parameters, [name for name, each in parameters.items() if each["required"]])
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"]
        yield f"<p>Body, <code>{_text(media)}</code>: {_text(schema.get('description', ''))}</p>"
        yield _fields(schema.get("properties", {}), schema.get("required", ()))
    for status, response in operation["responses"].items():
        if status != "default":
            shapes = (
                _shape(each.get("schema", {})) or _text(media) for media, each in response["content"].items()
            )
            yield f"<p>Answers {status}: {', '.join(shapes)}</p>"


def _fields(properties: Mapping[str, Any], required: Any) -> str:  # noqa: ANN401 (names)
    if not properties:
        return ""
    rows = "".join(
        f"<tr><td><code>{_text(name)}</code>{'' if name in required else ' optional'}</td>"
        f"<td>{_shape(schema)}</td><td>{_text(schema.get('description', ''))}</td></tr>"
        for name, schema in properties.items()
    )
    return f"<table>{rows}</table>"


def _shape(schema: Mapping[str, Any]) -> str:
    """A type in a word, with a link to what is described on this page."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_shape(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(f"<code>{_text(str(each))}</code>" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_shape(schema.get('items', {})) or 'anything'}"
    return _text(str(schema.get("type", "")))


def _text(text: str) -> str:
    return html.escape(text)
