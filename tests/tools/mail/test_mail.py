import asyncio
from dataclasses import replace
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from base.errors import ConfigurationError
from base.settings import load_settings
from tools.registry import open_registry
from tools.run import run_tool

PASSWORD = "hunter2-and-more"
MAIL = {"to": "bob@example.com", "subject": "Dinner", "body": "At eight?"}


class Box:
    """A mailbox behind a real SMTP server; what it refuses is set by a test."""

    def __init__(self):
        self.mails = []
        self.envelopes = []
        self.refuses = {}
        self.says_to_data = "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        self.envelopes.append((envelope.mail_from, envelope.rcpt_tos))
        if self.says_to_data == "hang up":
            server.transport.abort()
        return self.says_to_data


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=data.password.decode() == PASSWORD, handled=False)


@pytest.fixture
def box():
    return Box()


@pytest.fixture
async def serve(box):
    servers = []

    async def open_server(**options):
        def protocol():
            return SMTP(box, hostname="mail.example.com", **options)

        context = options.pop("implicit", None)
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return server.sockets[0].getsockname()[1]

    yield open_server
    for server in servers:
        server.close()


@pytest.fixture
def configure(tmp_path):
    def make(port, more='security = "none"', **environment):
        source = tmp_path / "twobrain.toml"
        source.write_text(
            f'[tools.send_email]\nhost = "localhost"\nfrom = "ada@example.com"\nport = {port}\n{more}\n'
        )
        return load_settings({"TWOBRAIN_CONFIG": str(source), "SMTP_PASSWORD": PASSWORD, **environment})

    return make


@pytest.fixture
def send(here):
    async def run(settings, **args):
        tool = open_registry(settings).get("send_email")
        return await run_tool(tool, replace(here, settings=settings), tool.check({**MAIL, **args}))

    return run


async def test_a_mail_reaches_every_recipient_with_its_subject_and_body(send, configure, serve, box):
    settings = configure(await serve())
    outcome = await send(
        settings, to="bob@example.com, eve@example.org", subject="Grüße", body="Um acht?\n.\n"
    )
    assert outcome.status == "executed"
    (mail,) = box.mails
    assert outcome.text == f"Sent to bob@example.com, eve@example.org (Message-ID {mail['Message-ID']})."
    assert (mail["From"], mail["Subject"]) == ("ada@example.com", "Grüße")
    assert mail["To"] == "bob@example.com, eve@example.org"
    assert mail.get_content().splitlines() == ["Um acht?", "."]
    assert box.envelopes == [("ada@example.com", ["bob@example.com", "eve@example.org"])]


async def test_the_same_call_bears_the_same_message_id_and_another_call_another(
    send, configure, serve, box, here
):
    settings = configure(await serve())
    await send(settings)
    await send(settings)
    tool = open_registry(settings).get("send_email")
    await run_tool(tool, replace(here, settings=settings, idempotency_key="another"), MAIL)
    first, again, other = (mail["Message-ID"] for mail in box.mails)
    assert first == again != other
    assert first.endswith("@example.com>")


@pytest.mark.parametrize(
    "change",
    [
        {"to": "bob@example.com\r\nBcc: eve@example.org"},
        {"to": "bob@example.com\nRCPT TO:<eve@example.org>"},
        {"to": "eve@evil.example <bob@example.com>"},
        {"to": '"eve@evil.example" <bob@example.com>'},
        {"to": "eve\uff20evil.example <bob@example.com>"},
        {"to": "=?utf-8?q?Eve?= <bob@example.com>"},
        {"to": "Bob\u200b <bob@example.com>"},
        {"to": "Bob\n <bob@example.com>"},
        {"to": "Bob <bob@example.com> <eve@example.org>"},
        {"to": '"Bob <bob@example.com>'},
        {"to": "Bob <bob@[127.0.0.1]>"},
        {"to": "bob"},
        {"to": " , "},
        {"to": "bob@\U0001f648.example"},
        {"to": "bob@m\u00fcnchen\u2028.example"},
        {"to": "bob@[127.0.0.1]"},
        {"to": "b\u200dob@example.com"},
        {"to": "b\u00a0ob@example.com"},
        {"to": "eve\uff20evil.example@example.com"},
        {"subject": "Dinner\r\nBcc: eve@example.org"},
        {"subject": "Dinner\nX"},
        {"subject": "Dinner\x00"},
        {"subject": "Dinner\u2028X"},
        {"subject": "Dinner\u2029X"},
        {"subject": "Dinner\x85X"},
        {"subject": "Dinner\x1b[2J"},
    ],
)
async def test_nothing_but_addresses_and_a_one_line_subject_gets_into_the_headers(
    send, configure, serve, box, change
):
    outcome = await send(configure(await serve()), **change)
    assert outcome.status == "failed"
    assert box.mails == []


