from typing import Any

from django import forms
from django.core.validators import FileExtensionValidator

from .models import ATTACHMENT_TYPES, Attachment, Note, Tag


def parse_tags(text: str) -> list[str]:
    """Comma-separated names, in lower case, each once, in the order given."""
    names = (" ".join(name.split()).lower() for name in text.split(","))
    return list(dict.fromkeys(name for name in names if name))


class NoteForm(forms.ModelForm):
    body = forms.CharField(label="Text", required=False, widget=forms.Textarea(attrs={"rows": 10}))
    tags = forms.CharField(required=False, help_text="Separated by commas.")
    attachment = forms.FileField(
        required=False,
        validators=[FileExtensionValidator(ATTACHMENT_TYPES)],
        help_text="One of: " + ", ".join(ATTACHMENT_TYPES),
    )

    class Meta:
        model = Note
        fields = ("title", "body")

    field_order = ("title", "body", "tags", "attachment")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["tags"].initial = ", ".join(tag.name for tag in self.instance.tags.all())

    def clean_tags(self) -> list[str]:
        names = parse_tags(self.cleaned_data["tags"])
        longest = Tag._meta.get_field("name").max_length or 0
        for name in names:
            if len(name) > longest:
                raise forms.ValidationError(f"“{name[:20]}…” is longer than {longest} characters.")
        return names

    def save(self, commit: bool = True) -> Note:
        note: Note = super().save(commit)
        note.set_tags(self.cleaned_data["tags"])
        if self.cleaned_data["attachment"]:
            Attachment.objects.create(note=note, file=self.cleaned_data["attachment"])
        return note
