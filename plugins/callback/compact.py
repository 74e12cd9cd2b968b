"""What a run shows: what changed, what failed and why, and at its end one table of the apps of all hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: compact
type: stdout
short_description: Show what changed and what failed as plain text, and a table of all apps at the end
description:
  - Like P(ansible.builtin.default#callback), but for what a run over many apps should not show. Tasks that changed nothing
    are left out. Messages are plain text, and not YAML or JSON. A failure that several hosts have in the same words is
    there once.
  - A task that takes long is named while it runs.
  - Reports of M(emperor.stack.summary) are one table of all hosts, at the end of the run. Errors of apps stand below it,
    each once.
  - With C(-v) each task is shown as P(ansible.builtin.default#callback) shows it.
options:
  display_ok_hosts:
    default: false
  display_skipped_hosts:
    default: false
  result_format:
    default: yaml
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set it as C(stdout_callback) in C(ansible.cfg); in a checkout of the collection it is.
author: ["Emperor Stack maintainers (!UNKNOWN)"]
"""

import sys  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from typing import Any  # noqa: E402

from ansible import constants  # noqa: E402
from ansible.executor.task_result import CallbackTaskResult  # noqa: E402
from ansible.playbook.task_include import TaskInclude  # noqa: E402
from ansible.plugins.callback.default import CallbackModule as Default  # noqa: E402

from ..module_utils.console import report  # noqa: E402
from ..module_utils.host import output  # noqa: E402
from ..plugin_utils.console.patience import Watch  # noqa: E402
from ..plugin_utils.controller.preloading import preload  # noqa: E402

COLORS = {
    report.GOOD: None,
    report.CHANGED: constants.COLOR_CHANGED,
    report.WARNING: constants.COLOR_WARN,
    report.FAILED: constants.COLOR_ERROR,
}

#: What of a failed result says why, beside `msg`.
SAID = ("stderr", "stdout", "module_stderr", "module_stdout")

SUMMARY = "emperor.stack.summary"

#: Its action shows by itself how far a phase is.
RELEASE = "emperor.stack.release"


def message(result: Mapping[str, Any]) -> list[str]:
    """What a failed *result* says, line by line: its message, and what a command has printed."""
    texts = [_text(result.get("msg"))]
    texts += [_text(result.get(key)) for key in SAID]
    shown = [output.clean(text).strip("\n") for text in texts if text.strip()] or ["it does not say why"]
    return [line.rstrip() for text in shown for line in text.split("\n")]