async def test_names_beside_addresses_arrive_and_are_no_part_of_the_call(send, configure, serve, box, here):
    settings = configure(await serve(), 'security = "none"\nallow_recipients = ["*@example.com"]')
    to = 'Bob B. <bob@example.com>, "Doe, J\u00e4ne" <jane@example.com>; <eve@example.com>'
    assert (await send(settings, to=to)).text.startswith(
        "Sent to bob@example.com, jane@example.com, eve@exam"
    )
    assert box.envelopes == [("ada@example.com", ["bob@example.com", "jane@example.com", "eve@example.com"])]
    shown = '"Bob B." <bob@example.com>, "Doe, J\u00e4ne" <jane@example.com>, eve@example.com'
    assert box.mails[0]["To"] == shown
    tool = open_registry(settings).get("send_email")
    args = tool.check({**MAIL, "to": to})
    assert f"\nTo: {shown}\n" in await tool.preview(replace(here, settings=settings), args)
    plain = {**MAIL, "to": "eve@example.com, jane@example.com, bob@example.com"}
    assert tool.fingerprint(args) == tool.fingerprint(tool.check(plain))
    refused = await send(settings, to="Bob <bob@example.org>")
    assert "bob@example.org may not be written to" in refused.text


SUBJECTS = [
    "10\u00a0\u20ac \u2013 d\u00eener \u00e0 20\u202fh",
    "\u4f1a\u8b70\u3000\u660e\u65e5",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 and \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e007f",
    "\u00a0" * 200,
    "  two  blanks \u00e9  " + "and  so  on  " * 30,
    "=?utf-8?q?Another_subject?=",
    "A line of ASCII that is longer than one that is sent as it is, and  has  blanks",
    "\U0001fae9 of a Unicode that is newer than this Python\ue000",
]


@pytest.mark.parametrize("subject", SUBJECTS, ids=range(len(SUBJECTS)))
async def test_a_subject_arrives_letter_for_letter(send, configure, serve, box, subject):
    assert (await send(configure(await serve()), subject=subject)).status == "executed"
    assert box.mails[0]["Subject"] == subject


HOSTS = {
    "m\u00fcnchen.example": "xn--mnchen-3ya.example",
    "MU\u0308NCHEN.example": "xn--mnchen-3ya.example",
    "stra\u00dfe.de": "xn--strae-oqa.de",
    "\u4f8b\u3048\u3002\u30c6\u30b9\u30c8": "xn--r8jz45g.xn--zckzah",
    "\u0645\u062b\u0627\u0644.\u0625\u062e\u062a\u0628\u0627\u0631": "xn--mgbh0fb.xn--kgbechtv",
    "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.com": "xn--mgba3gch31f060k.com",
    "\uff45xample.com": "example.com",
}


async def test_a_host_of_any_script_is_written_to_by_its_name_in_ascii(send, configure, serve, box):
    for host, sent in HOSTS.items():
        settings = configure(await serve(), f'security = "none"\nallow_recipients = ["*@{host}"]')
        outcome = await send(settings, to=f"bob@{host}, bob@{sent}")
        assert outcome.text.startswith(f"Sent to bob@{sent} (Message-ID ")
        assert (box.envelopes[-1][1], box.mails[-1]["To"]) == ([f"bob@{sent}"], f"bob@{sent}")
        assert "may not be written to" in (await send(settings, to=f"bob@not-{sent}")).text


