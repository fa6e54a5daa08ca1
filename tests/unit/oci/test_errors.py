from collections.abc import Iterator

from entrepot.oci import errors
from entrepot.oci.errors import RegistryError


def _tree(error: type[RegistryError]) -> Iterator[type[RegistryError]]:
    for child in error.__subclasses__():
        yield child
        yield from _tree(child)


def test_every_error_has_a_code_of_capitals_and_underscores() -> None:
    for error in _tree(RegistryError):
        assert error.code != RegistryError.code, error
        assert error.code.replace("_", "").isalpha(), error
        assert error.code.isupper(), error


def test_every_error_is_drawn_in_the_tree_of_the_module() -> None:
    drawing = errors.__doc__ or ""
    for error in _tree(RegistryError):
        assert f"─ {error.__name__}" in drawing, error


def test_an_error_keeps_its_message_and_a_copy_of_its_detail() -> None:
    detail = {"digest": "x"}
    error = errors.BlobUnknown("it is not here; push it", detail=detail)
    detail.clear()
    assert (str(error), error.message) == ("it is not here; push it",) * 2
    assert error.detail == {"digest": "x"}
