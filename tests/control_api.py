#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/control-api.md: what is between its marks is made of gateway/rpc_schema.json.

With --write it is made anew.
"""
import argparse
import json
import os

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DOC = os.path.join(TOP, "docs", "control-api.md")
SCHEMA = os.path.join(TOP, "gateway", "rpc_schema.json")
BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"


def load():
    with open(SCHEMA, encoding="utf-8") as f:
        return json.load(f)


def resolved(value, defs):
    """With definitions in the place of references to them, as the daemon does it."""
    if isinstance(value, dict):
        if "$ref" in value:
            return defs[value["$ref"].removeprefix("#/$defs/")]
        return {k: resolved(v, defs) for k, v in value.items()}
    return [resolved(v, defs) for v in value] if isinstance(value, list) else value


def name_of(schema):
    return schema["$ref"].removeprefix("#/$defs/") if "$ref" in schema else None


def kind(schema):
    """What a value is, in a few words."""
    if name_of(schema):
        return f"[{name_of(schema)}](#{name_of(schema)})"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = []
    for t in types:
        words.append({"array": "array of " + (kind(schema["items"]) if "items" in schema else ""),
                      "null": "null"}.get(t, t))
    text = " or ".join(words)
    if "minimum" in schema and "maximum" in schema:
        text += f" from {schema['minimum']} to {schema['maximum']}"
    elif schema.get("minimum"):
        text += f" from {schema['minimum']}"
    if "minLength" in schema:
        low, high = schema["minLength"], schema["maxLength"]
        text += f" of {low} characters" if low == high else f" of {low} to {high} characters"
    return text


def rows(schema, prefix=""):
    for key, member in schema["properties"].items():
        name = f"`{prefix}{key}`" + ("" if key in schema.get("required", []) else " (optional)")
        what = member.get("description", "")
        items = member.get("items", {})
        words = member.get("enum") or items.get("enum")
        if words:
            what += ": " + ", ".join(f'"{w}"' for w in words if w is not None)
        yield f"| {name} | {kind(member)} | {what} |"
        for inner, mark in ((member, "."), (items, "[].")):
            if "properties" in inner:
                yield from rows(inner, prefix + key + mark)


def table(schema):
    return ["| member | is | what |", "|---|---|---|", *rows(schema)]


def of_params(schema):
    if not schema["properties"]:
        return ["Parameters: none."]
    return ["Parameters:", "", *table(schema)]


def of_result(schema):
    if name_of(schema):
        return [f"Result: {kind(schema)}."]
    if schema["type"] == "array":
        items = schema["items"]
        if name_of(items):
            return [f"Result: {kind(schema)}."]
        return ["Result: array of objects:", "", *table(items)]
    if "properties" not in schema:
        return [f"Result: {schema['description']}."]
    return ["Result:", "", *table(schema)]


def generated(doc):
    lines = []
    for name, method in doc["methods"].items():
        lines += [f"### {name}", "", method["description"] + ".", "", *of_params(method["params"]),
                  "", *of_result(method["result"]), ""]
    lines += ["## Objects", ""]
    for name, schema in doc["$defs"].items():
        lines += [f"### {name}", "", schema["description"] + ".", "", *table(schema), ""]
    return "\n".join(lines)


def written():
    """The document as it should be."""
    with open(DOC, encoding="utf-8") as f:
        text = f.read()
    head, rest = text.split(BEGIN)
    return text, head + BEGIN + "\n\n" + generated(load()) + END + rest.split(END)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        _, text = written()
        with open(DOC, "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    main()
