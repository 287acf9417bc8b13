import json

from django import forms, template
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.forms import BoundField
from django.utils.safestring import SafeString

register = template.Library()


@register.filter
def control(field: BoundField) -> SafeString:
    """The input of a field, dressed. Django adds aria-invalid and aria-describedby by itself."""
    widget = field.field.widget
    if isinstance(widget, forms.CheckboxInput):
        css = "form-check-input"
    else:
        css = "form-select" if isinstance(widget, forms.Select) else "form-control"
    attrs: dict[str, str | bool] = {"class": f"{css} is-invalid" if field.errors else css}
    if widget.attrs.get("placeholder") == str(field.label):
        attrs["placeholder"] = False
    return field.as_widget(attrs=attrs)


@register.filter
def as_json(value: object) -> str:
    """For a data attribute, which the template escapes."""
    return json.dumps(value, cls=DjangoJSONEncoder)


@register.simple_tag
def single_sign_on() -> str:
    """The name of the identity provider, "" when there is none."""
    return settings.OIDC_NAME if settings.OIDC_ISSUER else ""


@register.simple_tag
def has_mail() -> bool:
    return bool(settings.MAIL_IS_SET)
