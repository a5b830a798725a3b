"""Reads the files that people write: YAML and JSON. Whatever is wrong with one becomes a UserError that names the file
and, where it is known, the line.

Aliases are refused, because a file of 400 bytes can stand for a value of gigabytes with them.
"""

import json
import stat
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import yaml

from panic_assets.errors import UserError, cut, shown

LARGEST = 1_000_000
"""Bytes. A person writes less; YAML of this size takes some ten seconds to read."""
DEEPEST = 20
"""Lists and mappings inside of each other. Our formats need five."""


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """What a file holds. Refuses a folder, a pipe and a file that is too large before it opens them."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{path} is not a file; give the path of a file")
        if found.st_size > largest:
            raise UserError(f"{path} has {found.st_size:,} bytes; at most {largest:,} are read")
        with path.open("rb") as file:
            data = file.read(largest + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # A path that holds the character NUL.
        raise UserError(f"{shown(str(path))} cannot be read: {error}") from None
    if len(data) > largest:
        raise UserError(f"{path} is growing; it has more than the {largest:,} bytes that are read")
    return data


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read: it is not UTF-8 text (byte {error.start}); save it as UTF-8") from None


def read_yaml(path: Path) -> Any:
    """The value in a YAML file; in a JSON file, if its name ends in .json."""
    text = read_text(path)
    return parse_json(text, str(path)) if path.suffix.lower() == ".json" else parse_yaml(text, str(path))


def parse_yaml(text: str, what: str) -> Any:
    """The value in a YAML text; `what` names the text in messages."""
    _bounded(text, what)
    loader = None
    try:
        loader = _Loader(text)
        return loader.get_single_data()
    except yaml.YAMLError as error:
        raise UserError(f"{what} is not valid YAML{_explained(error)}") from None
    except Exception as error:  # PyYAML lets through what Python says of a character that does not exist.
        at = f": line {loader.line + 1}" if loader else ""
        raise UserError(f"{what} is not valid YAML{at}: {cut(str(error)) or type(error).__name__}") from None
    finally:
        if loader is not None:
            loader.dispose()


def parse_json(text: str, what: str) -> Any:
    """The value in a JSON text; `what` names the text in messages."""
    _bounded(text, what)
    try:
        value = json.loads(text, object_pairs_hook=_mapping)
        for one in _texts(value):
            _whole(one)
    except json.JSONDecodeError as error:
        raise UserError(f"{what} is not valid JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{what} is not valid JSON: it is nested more than {DEEPEST} deep") from None
    except ValueError as error:
        raise UserError(f"{what} is not valid JSON: {cut(str(error))}") from None
    return value


def _bounded(text: str, what: str) -> None:
    if len(text) > LARGEST:
        raise UserError(f"{what} has {len(text):,} characters; at most {LARGEST:,} are read")


def _explained(error: yaml.YAMLError) -> str:
    """Line and problem of an error, without the copy of the text that PyYAML adds."""
    mark = getattr(error, "problem_mark", None)
    at = f": line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return f"{at}: {cut(str(problem))}"


class _Unstorable(ValueError):
    """A text that no table can hold; the message is a sentence."""


def _whole(text: str) -> str:
    """A text that can be stored. JSON writes rare characters as two halves, which YAML leaves apart."""
    if "\0" in text:
        raise _Unstorable(f"the text {shown(text)} holds the character NUL, which cannot be stored")
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _Unstorable(f"the text {shown(text)} holds half of a character, which is not Unicode") from None


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """Every text in a value of JSON."""
    if depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, depth + 1)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from _texts(one, depth + 1)


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise ValueError(f"{shown(key)} is given twice in one mapping; give it once")
        made[key] = value
    return made


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, without aliases, deep nesting and repeated keys. It says where a value is wrong."""

    depth = 0

    def fetch_flow_collection_start(self, kind: Any) -> None:
        """The scanner looks ahead over all brackets at once, which takes minutes for 100,000 of them."""
        if self.flow_level > DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"it is nested more than {DEEPEST} deep", problem_mark=self.get_mark())
        super().fetch_flow_collection_start(kind)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem=f"*{cut(event.anchor)} repeats another value; aliases are not accepted, so write it out",
                problem_mark=event.start_mark,
            )
        if self.depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"it is nested more than {DEEPEST} deep", problem_mark=event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception as error:  # Impossible dates, numbers of 5,000 digits, `!!int abc`: each raises its own kind.
            raise yaml.MarkedYAMLError(problem=_why(node, error), problem_mark=node.start_mark) from None

    def construct_scalar(self, node: yaml.ScalarNode) -> Any:
        value = super().construct_scalar(node)
        return _whole(value) if isinstance(value, str) else value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.tag == "tag:yaml.org,2002:bool":  # YAML 1.1 takes the field `on` for a truth value.
                    key.tag = "tag:yaml.org,2002:str"
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{shown(key.value)} is given twice in one mapping; give it once",
                        problem_mark=key.start_mark,
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def _why(node: yaml.Node, error: Exception) -> str:
    if isinstance(error, _Unstorable):
        return str(error)
    value = shown(node.value) if isinstance(node, yaml.ScalarNode) else "this"
    kind = cut(node.tag.rpartition(":")[2])
    return f"{value} cannot be read as {kind} ({cut(str(error)) or type(error).__name__})"
