"""Make the tables, or bring them up to date: `python -m polls.migrate`, beside the directory `data`."""

from pathlib import Path

from . import database

if __name__ == "__main__":
    target = Path("data") / "polls.sqlite3"
    target.parent.mkdir(exist_ok=True)
    print(f"{target}: {database.migrate(database.connect(target))} migrations run")
