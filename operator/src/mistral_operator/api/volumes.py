"""`spec.pod.volumes` and `spec.pod.volumeMounts`: additional files, such as a bundle of CAs.

No volume is of the node. Mounts are below directories in which the image has nothing, so that no
file of the server, of vLLM or of Python is replaced.
"""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from mistral_operator.api import patterns
from mistral_operator.api.base import ApiModel, DataKey, Memory, Name, Rule, repeated, with_rules

RESERVED_NAMES = ("api-keys", "home", "model", "shm", "system-prompt", "tmp")
"""Volumes of the server itself."""

_OWN_NAME = Rule(
    f"!(self in [{', '.join(map(repr, RESERVED_NAMES))}])",
    f"the names {', '.join(RESERVED_NAMES)} are those of the server's own volumes: choose another",
    lambda name: name not in RESERVED_NAMES,
)


class KeyToPath(ApiModel):
    """One key, and the file that it becomes."""

    key: DataKey
    """Key of the Secret or ConfigMap."""
    path: DataKey
    """Name of the file within the volume."""


class ClaimVolume(ApiModel):
    """A PersistentVolumeClaim."""

    claim_name: Name
    """Name of the claim."""
    read_only: bool = False
    """Mount it read-only."""


class ConfigMapFiles(ApiModel):
    """Keys of a ConfigMap as files."""

    name: Name
    """Name of the ConfigMap."""
    items: list[KeyToPath] = Field(default=[], max_length=4)
    """Keys to mount. Empty: all of them."""


class SecretVolume(ApiModel):
    """Keys of a Secret as files."""

    secret_name: Name
    """Name of the Secret."""
    items: list[KeyToPath] = Field(min_length=1, max_length=4)
    """Keys to mount. Nothing else of the Secret reaches the pod."""


class SecretFiles(ApiModel):
    """Keys of a Secret as files."""

    name: Name
    """Name of the Secret."""
    items: list[KeyToPath] = Field(min_length=1, max_length=4)
    """Keys to mount. Nothing else of the Secret reaches the pod."""


class EmptyVolume(ApiModel):
    """An empty directory on the disk of the node, as long as the pod lives."""

    size_limit: Memory
    """Size at which the pod is evicted, at most 1Pi."""


class Source(ApiModel):
    """One source of a projected volume."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.configMap) != has(self.secret)",
            "set either configMap or secret in a source of a projected volume",
            lambda one: (one.config_map is None) != (one.secret is None),
        ),
    )

    config_map: ConfigMapFiles | None = None
    """Keys of a ConfigMap."""
    secret: SecretFiles | None = None
    """Keys of a Secret."""


def _paths(sources: list[Source]) -> list[str]:
    files = [one.config_map or one.secret for one in sources]
    return [item.path for one in files if one is not None for item in one.items]


_PATHS = (
    "(has(one.configMap) ? one.configMap.items.map(item, item.path) : [])"
    " + (has(one.secret) ? one.secret.items.map(item, item.path) : [])"
)


class ProjectedVolume(ApiModel):
    """Files of several ConfigMaps and Secrets in one directory."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.sources.all(one, ({_PATHS}).all(path, self.sources.map(one, ({_PATHS})"
            ".filter(other, other == path).size()).sum() == 1))",
            "two items of a projected volume have the same path: choose another",
            lambda volume: len(set(_paths(volume.sources))) == len(_paths(volume.sources)),
        ),
    )

    sources: list[Source] = Field(min_length=1, max_length=2)
    """Where the files come from."""


_KINDS = ("persistentVolumeClaim", "configMap", "secret", "emptyDir", "projected")


def _has_one_kind(volume: "Volume") -> bool:
    kinds = (
        volume.persistent_volume_claim,
        volume.config_map,
        volume.secret,
        volume.empty_dir,
        volume.projected,
    )
    return sum(one is not None for one in kinds) == 1


class Volume(ApiModel):
    """One volume of the pods."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"{' + '.join(f'(has(self.{one}) ? 1 : 0)' for one in _KINDS)} == 1",
            f"set exactly one of {', '.join(_KINDS[:-1])} and {_KINDS[-1]} in a volume",
            _has_one_kind,
        ),
    )

    name: Annotated[str, _OWN_NAME.after] = Field(
        min_length=1,
        max_length=63,
        pattern=patterns.VOLUME_NAME,
        json_schema_extra=with_rules(_OWN_NAME),
    )
    """Name of the volume."""
    persistent_volume_claim: ClaimVolume | None = None
    """A PersistentVolumeClaim in the namespace of the resource."""
    config_map: ConfigMapFiles | None = None
    """Keys of a ConfigMap."""
    secret: SecretVolume | None = None
    """Keys of a Secret."""
    empty_dir: EmptyVolume | None = None
    """An empty directory."""
    projected: ProjectedVolume | None = None
    """Several ConfigMaps and Secrets in one directory."""


class VolumeMount(ApiModel):
    """Where a volume is mounted, in the server and in the container that fetches the model."""

    name: str = Field(min_length=1, max_length=63, pattern=patterns.VOLUME_NAME)
    """Name of a volume in `volumes`."""
    mount_path: str = Field(min_length=1, max_length=253, pattern=patterns.MOUNT_PATH)
    """Directory below /mnt, /data or /srv."""
    read_only: bool = True
    """Mount it read-only."""


def _different_names(volumes: list[Volume]) -> list[Volume]:
    _check_different([one.name for one in volumes], "volumes")
    return volumes


def _different_paths(mounts: list[VolumeMount]) -> list[VolumeMount]:
    _check_different([one.mount_path for one in mounts], "mounts")
    return mounts


def _check_different(keys: list[str], what: str) -> None:
    if (twice := repeated(keys)) is not None:
        raise ValueError(f"two {what} have {twice}: remove one")


def _map_of(key: str) -> dict[str, object]:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


Volumes = Annotated[
    list[Volume],
    Field(max_length=4, json_schema_extra=_map_of("name")),
    AfterValidator(_different_names),
]
"""Volumes with different names."""

VolumeMounts = Annotated[
    list[VolumeMount],
    Field(max_length=8, json_schema_extra=_map_of("mountPath")),
    AfterValidator(_different_paths),
]
"""Mounts at different paths."""
