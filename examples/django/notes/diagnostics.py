"""What the server hands to the app, as JSON. Routed only with EXAMPLE_DIAGNOSTICS=1: it shows cookies."""

import hashlib
import os
import platform
import sys
import time

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST


@csrf_exempt
@require_POST
def echo(request: HttpRequest) -> JsonResponse:
    """Read in pieces, since request.body refuses more than DATA_UPLOAD_MAX_MEMORY_SIZE."""
    digest, length = hashlib.sha256(), 0
    while piece := request.read(65536):
        digest.update(piece)
        length += len(piece)
    return JsonResponse(
        {
            "length": length,
            "sha256": digest.hexdigest(),
            "content_length": request.headers.get("Content-Length"),
            "transfer_encoding": request.headers.get("Transfer-Encoding"),
        }
    )


def headers(request: HttpRequest) -> JsonResponse:
    return JsonResponse(dict(request.headers))


def print_line(request: HttpRequest) -> HttpResponse:
    line = f"Grüße aus Zürich — ✓ {request.GET.get('token', '')}"
    print("stdout:", line, flush=True)
    print("stderr:", line, file=sys.stderr, flush=True)
    return HttpResponse(line, content_type="text/plain")


def identity(request: HttpRequest) -> JsonResponse:
    return JsonResponse(
        {
            "uid": os.getuid(),
            "gid": os.getgid(),
            "groups": os.getgroups(),
            "pid": os.getpid(),
            "cwd": os.getcwd(),
            "python": platform.python_version(),
            "prefix": sys.prefix,
            "release": os.environ.get("APP_RELEASE"),
        }
    )


def slow(request: HttpRequest) -> HttpResponse:
    seconds = min(float(request.GET.get("seconds", "3")), 120.0)
    time.sleep(seconds)
    return HttpResponse(f"slept {seconds:g} s", content_type="text/plain")


urlpatterns = [
    path("echo", echo),
    path("headers", headers),
    path("print", print_line),
    path("identity", identity),
    path("slow", slow),
]
