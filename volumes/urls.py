from django.urls import path

from volumes import views

app_name = "volumes"
urlpatterns = [
    path("volumes/", views.of_all_pools, name="all"),
    path("volumes/<int:pk>/", views.volume, name="volume"),
    path("volumes/<int:pk>/<slug:slug>/", views.operate, name="operate"),
    path("pools/<int:pk>/volumes/", views.of_pool, name="of_pool"),
    path("pools/<int:pk>/volumes/new/", views.create, name="create"),
]
