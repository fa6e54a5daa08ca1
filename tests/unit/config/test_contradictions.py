"""Settings that are right one by one but not together, and the way out of each."""

import pytest

from entrepot.config import ConfigError, load
from entrepot.config.registry_names import PRESETS, has_preset, is_nowhere
from entrepot.rules import upstream_presets
from tests.unit.config.reading import ConfigFile


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("username = 'u'", 2, "username is set without password", "set both, or neither"),
        ("password = 'p'", 2, "password is set without username", "a token goes with a name"),
        ("auth = 'basic'", 2, 'auth is "basic" without username', "set username and password"),
        (
            "auth = 'anonymous'\nusername = 'u'\npassword = 'p'",
            3,
            'username is not used with auth = "anonymous"',
            'set auth = "auto"',
        ),
        ("auth = 'header'", 2, 'auth is "header" without headers', "set headers"),
        ("auth = 'exec'", 2, 'auth is "exec" without exec', "set exec"),
        ("exec = ['x']", 2, 'exec is not used with auth = "auto"', 'set auth = "exec"'),
        ("client_key = '/k'", 2, "client_key is set without client_certificate", "set both"),
        (
            "mode = 'redirect'\nmax_size = '1g'",
            3,
            'max_size is not used with mode = "redirect"',
            "remove max_size",
        ),
        (
            "mode = 'redirect'\ntag_ttl = '1m'",
            3,
            'tag_ttl is not used with mode = "redirect"',
            'or set mode = "mirror"',
        ),
        (
            "endpoints = ['http://a.example']",
            2,
            "endpoints has http://a.example, which is not encrypted",
            "set insecure",
        ),
        (
            "discovery = 'dns+http://a.example'",
            2,
            "discovery finds what is not encrypted",
            "set insecure",
        ),
    ],
)
def test_an_upstream_must_agree_with_itself(
    toml: ConfigFile, text: str, place: int, message: str, hint: str
) -> None:
    problem = toml.problem(f"[upstreams.'a.test']\n{text}\n")
    assert problem.origin == f":{place}"
    assert problem.message == f"upstreams.a.test.{message}"
    assert hint in problem.hint


@pytest.mark.parametrize(
    "text",
    [
        "username = 'u'\npassword = 'p'",
        "auth = 'basic'\nusername = 'u'\npassword = 'p'",
        "auth = 'header'\nheaders = ['Authorization: Bearer x']",
        "auth = 'exec'\nexec = ['x', 'get']",
        "client_certificate = '/c'\nclient_key = '/k'",
        "client_certificate = '/both'",
        "mode = 'redirect'",
        "endpoints = ['http://127.0.0.1:5000']",
        "endpoints = ['http://a.example']\ninsecure = true",
    ],
)
def test_what_does_agree(toml: ConfigFile, text: str) -> None:
    assert toml.load(f"[upstreams.'a.test']\n{text}\n").upstreams


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("endpoints = ['https://x']", "endpoints is of one registry"),
        ("aliases = ['x']", "aliases is of one registry"),
        ("headers = ['X-Key: x']", "headers would be shown to any registry"),
        ("username = 'u'\npassword = 'p'", "username would be shown to any registry"),
    ],
)
def test_what_stands_for_all_registries_is_of_none(
    toml: ConfigFile, key: str, message: str
) -> None:
    """PX-03: a login never goes to a host that only a client has named."""
    first, *_ = toml.problems(f"[upstreams.'*']\n{key}\n")
    assert first.message.startswith(f"upstreams.*.{message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[upstreams.'a.x']\naliases = ['b.x']\n[upstreams.'b.x']\n",
            "upstreams.a.x.aliases has b.x",
        ),
        (
            "[upstreams.'a.x']\naliases = ['c']\n[upstreams.'b.x']\naliases = ['c']\n",
            "upstreams.b.x.aliases has c, which is a.x's",
        ),
        (
            "[upstreams.'a.x']\nhosts = ['h:1']\n[upstreams.'b.x']\nhosts = ['h:1']\n",
            "upstreams.b.x.hosts has h:1, which is a.x's",
        ),
    ],
)
def test_a_name_leads_to_one_upstream(toml: ConfigFile, text: str, message: str) -> None:
    assert toml.problem(text).message.startswith(message)


@pytest.mark.parametrize("text", ["", "preset = 'custom'", "preset = 'jfrog'", "mode = 'redirect'"])
def test_a_word_alone_says_nowhere(toml: ConfigFile, text: str) -> None:
    """BE-08: it would be taken for a host, and asked at https://hub."""
    problem = toml.problem(f"[upstreams.hub]\n{text}\n")
    assert problem.origin == ":1"
    assert problem.message.startswith("upstreams.hub.endpoints is missing: hub is a word")
    assert 'set endpoints = ["https://HOST"]' in problem.hint
    assert "docker.io" in problem.hint


