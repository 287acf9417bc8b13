from django.apps import AppConfig


class PoolsConfig(AppConfig):
    name = "pools"

    def ready(self) -> None:
        # They declare the operations.
        from pools import lifecycle, noting, operations  # noqa: F401
        from pools.configuration import operation as configure  # noqa: F401
        from pools.making import creation, finding, trying, undoing  # noqa: F401
