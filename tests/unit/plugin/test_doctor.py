"""`kubectl msd doctor` finds each mistake in a cluster, and nothing in a healthy one."""

import pytest

from builders import NAMESPACE
from harmless_clusters import HARMLESS, Change
from mistral_operator.kube.clock import now_text
from mistral_operator.kube.names import LABEL_NAME
from mistral_operator.plugin.doctor import Finding, Snapshot, all_clear, diagnose
from mistral_operator.plugin.read_snapshot import SnapshotReader
from mistral_operator.plugin.reader import Reader
from plugin_cluster import MISTAKES, SYSTEM, Mistake, Objects, changed, healthy, serving

INSTALLATION = ("definition", "operator", "activator", "lease", "resource", "monitor")


async def snapshot_of(
    objects: Objects, *forbidden: str, operator_namespace: str | None = None
) -> tuple[Snapshot, list[str]]:
    """Return a snapshot of a cluster, and what could not be read."""
    async with serving(objects, forbidden=forbidden).cluster() as cluster:
        reader = Reader(cluster)
        snapshot = await SnapshotReader(reader, NAMESPACE, operator_namespace).read()
    return snapshot, reader.notes


async def findings(
    objects: Objects, *forbidden: str, operator_namespace: str | None = None
) -> tuple[list[Finding], list[str]]:
    """Return what is found in a cluster, and what could not be read."""
    snapshot, notes = await snapshot_of(objects, *forbidden, operator_namespace=operator_namespace)
    return diagnose(snapshot), notes


async def test_nothing_is_wrong_with_a_healthy_cluster() -> None:
    assert await findings(healthy(now_text())) == ([], [])


async def test_nothing_is_wrong_before_an_installation() -> None:
    objects = healthy(now_text())
    before = {name: one for name, one in objects.items() if name not in INSTALLATION}

    assert await findings(before) == ([], [])


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
async def test_a_mistake_is_found_with_its_object_and_a_remedy(mistake: Mistake) -> None:
    plant, subject, sentence = mistake
    objects = healthy(now_text())
    plant(objects)

    results, notes = await findings(objects)

    assert [one for one in results if one.object == subject and sentence in str(one)], results
    assert {one.object for one in results} == {subject}, results
    assert notes == []


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
async def test_what_looks_odd_and_works_is_no_mistake(change: Change) -> None:
    objects = healthy(now_text())
    change(objects)

    assert await findings(objects) == ([], [])


async def test_the_time_is_of_the_api_server() -> None:
    objects = healthy("2026-03-01T11:00:00.000000Z")
    server = serving(objects)
    server.headers = {"Date": "Sun, 01 Mar 2026 11:00:05 GMT"}
    async with server.cluster() as cluster:
        snapshot = await SnapshotReader(Reader(cluster), NAMESPACE, None).read()

    assert diagnose(snapshot) == []


async def test_an_operator_of_another_name_is_found_in_its_namespace() -> None:
    objects = healthy(now_text())
    for name in ("operator", "activator"):
        changed(name, metadata={"labels": {LABEL_NAME: "llm"}})(objects)

    assert [one.object for one in (await findings(objects))[0]] == ["operator"]
    assert await findings(objects, operator_namespace=SYSTEM) == ([], [])


FORBIDDEN = [
    "nodes",
    "storageclasses",
    "customresourcedefinitions",
    "deployments",
    "leases",
    "secrets",
    "resourcequotas",
    "limitranges",
    "networkpolicies",
    "validatingwebhookconfigurations",
    "prometheuses",
    "podmonitors",
]


@pytest.mark.parametrize("plural", FORBIDDEN)
async def test_what_may_not_be_read_is_said_and_is_no_mistake(plural: str) -> None:
    results, notes = await findings(healthy(now_text()), plural)

    assert results == []
    assert notes
    for note in notes:
        assert note.startswith(("cannot list", "cannot get"))
        assert plural in note
        assert note.endswith("ask an administrator to allow it")


async def test_a_user_without_any_right_learns_of_no_mistake() -> None:
    results, notes = await findings(healthy(now_text()), "namespaces", *FORBIDDEN)

    assert results == []
    assert len(notes) >= len(FORBIDDEN)


CONCLUSIONS: dict[str, tuple[tuple[str, ...], list[str], str]] = {
    "all is read": ((), [], "no problems found"),
    "another namespace has the endpoints": (
        ("resource",),
        [],
        "no problems found; namespace models has no endpoints",
    ),
    "nothing is installed": (
        INSTALLATION,
        [],
        "no problems found; namespace models has no endpoints; the operator is not installed",
    ),
    "a tenant sees endpoints": (
        (),
        ["customresourcedefinitions", "deployments"],
        "no problems found in what you may read",
    ),
    "a tenant before the first endpoint": (
        INSTALLATION,
        ["customresourcedefinitions"],
        (
            "no problems found in what you may read; namespace models has no endpoints; whether the"
            " operator is installed is not known"
        ),
    ),
    "the operator may not be looked for": (
        INSTALLATION,
        ["deployments"],
        (
            "no problems found in what you may read; namespace models has no endpoints; whether the"
            " operator is installed is not known"
        ),
    ),
    "no right at all": (
        (),
        ["api", "apis"],
        (
            "no problems found in what you may read; the endpoints of namespace models could not be"
            " read; whether the operator is installed is not known"
        ),
    ),
}


@pytest.mark.parametrize(
    ("missing", "forbidden", "sentence"), CONCLUSIONS.values(), ids=CONCLUSIONS
)
async def test_the_conclusion_says_how_much_was_read(
    missing: tuple[str, ...], forbidden: list[str], sentence: str
) -> None:
    objects = {name: one for name, one in healthy(now_text()).items() if name not in missing}

    snapshot, notes = await snapshot_of(objects, *forbidden)

    assert diagnose(snapshot) == []
    assert all_clear(snapshot, notes) == sentence
