from django.core.validators import FileExtensionValidator
from django.db import models
from django.urls import reverse

# What a browser shows or saves without running it: an uploaded HTML or SVG page would run as this site.
ATTACHMENT_TYPES = ["csv", "gif", "jpeg", "jpg", "md", "ods", "odt", "pdf", "png", "txt", "webp", "zip"]


class Tag(models.Model):
    name = models.CharField(max_length=40, unique=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class NoteQuerySet(models.QuerySet["Note"]):
    def search(self, words: str) -> "NoteQuerySet":
        """Notes that have every one of the words in their title, text or tags."""
        found = self
        for word in words.split():
            # A subquery for the tags: joins would repeat a note once per tag and word.
            tagged = Tag.objects.filter(name__icontains=word)
            found = found.filter(
                models.Q(title__icontains=word)
                | models.Q(body__icontains=word)
                | models.Q(pk__in=Note.tags.through.objects.filter(tag__in=tagged).values("note"))
            )
        return found


class Note(models.Model):
    title = models.CharField(max_length=120)
    body = models.TextField("text", blank=True)
    tags = models.ManyToManyField(Tag, blank=True, related_name="notes")
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)

    objects = NoteQuerySet.as_manager()

    class Meta:
        ordering = ("-changed", "-pk")

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("note", args=[self.pk])

    def set_tags(self, names: list[str]) -> None:
        self.tags.set([Tag.objects.get_or_create(name=name)[0] for name in names])
        Tag.objects.filter(notes=None).delete()


def attachment_path(attachment: "Attachment", filename: str) -> str:
    return f"{attachment.note_id}/{filename}"


class Attachment(models.Model):
    note = models.ForeignKey(Note, on_delete=models.CASCADE, related_name="attachments")
    file = models.FileField(
        upload_to=attachment_path, max_length=255, validators=[FileExtensionValidator(ATTACHMENT_TYPES)]
    )
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.file.name.rsplit("/", 1)[-1]
