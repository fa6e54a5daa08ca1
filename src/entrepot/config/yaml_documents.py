"""YAML: a file's text as a document, each value with its line and as it was spelt.

The library is imported only when such a file is read.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from entrepot.config.documents import Document, line_place
from entrepot.config.errors import ConfigError, Problem
from entrepot.config.model import TABLES

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class YamlText:
    """A parsed YAML file whose root is a mapping, possibly an empty one.

    `scalars` are the single values by path, as they were spelt (`1g`, `0123`, `no`), None where
    there is nothing; `mappings` are the paths that have keys, and `lines` has every path.
    """

    origin: str
    content: Mapping[Any, Any] = field(repr=False)
    scalars: Mapping[Path, str | None] = field(repr=False)
    mappings: Set[Path]
    lines: Mapping[Path, int]

    def place(self, path: Path) -> str:
        """Name the line of a path, or of what is around it."""
        return line_place(self.origin, self.lines, path)

    def document(self) -> Document:
        """Return the file as sections and tables of our own; an empty one has no keys."""
        content = {
            str(section): _filled(value) if section in TABLES else {} if value is None else value
            for section, value in self.content.items()
        }
        return Document(content, self.place)


def _filled(tables: Any) -> Any:
    """Take nothing for a mapping without keys, also one level below."""
    if not isinstance(tables, Mapping):
        return {} if tables is None else tables
    return {name: {} if keys is None else keys for name, keys in tables.items()}


def yaml_text(text: str, origin: str) -> YamlText:
    """Parse YAML. Raise ConfigError if it is none, has a key twice, or is no mapping."""
    import yaml

    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return YamlText(origin, {}, {}, frozenset(), {})
        twice = [
            Problem(f"{origin}:{key.start_mark.line + 1}", f"{key.value} is there twice")
            for key in _repeated(root)
        ]
        if twice:
            raise ConfigError(twice)
        content = loader.construct_document(root)  # unfolds `<<` in the nodes as well
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{origin}:{mark.line + 1}" if mark else origin
        raise ConfigError([Problem(place, f"is not valid YAML: {error.problem}")]) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError([Problem(origin, "is not valid YAML")]) from None
    if not isinstance(content, dict):
        hint = "write a mapping of sections, or of the keys of oci-proxy"
        raise ConfigError([Problem(f"{origin}:1", "is no mapping", hint)])
    scalars: dict[Path, str | None] = {}
    mappings: set[Path] = set()
    lines: dict[Path, int] = {}
    for path, node, line in _walk(root, ()):
        lines[path] = line
        if isinstance(node, yaml.ScalarNode):
            scalars[path] = None if node.tag == "tag:yaml.org,2002:null" else node.value
        elif isinstance(node, yaml.MappingNode):
            mappings.add(path)
    return YamlText(origin, content, scalars, mappings, lines)


_DEPTH = 4
"""How deep settings lie at most; an alias may make a file endless."""


def _walk(node: Any, path: Path) -> Iterator[tuple[Path, Any, int]]:
    """Yield (path, node, line) of everything below a mapping."""
    import yaml

    if isinstance(node, yaml.MappingNode) and len(path) < _DEPTH:
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                below = (*path, key.value)
                yield below, value, key.start_mark.line + 1
                yield from _walk(value, below)


def _repeated(node: Any, depth: int = 0) -> Iterator[Any]:
    """Yield the keys that a mapping has already."""
    import yaml

    if isinstance(node, yaml.MappingNode) and depth < _DEPTH:
        seen = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    yield key
                seen.add(key.value)
            yield from _repeated(value, depth + 1)
