"""For all unit tests."""

from hypothesis import settings

# A machine that is busy with other things is no finding.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
