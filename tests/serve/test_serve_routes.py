"""Routes, tokens, origins, headers: who may ask what, and in which words it is answered."""

import re

import pytest

from jaxfacs.serve import app as application
from jaxfacs.serve.routes import LIVE, ROUTES

TOKEN = "a-token-of-the-test"
CLOSED = [r for r in ROUTES if not r.open]


def url(route):
    return re.sub(r"\{\w+\}", "x", route.path)


def test_every_route_is_in_the_document_and_the_other_way_round(served):
    document = served().get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    told = {(m.upper(), path) for path, methods in document["paths"].items() for m in methods}
    assert told == {(r.method, r.path) for r in ROUTES} | {("GET", LIVE)}
    text = str(document)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in document["components"]["schemas"]


def test_every_status_of_every_route_has_a_meaning(served):
    document = served().get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["responses"], path
            assert all(r["description"] for r in operation["responses"].values())


def test_the_model_says_what_it_tells_apart(served, predictor):
    model = served().get("/v1/model").json()
    assert [au["label"] for au in model["aus"]] == list(predictor.aus)
    assert model["aus"][2]["name"] == "Lip corner puller"
    assert len(model["aus"][2]["ellipses"][0]) == 4
    assert model["thresholds"]["12"] == 0.71
    assert model["limits"]["window"] == 4
    assert model["token_required"] is False
    assert "happiness" in model["emotions"]


def test_health_says_ready(served):
    assert served().get("/healthz").json() == {"ready": True}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/jobs/none", 404),
        ("DELETE", "/v1/jobs/none", 404),
        ("GET", "/v1/jobs/none/results", 404),
        ("GET", "/v1/examples/none", 404),
        ("POST", "/v1/examples/none", 404),
        ("GET", "/page/none.js", 404),
        ("POST", "/v1/model", 405),
        ("PUT", "/v1/films", 405),
        ("TRACE", "/", 405),
        ("POST", "/v1/films?every=0", 400),
        ("POST", "/v1/films?every=x", 400),
        ("POST", "/v1/films?every=99999999999999999999", 400),
        ("POST", "/v1/films?smooth_s=nan", 400),
        ("POST", "/v1/films?smooth_s=x", 400),
        ("POST", "/v1/films?baseline=profile:/etc/passwd", 400),
    ],
)
def test_errors_are_one_line_of_json(served, method, path, status):
    answer = served().request(method, path)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error and "\n" not in error and "/tmp" not in error


@pytest.mark.parametrize(
    "path",
    ["/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page//etc/passwd",
     "/page/..%5capp.py", "/v1/examples/..%2f..%2fapp.py", "/page/examples", "/page/%00"],
)  # fmt: skip
def test_no_path_of_a_client_is_a_path(loopback, path):
    server = loopback()
    with server.raw() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(64).split(b" ")[1] in (b"404", b"400")
    assert server.healthy()


def test_a_token_is_asked_for(served):
    client = served(tokens=("another-token", TOKEN))
    for route in ROUTES:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
            answer = client.request(route.method, url(route), headers=headers)
            if route.open:
                assert answer.status_code != 401, route
            else:
                assert answer.status_code == 401, route
                assert answer.headers["www-authenticate"] == "Bearer"
                assert "token" in answer.json()["error"]
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/metrics", headers=right).status_code == 200
    assert client.get(f"/metrics?token={TOKEN}").status_code == 401  # for websockets only
    assert client.get("/v1/model").json()["token_required"] is True


def test_most_routes_are_closed():
    assert {r.path for r in CLOSED} >= {"/v1/films", "/v1/jobs/{id}", "/metrics"}
    assert any(r.path == "/v1/examples/{name}" and r.method == "POST" for r in CLOSED)


def test_pages_of_other_sites_may_not_ask(served):
    client = served()
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://a b"):
        answer = client.get("/v1/model", headers={"Origin": origin})
        assert answer.status_code == 403, origin
        assert "access-control-allow-origin" not in answer.headers
    own = client.get("/v1/model", headers={"Origin": "http://localhost"})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    assert client.get("/", headers={"Origin": "https://evil.example"}).status_code != 403


def test_pages_of_named_sites_may_ask(served):
    client = served(origins=("https://good.example",))
    good = {"Origin": "https://good.example"}
    answer = client.get("/v1/model", headers=good)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://good.example"
    asked = client.options("/v1/films", headers={**good, "Access-Control-Request-Method": "POST"})
    assert asked.status_code == 204
    assert "authorization" in asked.headers["access-control-allow-headers"]
    assert client.get("/v1/model", headers={"Origin": "https://x.example"}).status_code == 403


def test_a_server_of_this_machine_is_asked_by_its_own_names(served):
    client = served(hosts=frozenset(("localhost", "127.0.0.1", "::1")))
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example:8000", ""):
        assert client.get("/healthz", headers={"Host": host}).status_code == 403


def test_every_answer_carries_the_security_headers(served):
    client = served()
    for path in ("/", "/v1/model", "/nowhere"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "camera=(self)" in headers["permissions-policy"]
        assert "server" not in headers


def test_the_page_and_its_files_have_their_types(served, tmp_path, monkeypatch):
    for name, text in {"index.html": "<p>", "a.js": "1", "a.css": "p{}", "a.svg": "<svg/>"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(application, "PAGE", tmp_path)
    client = served()
    types = {n: client.get(f"/page/{n}").headers["content-type"] for n in ("a.js", "a.css")}
    assert types["a.js"].startswith("text/javascript") and types["a.css"].startswith("text/css")
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-cache"
    assert client.get("/page/folder").status_code == 404


def test_a_bug_is_told_without_its_words(served, monkeypatch, capsys):
    def broken():
        raise RuntimeError("a secret")

    monkeypatch.setattr(application.openapi, "document", broken)
    client = served()
    answer = client.get("/openapi.json")
    assert answer.status_code == 500
    assert "secret" not in answer.text and "log" in answer.json()["error"]
    assert "a secret" in capsys.readouterr().err
    assert client.get("/healthz").status_code == 200