@pytest.mark.parametrize(
    "text",
    [
        "[upstreams.hub]\nendpoints = ['https://a.x']",
        "[upstreams.hub]\ndiscovery = 'dns+https://a.x'",
        "[upstreams.hub]\npreset = 'dockerhub'",
        "[upstreams.localhost]",
        "[upstreams.'hub:5000']",
        "[upstreams.'*']\nfailures = 7",
    ],
    ids=["endpoints", "discovery", "preset", "localhost", "port", "template"],
)
def test_what_says_where_it_is(toml: ConfigFile, text: str) -> None:
    assert toml.load(f"{text}\n").upstreams


def test_presets_without_a_place_are_those_that_have_none() -> None:
    for preset in upstream_presets.PRESETS:
        for word in (preset.name, *preset.aliases, *preset.words):
            has_place = bool(upstream_presets.preset_for("*", word).endpoints)
            assert is_nowhere("hub", word) is not has_place, word


def test_an_upstream_may_repeat_its_own_names(toml: ConfigFile) -> None:
    text = "[upstreams.'docker.io']\naliases = ['index.docker.io']\n"
    assert toml.load(text).upstreams["docker.io"].aliases == ("docker.io",)


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", ["sites.eu.url is missing", "sites.eu.networks is empty"]),
        (
            "url = 'https://b.example/x'\nnetworks = ['10.0.0.0/8']",
            ["sites.eu.url names no blob"],
        ),
        (
            "url = 'https://b/{hex}'\nnetworks = ['10.0.0.0/8']\n"
            "[sites.us]\nurl = 'https://c/{hex}'\nnetworks = ['10.0.0.0/8']",
            ["sites.us.networks has 10.0.0.0/8, which eu has, too"],
        ),
    ],
)
def test_a_site_has_a_place_and_networks_of_its_own(
    toml: ConfigFile, text: str, messages: list[str]
) -> None:
    assert [one.message for one in toml.problems(f"[sites.eu]\n{text}\n")] == messages


@pytest.mark.parametrize("key", ["username", "password"])
def test_the_login_of_this_server_needs_both(toml: ConfigFile, key: str) -> None:
    problem = toml.problem(f"[access]\n{key} = 'x'\n")
    assert problem.origin == ":2"
    assert problem.hint == "the login needs both"


def test_the_default_registry_must_be_one(toml: ConfigFile) -> None:
    problem = toml.problem("[proxy]\ndefault_registry = 'nowhere.example'\n")
    assert problem.origin == ":2"
    assert problem.message == "proxy.default_registry is nowhere.example, which is no upstream"
    assert problem.hint.startswith('write [upstreams."nowhere.example"], or name one that needs')


@pytest.mark.parametrize(
    "text",
    [
        "default_registry = 'quay.io'",
        "default_registry = 'europe-docker.pkg.dev'",
        "default_registry = 'nowhere.example'\nopen = true",
        "default_registry = 'nowhere.example'\n[upstreams.'nowhere.example']",
        "default_registry = 'hub'\n[upstreams.'docker.io']\naliases = ['hub']",
    ],
)
def test_what_the_default_registry_may_be(toml: ConfigFile, text: str) -> None:
    assert toml.load(f"[proxy]\n{text}\n").proxy.default_registry


def test_names_without_a_registry_lead_to_one_place(toml: ConfigFile) -> None:
    problem = toml.problem(
        "[proxy]\ndefault_registry = 'quay.io'\n[redirect]\nupstream = 'https://a/v2/'\n"
    )
    assert "both say where names without a registry are" in problem.message


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("[cache]\npath = '/srv/entrepot'", "cache.path"),
        ("[cache]\npath = '/srv'", "cache.path"),
        ("[upstreams.'a.x']\ncache_path = '/srv/x/../entrepot/'", "upstreams.a.x.cache_path"),
    ],
)
def test_a_cache_is_not_where_hosted_content_is(toml: ConfigFile, text: str, name: str) -> None:
    problem = toml.problem(f"[storage]\npath = '/srv/entrepot'\n{text}\n")
    assert problem.message == f"{name} is where hosted content is kept"


def test_a_cache_may_be_inside_the_data_directory(toml: ConfigFile) -> None:
    assert toml.load("[storage]\npath = '/srv'\n[cache]\npath = '/srv/cache'\n").cache.path


def test_a_contradiction_is_placed_where_it_was_written_also_in_the_environment() -> None:
    environ = {"ENTREPOT_UPSTREAMS": '{"a.x": {"username": "u"}}'}
    with pytest.raises(ConfigError) as raised:
        load(None, environ, {})
    assert [problem.origin for problem in raised.value.problems] == ["ENTREPOT_UPSTREAMS"]


def test_registries_that_need_no_table_are_those_whose_habits_are_known() -> None:
    custom = upstream_presets.CUSTOM.name
    assert [name for name in PRESETS if upstream_presets.preset_for(name).name == custom] == []
    known = [one for preset in upstream_presets.PRESETS for one in (preset.name, *preset.aliases)]
    hosts = [name for name in known if upstream_presets.preset_for(name).endpoints]
    assert [
        name
        for name in hosts
        if upstream_presets.canonical_host(name) == name and "." in name and not has_preset(name)
    ] == ["azurecr.io"]
    shapes = [host.replace("*", "x") for one in upstream_presets.PRESETS for host in one.hosts]
    assert [host for host in shapes if not has_preset(host)] == []
