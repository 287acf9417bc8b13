from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "storagemgr.jobs"

    def ready(self) -> None:
        from storagemgr.jobs import host_operations  # noqa: F401  (declares them)
