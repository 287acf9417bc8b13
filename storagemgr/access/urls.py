"""Of allauth only what a local account needs; sign-up, e-mail and the rest do not exist."""

from allauth.account import views
from django.urls import path, re_path

from storagemgr.access.preferences import preferences_page
from storagemgr.access.preview import preview_page
from storagemgr.access.recent import go_on
from storagemgr.access.token_pages import tokens_page

urlpatterns = [
    path("login/", views.login, name="account_login"),
    path("logout/", views.logout, name="account_logout"),
    path("password/change/", views.password_change, name="account_change_password"),
    path("password/set/", views.password_set, name="account_set_password"),
    path("preferences/", preferences_page, name="account_preferences"),
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("go-on/<slug:key>/", go_on, name="account_go_on"),
    path("preview/", preview_page, name="account_preview"),
    path("tokens/", tokens_page, name="account_tokens"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
]
