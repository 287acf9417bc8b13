from django.urls import path

from storagemgr.helpdesk import views

app_name = "helpdesk"
urlpatterns = [path("", views.helpdesk, name="helpdesk")]
