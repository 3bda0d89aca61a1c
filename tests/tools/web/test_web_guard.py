import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import cycle

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import ConfigurationError
from base.settings import load_settings
from tests.tools.loopback import answer, moved, open_site
from tools.web.guard import Guard, GuardedTransport, RefusedError, look_up, open_client, read_network

PUBLIC = "93.184.215.14"
PUBLIC_V6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"

FORBIDDEN_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
]
FORBIDDEN_V6 = [
    "::/96",
    "::ffff:0:0/96",
    "::ffff:0:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:10::/28",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "4000::/3",
    "5f00::/16",
    "fc00::/7",
    "fd00:ec2::254/128",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]


def members(networks):
    """Return a strategy for the addresses of some networks, their ends among them."""

    def of(network):
        first, last = int(network[0]), int(network[-1])
        kind = type(network[0])
        return (st.sampled_from((first, last)) | st.integers(first, last)).map(kind)

    return st.sampled_from([ip_network(each) for each in networks]).flatmap(of)


def parts_of(number: int, count: int) -> list[int]:
    """Split an IPv4 number into one to four parts, the last of which takes the rest."""
    whole = number.to_bytes(4)
    return [*whole[: count - 1], int.from_bytes(whole[count - 1 :])]


@st.composite
def spellings(draw, addresses):
    """Return a way to write an IPv4 address that some program or other understands."""
    address = draw(addresses)
    forms = (str, hex, lambda n: f"0{n:o}", lambda n: f"{n:#x}".upper(), lambda n: f"0x{n:010x}")
    parts = parts_of(int(address), draw(st.integers(1, 4)))
    text = ".".join(draw(st.sampled_from(forms))(part) for part in parts)
    return draw(st.sampled_from([str(address), text])) + draw(st.sampled_from(["", "."]))


@st.composite
def carriers(draw, addresses):
    """Return an IPv6 address that carries an IPv4 address on."""
    number = int(draw(addresses))
    prefix, shift = draw(
        st.sampled_from(
            [
                ("::ffff:0:0", 0),
                ("::", 0),
                ("::ffff:0:0:0", 0),
                ("64:ff9b::", 0),
                ("64:ff9b:1::", 0),
                ("2002::", 80),
                ("2001::", 64),
                ("2606:2800:21f:cb07:0:5efe:0:0", 0),
                ("2606:2800:21f:cb07:200:5efe:0:0", 0),
            ]
        )
    )
    plain = IPv6Address(int(IPv6Address(prefix)) | number << shift)
    return draw(st.sampled_from([str(plain), plain.exploded, str(plain).upper()]))


def resolving(*answers):
    """Return a lookup that gives one answer after the other, and the list of names it was asked for."""
    asked, next_answer = [], cycle(answers)

    async def resolve(host, port):
        asked.append((host, port))
        return next(next_answer)

    return resolve, asked


def admit(url, *addresses):
    """Return what a guard without open doors says to a URL whose host has these addresses."""
    resolve, _ = resolving(list(addresses or [PUBLIC]))
    try:
        return asyncio.run(Guard(frozenset(), resolve=resolve).admit(httpx.URL(url)))
    except httpx.InvalidURL as error:  # the URL parser is the first to refuse
        raise RefusedError(str(error)) from None


def settings_with(tmp_path, toml):
    path = tmp_path / "twobrain.toml"
    path.write_text(toml)
    return load_settings({"TWOBRAIN_CONFIG": str(path), "TWOBRAIN_DATA_DIR": str(tmp_path)})


@given(spellings(members(FORBIDDEN_V4)))
def test_no_spelling_of_a_forbidden_ipv4_address_is_admitted(host):
    with pytest.raises(RefusedError):
        admit(f"http://{host}/")


@given(members(FORBIDDEN_V6).map(str) | carriers(st.integers(0, 2**32 - 1).map(IPv4Address)))
def test_no_forbidden_ipv6_address_and_no_carrier_of_an_ipv4_address_is_admitted(host):
    with pytest.raises(RefusedError):
        admit(f"http://[{host}]/")


@given(
    bad=members(FORBIDDEN_V4 + FORBIDDEN_V6).map(str),
    good=st.lists(st.sampled_from([PUBLIC, PUBLIC_V6]), max_size=3),
    place=st.integers(0, 3),
)
def test_one_forbidden_address_among_a_names_addresses_refuses_it(bad, good, place):
    addresses = [*good[:place], bad, *good[place:]]
    with pytest.raises(RefusedError):
        admit("https://shop.example/", *addresses)


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_what_is_admitted_is_global_by_pythons_book_too(address):
    host = f"[{address}]" if address.version == 6 else str(address)
    try:
        admitted = admit(f"http://{host}/")
    except RefusedError:
        return
    assert admitted == [address]
    assert address.is_global
    assert not address.is_multicast


@given(spellings(st.integers(0, 2**32 - 1).map(IPv4Address)))
def test_an_ipv4_address_is_taken_in_one_spelling_only(host):
    try:
        admitted = admit(f"http://{host}/")
    except RefusedError:
        return
    assert [str(address) for address in admitted] == [host.removesuffix(".")]


