from django.apps import AppConfig


class AccessConfig(AppConfig):
    name = "storagemgr.access"

    def ready(self) -> None:
        from storagemgr.access import sign_in_events, single_sign_on

        sign_in_events.listen()
        single_sign_on.listen()
