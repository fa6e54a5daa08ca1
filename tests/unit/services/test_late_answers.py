"""An answer is late until it comes, whatever it is."""

import asyncio

from entrepot.services.flights import LateAnswers


async def test_an_answer_is_late_until_it_comes() -> None:
    late, come = LateAnswers(), asyncio.Event()
    task = asyncio.get_running_loop().create_task(come.wait())
    assert not late.has("a", task)
    late.note("a", task)
    late.note("a", task)
    assert late.has("a", task)
    assert late.any("a")
    assert not late.any("b")
    come.set()
    await task
    await asyncio.sleep(0)
    assert not late.any("a")


async def test_one_of_several_that_fails_leaves_the_others_late() -> None:
    late, come = LateAnswers(), asyncio.Event()
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(come.wait())
    cancelled = loop.create_task(come.wait())
    for task in (waiting, cancelled):
        late.note("a", task)
    cancelled.cancel()
    await asyncio.wait({cancelled})
    await asyncio.sleep(0)
    assert late.any("a")
    assert not late.has("a", cancelled)
    come.set()
    await waiting
    await asyncio.sleep(0)
    assert not late.any("a")


async def test_what_has_come_meanwhile_is_not_late() -> None:
    late = LateAnswers()
    task = asyncio.get_running_loop().create_task(asyncio.sleep(0))
    await task
    late.note("a", task)
    assert not late.any("a")