def _text(value: Any) -> str:
    """*value* as a text: of a list, a line for each entry."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return "\n".join(_text(one) for one in value)
    return str(value)


class CallbackModule(Default):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "emperor.stack.compact"

    def __init__(self) -> None:
        super().__init__()
        self._reports: list[tuple[str, report.Report]] = []
        #: The task, and what its last failure said.
        self._last_failure: tuple[str, list[str], str] | None = None
        self._watch = Watch(self._display.display)
        self._first_play: Any = None
        self._preloaded = False
        # Where the output is no terminal, too, each line is there when it is said.
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)

    @property
    def _verbose(self) -> bool:
        return bool(self._display.verbosity > 0)

    def get_option(self, k: str, hostvars: Any = None) -> Any:
        return True if k == "display_ok_hosts" and self._verbose else super().get_option(k, hostvars)

    # What runs

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        super().v2_playbook_on_task_start(task, is_conditional)
        self._first_play = self._first_play or self._play
        # The first play validates the inventory, by a few tasks without filters. This is the process that all tasks are
        # forks of.
        if self._play is not self._first_play and not self._preloaded:
            self._preloaded = True
            preload()

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        super().v2_runner_on_start(host, task)
        if task.action != RELEASE:
            self._watch.begin(host.get_name(), task.get_name().strip())

    def _ended(self, result: CallbackTaskResult) -> None:
        self._watch.end(result.host.get_name())

    # What came of it

    def v2_runner_on_ok(self, result: CallbackTaskResult) -> None:
        self._ended(result)
        collected = self._collect(result)
        if self._verbose:
            super().v2_runner_on_ok(result)
            return
        # Also of what is not shown.
        self._handle_warnings(result.result)
        if collected or isinstance(result.task, TaskInclude):
            return
        if result.task.action in constants._ACTION_DEBUG and "msg" in result.result:
            self._banner(result)
            self._say(self.host_label(result), _text(result.result["msg"]))
            return
        super().v2_runner_on_ok(result)

    def v2_runner_on_skipped(self, result: CallbackTaskResult) -> None:
        self._ended(result)
        super().v2_runner_on_skipped(result)

    def v2_runner_on_failed(self, result: CallbackTaskResult, ignore_errors: bool = False) -> None:
        self._ended(result)
        collected = self._collect(result)
        if self._verbose:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        if collected:
            return
        self._banner(result)
        self._handle_warnings(result.result)
        if not (result.task.loop and "results" in result.result):
            self._failure(result, "fatal", "FAILED!")
        if ignore_errors:
            self._display.display("...ignoring", color=constants.COLOR_SKIP)

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        self._ended(result)
        if self._verbose:
            super().v2_runner_on_unreachable(result)
            return
        self._banner(result)
        self._failure(result, "fatal", "UNREACHABLE!")

    def v2_runner_item_on_failed(self, result: CallbackTaskResult) -> None:
        if self._verbose:
            super().v2_runner_item_on_failed(result)
            return
        self._banner(result)
        self._handle_warnings(result.result)
        self._failure(result, "failed", f"(item={self._get_item_label(result.result)})")

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if self._verbose:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._watch.close()
        super().v2_playbook_on_stats(stats)
        # Of one host in the order of the run, and hosts by their names.
        reports = sorted(self._reports + self._unreported(stats), key=lambda one: one[0])
        if lines := report.lines(reports):
            for line in lines:
                self._display.display(line["text"], color=COLORS[line["state"]] if line["text"] else None)
            self._display.display("")

    def _unreported(self, stats: Any) -> list[tuple[str, report.Report]]:
        """A row for each host that failed before it came to a report, where others have one."""
        reported = {host for host, _ in self._reports}
        found = []
        for host in sorted(stats.processed) if reported else ():
            counts = stats.summarize(host)
            if host not in reported and (counts["unreachable"] or counts["failures"]):
                outcome = "unreachable" if counts["unreachable"] else "failed"
                found.append((host, report.of_host(outcome, "see above")))
        return found

    def _banner(self, result: CallbackTaskResult) -> None:
        if self._last_task_banner != result.task._uuid:
            self._print_task_banner(result.task)

    def _say(self, host: str, text: str) -> None:
        first, *rest = (line.rstrip() for line in output.clean(text).rstrip("\n").split("\n"))
        for line in (
            [f"[{host}]", *(f"  {line}" for line in (first, *rest))] if rest else [f"[{host}] {first}"]
        ):
            self._display.display(line)

    def _failure(self, result: CallbackTaskResult, word: str, outcome: str) -> None:
        """Say why *result* is a failure; of a task that failed on another host in the same words, that alone."""
        host, said = self.host_label(result), message(result.result)
        head = f"{word}: [{host}]: {outcome}"
        stderr = self.get_option("display_failed_stderr")
        color = constants.COLOR_UNREACHABLE if outcome == "UNREACHABLE!" else constants.COLOR_ERROR
        if self._last_failure and self._last_failure[:2] == (result.task._uuid, said):
            self._display.display(f"{head} As on {self._last_failure[2]}.", color=color, stderr=stderr)
            return
        self._last_failure = (result.task._uuid, said, host)
        place = result.task.get_path()
        for line in [head, *(f"  {line}".rstrip() for line in said), *([f"  at {place}"] if place else [])]:
            self._display.display(line, color=color, stderr=stderr)

    def _collect(self, result: CallbackTaskResult) -> bool:
        """Keep the report of a summary for the end; whether there is one."""
        if result.task.action != SUMMARY:
            return False
        try:
            told = report.valid(result.result["invocation"]["module_args"]["report"])
        except (ValueError, KeyError, TypeError):
            return False
        self._reports.append((result.host.get_name(), told))
        return True
