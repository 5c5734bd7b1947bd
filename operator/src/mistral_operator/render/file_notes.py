"""What a resource file needs of the cluster that it will be applied to. Pure."""

from mistral_operator.api import Resource
from mistral_operator.api.model import MODEL_BYTES
from mistral_operator.kube.quantities import quantity_bytes
from mistral_operator.render.allowed import not_allowed
from mistral_operator.render.context import RenderContext


def file_notes(resource: Resource, context: RenderContext) -> list[str]:
    """Return what an administrator has to allow or provide, each a sentence.

    Args:
        resource: the endpoint.
        context: what is known of the installation.
    """
    spec = resource.spec
    notes = [
        f"the installation has to allow this of {resource.name}: {problem}"
        for problem in not_allowed(spec, context)
    ]
    model = MODEL_BYTES.get(spec.model.id, 0)
    if spec.cache is not None and quantity_bytes(spec.cache.size) < model:
        notes.append(
            f"spec.cache.size of {resource.name} is {spec.cache.size}, and the model takes"
            f" {model / 1e9:.0f} GB: increase it, unless its storage does not limit the size"
        )
    return notes
