from django.contrib.auth.models import User
from django.db import models


class Note(models.Model):
    owner = models.ForeignKey(User, on_delete=models.CASCADE)
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)

    def as_json(self):
        return {"id": self.pk, "owner": self.owner.username, "title": self.title, "text": self.text}
