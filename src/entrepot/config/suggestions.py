"""Suggestions: the right name that is nearest to a wrong one."""

from collections.abc import Iterable
from difflib import get_close_matches

from entrepot.config.model import SECTIONS, SETTINGS, TABLE_SETTINGS, TABLES


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was probably meant, if any is near."""
    found = get_close_matches(name.lower().replace("-", "_"), names, n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(name: str | None) -> str:
    """Ask whether a name was meant; nothing where there is none."""
    return f"did you mean {name}?" if name else ""


def key_hint(key: str, keys: Iterable[str], of: str) -> str:
    """Suggest one of `keys` for an unknown one, or list what `of` has."""
    known = list(keys)
    return did_you_mean(nearest(key, known)) or f"{of} has {', '.join(known)}"


def section_hint(section: str) -> str:
    """Suggest a section for an unknown one, or the section that has a key of this name."""
    near = nearest(section, [*SECTIONS, *TABLES])
    if near in TABLES:
        return did_you_mean(f"[{near}.NAME]")
    return did_you_mean(f"[{near}]" if near else _owner(section)) or "sections are " + ", ".join(
        [f"[{one}]" for one in SECTIONS] + [f"[{one}.NAME]" for one in TABLES]
    )


def setting_hint(section: str, key: str) -> str:
    """Suggest a key of a section for an unknown one, or of another where it stands there."""
    siblings = [one for where, one in SETTINGS if where == section]
    near = nearest(key, siblings)
    return did_you_mean(f"{section}.{near}" if near else _owner(key)) or (
        f"[{section}] has {', '.join(siblings)}"
    )


def table_hint(table: str, name: str, key: str) -> str:
    """Do what `setting_hint` does for a key of a table with a name of its own."""
    siblings = TABLE_SETTINGS[table]
    near = nearest(key, siblings)
    if near:
        return did_you_mean(f"{table}.{name}.{near}")
    return f"[{table}.NAME] has {', '.join(siblings)}"


def _owner(key: str) -> str | None:
    """Find a key that stands in another section than people think."""
    keys = {one: section for section, one in SETTINGS}
    near = nearest(key, keys)
    return f"{keys[near]}.{near}" if near else None
