from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "storagemgr.access"

    def ready(self) -> None:
        from storagemgr.access import sign_in_events

        sign_in_events.listen()
