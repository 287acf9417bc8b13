"""Of allauth only what is used here; sign-up, addresses to confirm and the rest do not exist."""

from allauth.account import views
from allauth.mfa.base import views as mfa
from allauth.mfa.recovery_codes import views as codes
from allauth.mfa.totp import views as totp
from allauth.mfa.webauthn import views as keys
from django.urls import path, re_path
from django.views.generic import RedirectView

from storagemgr.access import single_sign_on
from storagemgr.access.accounts import set_password
from storagemgr.access.mail import forgotten
from storagemgr.access.preferences import preferences_page
from storagemgr.access.preview import preview_page
from storagemgr.access.recent import go_on
from storagemgr.access.security_pages import security_page, sessions_page
from storagemgr.access.token_pages import tokens_page

urlpatterns = [
    path("login/", views.login, name="account_login"),
    path("logout/", views.logout, name="account_logout"),
    path("password/change/", views.password_change, name="account_change_password"),
    path("password/set/", set_password, name="account_set_password"),
    path("preferences/", preferences_page, name="account_preferences"),
    path("reauthenticate/", views.reauthenticate, name="account_reauthenticate"),
    path("sso/", single_sign_on.start, name="account_sso"),
    path("sso/back/", single_sign_on.callback, {"provider_id": "oidc"}, name="openid_connect_callback"),
    path("sso/again/", single_sign_on.again_page, name="account_sso_again"),
    path("go-on/<slug:key>/", go_on, name="account_go_on"),
    path("security/", security_page, name="mfa_index"),
    path("security/sessions/", sessions_page, name="usersessions_list"),
    path("security/code/", mfa.authenticate, name="mfa_authenticate"),
    path("security/code/again/", mfa.reauthenticate, name="mfa_reauthenticate"),
    path("security/app/", totp.activate_totp, name="mfa_activate_totp"),
    path("security/app/remove/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path("security/codes/", codes.view_recovery_codes, name="mfa_view_recovery_codes"),
    path("security/codes/new/", codes.generate_recovery_codes, name="mfa_generate_recovery_codes"),
    path("security/codes/download/", codes.download_recovery_codes, name="mfa_download_recovery_codes"),
    path("security/keys/", RedirectView.as_view(pattern_name="mfa_index"), name="mfa_list_webauthn"),
    path("security/keys/new/", keys.add_webauthn, name="mfa_add_webauthn"),
    path("security/keys/again/", keys.reauthenticate_webauthn, name="mfa_reauthenticate_webauthn"),
    path("security/keys/<int:pk>/rename/", keys.edit_webauthn, name="mfa_edit_webauthn"),
    path("security/keys/<int:pk>/remove/", keys.remove_webauthn, name="mfa_remove_webauthn"),
    path("preview/", preview_page, name="account_preview"),
    path("tokens/", tokens_page, name="account_tokens"),
    path("password/reset/", forgotten, name="account_forgotten"),
    re_path(
        r"^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$",
        views.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
]
