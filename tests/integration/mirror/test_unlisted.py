"""PX-03: which registries of an open mirror may lead to the internet only."""

from pathlib import Path
from typing import Any

import pytest

from entrepot.adapters.remotes import upstream_endpoints
from entrepot.bootstrap import SystemClock
from entrepot.bootstrap.proxy import opened_proxy
from entrepot.config import load
from entrepot.ports.mirror_books import NoBooks

OPEN = '[proxy]\nopen = true\ndefault_registry = "default.example"\n[upstreams."known.example"]\n'


@pytest.mark.parametrize(
    ("upstream", "listed"),
    [("known.example", True), ("default.example", True), ("stranger.example", False)],
)
async def test_who_is_not_listed_leads_to_the_internet_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upstream: str, listed: bool
) -> None:
    real, found = upstream_endpoints.open_endpoint, list[bool]()

    def open_endpoint(url: str, *more: Any, **settings: Any) -> Any:
        if url == f"https://{upstream}":
            found.append(settings["listed"])
        return real(url, *more, **settings)

    monkeypatch.setattr(upstream_endpoints, "open_endpoint", open_endpoint)
    file = tmp_path / "entrepot.toml"
    file.write_text(OPEN)
    settings = load(file, {}, {"storage.path": tmp_path})
    async with (
        opened_proxy(settings, environ={}, books=NoBooks(), clock=SystemClock()) as proxy,
        proxy.place(upstream),
    ):
        assert found == [listed]