async def test_a_senders_host_of_another_script_is_named_in_ascii(send, configure, serve, box, tmp_path):
    configure(await serve())
    source = tmp_path / "twobrain.toml"
    source.write_text(source.read_text().replace("ada@example.com", "ada@m\u00fcnchen.example"))
    assert (await send(load_settings({"TWOBRAIN_CONFIG": str(source)}))).status == "executed"
    assert box.mails[0]["From"] == box.envelopes[0][0] == "ada@xn--mnchen-3ya.example"
    assert box.mails[0]["Message-ID"].endswith("@xn--mnchen-3ya.example>")


async def test_a_name_beyond_ascii_goes_to_a_server_that_takes_it_and_to_no_other(
    send, configure, serve, box
):
    person, to = "b\u00f8b@m\u00fcnchen.example", "b\u00f8b@xn--mnchen-3ya.example"
    outcome = await send(configure(await serve()), to=f"bob@example.com, {person}")
    why = f"{to} has other letters than ASCII's before the @, which localhost does not take (no SMTPUTF8)."
    assert outcome.text == f"Tool error: Nothing was sent: {why}"
    assert box.mails == []
    settings = configure(await serve(enable_SMTPUTF8=True))
    outcome = await send(settings, to=f"bob@example.com, {person}", subject="Gr\u00fc\u00dfe\u3000=?x")
    assert outcome.status == "executed"
    assert box.envelopes == [("ada@example.com", ["bob@example.com", to])]
    assert (box.mails[0]["To"], box.mails[0]["Subject"]) == (
        f"bob@example.com, {to}",
        "Gr\u00fc\u00dfe\u3000=?x",
    )


async def test_a_refused_recipient_is_named_and_the_others_get_their_mail(send, configure, serve, box):
    box.refuses = {"gone@example.com": "550 5.1.1 No such user."}
    outcome = await send(configure(await serve()), to="gone@example.com; bob@example.com")
    assert outcome.status == "executed"
    assert outcome.text.startswith("Sent to bob@example.com (Message-ID ")
    assert outcome.text.endswith("Not sent to gone@example.com (550 5.1.1 No such user).")


async def test_where_every_recipient_is_refused_nothing_is_sent(send, configure, serve, box):
    box.refuses = {"bob@example.com": "451 try later"}
    outcome = await send(configure(await serve()))
    assert outcome.text == (
        "Tool error: Nothing was sent: localhost refused every recipient: bob@example.com (451 try later)."
    )
    assert box.mails == []


async def test_a_mail_that_the_server_refuses_whole_is_said_not_to_be_sent(send, configure, serve, box):
    box.says_to_data = "554 looks like spam"
    outcome = await send(configure(await serve()))
    assert outcome.text == ("Tool error: localhost refused the mail: 554 looks like spam. Nothing was sent.")
    assert outcome.untrusted, "a server's words"


async def test_a_connection_that_breaks_before_the_confirmation_leaves_a_doubt_that_is_said(
    send, configure, serve, box
):
    box.says_to_data = "hang up"
    outcome = await send(configure(await serve()))
    assert outcome.status == "unknown"
    assert "it is unknown whether it went out" in outcome.text
    assert box.mails[0]["Message-ID"] in outcome.text


async def test_a_server_that_is_not_there_or_hangs_up_at_once_got_nothing(send, configure):
    async def hang_up(reader, writer):
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert "Nothing was sent, for localhost cannot be used" in (await send(configure(port))).text
    server.close()
    await server.wait_closed()
    assert "Nothing was sent, for localhost cannot be used" in (await send(configure(port))).text


async def test_a_server_that_never_answers_costs_the_time_limit_and_no_more(configure, here):
    closed = asyncio.Event()

    async def silent(reader, writer):
        await reader.read()
        writer.close()
        closed.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        settings = configure(
            server.sockets[0].getsockname()[1], 'security = "none"\n[limits]\ntool_timeout_s = 0.2'
        )
        tool = open_registry(settings).get("send_email")
        outcome = await run_tool(tool, replace(here, settings=settings), MAIL)
        assert "took longer than 0.2 s and was stopped" in outcome.text
        await asyncio.wait_for(closed.wait(), 5)


