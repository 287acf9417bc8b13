from importlib import import_module

from django.apps import AppConfig

# In the order of their buttons.
OPERATIONS = (
    "creating",
    "copying",
    "copying_to_host",
    "downloading",
    "uploading",
    "importing",
    "resizing",
    "wiping",
    "inspecting",
    "deleting",
    "keeping",
)


class VolumesConfig(AppConfig):
    name = "volumes"

    def ready(self) -> None:
        for name in OPERATIONS:
            import_module(f"volumes.operations.{name}")
