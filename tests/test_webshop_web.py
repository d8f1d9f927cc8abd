"""The webshop as pages in a browser: over plain HTTP, and clicked through in headless Chromium where it is installed."""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agentrl

pytest.importorskip("bm25s", reason="the webshop extra is not installed: pip install bm25s pystemmer rapidfuzz")

from serving_support import in_thread

from agentrl_envs.webshop.web import app
from agentrl_envs.webshop.world import WebShop

TASK = {"split": "test", "index": 3}


@pytest.fixture
def shop() -> Iterator[tuple[WebShop, str]]:
    """A world and the address where it is served."""
    world = WebShop()
    with in_thread(app(world)) as url:
        yield world, url


def get(url: str, form: dict[str, str] | None = None) -> str:
    data = None if form is None else urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as answer:
        return str(answer.read().decode())


def form_of(action: str) -> dict[str, str]:
    """What a browser sends for an action of the world."""
    words = action.removeprefix("search[").removesuffix("]")
    return {"action": "search", "query": words} if action.startswith("search") else {"action": action}


def test_an_expert_can_shop_over_http(shop: tuple[WebShop, str]) -> None:
    world, url = shop
    assert world._goal is not None
    assert 'id="search_input"' in get(url)
    for step in range(1, 12):
        action = world.expert_action()
        page = get(f"{url}step", form_of(action))
        assert f"Steps: {step}" in page
        if world._grade is not None:
            break
    assert "Your score (min 0.0, max 1.0)" in page
    assert "r_type 1.0" in page
    assert "Steps: 0" in get(f"{url}new", {})
    assert world._grade is None


def test_a_task_that_has_begun_goes_on_in_the_browser() -> None:
    world = WebShop()
    world.reset(seed=0, options=TASK)
    world.step("search[cotton dress]")
    with in_thread(app(world)) as url:
        assert "Page 1 (Total results: 50)" in get(url)


def test_enter_in_the_search_box_searches(shop: tuple[WebShop, str]) -> None:
    assert "Page 1 (Total results: 50)" in get(f"{shop[1]}step", {"query": " cotton dress "})


def test_pages_escape_what_the_catalogue_says(tmp_path: Path) -> None:
    nasty = '<script>alert("x")</script>'
    item = {"asin": "B1", "name": f"Dress {nasty}", "full_description": nasty, "small_description": [nasty]}
    item |= {"pricing": "$5", "category": "c", "query": "q", "product_category": "a", "images": []}
    item["customization_options"] = {nasty: [{"value": f"{nasty}'\""}]}
    asked = {"attributes": [nasty], "instruction": f"Find {nasty}", "instruction_attributes": [nasty]}
    (tmp_path / "items.json").write_text(json.dumps([item]))
    (tmp_path / "attributes.json").write_text(json.dumps({"B1": asked}))
    world = WebShop(items=tmp_path / "items.json", attributes=tmp_path / "attributes.json")
    world.reset(seed=0)
    for action in ("search[dress]", "click[b1]", "click[description]"):
        assert "<script" not in world.page()
        assert world.step(action)[4]["invalid"] == ""
    assert "<script" not in world.page()


def test_what_is_no_page_or_too_much_is_refused(shop: tuple[WebShop, str]) -> None:
    _, url = shop
    for path, form, code in (("nothing", None, 404), ("nothing", {}, 404), ("step", {"query": "x" * 50_000}, 413)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(url + path, form)
        assert refused.value.code == code
    page = get(f"{url}step", {"action": "click[<script>\ufffd]"})
    assert "Steps: 1" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page


def test_only_a_webshop_is_served_and_only_at_an_address_that_is_free(shop: tuple[WebShop, str]) -> None:
    with pytest.raises(agentrl.ConfigError, match="only the webshop"):
        app(object())
    with pytest.raises(agentrl.ConfigError, match="cannot serve"):
        WebShop().serve(port=int(shop[1].split(":")[2].strip("/")))


class Browser:
    """Headless Chromium, driven through ChromeDriver's WebDriver protocol."""

    element = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's key for a reference to an element

    def __init__(self, driver: str, profile: Path) -> None:
        flags = ["headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-dev-shm-usage"]
        flags += ["disable-background-networking", "disable-component-update", "disable-sync"]
        arguments = [f"--{flag}" for flag in flags] + [f"--user-data-dir={profile}", "--window-size=1000,1400"]
        options = {"goog:chromeOptions": {"args": arguments}, "browserName": "chrome"}
        self.url = driver
        answer = self.call("session", {"capabilities": {"alwaysMatch": options}})
        self.url = f"{driver}/session/{answer['sessionId']}"

    def call(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}".rstrip("/"), data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def find(self, xpath: str) -> str:
        return str(self.call("element", {"using": "xpath", "value": xpath})[self.element])

    def click(self, xpath: str) -> None:
        self.call(f"element/{self.find(xpath)}/click", {})

    def text(self) -> str:
        script = "return document.body ? document.body.innerText : ''"
        return str(self.call("execute/sync", {"script": script, "args": []}))

    def wait_for(self, words: str) -> str:
        """The text of the page once it has these words."""
        until = time.monotonic() + 20
        while words not in (text := self.text()) and time.monotonic() < until:
            time.sleep(0.02)
        assert words in text
        return text


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    driver = shutil.which("chromedriver")
    if driver is None or not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium with ChromeDriver here: apt-get install chromium chromium-driver")
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        port = next(line.split("port ")[1].rstrip(".\n") for line in process.stdout if "successfully on port" in line)
        opened = Browser(f"http://127.0.0.1:{port}", tmp_path / "profile")
        yield opened
        with contextlib.suppress(OSError):
            opened.call("", method="DELETE")
    finally:
        process.terminate()
        process.wait(10)


def test_a_person_can_shop_in_a_browser(shop: tuple[WebShop, str], browser: Browser) -> None:
    world, url = shop
    browser.call("url", {"url": url})
    assert world._goal is not None
    assert world._goal.text in browser.wait_for("Steps: 0")
    for step in range(1, 12):
        action = world.expert_action()
        if action.startswith("search["):
            box = browser.find("//input[@id='search_input']")
            browser.call(f"element/{box}/value", {"text": action.removeprefix("search[").removesuffix("]")})
            browser.click("//button[@value='search']")
        else:
            browser.click(f'//button[@value="{action}"]')
        text = browser.wait_for(f"Steps: {step}\n")
        if world._grade is not None:
            break
    assert "Thank you for shopping with us!" in text
    assert "r_type 1.0" in text
    browser.click("//button[@id='new']")
    browser.wait_for("Steps: 0")
    assert world._grade is None
