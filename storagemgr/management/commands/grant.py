import argparse
import uuid
from datetime import date, datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from storagemgr.access import audit, granting
from storagemgr.access.accounts import password_path
from storagemgr.access.models import Grant
from storagemgr.access.rights import ROLES
from storagemgr.hosts.models import Host


def _end_of(day: str) -> datetime:
    try:
        return granting.end_of(date.fromisoformat(day))
    except ValueError as error:
        raise argparse.ArgumentTypeError("give a day such as 2026-12-31") from error


class Command(BaseCommand):
    help = (
        "Grant a role to a person or a team on everything, on a host, or on a pool; --revoke takes it away."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "role", help=f"{', '.join(ROLES)}, or the short name of a role of your own, as its page has it"
        )
        holder = parser.add_mutually_exclusive_group(required=True)
        holder.add_argument("--user", help="user name of a person")
        holder.add_argument("--team", help="name of a team; made when it is not there")
        parser.add_argument("--host", help="name of a host; without it: everything")
        parser.add_argument("--pool", type=uuid.UUID, help="UUID of a pool")
        parser.add_argument("--until", type=_end_of, metavar="DAY", help="the last day, such as 2026-12-31")
        parser.add_argument("--revoke", action="store_true")
        parser.add_argument(
            "--invite", action="store_true", help="make the person and print a link that sets their password"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["invite"] and options["user"]:
            self._invite(options["user"])
        values = {
            "role": options["role"],
            "user": self._user(options["user"]),
            "group": Group.objects.get_or_create(name=options["team"])[0] if options["team"] else None,
            "host": self._host(options["host"]),
            "pool_uuid": options["pool"],
        }
        try:
            if options["revoke"]:
                self._revoke(values)
            else:
                given = granting.grant(None, **values, expires_at=options["until"])
                self.stdout.write(f"access.grant: {given}")
        except granting.NotGrantable as refused:
            raise CommandError(str(refused)) from refused

    def _revoke(self, values: dict[str, Any]) -> None:
        given = Grant.objects.filter(**values).first()
        if given is None:
            raise CommandError("There is no such grant.")
        granting.revoke(None, given)
        self.stdout.write(f"access.revoke: {given}")

    def _invite(self, name: str) -> None:
        if User.objects.filter(username=name).exists():
            raise CommandError(f"{name!r} is there already.")
        user = User(username=name)
        user.set_unusable_password()
        try:
            user.full_clean(exclude=["password"])
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        user.save()
        audit.record("access.invite", audit.Outcome.DONE, actor=None, right=granting.RIGHT, object_text=name)
        self.stdout.write(f"access.invite: {name}")
        self.stdout.write(
            f"It sets their password, once, after the address of the pages: {password_path(user)}"
        )

    def _user(self, name: str | None) -> User | None:
        if name is None:
            return None
        try:
            return User.objects.get(username=name)
        except User.DoesNotExist as error:
            raise CommandError(f"No person is called {name!r}; --invite makes one.") from error

    def _host(self, name: str | None) -> Host | None:
        if name is None:
            return None
        try:
            return Host.objects.get(name=name)
        except Host.DoesNotExist as error:
            known = ", ".join(Host.objects.values_list("name", flat=True)) or "none yet"
            raise CommandError(f"No host is called {name!r}. There are: {known}.") from error
