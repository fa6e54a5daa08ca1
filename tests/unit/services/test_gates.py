from collections.abc import Awaitable, Callable

import pytest

from entrepot.oci.errors import Denied, Unsupported
from entrepot.services.gates import Action, Change, Gates, deletes_switched_off
from tests.unit.services.examples import ALICE, ALPHA

DELETES: tuple[Action, ...] = ("delete tag", "delete manifest", "delete blob")


def change(action: Action) -> Change:
    return Change(action, ALICE, ALPHA)


def refusing(error: Exception) -> Callable[[Change], Awaitable[None]]:
    async def gate(change: Change) -> None:
        raise error

    return gate


async def test_without_gates_everything_passes() -> None:
    await Gates().admit(change("push blob"))


async def test_gates_are_asked_in_order_until_one_refuses() -> None:
    asked: list[str] = []

    def noting(name: str) -> Callable[[Change], Awaitable[None]]:
        async def gate(change: Change) -> None:
            asked.append(name)

        return gate

    gates = Gates(
        (noting("first"), noting("second"), refusing(Denied("no")), refusing(Unsupported("never")))
    )
    with pytest.raises(Denied, match="no"):
        await gates.admit(change("push blob"))
    assert asked == ["first", "second"]


@pytest.mark.parametrize("allowed", DELETES)
async def test_each_kind_of_delete_is_switched_by_itself(allowed: Action) -> None:
    gate = deletes_switched_off(
        tags=allowed == "delete tag",
        manifests=allowed == "delete manifest",
        blobs=allowed == "delete blob",
    )
    await gate(change(allowed))
    for refused in set(DELETES) - {allowed}:
        setting = "registry." + refused.replace(" ", "_") + "s"
        with pytest.raises(Unsupported, match=setting):
            await gate(change(refused))


@pytest.mark.parametrize("action", ["push blob", "push manifest"])
async def test_switching_deletes_off_lets_pushes_pass(action: Action) -> None:
    await deletes_switched_off(tags=False, manifests=False, blobs=False)(change(action))
