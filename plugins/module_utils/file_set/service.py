"""The service that loads a set of files: what it runs, and how it is made to run another one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .items import FileSetError

Run = Callable[[Sequence[str]], tuple[int, str, str]]

#: Seconds that a service may take from a signal to the first answer of its new configuration.
PATIENCE = 10.0

#: A process and a file that are younger than this apart were made together: the kernel counts a start in 10 ms.
TOGETHER = 0.1

LOG_LINES = 5


@dataclass(frozen=True)
class Answer:
    """What a service says of itself: the digest that it has loaded, and which of its processes said so."""

    digest: str = ""
    process: int = 0
    error: str = ""


def parse_answer(code: int, out: str, err: str) -> Answer:
    words = out.split()
    if code != 0 or not words:
        return Answer(error=(err.strip() or f"no answer ({code})").splitlines()[-1])
    return Answer(words[0], int(words[1]) if len(words) > 1 and words[1].isdigit() else 0)


def parent_and_age(stat: str, uptime: float, ticks: int) -> tuple[int, float]:
    """From a line of /proc/PID/stat: the parent, and the seconds since the start."""
    # The name, in parentheses, may hold blanks and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    return int(fields[1]), uptime - int(fields[19]) / ticks


def workers(answer: Answer, proc: str = "/proc") -> dict[int, float]:
    """The processes that serve with the one that answered, and their ages. Those that only finish what they do are not
    among them: they have an older configuration by right."""
    uptime, ticks = time.clock_gettime(time.CLOCK_BOOTTIME), os.sysconf("SC_CLK_TCK")
    family: dict[int, tuple[int, float]] = {}
    for name in os.listdir(proc):
        if name.isdigit():
            # A process names itself as it likes, apps' too.
            with (
                contextlib.suppress(OSError),
                open(f"{proc}/{name}/stat", encoding="utf-8", errors="replace") as file,
            ):
                family[int(name)] = parent_and_age(file.read(), uptime, ticks)
    if answer.process not in family:
        return {}
    found = {}
    for process, (parent, age) in family.items():
        if parent == family[answer.process][0]:
            with contextlib.suppress(OSError), open(f"{proc}/{process}/cmdline", "rb") as file:
                if b"shutting down" not in file.read():
                    found[process] = age
    return found


def youngest(directory: str) -> float:
    """Seconds since the last change to a file below *directory*."""
    newest, now = 0.0, time.time()
    for place, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                changed = os.lstat(os.path.join(place, name)).st_mtime
                # A date to come says nothing.
                newest = max(newest, changed if changed <= now else 0.0)
    return now - newest


class Service:
    def __init__(
        self, run: Run, unit: str, ask: Sequence[str], replaces: Iterable[str] = (), log: str = ""
    ) -> None:
        self.run, self.unit, self.question = run, unit, list(ask)
        self.replaces, self.log = list(replaces), log
        self.notes: list[str] = []

    def ask(self) -> Answer:
        try:
            return parse_answer(*self.run(self.question))
        except OSError as error:
            return Answer(error=str(error))

    @contextlib.contextmanager
    def asked_by(self, question: Sequence[str]) -> Iterator[None]:
        """Ask in another way for a while."""
        usual, self.question = self.question, list(question)
        try:
            yield
        finally:
            self.question = usual

    def runs(self, digest: str, tree: str) -> bool:
        """Whether the service runs what lies on disk: it says the digest, and nothing in *tree*, which may be somebody's
        own, changed since its workers were started. One that a reload passed over is older than the file."""
        answer = self.ask()
        if answer.digest != digest:
            return False
        ages = workers(answer).values() if answer.process else ()
        return not ages or max(ages) <= youngest(tree) + TOGETHER

    def systemctl(self, *words: str) -> bool:
        return self.run(["systemctl", "--quiet", *words])[0] == 0

    def enabled(self) -> bool:
        return self.systemctl("is-enabled", self.unit)

    def load(self, digest: str, units_changed: bool = False) -> None:
        """Make the service run what lies on disk, or raise an error with its words."""
        before = workers(self.ask())
        log = self._log_size()
        if units_changed:
            self._must("daemon-reload")
        replaced = [unit for unit in self.replaces if self._lives(unit)]
        if replaced:
            self._replace_units(replaced)
        elif self.systemctl("is-active", self.unit):
            self._must("reload", self.unit)
        else:
            self._must("start", self.unit)
        self._prove(digest, before, log)
        if not self.enabled():
            self._must("enable", "--quiet", self.unit)

    def _lives(self, unit: str) -> bool:
        return self.systemctl("is-enabled", unit) or self.systemctl("is-active", unit)

    def _must(self, *words: str) -> None:
        log = self._log_size()
        code, _, err = self.run(["systemctl", *words])
        if code != 0:
            raise FileSetError(self._with_log(f"systemctl {' '.join(words)} failed: {err.strip()}", log))

    def _replace_units(self, replaced: list[str]) -> None:
        """The checked tree lies there by now, so that the moment without a listener is that of a stop and a start."""
        began = time.monotonic()
        self._must("disable", "--now", "--quiet", *replaced)
        try:
            self._must("restart", self.unit)
        except FileSetError as error:
            self.systemctl("stop", self.unit)
            self.systemctl("enable", "--now", *replaced)
            raise FileSetError(f"{error}. So these keep serving: {' '.join(replaced)}") from error
        took = round((time.monotonic() - began) * 1000)
        self.notes.append(f"{took} ms without a listener, when {self.unit} replaced {' '.join(replaced)}")

    def _prove(self, digest: str, before: dict[int, float], log: int) -> None:
        """A reload is answered before it has happened, and a new configuration that cannot be had, such as a port that is
        taken, leaves the old one running without a word but in the log."""
        end = time.monotonic() + PATIENCE
        while True:
            answer = self.ask()
            if answer.digest == digest and answer.process not in before:
                return
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        said = answer.error or f"it runs {answer.digest} instead of {digest}"
        if answer.digest == digest:
            said = "the old processes still answer"
        raise FileSetError(self._with_log(f"{self.unit} was reloaded, but does not run it: {said}", log))

    def _log_size(self) -> int:
        with contextlib.suppress(OSError):
            return os.path.getsize(self.log)
        return 0

    def _with_log(self, text: str, start: int) -> str:
        """*text*, and what the service has logged since."""
        with contextlib.suppress(OSError), open(self.log, "rb") as file:
            file.seek(start)
            lines = file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
            if lines:
                return "\n".join([f"{text}; its log:", *lines])
        return text