@pytest.mark.parametrize(
    "host", [PUBLIC, f"[{PUBLIC_V6}]", "shop.example", "a_b.shop.example.", "bücher.example"]
)
def test_public_hosts_are_admitted_on_any_port(host):
    assert admit(f"http://{host}:8080/x?y#z")
    assert admit(f"https://{host}/")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://localhost/", "localhost names this machine"),
        ("http://LocalHost.:80/", "names this machine"),
        ("http://db.localhost/", "names this machine"),
        ("http://localhost.localdomain/", "names this machine"),
        ("http://127。0。0。1/", "loopback"),
        ("http://①②⑦.0.0.1/", "IDNA"),
        ("http://ⓛocalhost/", "IDNA"),
        ("http://169.254.169.254/latest/meta-data/", "link-local or metadata"),
        ("http://[fe80::1%25eth0]/", "link-local"),
        (f"http://[{PUBLIC_V6}%251]/", "this network only"),
        ("http://%31%32%37.0.0.1/", "not a host name"),
        ("http://user:secret@shop.example/", "user name or password"),
        ("http://user@shop.example/", "user name or password"),
        ("http://127.0.0.1\\@shop.example/", "user name or password"),
        ("file:///etc/passwd", "must begin with https://"),
        ("ftp://shop.example/", "must begin with https://"),
        ("gopher://shop.example/", "must begin with https://"),
        ("shop.example/page", "must begin with https://"),
        ("//shop.example/page", "must begin with https://"),
        ("http:///page", "not a host name"),
        ("http://a..b/", "not a host name"),
        ("http://shop.example:0/", "no port 0"),
        ("http://shop.example:70000/", "no port 70000"),
    ],
)
def test_a_refusal_says_why(url, why):
    with pytest.raises(RefusedError, match=why):
        admit(url)


@pytest.mark.parametrize("port", [1, 65_535])
def test_the_first_and_the_last_port_are_ports(port):
    assert admit(f"http://shop.example:{port}/") == [ip_address(PUBLIC)]


def test_a_name_in_another_alphabet_is_judged_by_the_addresses_it_is_looked_up_for():
    with pytest.raises(RefusedError, match="leads to a private address"):
        admit("http://bücher.example/", "10.0.0.1")


async def test_a_name_has_the_addresses_that_the_system_knows_each_once():
    found = await look_up("localhost", 80)
    assert "127.0.0.1" in found
    assert len(set(found)) == len(found)


async def test_a_name_is_looked_up_once_for_a_request_which_goes_to_the_address_that_was_judged():
    sent = []

    def record(request):
        sent.append((str(request.url), request.headers["host"], request.extensions["sni_hostname"]))
        return httpx.Response(200)

    resolve, asked = resolving([PUBLIC_V6, PUBLIC], ["127.0.0.1"])
    transport = GuardedTransport(Guard(frozenset(), resolve=resolve), inner=httpx.MockTransport(record))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get("https://rebind.example:8443/x?y=1")
        assert sent == [(f"https://[{PUBLIC_V6}]:8443/x?y=1", "rebind.example:8443", "rebind.example")]
        assert asked == [("rebind.example", 8443)]
        with pytest.raises(RefusedError, match="loopback"):
            await client.get("https://rebind.example:8443/x?y=1")
    assert len(sent) == 1


async def test_where_the_first_address_takes_no_connection_the_next_one_is_tried():
    tried = []

    def refuse_the_first(request):
        tried.append(request.url.host)
        if len(tried) == 1:
            raise httpx.ConnectError("no route", request=request)
        return httpx.Response(200)

    resolve, _ = resolving([PUBLIC_V6, PUBLIC])
    inner = httpx.MockTransport(refuse_the_first)
    async with httpx.AsyncClient(
        transport=GuardedTransport(Guard(frozenset(), resolve=resolve), inner)
    ) as client:
        assert (await client.get("http://shop.example/")).status_code == 200
    assert tried == [PUBLIC_V6, PUBLIC]


async def test_a_redirect_to_a_private_address_is_refused_and_never_fetched(tmp_path):
    async with open_site() as inside, open_site() as outside:
        settings = settings_with(tmp_path, f'[tools.network]\nallow_hosts = ["{outside.host}"]')
        inside.pages["/secret"] = answer("the family silver")
        for place in (inside.url("/secret"), f"http://localhost:{inside.port}/secret", "file:///etc/passwd"):
            outside.pages["/"] = moved(place)
            async with open_client(settings, follow_redirects=True) as client:
                with pytest.raises(RefusedError):
                    await client.get(outside.url())
        assert len(outside.seen) == 3
        assert inside.seen == []


