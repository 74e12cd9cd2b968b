from django.contrib import messages
from django.core.paginator import Paginator
from django.db import DatabaseError, transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from .forms import NoteForm
from .models import Note, Tag


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    words, tag = request.GET.get("q", "").strip(), request.GET.get("tag", "")
    notes = Note.objects.search(words).prefetch_related("tags")
    if tag:
        notes = notes.filter(tags__name=tag)
    page = Paginator(notes, 20).get_page(request.GET.get("page"))
    tags = Tag.objects.annotate(uses=Count("notes"))
    return render(request, "notes/index.html", {"page": page, "words": words, "tag": tag, "tags": tags})


@require_safe
def show(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "notes/note.html", {"note": get_object_or_404(Note, pk=pk)})


def edit(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Write a new note, or change the one that is named."""
    note = get_object_or_404(Note, pk=pk) if pk else None
    form = NoteForm(request.POST or None, request.FILES or None, instance=note)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            saved = form.save()
        messages.success(request, f"Saved “{saved.title}”.")
        return redirect(saved)
    return render(
        request, "notes/edit.html", {"form": form, "note": note}, status=422 if form.errors else 200
    )


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    note = get_object_or_404(Note, pk=pk)
    with transaction.atomic():
        note.delete()
        Tag.objects.filter(notes=None).delete()
    messages.success(request, f"Deleted “{note.title}”.")
    return redirect("index")


@require_GET
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """Well when the tables can be read: a database that was never migrated is not."""
    try:
        Note.objects.exists()
    except DatabaseError as error:
        return HttpResponse(f"database: {error}", status=503, content_type="text/plain")
    return HttpResponse("ok", content_type="text/plain")
