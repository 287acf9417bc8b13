import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.http import QueryDict

from storagemgr.access import audit
from storagemgr.access.models import AuditEvent
from storagemgr.access.sealing import parse_head, seal_new
from storagemgr.access.verifying import verify
from storagemgr.people import audit_files
from storagemgr.people.audit_filters import day_of, in_time


class Command(BaseCommand):
    help = "verify: walk the whole chain of the audit and say what is wrong. export: write the audit to the output."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        acts = parser.add_subparsers(dest="act", required=True)
        verifying = acts.add_parser("verify", help="exits with 1 when something is wrong")
        verifying.add_argument("--head", help="NUMBER:SEAL, as the page of the audit showed it once")
        exporting = acts.add_parser("export", help="oldest first")
        exporting.add_argument("--format", choices=list(audit_files.TYPES), default="json")
        exporting.add_argument("--from", dest="first", metavar="YYYY-MM-DD", default="")
        exporting.add_argument("--to", dest="last", metavar="YYYY-MM-DD", default="", help="with that day")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["act"] == "verify":
            self._verify(options["head"])
        else:
            self._export(options["format"], options["first"], options["last"])

    def _verify(self, text: str | None) -> None:
        head = parse_head(text) if text else None
        if text and head is None:
            raise CommandError("--head takes NUMBER:SEAL, as the page of the audit shows it.")
        seal_new()
        found = verify(self._progress, head=head)
        if not found.is_whole:
            raise CommandError("\n".join(found.sentences))
        self.stdout.write("\n".join(found.sentences))
        if found.checked:
            self.stdout.write(f"Head: {found.head}")

    def _progress(self, checked: int) -> None:
        if checked % 100_000 == 0:
            self.stderr.write(f"{checked:,} events so far")

    def _export(self, form: str, first: str, last: str) -> None:
        asked = QueryDict(mutable=True)
        asked.update({"from": first, "to": last})
        for name, text in (("--from", first), ("--to", last)):
            if text and day_of(asked, name[2:]) is None:
                raise CommandError(f"{name} takes a day as 2027-06-30.")
        rows = AuditEvent.objects.filter(in_time(asked))
        audit.record(
            "audit.export",
            audit.Outcome.DONE,
            actor=None,
            object_text=f"The audit as {form.upper()}, by manage.py",
            details={"from": first, "to": last},
        )
        for text in audit_files.text_of(rows, form):
            self.stdout.write(text, ending="")
