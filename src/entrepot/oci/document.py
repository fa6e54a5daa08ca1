"""JSON documents read strictly: one meaning only, and every refusal names the field.

A manifest means the same to everyone who verifies its digest, so what two parsers could read
differently (duplicate keys, NaN, encodings other than UTF-8) is refused, not guessed.
What the fields are called and what they mean stands in `descriptor`, `platform`, `manifest`.
"""

import json
from typing import Final, NoReturn

from entrepot.oci import media_types
from entrepot.oci.digest import Digest
from entrepot.oci.errors import DigestInvalid, ManifestInvalid

MAX_SIZE: Final = 2**63 - 1
"""Largest size a descriptor may state, in bytes (an int64 in the image-spec)."""


def read_document(content: bytes) -> "Fields":
    """Parse a JSON object. Raise ManifestInvalid if it is not one, or not unambiguous."""
    try:
        value = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
        )
    except RecursionError:
        raise ManifestInvalid(
            "the manifest is nested too deeply to be read; flatten its custom fields"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ManifestInvalid(
            f"the manifest is not JSON in UTF-8 ({error}); send the bytes that were hashed"
        ) from None
    except ValueError:  # Python reads integers of up to 4,300 digits
        raise ManifestInvalid("a number in the manifest is too long; write it as text") from None
    return Fields.of(value, "")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for key, value in pairs:
        if key in members:
            raise ManifestInvalid(
                f"the key {key[:80]!r} appears twice in one object of the manifest; keep one",
                detail={"key": key[:80]},
            )
        members[key] = value
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ManifestInvalid(f"{name} is not a JSON value; leave the field out")


def refuse(path: str, problem: str, **detail: object) -> ManifestInvalid:
    """Return the error for a field: `layers[2].size` + `is negative`."""
    return ManifestInvalid(f"{path or 'the manifest'} {problem}", detail={"field": path, **detail})


class Fields:
    """A JSON object being read. As in Go's decoder, null means that a field is absent.

    Every method raises ManifestInvalid, naming the field's path, for a wrong type.
    """

    __slots__ = ("_members", "path")

    def __init__(self, members: dict[str, object], path: str) -> None:
        self._members = members
        self.path = path

    @classmethod
    def of(cls, value: object, path: str) -> "Fields":
        """Wrap a parsed JSON value that must be an object."""
        if not isinstance(value, dict):
            raise refuse(path, f"must be a JSON object, not {_kind(value)}")
        return cls(value, path)

    def has(self, name: str) -> bool:
        """Say whether the key is there, whatever its value."""
        return name in self._members

    def at(self, name: str) -> str:
        """Return the path of a field, e.g. `config.digest`."""
        return f"{self.path}.{name}" if self.path else name

    def value(self, name: str) -> object:
        """Return a field's raw value, None if absent."""
        return self._members.get(name)

    def required(self, name: str) -> object:
        """Return a field's raw value, which must be there."""
        value = self._members.get(name)
        if value is None:
            raise refuse(self.at(name), "is missing; the image-spec requires it")
        return value

    def text(self, name: str) -> str | None:
        """Return a string, None if absent."""
        value = self._members.get(name)
        return None if value is None else _text(value, self.at(name))

    def media_type(self, name: str) -> str | None:
        """Return a media type, None if absent or empty."""
        text = self.text(name)
        if not text:
            return None
        if not media_types.is_acceptable(text):
            raise refuse(
                self.at(name),
                "is not a media type; use at most 255 printable ASCII characters",
                value=text[:255],
            )
        return text

    def required_media_type(self, name: str) -> str:
        """Return a media type, which must be there and not be empty."""
        media_type = self.media_type(name)
        if media_type is None:
            raise refuse(self.at(name), "is missing or empty; give the content's media type")
        return media_type

    def digest(self, name: str) -> Digest:
        """Return a digest, which must be there."""
        path = self.at(name)
        text = _text(self.required(name), path)
        try:
            return Digest.parse(text)
        except DigestInvalid as error:
            raise refuse(path, f"is no digest: {error.message}", **error.detail) from None

    def size(self, name: str) -> int:
        """Return a size in bytes, which must be there."""
        value = self.required(name)
        if type(value) is not int:  # a bool is an int to isinstance, but not to JSON
            raise refuse(self.at(name), f"must be a whole number of bytes, not {_kind(value)}")
        if not 0 <= value <= MAX_SIZE:
            raise refuse(self.at(name), "must be a size in bytes from 0 to 2^63-1")
        return value

    def items(self, name: str) -> list[tuple[str, object]]:
        """Return an array as (path, value) pairs, empty if absent."""
        value = self._members.get(name)
        path = self.at(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise refuse(path, f"must be an array, not {_kind(value)}")
        return [(f"{path}[{index}]", item) for index, item in enumerate(value)]

    def texts(self, name: str) -> tuple[str, ...]:
        """Return an array of strings, empty if absent."""
        return tuple(_text(item, path) for path, item in self.items(name))

    def annotations(self, name: str) -> dict[str, str]:
        """Return an object whose values are all strings, empty if absent."""
        value = self._members.get(name)
        if value is None:
            return {}
        path = self.at(name)
        members = Fields.of(value, path)._members
        return {
            _text(key, path): _text(item, f"{path}[{key[:80]!r}]") for key, item in members.items()
        }


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise refuse(path, f"must be a string, not {_kind(value)}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # `\ud800` alone is JSON, but no text: nothing can store it
            raise refuse(path, "holds half of a surrogate pair, which is not text") from None
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")
