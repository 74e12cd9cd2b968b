#!/usr/bin/python
"""Documentation of the action summary, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: summary
short_description: Report the result of a run for the apps of a host
version_added: 0.1.0
description:
  - >-
    Shows a report that one of the filters P(emperor.stack.release_report#filter), P(emperor.stack.status_report#filter),
    P(emperor.stack.certificate_report#filter) or P(emperor.stack.problem_report#filter) returned, as a table of at most
    100 columns followed by the errors of apps.
  - The task fails if the report has an error. The phases of a deploy do not fail because of an app
    (see O(emperor.stack.release#module:go_on)), so that each error is shown once, at the end.
  - The callback P(emperor.stack.compact#callback) shows the reports of all hosts as one table, at the end of the run; any
    other shows RV(summary) of each host.
options:
  report:
    description: The report that one of the filters returned.
    type: dict
    required: true
  fail:
    description: Whether the task fails if the report has errors.
    type: bool
    default: true
author: Emperor Stack maintainers (!UNKNOWN)
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
"""

EXAMPLES = r"""
- name: Say what became of the apps
  emperor.stack.summary:
    report: "{{ drained | emperor.stack.release_report }}"
"""

RETURN = r"""
summary:
  description: The table and the errors, formatted for people.
  returned: always
  type: str
msg:
  description: The names of the apps that failed, in one line.
  returned: failure
  type: str
"""
