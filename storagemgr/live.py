"""A page and its polled fragment: one template, one view, one check."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers


def live_page(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """The whole page, or for htmx only its partial `live`.

    "no-cache" makes the browser ask again with the ETag each time; an unchanged fragment is then a 304.
    """
    is_fragment = bool(request.headers.get("HX-Request"))
    response = render(request, f"{template}#live" if is_fragment else template, context)
    response["Cache-Control"] = "private, no-cache"
    patch_vary_headers(response, ["HX-Request"])
    return response
