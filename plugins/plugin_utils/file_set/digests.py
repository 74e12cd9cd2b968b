"""Files of a set without their contents, for a question that needs none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils.file_set import items as logic


def without_contents(files: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """*files* as the module takes them, where a digest of a content is sent in its place.

    A host compares by it as well, and only a run that differs has to send the contents. One that holds the digest of its
    set is completed on the host, and a short one is sent as it is.
    """
    return [_without(item) for item in files]


def _without(item: Mapping[str, Any]) -> dict[str, Any]:
    content = item.get("content")
    if not isinstance(content, str) or len(content) <= _SHORT or logic.DIGEST_PLACEHOLDER in content:
        return dict(item)
    rest = {key: value for key, value in item.items() if key != "content"}
    return {**rest, "sha256": logic.fingerprint("file", content)}


#: Characters of a digest.
_SHORT = 64
