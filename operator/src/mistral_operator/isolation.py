"""Contains a failure to the key whose data causes it.

The loops of the operator go over the objects of all tenants. Whatever the data of one of them does
to the code, the others are served: the failure is logged once, counted, and the loop goes on.
"""

import logging
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from mistral_operator.metrics import ISOLATED_FAILURES

log = logging.getLogger(__name__)

_MAX_REMEMBERED = 1000
"""Keys whose last failure is remembered; with more of them some failures are logged again."""


class Isolation:
    """Contains the failures of one part of the operator.

    Args:
        part: name of the part, for the metric and the log.
    """

    def __init__(self, part: str) -> None:
        self._part = part
        self._failures = ISOLATED_FAILURES.labels(part=part)
        self._logged: OrderedDict[Hashable, str] = OrderedDict()

    @contextmanager
    def of(self, key: Hashable) -> Iterator[None]:
        """Run a block for one key; a failure of it is counted, and logged unless it repeats.

        A cancellation passes, and so does what stops the process.
        """
        try:
            yield
        except Exception as error:
            self._failures.inc()
            kind = f"{type(error).__name__}: {error}"[:500]
            if self._logged.get(key) != kind:
                log.exception("%s: cannot handle %s: %s", self._part, key, kind)
            self._logged[key] = kind
            self._logged.move_to_end(key)
            if len(self._logged) > _MAX_REMEMBERED:
                self._logged.popitem(last=False)
        else:
            self._logged.pop(key, None)
