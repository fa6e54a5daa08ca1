"""The command line before it is parsed: `--debug` anywhere, `--tls-verify=false` too."""

import pytest

from entrepot.cli.words import normalised


@pytest.mark.parametrize(
    "words",
    [["--debug", "cp", "a", "b"], ["cp", "--debug", "a", "b"], ["cp", "a", "b", "--debug"]],
)
def test_debug_counts_wherever_it_stands(words: list[str]) -> None:
    assert normalised(words) == (True, ["cp", "a", "b"])


def test_nothing_behind_two_dashes_is_an_option() -> None:
    words = ["rm", "--", "--debug", "--tls-verify=false"]
    assert normalised(words) == (False, words)


@pytest.mark.parametrize(
    ("word", "flag"),
    [
        ("--tls-verify=false", "--no-tls-verify"),
        ("--tls-verify=true", "--tls-verify"),
        ("--tls-verify=0", "--no-tls-verify"),
        ("--src-tls-verify=False", "--no-src-tls-verify"),
        ("--dest-tls-verify=1", "--dest-tls-verify"),
        ("--tls-verify=maybe", "--tls-verify=maybe"),
        ("--tls-verify", "--tls-verify"),
        ("--other=false", "--other=false"),
    ],
)
def test_a_flag_may_have_a_value(word: str, flag: str) -> None:
    assert normalised([word]) == (False, [flag])
