"""docs/configuration.md is what the model says."""

import re
from pathlib import Path
from typing import Final

from entrepot.config import Settings, load, reference

PAGE: Final = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference.page(), (
        "write it anew: entrepot config reference > docs/configuration.md"
    )


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    file = tmp_path / "entrepot.toml"
    file.write_text(example)
    settings = load(file, {}, {})
    assert settings != Settings()
    assert settings.registry.max_manifest_size == 8 * 1024**2
