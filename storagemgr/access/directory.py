"""Sign-in against an LDAP directory; needs the packages of the extra `ldap`. Its groups make members of teams."""

import logging
from typing import Any

import ldap
from django.conf import settings
from django.contrib.auth.models import User
from django_auth_ldap.backend import LDAPBackend
from django_auth_ldap.config import LDAPSearch, MemberDNGroupType

from storagemgr.access import audit
from storagemgr.access.single_sign_on import be_in_teams

logger = logging.getLogger(__name__)
SECONDS = 5  # for a directory that does not answer


def _options() -> dict[int, Any]:
    options: dict[int, Any] = {ldap.OPT_NETWORK_TIMEOUT: SECONDS, ldap.OPT_TIMEOUT: SECONDS}
    if settings.LDAP_CA_FILE:
        # The last one makes the others count.
        options |= {ldap.OPT_X_TLS_CACERTFILE: settings.LDAP_CA_FILE, ldap.OPT_X_TLS_NEWCTX: 0}
    return options


def _search(base: str, condition: str) -> LDAPSearch | None:
    return LDAPSearch(base, ldap.SCOPE_SUBTREE, condition) if base else None


class DirectoryBackend(LDAPBackend):
    @property
    def default_settings(self) -> dict[str, Any]:
        return {
            "SERVER_URI": settings.LDAP_URL,
            "START_TLS": settings.LDAP_START_TLS and settings.LDAP_URL.startswith("ldap://"),
            "BIND_DN": settings.LDAP_BIND_DN,
            "BIND_PASSWORD": settings.LDAP_BIND_PASSWORD,
            "USER_DN_TEMPLATE": settings.LDAP_USER_DN or None,
            "USER_SEARCH": _search(settings.LDAP_USER_BASE, settings.LDAP_USER_FILTER),
            "USER_ATTR_MAP": {"first_name": "givenName", "last_name": "sn", "email": "mail"},
            "GROUP_SEARCH": _search(settings.LDAP_GROUP_BASE, settings.LDAP_GROUP_FILTER),
            "GROUP_TYPE": MemberDNGroupType(settings.LDAP_GROUP_MEMBER, name_attr="cn"),
            "NO_NEW_USERS": not settings.LDAP_CREATE,
            "CONNECTION_OPTIONS": _options(),
        }

    def get_or_build_user(self, username: str, ldap_user: Any) -> tuple[User, bool]:
        """Never an account whose password is kept here, or that somebody else vouches for."""
        user, is_new = super().get_or_build_user(username, ldap_user)
        if not is_new and (user.has_usable_password() or user.socialaccount_set.exists()):
            raise ldap_user.AuthenticationFailed(f"{username} has an account that is not the directory's")
        return user, is_new

    def authenticate_ldap_user(self, ldap_user: Any, password: str) -> User | None:
        user: User | None = super().authenticate_ldap_user(ldap_user, password)
        if user and user.is_active and settings.LDAP_GROUP_BASE:
            try:
                names = {*ldap_user.group_dns, *ldap_user.group_names}
            except ldap.LDAPError as error:
                logger.warning("the groups of %s were not read: %s", user, error)
                return None
            be_in_teams(user, names, audit.address_of(ldap_user._request))
        return user

    def get_user(self, user_id: int) -> User | None:
        """Without what LDAPBackend adds, which asks the directory; and nobody who is switched off."""
        return User.objects.filter(pk=user_id, is_active=True).first()

    def get_all_permissions(self, user: User, obj: Any = None) -> set[str]:
        return set()
