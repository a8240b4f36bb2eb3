# SPDX-License-Identifier: Apache-2.0
"""The part of JSON Schema that nvmegwd knows, once more: what fits here is not what it says itself."""

KEYWORDS = {"type", "description", "properties", "required", "additionalProperties", "items",
            "enum", "minimum", "maximum", "minLength", "maxLength"}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
         "boolean": bool, "null": type(None)}


def has_type(value, name):
    if isinstance(value, bool) and name != "boolean":
        return False
    return isinstance(value, TYPES[name])


def check(schema, value, where="$"):
    """Raises AssertionError where the value is not as the schema says."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert any(has_type(value, k) for k in kinds), f"{where} is {value!r}, not {kinds}"
    if "enum" in schema:
        assert value in schema["enum"], f"{where} is {value!r}, none of {schema['enum']}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        assert schema.get("minimum", value) <= value <= schema.get("maximum", value), \
            f"{where} is {value}"
    if isinstance(value, str):
        assert schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)), \
            f"{where} is {value!r}"
    if isinstance(value, dict) and "properties" in schema:
        for key in schema.get("required", []):
            assert key in value, f"{where} has no {key}"
        for key, member in value.items():
            assert key in schema["properties"], f"{where} has {key}, which the schema has not"
            check(schema["properties"][key], member, f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for n, item in enumerate(value):
            check(schema["items"], item, f"{where}[{n}]")


def check_schema(schema, where):
    """Raises AssertionError where it is no schema of that part, or says too little."""
    assert set(schema) <= KEYWORDS, f"{where}: {set(schema) - KEYWORDS}"
    assert "type" in schema, f"{where} has no type"
    for name in schema["type"] if isinstance(schema["type"], list) else [schema["type"]]:
        assert name in TYPES, f"{where}: {name}"
    if "properties" in schema:
        assert schema.get("additionalProperties") is False, f"{where} is open"
        assert set(schema.get("required", [])) <= set(schema["properties"]), where
        for key, member in schema["properties"].items():
            assert "description" in member, f"{where}.{key} is not described"
            check_schema(member, f"{where}.{key}")
    if "items" in schema:
        check_schema(schema["items"], where + "[]")
    assert ("minLength" in schema) == ("maxLength" in schema), where
