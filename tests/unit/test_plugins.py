"""A driver is found by the name it is installed under; a wrong name tells the right ones."""

import pytest

from entrepot.adapters.content_stores.filesystem import FilesystemContentStore
from entrepot.plugins import PluginUnknown, load


def test_an_installed_driver_is_loaded() -> None:
    assert load("entrepot.content_stores", "filesystem") is FilesystemContentStore


def test_an_unknown_name_tells_the_known_ones() -> None:
    with pytest.raises(PluginUnknown, match=r"'floppy' is not installed.*filesystem"):
        load("entrepot.content_stores", "floppy")


def test_an_unknown_group_has_none() -> None:
    with pytest.raises(PluginUnknown, match="there is: none"):
        load("entrepot.nothing", "filesystem")
