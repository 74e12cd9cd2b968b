"""What stops the making of one app's release, and of no other's."""

from __future__ import annotations


class ReleaseError(Exception):
    """The release cannot be made. The message says what to do about it."""
