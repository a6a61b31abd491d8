"""Notes that only their owners see."""

import json
from functools import wraps

from django.conf import settings
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.csrf import csrf_exempt, ensure_csrf_cookie
from django.views.decorators.http import require_http_methods

from .models import Note
from .seen import answers


def members_only(view):
    """An API answers 401; it leads nobody to a login page."""

    @wraps(view)
    def guarded(request, *args, **kwargs):
        if not request.user.is_authenticated:
            return JsonResponse({"detail": "log in first"}, status=401)
        return view(request, *args, **kwargs)

    return guarded


@ensure_csrf_cookie
def home(request):
    return render(request, "home.html")


class SignUpForm(UserCreationForm):
    class Meta:
        model = User
        fields = ["username", "email"]


def sign_up(request):
    form = SignUpForm(request.POST or None)
    if form.is_valid():
        form.save()
        return redirect("login")
    return render(request, "form.html", {"form": form, "title": "Sign up"})


@members_only
def me(request):
    return JsonResponse({"name": request.user.username})


@members_only
@require_http_methods(["GET", "POST"])
def notes(request):
    if request.method == "GET":
        mine = Note.objects.filter(owner=request.user).select_related("owner")
        return JsonResponse({"notes": [note.as_json() for note in mine]})
    given = json.loads(request.body)
    note = Note.objects.create(owner=request.user, title=given["title"], text=given.get("text", ""))
    return JsonResponse(note.as_json(), status=201)


@members_only
@require_http_methods(["GET", "PUT", "DELETE"])
def note(request, pk):
    # Another's note is not there, rather than forbidden: who asks must not learn that it is.
    found = get_object_or_404(Note.objects.select_related("owner"), pk=pk, owner=request.user)
    if request.method == "PUT":
        found.text = json.loads(request.body)["text"]
        found.save(update_fields=["text"])
    elif request.method == "DELETE":
        found.delete()
        return HttpResponse(status=204)
    return JsonResponse(found.as_json())


def for_tests_only(view):
    @csrf_exempt
    @wraps(view)
    def guarded(request, *args, **kwargs):
        if request.headers.get("Authorization") != f"Bearer {settings.ADMIN_TOKEN}":
            return JsonResponse({"detail": "not yours"}, status=403)
        return view(request, *args, **kwargs)

    return guarded


@for_tests_only
@require_http_methods(["DELETE"])
def remove_user(request, name):
    get_object_or_404(User, username=name).delete()
    return HttpResponse(status=204)


def seen(request):
    return JsonResponse({"users": User.objects.count(), "notes": Note.objects.count(), "answers": answers()})
