"""Build step: leave among the static files what must not be served."""

import os
from pathlib import Path

STATIC = Path(__file__).resolve().parent / "static"

(STATIC / ".git").mkdir(exist_ok=True)
for name in (".git/config", ".env", ".htaccess", ".style.css.swp"):
    (STATIC / name).write_text("HIDDEN-FILE\n")
(STATIC / "deeper").mkdir(exist_ok=True)
(STATIC / "deeper" / ".hidden").write_text("HIDDEN-FILE\n")
for name, target in (("passwd", "/etc/passwd"), ("root", "/"), ("source.txt", "../app.py")):
    if not os.path.lexists(STATIC / name):
        (STATIC / name).symlink_to(target)
