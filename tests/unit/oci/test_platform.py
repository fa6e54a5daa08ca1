import pytest

from entrepot.oci.errors import ManifestInvalid, Unsupported
from entrepot.oci.platform import Platform


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm64/v8", Platform("linux", "arm64", "v8")),
        ("windows/x86_64", Platform("windows", "x86_64")),
    ],
)
def test_a_platform_reads_and_writes_the_same(text: str, platform: Platform) -> None:
    assert Platform.parse(text) == platform
    assert str(platform) == text


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "linux//v8", "l/ä"]
)
def test_all_else_is_no_platform(text: str) -> None:
    with pytest.raises(Unsupported, match="linux/amd64"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64", "linux/x86_64"),
        ("linux/amd64", "linux/x86-64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/386", "linux/i386"),
        ("linux/386", "linux/i686"),
        ("linux/arm64", "linux/aarch64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64", "linux/arm64/8"),
        ("linux/arm/v7", "linux/arm"),
        ("linux/arm/v7", "linux/armhf"),
        ("linux/arm/7", "linux/armhf"),
        ("linux/arm/v6", "linux/armel"),
        ("darwin/arm64", "macos/arm64"),
        ("linux/riscv64", "linux/riscv64"),
    ],
)
def test_the_same_platform_in_other_words_matches(offered: str, wanted: str) -> None:
    assert Platform.parse(offered).matches(Platform.parse(wanted))
    assert Platform.parse(wanted).matches(Platform.parse(offered))


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        ("linux/amd64", "linux/arm64"),
        ("linux/amd64", "windows/amd64"),
        ("linux/amd64/v3", "linux/amd64"),
        ("linux/arm/v6", "linux/arm"),
        ("linux/arm/v5", "linux/armel"),
        ("linux/arm64/v9", "linux/arm64"),
    ],
)
def test_other_platforms_do_not(offered: str, wanted: str) -> None:
    assert not Platform.parse(offered).matches(Platform.parse(wanted))


@pytest.mark.parametrize(
    ("offered", "wanted", "match"),
    [
        ("10.0.17763.1234", "", True),
        ("10.0.17763.1234", "10.0.17763.1234", True),
        ("10.0.17763.1234", "10.0.17763", True),
        ("10.0.177631", "10.0.17763", False),
        ("10.0.20348.1", "10.0.17763", False),
        ("", "10.0.17763", False),
    ],
)
def test_a_wanted_os_version_may_be_a_prefix(offered: str, wanted: str, match: bool) -> None:
    offer = Platform("windows", "amd64", os_version=offered)
    assert offer.matches(Platform("windows", "amd64", os_version=wanted)) is match


def test_wanted_os_features_must_be_offered() -> None:
    offer = Platform("windows", "amd64", os_features=("win32k", "x"))
    assert offer.matches(Platform("windows", "amd64", os_features=("win32k",)))
    assert not Platform("windows", "amd64").matches(offer)


def test_a_platform_that_leaves_out_what_it_is_matches_nothing() -> None:
    assert not Platform("", "").matches(Platform("", ""))


def test_a_descriptors_platform_is_read_and_rendered() -> None:
    rendered = {
        "architecture": "arm",
        "os": "linux",
        "variant": "v7",
        "os.version": "1",
        "os.features": ["f"],
    }
    platform = Platform.of_json(rendered, "platform")
    assert platform == Platform("linux", "arm", "v7", "1", ("f",))
    assert platform.to_json() == rendered
    assert Platform("linux", "amd64").to_json() == {"architecture": "amd64", "os": "linux"}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ([], "p"),
        ({"os": 1}, "p.os"),
        ({"architecture": {}}, "p.architecture"),
        ({"os.features": "f"}, "p.os.features"),
        ({"os.features": ["f", 1]}, "p.os.features[1]"),
    ],
)
def test_a_descriptors_platform_of_a_wrong_type_is_refused(value: object, field: str) -> None:
    with pytest.raises(ManifestInvalid) as refused:
        Platform.of_json(value, "p")
    assert refused.value.detail["field"] == field
