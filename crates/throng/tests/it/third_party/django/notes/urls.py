from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from . import views

urlpatterns = [
    path("", views.home),
    path("accounts/signup/", views.sign_up),
    path("accounts/login/", LoginView.as_view(template_name="form.html", extra_context={"title": "Log in"}), name="login"),
    path("accounts/logout/", LogoutView.as_view()),
    path("api/me/", views.me),
    path("api/notes/", views.notes),
    path("api/notes/<int:pk>/", views.note),
    path("testing/users/<str:name>/", views.remove_user),
    path("testing/seen/", views.seen),
]
