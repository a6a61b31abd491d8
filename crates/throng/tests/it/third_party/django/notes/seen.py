"""What the server saw: answers by the step that asked (from the W3C `baggage` header) and status."""

import threading
from collections import Counter

_lock = threading.Lock()
_answers = Counter()


def middleware(get_response):
    def see(request):
        response = get_response(request)
        pairs = dict(part.split("=", 1) for part in request.headers.get("Baggage", "").split(",") if "=" in part)
        if step := pairs.get("throng.step"):
            with _lock:
                _answers[f"{step} {response.status_code}"] += 1
        return response

    return see


def answers():
    with _lock:
        return dict(_answers)
