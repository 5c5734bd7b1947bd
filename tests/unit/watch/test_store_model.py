"""A shelf of the store against a model of a cluster whose watch loses events."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from builders import NAME, swept
from mistral_operator.watch.store import Shelf
from store_objects import OTHER, OWNER, Object, owner_by_label, thing


class ShelfAgainstModel(RuleBasedStateMachine):
    """A cluster changes; a watch that may lose events and a list keep a shelf up to date."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf: Shelf[Any] = Shelf(lambda body: body["value"], owner_by_label)
        self.cluster: dict[str, Object] = {}
        self.missed = False
        self.version = 0

    @rule(
        name=st.sampled_from("abc"),
        owner=st.sampled_from([NAME, "other", None]),
        value=st.integers(0, 2),
        seen=st.booleans(),
    )
    def write(self, name: str, owner: str | None, value: int, seen: bool) -> None:
        self.version += 1
        self.cluster[name] = thing(name, self.version, owner, value=value)
        self.missed |= not seen
        if seen:
            self.shelf.put(self.cluster[name])

    @rule(name=st.sampled_from("abc"), seen=st.booleans())
    def delete(self, name: str, seen: bool) -> None:
        if name not in self.cluster:
            return
        self.version += 1
        body = self.cluster.pop(name)
        body["metadata"]["resourceVersion"] = str(self.version)
        self.missed |= not seen
        if seen:
            self.shelf.remove(body)

    @rule()
    def resync(self) -> None:
        swept(self.shelf, self.cluster.values(), as_of=self.version)
        self.missed = False

    @invariant()
    def the_shelf_holds_what_the_cluster_holds(self) -> None:
        if self.missed:
            return
        for owner in (OWNER, OTHER):
            held = [
                body["value"]
                for _, body in sorted(self.cluster.items())
                if owner_by_label(body) == owner
            ]
            assert list(self.shelf.owned(owner)) == held
        assert len(self.shelf) == sum(
            owner_by_label(one) is not None for one in self.cluster.values()
        )


TestShelfAgainstModel = ShelfAgainstModel.TestCase
TestShelfAgainstModel.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