LOGIN = 'user = "ada"\npassword_env = "SMTP_PASSWORD"\n'


async def test_a_login_over_starttls_is_made_with_the_variables_password(
    send, configure, serve, box, certificate
):
    port = await serve(tls_context=certificate, authenticator=authenticate, auth_required=True)
    assert (await send(configure(port, LOGIN))).status == "executed"
    outcome = await send(configure(port, LOGIN, SMTP_PASSWORD="wrong"))
    assert outcome.text.startswith("Tool error: localhost refused the login of 'ada': 535 ")
    assert outcome.untrusted, "a server's words"
    assert len(box.mails) == 1


async def test_a_mail_goes_out_over_tls_from_the_first_byte(send, configure, serve, box, certificate):
    port = await serve(implicit=certificate)
    assert (await send(configure(port, 'security = "tls"'))).status == "executed"
    assert len(box.mails) == 1


async def test_a_server_without_encryption_or_of_unknown_certificate_gets_neither_password_nor_mail(
    send, configure, serve, box, unknown_certificate
):
    seen = []

    def spy(server, session, envelope, mechanism, data):
        seen.append(data)
        return AuthResult(success=True)

    plain = await serve(authenticator=spy, auth_require_tls=False)
    encrypted = await serve(authenticator=spy, tls_context=unknown_certificate)
    for port in (plain, encrypted):
        outcome = await send(configure(port, LOGIN))
        assert "Nothing was sent, for localhost cannot be used" in outcome.text
    assert (seen, box.mails) == ([], [])


async def test_only_allowed_recipients_are_written_to(send, configure, serve, box):
    settings = configure(await serve(), 'security = "none"\nallow_recipients = ["*@example.com"]')
    assert (await send(settings, to="BOB@Example.com")).status == "executed"
    outcome = await send(settings, to="bob@example.com, eve@example.org")
    assert outcome.text == (
        "Tool error: eve@example.org may not be written to; allow_recipients has *@example.com."
    )
    assert len(box.mails) == 1


async def test_a_person_sees_recipients_subject_and_body_before_it_is_sent(configure, here):
    settings = configure(25)
    tool = open_registry(settings).get("send_email")
    assert (tool.effect, tool.confirm, tool.idempotent) == ("send", True, False)
    shown = await tool.preview(replace(here, settings=settings), MAIL)
    assert shown == "Send a mail from ada@example.com\nTo: bob@example.com\nSubject: Dinner\n\nAt eight?"
    there = await tool.preview(replace(here, settings=settings), {**MAIL, "to": "bob@m\u00fcnchen.example"})
    assert "\nTo: bob@xn--mnchen-3ya.example\n" in there
    forged = await tool.preview(
        replace(here, settings=settings), {**MAIL, "subject": "a\nBcc: eve@example.org"}
    )
    assert forged.startswith("This will fail: ")


def test_it_is_offered_only_where_server_sender_and_password_are_known(configure):
    def lack(settings):
        return open_registry(settings).get("send_email").missing(settings)

    assert lack(load_settings({})) == "set host and from in [tools.send_email] of twobrain.toml"
    assert lack(configure(587, LOGIN)) is None
    assert lack(configure(587, LOGIN, SMTP_PASSWORD="")) == (
        "set the variable SMTP_PASSWORD to the mail server's password"
    )


@pytest.mark.parametrize(
    "more",
    [
        'user = "ada"',
        'password = "x"',
        'security = "ssl"',
        'allow_recipients = "me"',
        'allow_recipients = ["*@*\u00fc.de"]',
        "port = 0",
    ],
)
def test_an_unusable_table_is_refused_at_the_start(configure, more):
    settings = configure(1, more) if not more.startswith("port") else configure(0)
    with pytest.raises(ConfigurationError, match=r"twobrain\.toml, line \d: tools\.send_email"):
        open_registry(settings)
