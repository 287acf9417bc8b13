"""The real processes, kept from test to test: to start them takes longer than most tests do."""

from stack import Stack


class KeptStack(Stack):
    """`start` starts what does not run yet. After a test that killed something all of it begins anew."""

    is_whole = True

    def start(self, *names: str) -> None:
        super().start(*(name for name in names if name not in self.processes))

    def kill(self, name: str) -> None:
        self.is_whole = False
        super().kill(name)

    def rest(self) -> None:
        """The end of a test."""
        if not self.is_whole or any(process.poll() is not None for process in self.processes.values()):
            self.stop()
        self.is_whole = True