async def test_a_name_that_turns_private_at_the_redirect_is_refused(settings):
    def elsewhere(request):
        return httpx.Response(302, headers={"Location": "/next"})

    resolve, asked = resolving([PUBLIC], ["10.0.0.1"])
    transport = GuardedTransport(Guard(frozenset(), resolve=resolve), inner=httpx.MockTransport(elsewhere))
    async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
        with pytest.raises(RefusedError, match="private"):
            await client.get("http://rebind.example/")
    assert len(asked) == 2


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.1.:{port}"])
async def test_an_entry_of_allow_hosts_opens_that_host(tmp_path, entry):
    async with open_site() as site:
        site.pages["/"] = answer("hello")
        entry = entry.format(port=site.port)
        settings = settings_with(tmp_path, f'[tools.network]\nallow_hosts = ["{entry}"]')
        async with open_client(settings) as client:
            assert (await client.get(site.url())).text == "hello"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{other}/",
        "http://127.0.0.2:{port}/",
        "http://localhost:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://0x7f000001:{port}/",
        "http://rebind.example:{port}/",
    ],
)
async def test_an_entry_of_allow_hosts_opens_no_other_port_host_or_name(tmp_path, url):
    async with open_site() as site, open_site() as other:
        settings = settings_with(tmp_path, f'[tools.network]\nallow_hosts = ["{site.host}"]')
        resolve, _ = resolving(["127.0.0.1"])
        async with open_client(settings, resolve=resolve) as client:
            with pytest.raises(RefusedError):
                await client.get(url.format(port=site.port, other=other.port))
        assert site.seen == other.seen == []


async def test_a_client_for_only_one_host_reaches_no_public_one_and_none_that_is_open_to_others(tmp_path):
    async with open_site() as own, open_site() as other:
        own.pages["/"] = answer("hello")
        settings = settings_with(tmp_path, f'[tools.network]\nallow_hosts = ["{other.host}"]')
        async with open_client(settings, only=[own.host]) as client:
            assert (await client.get(own.url())).text == "hello"
            for url in (other.url(), f"http://{PUBLIC}/", "https://shop.example/"):
                with pytest.raises(RefusedError, match="not a host that was configured for this"):
                    await client.get(url)


async def test_neither_a_proxy_nor_a_password_of_the_environment_is_used(tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ada password hunter2")
    monkeypatch.setenv("NETRC", str(netrc))
    async with open_site() as site, open_site() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url())
        site.pages["/"] = answer("hello")
        settings = settings_with(tmp_path, f'[tools.network]\nallow_hosts = ["{site.host}"]')
        async with open_client(settings) as client:
            assert (await client.get(site.url())).text == "hello"
        assert proxy.seen == []
        assert "authorization" not in site.seen[0].headers


async def test_a_lookup_that_hangs_or_fails_is_a_connection_that_did_not_come_about(settings):
    async def hang(host, port):
        await asyncio.Event().wait()

    async def fail(host, port):
        raise OSError("no such name")

    async with open_client(settings, resolve=hang, timeout=0.05) as client:
        with pytest.raises(httpx.ConnectTimeout, match="looking up"):
            await client.get("http://shop.example/")
    async with open_client(settings, resolve=fail) as client:
        with pytest.raises(httpx.ConnectError, match="no such name"):
            await client.get("http://shop.example/")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("http://ha.local", "not a host or host:port"),
        ("ha.local/api", "not a host or host:port"),
        ("ada@ha.local", "not a host or host:port"),
        ("ha.local:99999", "no port 99999"),
        ("", "not a host name"),
        ("*.local", "not a host name"),
        ("0x7f.1", "unusual form"),
        ("::1", "not a host or host:port|Invalid|not a host name"),
    ],
)
def test_an_entry_that_names_no_host_is_refused_with_its_line(tmp_path, entry, why):
    settings = settings_with(tmp_path, f'[tools.network]\nallow_hosts = ["{entry}"]')
    with pytest.raises(
        ConfigurationError, match=rf"twobrain.toml, line 2: tools.network.allow_hosts.*({why})"
    ):
        read_network(settings)


def credentials(tmp_path, name):
    """Return the files of a certificate, its own authority, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    whole = tmp_path / "whole.pem"
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(pem, form, serialization.NoEncryption())
    whole.write_bytes(certificate.public_bytes(pem) + secret)
    return whole


async def test_over_tls_the_name_is_asked_for_and_its_certificate_is_checked(tmp_path):
    whole = credentials(tmp_path, "pinned.example")
    asked = []
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(whole)
    server_side.sni_callback = lambda connection, name, context: asked.append(name)
    trusting = ssl.create_default_context(cafile=str(whole))
    resolve, _ = resolving(["127.0.0.1"])
    async with open_site(ssl=server_side) as site:
        site.pages["/"] = answer("sealed")
        names = ("pinned.example", "other.example")
        entries = ", ".join(f'"{name}:{site.port}"' for name in names)
        settings = settings_with(tmp_path, f"[tools.network]\nallow_hosts = [{entries}]")
        async with open_client(settings, resolve=resolve, verify=trusting) as client:
            assert (await client.get(f"https://pinned.example:{site.port}/")).text == "sealed"
            with pytest.raises(httpx.ConnectError, match="Hostname mismatch"):
                await client.get(f"https://other.example:{site.port}/")
        assert asked == list(names)
        assert [request.headers["host"] for request in site.seen] == [f"pinned.example:{site.port}"]
