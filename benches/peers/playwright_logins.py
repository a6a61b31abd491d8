"""Logs users in through the sandbox's pages as a user of Playwright would: a browser context for each.

`prepare` makes the users and an OAuth client and writes them to a file; `log-in` logs them in and redeems their codes.
Both take the file as their only argument after the verb; `prepare` reads where the sandbox is from the environment.
"""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import sys
import urllib.parse
import urllib.request

CALLBACK = "http://127.0.0.1:8765/callback"


def request(method, url, form=None, body=None, headers=None):
    data = urllib.parse.urlencode(form).encode() if form else json.dumps(body).encode() if body else None
    made = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    if body:
        made.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(made, timeout=30) as answer:
        return answer.read()


def prepare(path):
    origin, admin, password = (
        os.environ[f"NEXTCLOUD_{name}"] for name in ("HOST", "USERNAME", "PASSWORD")
    )
    count, at_once, browser = (
        os.environ[f"LOGINS_{name}"] for name in ("USERS", "AT_ONCE", "BROWSER")
    )
    basic = base64.b64encode(f"{admin}:{password}".encode()).decode()
    users = []
    for _ in range(int(count)):
        user = {"name": f"peer_{secrets.token_hex(6)}", "password": secrets.token_urlsafe(16)}
        request(
            "POST",
            f"{origin}/ocs/v2.php/cloud/users?format=json",
            form={"userid": user["name"], "password": user["password"]},
            headers={"Authorization": f"Basic {basic}", "OCS-APIRequest": "true"},
        )
        users.append(user)
    client = json.loads(
        request(
            "POST",
            f"{origin}/apps/oidc/register",
            body={
                "client_name": "peer",
                "redirect_uris": [CALLBACK],
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
                "scope": "openid profile email",
            },
        )
    )
    with open(path, "w", encoding="utf-8") as file:
        json.dump(
            {"origin": origin, "users": users, "client": client, "at_once": int(at_once), "browser": browser},
            file,
        )


async def log_in(browser, work, user):
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    client, state = work["client"], secrets.token_urlsafe(16)
    query = urllib.parse.urlencode(
        {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": CALLBACK,
            "scope": "openid profile email",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
    )
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.route(f"{CALLBACK}*", lambda route: route.fulfill(body="done"))
        await page.goto(f"{work['origin']}/apps/oidc/authorize?{query}")
        await page.get_by_label("Account name").fill(user["name"])
        await page.get_by_label("Password").fill(user["password"])
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("button", name="Allow").click()
        await page.wait_for_url(f"{CALLBACK}*")
        answer = urllib.parse.parse_qs(urllib.parse.urlparse(page.url).query)
    finally:
        await context.close()
    assert answer["state"] == [state]
    form = {
        "grant_type": "authorization_code",
        "code": answer["code"][0],
        "redirect_uri": CALLBACK,
        "client_id": client["client_id"],
        "code_verifier": verifier,
    }
    if "client_secret" in client:
        form["client_secret"] = client["client_secret"]
    tokens = await asyncio.to_thread(request, "POST", f"{work['origin']}/apps/oidc/token", form)
    assert json.loads(tokens)["access_token"]


async def log_all_in(work):
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=work["browser"], headless=True)
        gate = asyncio.Semaphore(work["at_once"])

        async def one(user):
            async with gate:
                await log_in(browser, work, user)

        await asyncio.gather(*(one(user) for user in work["users"]))
        await browser.close()


if __name__ == "__main__":
    verb, file_name = sys.argv[1:]
    if verb == "prepare":
        prepare(file_name)
    else:
        with open(file_name, encoding="utf-8") as opened:
            asyncio.run(log_all_in(json.load(opened)))
