"""Controller side, and the only one, of `emperor.stack.summary`. Documentation: plugins/modules/summary.py."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils.console import report
from ..plugin_utils.controller.native import to_native


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "report": {"type": "dict", "required": True},
                "fail": {"type": "bool", "default": True},
            }
        )
        try:
            told = report.valid(to_native(arguments["report"]))
        except (ValueError, KeyError, TypeError) as error:
            raise AnsibleActionFail(f"report: {error}") from error
        host = str((task_vars or {}).get("inventory_hostname", ""))
        result: dict[str, Any] = {
            "changed": False,
            # With a line break at its end, a callback that shows YAML takes it line by line, and folds none.
            "summary": f"{report.text([(host, told)])}\n",
            # What no callback shows without being asked, and our own one makes its table of.
            "invocation": {"module_args": {"report": told}},
            # As with `debug`.
            "_ansible_verbose_always": True,
        }
        if arguments["fail"] and report.worst(told) == report.FAILED:
            result |= {"failed": True, "msg": report.failure(told)}
        return result
