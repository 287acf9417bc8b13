from django.core.management.base import BaseCommand, CommandError

from storagemgr.hosts import embedded
from storagemgr.virt.errors import VirtError


class Command(BaseCommand):
    help = "Lists this machine as a host and, the first time, gives it a pool of example volumes."

    def handle(self, **options: object) -> None:
        host = embedded.register_host()
        if host.examples_made_at is None:
            embedded.wait_for_daemon()
            try:
                made = embedded.make_examples(host)
            except (VirtError, OSError) as error:
                raise CommandError(f"The example volumes could not be made: {error}") from error
            if made:
                self.stdout.write(f"{host.name}: made {' and '.join(made)}")
