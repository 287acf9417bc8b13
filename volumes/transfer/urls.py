"""The addresses of the transfer process, which has no others."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from volumes.transfer.creation import collection
from volumes.transfer.downloads import download
from volumes.transfer.uploads import upload


def alive(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=204)


urlpatterns = [
    path("transfer/", alive, name="alive"),
    path("transfer/uploads/", collection, name="uploads"),
    path("transfer/uploads/<uuid:pk>/<slug:signed>/", upload, name="upload"),
    path("transfer/downloads/<uuid:pk>/<slug:signed>/<str:name>", download, name="download"),
]
