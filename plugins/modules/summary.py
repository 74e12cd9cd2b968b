#!/usr/bin/python
"""Documentation of the action summary, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: summary
short_description: Say at the end of a run what became of the apps of a host
version_added: 0.1.0
description:
  - >-
    Shows a report that one of the filters P(emperor.stack.release_report#filter), P(emperor.stack.status_report#filter),
    P(emperor.stack.certificate_report#filter) or P(emperor.stack.problem_report#filter) has made, as a table of at most
    100 columns with the errors of apps below it.
  - The task fails where the report has an error. No phase of a deploy fails by itself because of an app
    (see O(emperor.stack.release#module:go_on)), so each error is said once, at the end.
  - The callback P(emperor.stack.compact#callback) shows the reports of all hosts as one table, at the end of the run; any
    other shows RV(summary) of each host.
options:
  report:
    description: What one of the filters has made.
    type: dict
    required: true
  fail:
    description: Whether errors in the report make the task fail.
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
  description: The table and the errors, as people read them.
  returned: always
  type: str
msg:
  description: Which apps failed, in one line.
  returned: failure
  type: str
"""
