from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from .models import Attachment


@receiver(post_delete, sender=Attachment)
def remove_file(instance: Attachment, **_: Any) -> None:
    """Only after the commit: a rolled back deletion must still have its file."""
    transaction.on_commit(lambda: instance.file.delete(save=False))
