from django.urls import path

from storagemgr.hosts import views

app_name = "hosts"
urlpatterns = [
    path("", views.host_list, name="list"),
    path("<int:pk>/", views.host, name="host"),
]
