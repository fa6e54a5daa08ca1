"""Choosing among platforms, for any index."""

from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.platform import Platform
from entrepot.rules.platform_choice import acceptable_platforms, choose, is_choosable
from tests.property import strategies

_KNOWN = st.builds(
    Platform,
    os=st.sampled_from(["linux", "windows", "unknown"]),
    architecture=st.sampled_from(["amd64", "arm64", "arm", "386", "x86_64", "unknown"]),
    variant=st.sampled_from(["", "v1", "v2", "v3", "v5", "v7", "v8", "v8.2", "v9", "8", "v99.99"]),
    os_version=st.sampled_from(["", "10.0.17763", "10.0.17763.5", "x.y"]),
)
_PLATFORMS = _KNOWN | strategies.platforms
_OFFERS = st.lists(
    st.builds(
        lambda descriptor, platform: Descriptor(
            descriptor.media_type,
            descriptor.digest,
            descriptor.size,
            descriptor.annotations,
            platform=platform,
        ),
        strategies.descriptors(),
        st.none() | _PLATFORMS,
    ),
    max_size=6,
)


@given(_OFFERS, _PLATFORMS)
def test_what_is_chosen_is_offered_and_runs(offers: list[Descriptor], wanted: Platform) -> None:
    chosen = choose(offers, wanted)
    fitting = [
        [
            offer
            for offer in offers
            if is_choosable(offer) and offer.platform and offer.platform.matches(acceptable)
        ]
        for acceptable in acceptable_platforms(wanted)
    ]
    best = next((some for some in fitting if some), [])
    assert (chosen in best) if best else chosen is None


@given(_PLATFORMS)
def test_lesser_platforms_accept_no_greater(wanted: Platform) -> None:
    mine = set(acceptable_platforms(wanted))
    for lesser in acceptable_platforms(wanted):
        assert set(acceptable_platforms(lesser)) <= mine
