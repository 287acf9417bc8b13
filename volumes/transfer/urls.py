"""The addresses of the transfer process, which has no others."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from volumes.transfer.creation import collection
from volumes.transfer.downloads import download
from volumes.transfer.http import text
from volumes.transfer.uploads import upload


def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


def missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    return text(404, "There is no such thing here.")


def broken(request: HttpRequest) -> HttpResponse:
    """Django's own would render our pages, whose addresses are not known here."""
    return text(500, "It failed by a fault of ours; the log of the transfer process says more.")


handler404, handler500 = missing, broken
urlpatterns = [
    path("transfer/", alive, name="alive"),
    path("transfer/uploads/", collection, name="uploads"),
    path("transfer/uploads/<uuid:pk>/<slug:signed>", upload, name="upload"),
    path("transfer/downloads/<uuid:pk>/<slug:signed>/<str:name>", download, name="download"),
]
