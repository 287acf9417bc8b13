from django.apps import AppConfig


class VolumesConfig(AppConfig):
    name = "volumes"

    def ready(self) -> None:
        # They declare the operations.
        from volumes.operations import copying, copying_to_host, creating, deleting  # noqa: F401
