from django.contrib import admin

from .models import Attachment, Note, Tag


class AttachmentInline(admin.TabularInline):
    model = Attachment
    extra = 0


@admin.register(Note)
class NoteAdmin(admin.ModelAdmin):
    list_display = ("title", "changed")
    list_filter = ("tags",)
    search_fields = ("title", "body")
    filter_horizontal = ("tags",)
    inlines = (AttachmentInline,)


admin.site.register(Tag)
