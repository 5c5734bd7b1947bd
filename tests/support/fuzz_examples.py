"""How many examples the fuzz tests try: some hundreds, or as many as FUZZ_EXAMPLES says."""

import os

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
