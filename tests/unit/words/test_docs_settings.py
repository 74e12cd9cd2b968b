"""Settings that the documents offer for an app's own code."""

from __future__ import annotations

import re
import subprocess
import sys

from tools.project import ROOT

#: As Django logs an exception of a view, where no one has changed its loggers since.
_RAISED = """
import logging, logging.config
logging.config.dictConfig(LOGGING)
try:
    raise LookupError("raised by a view")
except LookupError:
    logging.getLogger("django.request").error("Internal Server Error: /x", exc_info=True)
logging.getLogger("blog.views").info("of one's own code")
"""


def test_the_logging_of_the_documents_brings_tracebacks_of_django_to_the_journal() -> None:
    (code,) = re.findall(r"^LOGGING = \{\n.*?^\}\n", (ROOT / "docs/deploy.md").read_text(), re.M | re.S)
    # Scenario `default` runs the example with it.
    assert code in (ROOT / "examples/django/notes/settings.py").read_text()
    said = subprocess.run(
        [sys.executable, "-c", code + _RAISED], capture_output=True, text=True, check=True
    ).stderr
    assert said.count("Traceback (most recent call last)") == 1, said
    assert "LookupError: raised by a view" in said and "of one's own code" in said
