"""An index of the store against a model of a cluster whose watch loses events."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from builders import NAME, replace_all
from mistral_operator.watch.index import Index
from store_objects import OTHER, OWNER, Object, owner_by_label, thing


class IndexAgainstModel(RuleBasedStateMachine):
    """A cluster changes; a watch that may lose events and a list keep an index up to date."""

    def __init__(self) -> None:
        super().__init__()
        self.index: Index[Any] = Index(lambda body: body["value"], owner_by_label)
        self.cluster: dict[str, Object] = {}
        self.missed = False
        self.version = 0

    @rule(
        name=st.sampled_from("abc"),
        owner=st.sampled_from([NAME, "other", None]),
        value=st.integers(0, 2),
        reported=st.booleans(),
    )
    def write(self, name: str, owner: str | None, value: int, reported: bool) -> None:
        self.version += 1
        self.cluster[name] = thing(name, self.version, owner, value=value)
        self.missed |= not reported
        if reported:
            self.index.put(self.cluster[name])

    @rule(name=st.sampled_from("abc"), reported=st.booleans())
    def delete(self, name: str, reported: bool) -> None:
        if name not in self.cluster:
            return
        self.version += 1
        body = self.cluster.pop(name)
        body["metadata"]["resourceVersion"] = str(self.version)
        self.missed |= not reported
        if reported:
            self.index.remove(body)

    @rule()
    def resync(self) -> None:
        replace_all(self.index, self.cluster.values(), as_of=self.version)
        self.missed = False

    @invariant()
    def the_index_equals_the_cluster(self) -> None:
        if self.missed:
            return
        for owner in (OWNER, OTHER):
            want = [
                body["value"]
                for _, body in sorted(self.cluster.items())
                if owner_by_label(body) == owner
            ]
            assert list(self.index.owned(owner)) == want
        assert len(self.index) == sum(
            owner_by_label(one) is not None for one in self.cluster.values()
        )


TestIndexAgainstModel = IndexAgainstModel.TestCase
TestIndexAgainstModel.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
