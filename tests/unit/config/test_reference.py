"""Settings as text: TOML that can be read again, JSON, and no secrets in either."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from entrepot.config import load, reference, resolve

SECRET_URL = "postgresql://user:secret@host/name"


def test_toml_can_be_read_again(tmp_path: Path) -> None:
    environ = {
        "ENTREPOT_SERVER_LISTEN": ":1,unix:/tmp/a b",
        "ENTREPOT_SERVER_BODY_TIMEOUT": "90s",
        "ENTREPOT_REGISTRY_CHUNK_MIN_LENGTH": "5m",
        "ENTREPOT_REGISTRY_WARNINGS": '["it\'s \\"so\\""]',
    }
    first = resolve(None, environ, {})
    file = tmp_path / "shown.toml"
    file.write_text(reference.as_toml(first))
    assert load(file, {}, {}) == first.settings


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_path_survives_being_shown(tmp_path_factory, path: str) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path_factory.getbasetemp() / "path.toml"
    first = resolve(None, {}, {"storage.path": Path("x" + path)})
    file.write_text(reference.as_toml(first))
    assert load(file, {}, {}) == first.settings


def test_toml_names_the_origin_of_every_setting() -> None:
    shown = reference.as_toml(resolve(None, {"ENTREPOT_LOG_LEVEL": "debug"}, {}))
    assert 'level = "debug"  # ENTREPOT_LOG_LEVEL' in shown.splitlines()
    assert 'upload_expiry = "7d"  # default' in shown.splitlines()


def test_json_has_values_and_origins() -> None:
    shown = json.loads(reference.as_json(resolve(None, {"ENTREPOT_SERVER_WORKERS": "3"}, {})))
    assert shown["server"]["workers"] == {"value": 3, "origin": "ENTREPOT_SERVER_WORKERS"}
    assert shown["storage"]["blob_lease"] == {"value": "24h", "origin": "default"}


def test_secrets_are_hidden() -> None:
    resolved = resolve(None, {"ENTREPOT_METADATA_URL": SECRET_URL}, {})
    for text in (reference.as_toml(resolved), reference.as_json(resolved)):
        assert "secret" not in text
        assert "postgresql://user:***@host/name" in text
