"""Drivers by name: what a setting such as `storage.driver` may say, found as entry points."""

from importlib.metadata import entry_points
from typing import Any


class PluginUnknown(LookupError):
    """No driver has that name; the message lists those that are installed."""


def load(group: str, name: str) -> Any:
    """Return what the entry point `name` of `group` names. Raise PluginUnknown."""
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise PluginUnknown(f"{name!r} is not installed for {group}; there is: {known}")
    return found[name].load()
