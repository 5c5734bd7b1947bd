"""How an edit of the pods reaches them: one after another, the new one first, or later."""

from builders import Object
from fake_workloads import is_ready
from operator_life import Life, play

EDIT: Object = {"startupSeconds": 900}


async def ready(life: Life, spec: Object | None = None) -> str:
    """Bring an endpoint to where it answers; return the name of its pod."""
    await life.start()
    life.create(spec)
    await life.settle()
    (pod,) = life.pods()
    return str(pod["metadata"]["name"])


def fewest_ready(life: Life) -> int:
    """Return the smallest number of ready pods from now on, when the rollout is over."""
    return min(life.ready_counts)


def test_an_old_pod_stops_first_without_a_surge() -> None:
    async def scenario(life: Life) -> None:
        before = await ready(life)

        life.watch_ready()
        life.edit(EDIT)
        await life.settle()

        assert fewest_ready(life) == 0
        assert [pod["metadata"]["name"] for pod in life.pods()] != [before]

    play(scenario)


def test_with_a_surge_a_pod_is_always_ready() -> None:
    async def scenario(life: Life) -> None:
        before = await ready(life, {"rollout": {"maxSurge": 1}})

        life.watch_ready()
        life.edit(EDIT)
        await life.settle()

        assert fewest_ready(life) == 1
        assert [pod["metadata"]["name"] for pod in life.pods()] != [before]

    play(scenario)


def test_a_paused_edit_waits_and_says_so_until_it_is_rolled_out() -> None:
    async def scenario(life: Life) -> None:
        before = await ready(life, {})

        life.edit({**EDIT, "rollout": {"paused": True}})
        await life.settle()
        (pod,) = life.pods()
        assert (pod["metadata"]["name"], is_ready(pod)) == (before, True)
        assert (life.reason(), life.reason("Progressing")) == ("Ready", "Paused")

        life.edit({"rollout": {"paused": False}})
        await life.settle()
        assert [one["metadata"]["name"] for one in life.pods()] != [before]
        assert (life.reason(), life.reason("Progressing")) == ("Ready", "Complete")

    play(scenario)
