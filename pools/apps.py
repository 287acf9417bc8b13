from django.apps import AppConfig


class PoolsConfig(AppConfig):
    name = "pools"

    def ready(self) -> None:
        # They declare the operations.
        from pools import configure, creation, finding, lifecycle, operations, trying, undoing  # noqa: F401
