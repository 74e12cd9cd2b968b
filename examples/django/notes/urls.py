from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

from . import views

urlpatterns = [
    path("", views.index, name="index"),
    path("new", views.edit, name="new"),
    path("<int:pk>", views.show, name="note"),
    path("<int:pk>/edit", views.edit, name="edit"),
    path("<int:pk>/delete", views.delete, name="delete"),
    path("admin/", admin.site.urls),
    path("healthz", views.healthz),
    # With DEBUG only; elsewhere the web server has these.
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
if settings.DIAGNOSTICS:
    urlpatterns.append(path("diagnostics/", include("notes.diagnostics")))
