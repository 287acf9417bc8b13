from django.apps import AppConfig


class PoolsConfig(AppConfig):
    name = "pools"

    def ready(self) -> None:
        from pools import operations  # noqa: F401  (declares them)
