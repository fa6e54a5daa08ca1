"""Where settings come from, who wins, and how mistakes are told."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from entrepot.config import ConfigError, Problem, Settings, load, resolve
from entrepot.config.model import SETTINGS
from entrepot.config.origins import variable


def problems(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as raised:
        load(file, environ or {}, flags or {})
    return raised.value.problems


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "entrepot.toml"


def test_nothing_needs_to_be_set() -> None:
    assert load(None, {}, {}) == Settings()


def test_the_defaults_hold_what_they_say() -> None:
    settings = Settings()
    assert settings.server.listen == ("127.0.0.1:5000",)
    assert settings.server.max_header_bytes == 65536
    assert settings.storage.path == Path("entrepot-data")
    assert settings.storage.upload_expiry == 7 * 86400
    assert settings.metadata.url == ""
    assert settings.registry.max_manifest_size == 4 * 1024**2


def test_settings_cannot_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().server.workers = 3  # type: ignore[misc]


def test_flags_win_over_the_environment_over_the_file_over_defaults(file: Path) -> None:
    file.write_text('[server]\nworkers = 2\nlisten = [":1"]\n\n[log]\nlevel = "error"\n')
    environ = {"ENTREPOT_SERVER_WORKERS": "3", "ENTREPOT_LOG_LEVEL": "debug"}
    resolved = resolve(file, environ, {"server.workers": "4", "server.tls_key": None})
    assert resolved.settings.server.workers == 4
    assert resolved.settings.log.level == "debug"
    assert resolved.settings.server.listen == (":1",)
    assert resolved.origins["server", "workers"] == "--workers"
    assert resolved.origins["log", "level"] == "ENTREPOT_LOG_LEVEL"
    assert resolved.origins["server", "listen"] == f"{file}:3"
    assert resolved.origins["storage", "path"] == "default"


def test_the_environment_may_name_the_file(file: Path) -> None:
    file.write_text("[server]\nworkers = 2\n")
    environ = {"ENTREPOT_CONFIG": str(file)}
    assert load(None, environ, {}).server.workers == 2
    other = file.with_name("other.toml")
    other.write_text("[server]\nworkers = 5\n")
    assert load(other, environ, {}).server.workers == 5


def test_every_setting_can_stand_in_the_environment() -> None:
    environ = {
        variable(name): str(
            ",".join(setting.default) if isinstance(setting.default, list) else setting.default
        )
        for name, setting in SETTINGS.items()
    }
    assert load(None, environ, {}) == Settings()


def test_other_variables_are_not_ours() -> None:
    environ = {"PATH": "/bin", "_ENTREPOT_COMPLETE": "bash", "ENTREPOTS": "3"}
    assert load(None, environ, {}) == Settings()


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("[servr]\n", 1, "unknown section [servr]", "did you mean [server]?"),
        ("\n[server]\nlisen = 1\n", 3, "unknown key server.lisen", "did you mean server.listen?"),
        ("[log]\nlisten = 1\n", 2, "unknown key log.listen", "did you mean server.listen?"),
        ("server.workrs = 1\n", 1, "unknown key server.workrs", "did you mean server.workers?"),
        ("[server]\n'tls-key' = 1\n", 2, "unknown key server.tls-key", "server.tls_key?"),
        ("workers = 2\n", 1, "unknown section [workers]", "did you mean server.workers?"),
        ("zzz = 2\n", 1, "unknown section [zzz]", "[server], [storage]"),
        ("server = 2\n", 1, "server must be a section", "write [server]"),
        ("[log]\nzzz = 2\n", 2, "unknown key log.zzz", "[log] has level, format"),
        ("[server]\n[server.tls]\nx = 1\n", 2, "unknown key server.tls", "server.tls_key"),
    ],
)
def test_an_unknown_name_is_told_with_its_line_and_the_nearest_right_one(
    file: Path, text: str, line: int, message: str, hint: str
) -> None:
    file.write_text(text)
    (problem,) = problems(file)
    assert problem.origin == f"{file}:{line}"
    assert problem.message == message
    assert hint in problem.hint


def test_an_unknown_variable_is_told_with_the_nearest_right_one() -> None:
    (problem,) = problems(environ={"ENTREPOT_SERVER_LISEN": ":1"})
    assert problem.origin == "ENTREPOT_SERVER_LISEN"
    assert problem.hint == "did you mean ENTREPOT_SERVER_LISTEN?"


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("[server]\n\nworkers = 'many'", 3, 'server.workers cannot be "many"', "from 0 to 256"),
        ("[server]\nworkers = 257", 2, "server.workers cannot be 257", "a whole number"),
        ("[server]\nlisten = ':1'", 2, 'server.listen cannot be ":1"', "a list of"),
        ("log.format = 'xml'", 1, 'log.format cannot be "xml"', 'one of "auto", "human", "json"'),
        ("[server]\nmax_header_bytes = '1KiB'", 2, "cannot be", "from 4KiB to 1MiB"),
        ("[registry]\ndelete_tags = 'no'", 2, 'delete_tags cannot be "no"', "true or false"),
        ("[server]\nworkers = 2026-01-01", 2, 'cannot be "2026-01-01"', "a whole number"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(
    file: Path, text: str, line: int, message: str, hint: str
) -> None:
    file.write_text(text)
    (problem,) = problems(file)
    assert problem.origin == f"{file}:{line}"
    assert message in problem.message
    assert hint in problem.hint


def test_the_line_is_that_of_the_key_in_its_own_section(file: Path) -> None:
    file.write_text('[log]\nlevel = "info"\n# [server] workers = 1\n[server]\nworkers = -1\n')
    (problem,) = problems(file)
    assert problem.origin == f"{file}:5"


def test_a_value_in_an_inline_table_is_told_with_the_line_of_its_section(file: Path) -> None:
    file.write_text("\nserver = { workers = -1 }\n")
    (problem,) = problems(file)
    assert problem.origin == f"{file}:2"


def test_mistakes_are_told_together_also_those_that_are_overridden(file: Path) -> None:
    file.write_text("[server]\nworkers = -1\nlisen = 1\n")
    environ = {"ENTREPOT_SERVER_WORKERS": "x", "ENTREPOT_X": "1"}
    found = problems(file, environ, {"server.workers": "4", "storage.path": ""})
    assert [problem.origin for problem in found] == [
        f"{file}:3",
        "ENTREPOT_X",
        f"{file}:2",
        "ENTREPOT_SERVER_WORKERS",
        "--data",
    ]


def test_a_wrong_database_url_is_not_repeated() -> None:
    (problem,) = problems(environ={"ENTREPOT_METADATA_URL": "mysql://user:secret@host/name"})
    assert "secret" not in str(problem)
    assert "postgresql://" in problem.hint


def test_settings_in_a_traceback_hide_the_password() -> None:
    environ = {"ENTREPOT_METADATA_URL": "postgresql://user:secret@host/name"}
    resolved = resolve(None, environ, {})
    assert resolved.settings.metadata.url == "postgresql://user:secret@host/name"
    assert "secret" not in repr(resolved)


@pytest.mark.parametrize("given", ["tls_key", "tls_certificate"])
def test_https_needs_both_a_certificate_and_a_key(given: str) -> None:
    (problem,) = problems(flags={f"server.{given}": Path("/x.pem")})
    assert problem.origin == f"--{given.replace('_', '-')}"
    assert problem.hint == "HTTPS needs both"
    both = {"server.tls_key": Path("/k"), "server.tls_certificate": Path("/c")}
    assert load(None, {}, both).server.tls_key == Path("/k")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[server\n", "is not valid TOML"),
        (b"[server]\nworkers = 1\nworkers = 2\n", "is not valid TOML"),
        (b"# \xff\n", "is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_understood(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    (problem,) = problems(file)
    assert problem.origin == str(file)
    assert message in problem.message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (absent,) = problems(tmp_path / "absent.toml")
    assert absent.message == "cannot be read: No such file or directory"
    (folder,) = problems(tmp_path)
    assert folder.message == "cannot be read: Is a directory"


def test_automatic_workers_follow_the_cpus_up_to_four() -> None:
    automatic = Settings().server
    assert [automatic.worker_count(cpus) for cpus in (1, 2, 4, 64)] == [1, 2, 4, 4]
    assert load(None, {}, {"server.workers": "7"}).server.worker_count(2) == 7
