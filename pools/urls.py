from django.urls import path

from pools import bulk, views

app_name = "pools"
urlpatterns = [
    path("", views.fleet, name="fleet"),
    path("pools/selected/<slug:slug>/", bulk.selected, name="selected"),
    path("pools/<int:pk>/", views.pool, name="pool"),
    path("pools/<int:pk>/<slug:slug>/", views.operate, name="operate"),
]
