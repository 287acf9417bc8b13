from django.apps import AppConfig


class PoolsConfig(AppConfig):
    name = "pools"

    def ready(self) -> None:
        from pools import creation, finding, lifecycle, operations, trying, undoing  # noqa: F401  (declare operations)
