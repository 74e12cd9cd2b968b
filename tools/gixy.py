"""gixy, which knows misconfigurations of nginx, over a configuration."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .console import run

#: What it asks for and is not so here, with the reason.
SKIPPED = {
    "try_files_is_evil_too": "it wants open_file_cache for uploads too, which an app may replace and delete at any time",
    "ssl_ecdh_curve": "the curve that it warns of is given to Debian 13 only, whose OpenSSL has it",
}


def findings(path: Path) -> list[dict[str, Any]]:
    """What gixy finds in the nginx.conf at *path* and all that it includes."""
    gixy = Path(sys.executable).with_name("gixy")
    command = [str(gixy), "--format", "json", "--skips", ",".join(SKIPPED), str(path)]
    return list(json.loads(run(command, check=False).stdout))
