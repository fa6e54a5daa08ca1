"""docs/configuration.md is what the model says."""

import re
from pathlib import Path
from typing import Final

from entrepot.config import load, reference

PAGE: Final = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference.page(), (
        "write it anew: entrepot config reference > docs/configuration.md"
    )


def test_the_examples_are_a_configuration(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = tmp_path / "entrepot.toml"
    file.write_text("\n".join(examples))
    settings = load(file, {}, {})
    assert settings.registry.max_manifest_size == 8 * 1024**2
    assert [*settings.upstreams] == ["docker.io", "team"]
    assert [*settings.sites] == ["frankfurt"]
