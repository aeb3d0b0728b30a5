"""A wrong address: what `check` says of it, and what the gateway does once it has met what is there."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.commands import main
from gateway.dispatchers.emoncms.answers import decode, judge, judge_inputs
from gateway.dispatchers.emoncms.dispatcher import Emoncms, EmoncmsBuffer
from gateway.dispatchers.emoncms.url import check_url
from gateway.dispatchers.http_client.pages import quote, with_status
from gateway.plugin import DeliveryFailure, HoldEverything, OutcomeUnknown, TryLater
from gateway.settings import SettingsFault, build
from tests.at_emoncms import KEY, dispatcher, failure_of, frame, prepare
from tests.certificates import make_certificate
from tests.simulators.emoncms import Answer, FakeEmoncms
from tests.simulators.raw_http import RawHttp

# What a real server answers (Apache 2.4, Emoncms 11.16.8), as far as it is looked at.
NOT_FOUND = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">\n'
    "<html><head>\n<title>404 Not Found</title>\n</head><body>\n<h1>Not Found</h1>\n"
    "<p>The requested URL was not found on this server.</p>\n</body></html>\n"
)
PLAIN_TO_TLS = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/strict.dtd">\n'
    "<html><head>\n<title>400 Bad Request</title>\n</head><body>\n<h1>Bad Request</h1>\n"
    "<p>Your browser sent a request that this server could not understand.<br />\n"
    "Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />\n"
    " Instead use the HTTPS scheme to access this URL, please.<br />\n</p>\n</body></html>\n"
)
NGINX_PLAIN_TO_TLS = (
    "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n"
    "<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n"
)
INPUT_VIEW = (
    '<!doctype html>\n<html class="theme-blue sidebar-dark">\n<head>\n'
    '    <meta http-equiv="content-type" content="text/html; charset=UTF-8">\n'
    "    <title>Emoncms - input view input</title>\n</head><body>Inputs</body></html>"
)
ROUTER = "<html>\n<head><title>FRITZ!Box &amp; more</title></head><body>Log in</body></html>"
PHP_ERROR = (
    "<br />\n<b>Fatal error</b>:  Uncaught mysqli_sql_exception: Connection refused in "
    "/var/www/html/emoncms/index.php:65\nStack trace:\n#0 index.php(65): mysqli->__construct()\n"
    "#1 {main}\n  thrown in <b>/var/www/html/emoncms/index.php</b> on line <b>65</b><br />\n"
)


class TestInTheFile:
    @pytest.mark.parametrize(
        "url",
        [
            "http://localhost",
            "https://emoncms.org",
            "http://10.0.0.7:8080/emoncms",
            "http://[::1]/e",
            "http://[fe80::1%eth0]:8080/e",
            "HTTP://PI",
            "http://emonpi.local./emoncms",
            "http://küche/emoncms",
            "http://host/energy/app",
            "http://host/users/emoncms",
            "http://host/inputs",
        ],
    )
    def test_addresses(self, url):
        check_url(url)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("emoncms.org", "https?://host expected, .*: write https://emoncms.org or http://emoncms.org$"),
            ("emonpi:8080/emoncms", "write https://emonpi:8080/emoncms or http"),
            ("ftp://emoncms.org", "expected, not ftp://emoncms.org$"),
            ("htps://emoncms.org", "expected, not htps"),
            ("http:/emonpi", "expected, not http:/emonpi: write http://emonpi$"),
            ("http//emonpi", "expected, not http//emonpi: write http://emonpi$"),
            ("http:\\\\emonpi", "without spaces and backslashes"),
            ("http://http://emonpi", "expected once"),
            ("https://https//emonpi", "expected once"),
            ("http://", "host expected, not nothing"),
            ("http:///emoncms", "host expected, not nothing"),
            ("http://a b", "without spaces"),
            ("http://pi:port", "a port from 1 to 65535 expected behind the host, not port"),
            ("http://pi:99999", "a port from 1 to 65535"),
            ("http://pi:0", "a port from 1"),
            ("http://pi:", "a port from 1 .*, not nothing"),
            ("http://[::1", "IP address of a host expected"),
            ("http://[::1::2]", "IP address of a host expected"),
            ("http://a..b", "host expected, not a..b"),
            ("http://" + "x" * 64, "host expected"),
            ("http://pi?x=y", "without \\?, # or ;"),
            ("http://pi/#/x", "without \\?, # or ;"),
        ],
    )
    def test_what_is_no_address_has_its_sentence(self, url, words):
        with pytest.raises(ValueError, match=words):
            check_url(url)

    @pytest.mark.parametrize(
        "page",
        [
            "input/view",
            "input/view/",
            "feed/list",
            "feed/list.json",
            "input/post",
            "input/post.json",
            "input/bulk",
            "input",
            "feed",
            "index.php",
            "index.php/input/bulk",
            "user/login",
            "dashboard/view",
            "app/view",
            "Input/View",
        ],
    )
    @pytest.mark.parametrize(
        "address", ["http://emonpi/emoncms", "https://emoncms.org", "http://[::1]:8080/e"]
    )
    def test_a_page_of_emoncms_is_named_with_the_address_to_write(self, page, address):
        with pytest.raises(ValueError, match="is a page of Emoncms") as caught:
            check_url(f"{address}/{page}")
        assert str(caught.value) == (
            f"/{page} is a page of Emoncms, and no part of its address: write {address}"
        )

    @pytest.mark.parametrize(
        "url",
        [
            f"http://pi/?apikey={KEY}",
            f"http://pi/#{KEY}",
            f"pi?apikey={KEY}",
            f"http://pi/input/post/{KEY}",
            KEY,
            "http://pi/emoncms/input/post.json?apikey=secret",
            f"http://user:{KEY}@pi",
        ],
    )
    def test_a_key_in_the_address_is_refused_without_showing_it(self, url):
        with pytest.raises(ValueError, match="the key belongs in apikey") as caught:
            check_url(url)
        assert KEY not in str(caught.value)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        "url", ["http://user:secret@pi", "user:secret@pi", "http://user:secret@pi/input/view"]
    )
    def test_a_password_in_the_address_is_refused_without_showing_it(self, url):
        with pytest.raises(ValueError, match="without user name and password") as caught:
            check_url(url)
        assert "secret" not in str(caught.value)

    @given(st.text() | st.from_regex(r"https?://[a-z:/.@?#\[\]0-9-]*"))
    def test_any_text_is_an_address_or_a_fault(self, url):
        fault = ""
        try:
            check_url(url)
        except ValueError as error:
            fault = str(error)
        # what passes can be asked, and the answer is one or a failure
        if not fault:
            assert re.match("https?://.", url, re.IGNORECASE)

    def test_check_names_the_line(self, written, capsys):
        file = written(
            "[listeners]\n[[bus]]\ntype = simulated\nnode = 9\n[dispatchers]\n[[home]]\ntype = emoncms\n"
            f"apikey = {KEY}\nurl = http://emonpi/emoncms/input/view\n"
        )
        assert main.main(["--config-file", str(file), "check"]) == 78
        printed = "".join(capsys.readouterr())
        assert "oemgateway.conf:9: url: /input/view is a page of Emoncms, and no part of its addr" in printed

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("http://pi:443/emoncms", "port 443 is that of https"),
            ("https://pi:80", "port 80 is that of http"),
        ],
    )
    def test_a_port_of_the_other_kind_is_remarked(self, url, words):
        (remark,) = build(Emoncms, {"apikey": KEY, "url": url}).remarks()
        assert remark[0] == "url"
        assert words in remark[1]

    def test_the_pieces_of_2013_are_looked_at_in_the_same_way(self):
        with pytest.raises(
            SettingsFault, match=r"/input/view is a page of Emoncms.*write http://emonpi/emoncms"
        ):
            build(EmoncmsBuffer, {"apikey": KEY, "domain": "emonpi", "path": "/emoncms/input/view"})


@pytest.fixture
def server_of_tls(tmp_path):
    with FakeEmoncms(key=KEY, tls=make_certificate(tmp_path)) as server:
        yield server


class TestWhenItIsTried:
    """What a wrong address meets: each is one failure with its cause and the next step."""

    def test_http_to_a_port_of_tls(self, server_of_tls):
        plain = server_of_tls.url.replace("https:", "http:")
        with dispatcher(plain) as emoncms:
            failure = failure_of(emoncms)
        # one that answers nothing at all cuts the connection, which says no more
        assert type(failure) is OutcomeUnknown
        assert server_of_tls.stored == []

    def test_http_to_a_server_of_tls_that_answers_with_an_alert(self):
        with RawHttp() as server:
            server.answers(b"\x15\x03\x03\x00\x02\x02F")
            with dispatcher(server.url) as emoncms:
                failure = failure_of(emoncms)
        assert isinstance(failure, HoldEverything)
        assert "https is spoken at this port: write https:// in url" in str(failure)

    @pytest.mark.parametrize(
        "page", [PLAIN_TO_TLS, NGINX_PLAIN_TO_TLS, "Client sent an HTTP request to an HTTPS server.\n"]
    )
    def test_http_to_a_server_of_tls_that_explains_itself(self, server, page):
        server.canned = [Answer(400, page)]
        with dispatcher(server.url, apikey=server.key) as emoncms:
            failure = failure_of(emoncms)
        assert isinstance(failure, HoldEverything)
        assert "https is spoken at this port: write https:// in url" in str(failure)

    def test_https_to_a_port_of_http(self, server):
        with dispatcher(server.url.replace("http:", "https:"), apikey=server.key) as emoncms:
            failure = failure_of(emoncms)
            assert isinstance(failure, HoldEverything)
            assert "no https is spoken at this port: write http:// in url" in str(failure)
            with pytest.raises(HoldEverything, match="no https is spoken"):
                emoncms.time()
        assert server.stored == []

    def test_where_there_is_no_emoncms_the_way_to_find_it_is_named(self, server):
        server.canned = [Answer(404, NOT_FOUND)]
        with dispatcher(server.url, apikey=server.key) as emoncms:
            failure = failure_of(emoncms)
        assert isinstance(failure, HoldEverything)
        assert "it answers 404 to /input/bulk: check url, at which Emoncms's own page must open in a" in str(
            failure
        )

    @pytest.mark.parametrize(
        ("page", "words"),
        [
            (
                INPUT_VIEW,
                'a page for people answers ("Emoncms - input view input"): url must be the address of',
            ),
            (
                ROUTER,
                'a web page answers that is not Emoncms ("FRITZ!Box & more"): check url, and whether a login',
            ),
        ],
    )
    def test_a_web_page_is_one_trouble_whatever_is_asked(self, server, page, words):
        server.canned = [Answer(body=page)] * 2
        with dispatcher(server.url, apikey=server.key) as emoncms:
            sent = failure_of(emoncms)
            with pytest.raises(TryLater) as asked:
                prepare(emoncms, [frame(1.0)]).delivered()
        assert type(sent) is OutcomeUnknown
        assert words in str(sent)
        assert str(asked.value) == str(sent)

    @pytest.mark.parametrize(
        "body", ["<html><title>401 Unauthorized</title>...", "401 Unauthorized\n", "Unauthorized"]
    )
    def test_a_proxy_that_wants_a_password_is_not_taken_for_emoncms(self, body):
        failure = judge(401, body, "", KEY)
        assert isinstance(failure, HoldEverything)
        assert "a web server before Emoncms wants a user name and a password (401 Unauthorized)" in str(
            failure
        )
        assert "apikey" not in str(failure)

    def test_a_proxy_that_wants_a_certificate_is_not_taken_for_a_wrong_address(self):
        # nginx with ssl_verify_client on; others end the handshake
        page = "<html><head><title>400 No required SSL certificate was sent</title></head>...</html>"
        failure = judge(400, page, "", KEY)
        assert isinstance(failure, HoldEverything)
        assert "it wants a certificate of this machine, which is not supported" in str(failure)

    def test_a_redirect_is_named_as_a_whole_address(self, server):
        server.canned = [Answer(301, "", {"Location": "/emoncms/input/bulk"})]
        with dispatcher(server.url, apikey=server.key) as emoncms:
            assert str(failure_of(emoncms)).endswith(
                f"it redirects to {server.url}/emoncms: put that address in url"
            )

    def test_a_redirect_to_a_login_page_is_no_address_to_put(self, server):
        server.canned = [Answer(302, "", {"Location": f"http://a:pw@router/login.html?key={server.key}"})]
        with dispatcher(server.url, apikey=server.key) as emoncms:
            failure = str(failure_of(emoncms))
        assert "it redirects to http://router/login.html, which is not Emoncms" in failure
        assert "put that" not in failure
        assert "pw" not in failure


class TestInWords:
    def test_an_error_of_php_is_quoted_whole_and_without_its_trace(self):
        for failure in (judge(200, PHP_ERROR), judge(500, PHP_ERROR), judge_inputs("9", 200, PHP_ERROR)):
            assert str(failure).endswith(
                "Fatal error : Uncaught mysqli_sql_exception: Connection refused in "
                "/var/www/html/emoncms/index.php:65"
            )

    def test_what_is_too_long_ends_with_a_word(self):
        long = "Fatal error: " + "/var/www/html/emoncms/Modules/input/input_model.php " * 10
        failure = str(judge(200, long))
        assert failure.endswith("input_model.php ...")

    @pytest.mark.parametrize(
        ("status", "page", "words"),
        [
            (404, NOT_FOUND, "404 Not Found"),
            (400, PLAIN_TO_TLS, "400 Bad Request"),
            (500, "", "500"),
            (406, '{"success": false}', '406 {"success": false}'),
            (200, "<html><head></head><body>x", "200 x"),
        ],
    )
    def test_a_page_is_named_once_by_its_title(self, status, page, words):
        assert with_status(status, page) == words

    def test_a_title_has_no_secret_either(self):
        assert quote(f"<title>{KEY}</title>", KEY) == "********"

    def test_json_that_does_not_come_is_named_by_the_page(self):
        with pytest.raises(DeliveryFailure, match='JSON expected from /x, not the page "FRITZ!Box & more"'):
            decode("/x", 200, ROUTER)
