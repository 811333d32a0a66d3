"""Write docs/http-reference.md from the OpenAPI document of Beak LIMS, or say that it is out of date (`--check`).

Nothing is connected to: the document is made from the declarations alone.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "docs" / "http-reference.md"
METHODS = ("get", "post", "put", "patch", "delete")
INTRODUCTION = """\
# HTTP reference

Made from the OpenAPI document by `python scripts/http_reference.py`; do not edit. The document itself is served at
`/api/v1/platform/openapi.json`. [Running the platform](platform-running.md) shows the routes at work.

Bodies are JSON. Routes other than those marked *open* take `Authorization: Bearer <access_token>`. Whatever goes wrong
is told in a [problem document](#problem).
"""


def document() -> dict[str, Any]:
    """The OpenAPI document of the platform with everything that Beak LIMS adds."""
    from beak_lims.http import app
    from beak_lims.settings import Settings
    from beak_lims.tenancy import declare

    settings = Settings(_env_file=None, BEAK_DATABASE_URL="postgresql://nowhere/none")  # type: ignore[call-arg]
    return app(declare(settings)).openapi()


def reference(openapi: dict[str, Any]) -> str:
    """The document as Markdown."""
    parts = [INTRODUCTION]
    grouped: dict[str, list[str]] = {}
    for path, item in openapi["paths"].items():
        for method in METHODS:
            if method in item:
                tag = item[method].get("tags", ["other"])[0]
                grouped.setdefault(tag, []).append(_route(method, path, item[method]))
    for tag, routes in grouped.items():
        parts.append(f"## {tag.capitalize()}\n")
        parts.extend(routes)
    parts.append("## Bodies\n")
    parts.extend(_schema(name, schema) for name, schema in sorted(openapi["components"]["schemas"].items()))
    return "\n".join(parts).rstrip() + "\n"


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    lines = [
        f"### {method.upper()} {path}\n",
        operation["summary"] + (". *Open.*" if not operation.get("security") else "."),
        "",
    ]
    if operation.get("parameters"):
        lines += ["| parameter | in | type | |", "| --- | --- | --- | --- |"]
        for parameter in operation["parameters"]:
            needed = " (required)" if parameter.get("required") else ""
            said = _cell(parameter.get("description", ""))
            lines.append(
                f"| `{parameter['name']}`{needed} | {parameter['in']} | {_type(parameter['schema'])} | {said} |"
            )
        lines.append("")
    if "requestBody" in operation:
        lines += [f"Takes {_type(operation['requestBody']['content']['application/json']['schema'])}.", ""]
    good = [(status, answer) for status, answer in operation["responses"].items() if int(status) < 400]
    for status, answer in good:
        content = answer.get("content", {})
        kinds = [
            _type(body["schema"]) if body.get("schema") else f"`{media}`" for media, body in sorted(content.items())
        ]
        headers = ", ".join(f"`{name}`" for name in answer.get("headers", {}))
        lines.append(
            f"Answers {status} {', '.join(kinds) or 'without a body'}{f', headers {headers}' if headers else ''}."
        )
    bad = ", ".join(status for status in operation["responses"] if int(status) >= 400)
    lines += [f"Problems: {bad}.", ""]
    return "\n".join(lines)


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}\n"]
    if schema.get("description"):
        lines += [_cell(schema["description"]), ""]
    if "enum" in schema:
        return "\n".join([*lines, "One of " + ", ".join(f"`{word}`" for word in schema["enum"]) + ".", ""])
    lines += ["| field | type | |", "| --- | --- | --- |"]
    for field, value in schema.get("properties", {}).items():
        needed = "" if field in schema.get("required", []) else " (optional)"
        lines.append(f"| `{field}`{needed} | {_type(value)} | {_cell(value.get('description', ''))} |")
    return "\n".join([*lines, ""])


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(_type(part) for part in schema[choice])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{word}`" for word in schema.get("enum", [schema.get("const")]))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    low, high = schema.get("minimum", schema.get("minLength")), schema.get("maximum", schema.get("maxLength"))
    bounds = f" {low}..{high}" if low is not None and high is not None else f" up to {high}" if high is not None else ""
    default = f", default `{schema['default']}`" if schema.get("default") not in (None, "") else ""
    return f"{schema.get('format', kind)}{bounds}{default}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main() -> int:
    """Write the page, or compare it."""
    made = reference(document())
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(made)
        return 0
    if TARGET.exists() and TARGET.read_text() == made:
        return 0
    sys.stderr.write(f"error: {TARGET.name} is out of date. Run: python scripts/http_reference.py\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
