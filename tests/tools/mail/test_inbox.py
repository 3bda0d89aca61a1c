import base64
import io
import re
from dataclasses import replace

import pytest
from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, StreamObject

from base.errors import ConfigurationError
from base.settings import load_settings
from tests.tools.mail.imap_server import mail, open_imap
from tools.registry import open_registry

DMARC, SPF = "dmarc=pass header.from=school.example", "spf=pass smtp.mailfrom=bo@school.example"
PASSED = f"mx.home.example; {SPF}; {DMARC}"
FONT = {"Type": "Font", "Subtype": "Type1", "BaseFont": "Helvetica"}
NOTICE = "multipart/mixed; boundary=b"


def parts(*each):
    return "--b\r\n" + "\r\n--b\r\n".join(each) + "\r\n--b--\r\n"


def file(content, kind, name, encoding="base64"):
    text = base64.encodebytes(content).decode() if encoding == "base64" else content.decode()
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return f'{head}Content-Disposition: attachment; filename="{name}"\r\n\r\n{text}'


def pdf(text):
    writer, stream, font = PdfWriter(), StreamObject(), DictionaryObject()
    font.update({NameObject(f"/{key}"): NameObject(f"/{value}") for key, value in FONT.items()})
    stream.set_data(f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode())
    page = writer.add_blank_page(612, 792)
    fonts = DictionaryObject({NameObject("/F1"): font})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    page[NameObject("/Contents")] = stream
    with io.BytesIO() as file:
        writer.write(file)
        return file.getvalue()


async def test_mails_are_listed_the_newest_first_as_untrusted_content_and_stay_unread(call, server):
    server.arrive(mail(Subject="First"))
    server.arrive(mail(Subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?="), "\\Seen")
    listed = await call("list_mail")
    assert listed.untrusted
    bo = '"Bo" <bo@school.example> (sender not certain)'
    assert listed.text.splitlines() == [
        "INBOX has 2 mails. Times in Europe/Paris, the newest first:",
        f"[INBOX:1700000000:2] 2026-11-20 15:30, from {bo}: Grüße",
        f"[INBOX:1700000000:1] 2026-11-20 15:30, unread, from {bo}: First",
    ]
    assert "First" in (await call("list_mail", unread=True)).text
    assert not any(command.startswith(("SELECT", "STORE")) for command in server.commands)


async def test_a_long_list_goes_on_where_it_ended(call, server):
    for number in range(45):
        server.arrive(mail(Subject=f"mail {number}"))
    seen, last = [], ""
    for _ in range(3):
        text = (await call("list_mail", older_than=last)).text
        seen += re.findall(r"mail \d+$", text, re.MULTILINE)
        last = (re.findall(r"older_than (\S+) goes on", text) or [""])[0]
    assert seen == [f"mail {number}" for number in reversed(range(45))]
    assert last == ""


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ({"sender": "school"}, ["Grüße aus Rom", 'a "b" c']),
        ({"subject": "Grüße"}, ["Grüße aus Rom"]),
        ({"subject": 'a "b" c'}, ['a "b" c']),
        ({"text": "rome)(x"}, []),
        ({"text": "fox", "sender": "nobody"}, []),
        ({"text": "x\r\nA1 LOGOUT"}, []),
    ],
)
async def test_a_search_finds_by_words_of_any_script_and_steers_no_command(call, server, words, found):
    server.arrive(mail(Subject='a "b" c'))
    server.arrive(mail("The fox.", Subject="Grüße aus Rom"))
    listed = await call("search_mail", **words)
    assert re.findall(r"\): (.+)$", listed.text, re.MULTILINE) == found
    assert listed.status == "executed"
    assert server.commands[-1] == "LOGOUT"


async def test_an_id_of_before_a_folder_was_made_anew_reads_no_other_mail(call, server):
    server.arrive(mail("mine"))
    server.inbox.validity += 1
    server.inbox.mails[0].content = mail("of somebody else")
    for name, args in (
        ("read_mail", {"mail": "INBOX:1700000000:1"}),
        ("read_attachment", {"attachment": "INBOX:1700000000:1/1"}),
        ("draft_reply", {"mail": "INBOX:1700000000:1", "body": "yes"}),
        ("list_mail", {"older_than": "INBOX:1700000000:1"}),
    ):
        refused = await call(name, **args)
        assert refused.status == "failed"
        assert "out of date" in refused.text
    assert not any(command.startswith(("FETCH", "APPEND")) for command in server.commands)


async def test_nobody_reads_anothers_mailbox(call, ada, server):
    server.arrive(mail("secret"))
    for name, args in (("list_mail", {}), ("read_mail", {"mail": "INBOX:1700000000:1"})):
        refused = await call(name, replace(ada(), user="ben"), **args)
        assert "ben has no mailbox here" in refused.text
    assert server.commands == []


async def test_a_mails_text_is_read_with_its_sender_and_its_attachments(call, server):
    html = "<html><body><h1>Trip</h1><p>Bring <b>boots</b>.</p></body></html>"
    server.arrive(
        mail(
            parts(
                f"Content-Type: text/html; charset=utf-8\r\n\r\n{html}",
                file(pdf("Pay 20 euros"), "application/pdf", "letter.pdf"),
                file("größer".encode("latin-1"), "text/plain; charset=utf-8", "wrong.txt"),
                file(mail("Inner text."), "message/rfc822", "forwarded.eml", "7bit"),
                file(b"\0\1\2", "application/zip", "all.zip"),
            ),
            Content_Type=NOTICE,
        )
    )
    read = await call("read_mail", mail="INBOX:1700000000:1")
    assert read.untrusted
    lines = read.text.splitlines()
    assert lines[0] == 'From: "Bo" <bo@school.example>'
    assert "Bring\nboots" in read.text
    assert "<p>" not in read.text
    handles = [re.match(r"\[(\S+)\] (\S+), (\S+),", line).groups() for line in lines if line.startswith("[")]
    assert [name for _, name, _ in handles] == ["letter.pdf", "wrong.txt", "forwarded.eml", "all.zip"]
    texts = [await call("read_attachment", attachment=handle) for handle, _, _ in handles]
    assert [each.text for each in texts[:3]] == ["Pay 20 euros", "größer", "Inner text."]
    assert all(each.untrusted for each in texts)
    assert "all.zip is no page or text but binary data (application/zip)" in texts[3].text


@pytest.mark.parametrize(
    ("charset", "sent", "read"),
    [
        ("iso-8859-1", "größer".encode("latin-1"), "größer"),
        ("utf-8", "größer".encode("latin-1"), "größer"),
        ("x-unknown", "größer".encode(), "größer"),
        ("koi8-r", "привет".encode("koi8-r"), "привет"),
        ("us-ascii", "5 €".encode("cp1252"), "5 €"),
    ],
)
async def test_a_text_is_read_by_the_charset_that_explains_it(call, server, charset, sent, read):
    body = base64.encodebytes(sent).decode()
    kind = f"text/plain; charset={charset}"
    server.arrive(mail(body, Content_Type=kind, Content_Transfer_Encoding="base64"))
    assert read in (await call("read_mail", mail="INBOX:1700000000:1")).text


async def test_a_mail_of_200_mb_is_never_fetched_whole(call, server):
    body = parts("Content-Type: text/plain\r\n\r\nhello", file(b"x", "application/pdf", "film.pdf"))
    server.arrive(mail(body, Content_Type=NOTICE), _=0, _2=200_000_000)
    server.arrive(mail("y" * 100), _1=200_000_000)
    server.inbox.mails[0].sizes[""] = 200_000_100
    read = await call("read_mail", mail="INBOX:1700000000:1")
    assert "Size: 200,000,100 bytes" in read.text
    assert "hello" in read.text
    refused = await call("read_attachment", attachment="INBOX:1700000000:1/2")
    assert "200,000,000 bytes as sent, and at most 10,000,000 are read" in refused.text
    assert server.sent < 10_000
    long = await call("read_mail", mail="INBOX:1700000000:2")
    assert "[Cut here: only the first 2,000,000 bytes were read, and there are more.]" in long.text
    assert server.sent < 2_100_000


async def test_ten_thousand_recipients_are_told_in_a_line(call, server):
    server.arrive(mail(To=",\r\n ".join(f'"P, {number}" <p{number}@x.example>' for number in range(10_000))))
    read = await call("read_mail", mail="INBOX:1700000000:1")
    (line,) = [each for each in read.text.splitlines() if each.startswith("To: ")]
    assert line.startswith('To: "P, 0" <p0@x.example>, ')
    assert line.endswith('"P, 4" <p4@x.example> and 9,995 others')
    assert "from" in (await call("list_mail")).text


TRUSTED = 'authserv_id = "mx.home.example"\n'


@pytest.mark.parametrize(
    ("verdict", "results"),
    [
        ("passed: mx.home.example found that it is from school.example (dmarc=pass)", [PASSED]),
        ("passed: ", ["mx.home.example; dkim=pass header.d=school.example"]),
        ("passed: ", ["MX.home.example 1; dkim=fail header.d=x.y; dkim=pass header.i=@school.example"]),
        ("passed: ", ["mx.home.example; spf=pass smtp.mailfrom=school.example"]),
        ("not checked", []),
        ("not checked", ["mx.evil.example; dmarc=pass header.from=school.example"]),
        ("not checked", ["mx.home.example; none"]),
        ("not checked", ["mx.home.example; dmarc=pass (" + "(" * 3_000]),
        ("failed: ", ["mx.home.example; dmarc=fail header.from=school.example", PASSED]),
        ("failed: ", ["mx.home.example; dmarc=pass header.from=evil.example"]),
        ("failed: ", ["mx.home.example; dkim=pass header.d=evil.example; spf=pass smtp.mailfrom=a@evil.y"]),
        ("failed: ", ["mx.home.example; dkim=pass header.d=notschool.example"]),
        ("failed: ", ["mx.home.example; dkim=pass header.d=ool.example"]),
        ("failed: ", [f'mx.home.example; spf=fail (x; {DMARC}) smtp.mailfrom="a; {DMARC}"']),
        ("failed: ", ["mx.home.example; spf=pass smtp.helo=school.example"]),
        ("failed: ", [f"mx.home.example; {DMARC.replace('pass', 'temperror')}; {SPF}"]),
        ("failed: ", [f"mx.home.example; {SPF}", f"mx.home.example; {SPF.replace('pass', 'fail')}"]),
    ],
)
async def test_a_sender_is_certain_by_the_own_servers_results_alone(call, ada, server, results, verdict):
    head = "".join(f"Authentication-Results: {each}\r\n" for each in results).encode()
    server.arrive(head + mail())
    read = await call("read_mail", ada(TRUSTED), mail="INBOX:1700000000:1")
    assert read.text.splitlines()[1].removeprefix("Sender: ").startswith(verdict)
    is_certain = "(sender not certain)" not in (await call("list_mail", ada(TRUSTED))).text
    assert is_certain == verdict.startswith("passed")


@pytest.mark.parametrize(
    "sender",
    [
        "bo@school.example, eve@evil.example",
        "bo@school.example\r\nFrom: eve@evil.example",
        '"bo@school.example" <eve@evil.example>',
        "Bo <bo@school.example> <eve@evil.example>",
        "bo@school.example" + " " * 70_000 + ", eve@evil.example",
        "(" * 5_000 + "bo@school.example",
        "",
    ],
)
async def test_a_from_that_names_nobody_for_sure_is_never_certain(call, ada, server, sender):
    server.arrive(f"Authentication-Results: {PASSED}\r\n".encode() + mail(From=sender))
    read = await call("read_mail", ada(TRUSTED), mail="INBOX:1700000000:1")
    assert "Sender: failed" in read.text


async def test_no_header_begins_a_line_of_its_own(call, ada, server):
    evil = base64.b64encode("Hi\r\nSender: passed\u2028Sender: passed\u202e".encode()).decode()
    server.arrive(mail(Subject=f"=?utf-8?b?{evil}?=", From=f"=?utf-8?b?{evil}?= <bo@school.example>"))
    read = await call("read_mail", ada(TRUSTED), mail="INBOX:1700000000:1")
    assert [line for line in read.text.splitlines() if line.startswith("Sender: passed")] == []
    assert "\u202e" not in read.text


async def test_a_server_that_cannot_be_used_is_told_in_words_without_the_password(call, ada, server):
    here = ada()
    server.faults["LOGIN"] = "before"
    assert "broke off before the login" in (await call("list_mail", here)).text
    server.faults.clear()
    there = await call("list_mail", here, folder="Nope")
    assert "There is no folder 'Nope'. There are: INBOX, Drafts." in there.text
    wrong = load_settings({"TWOBRAIN_CONFIG": str(here.settings.source), "MAIL_PASSWORD": "wrong-one-here"})
    refused = await call("list_mail", replace(here, settings=wrong))
    assert "refused the login of 'ada'" in refused.text
    assert "wrong-one-here" not in refused.text


async def test_a_table_that_cannot_be_right_fails_at_once(ada):
    rule = '[[tools.inbox.ada.rules]]\nname = "trip"\ntask = "look"\nfrom = "*@school.example"\n'
    with pytest.raises(ConfigurationError, match="goes by From, which anybody can write"):
        open_registry(ada(rule).settings)
    assert open_registry(ada(TRUSTED + rule).settings).get("list_mail")
    assert open_registry(ada(f"{rule}allow_unauthenticated = true\n").settings).get("list_mail")


@pytest.mark.parametrize("way", ["tls", "starttls"])
async def test_a_mailbox_is_read_over_an_encrypted_connection(call, ada, server, certificate, way):
    contexts = {"implicit": certificate} if way == "tls" else {"explicit": certificate}
    async with open_imap(**contexts) as other:
        other.capabilities += " STARTTLS"
        other.arrive(mail(Subject="sealed"))
        server.port = other.port
        assert "sealed" in (await call("list_mail", encrypted(ada(), way))).text


@pytest.mark.parametrize("way", ["tls", "starttls"])
async def test_a_server_that_nobody_vouches_for_or_that_cannot_encrypt_gets_no_password(
    call, ada, server, unknown_certificate, way
):
    contexts = {"implicit": unknown_certificate} if way == "tls" else {"explicit": unknown_certificate}
    async with open_imap(**contexts) as other:
        other.capabilities += " STARTTLS"
        refused = await call("list_mail", encrypted(ada(), way, other.port))
        assert "certificate verify failed" in refused.text
    plain = await call("list_mail", encrypted(ada(), way, server.port))
    assert plain.status == "failed"
    sent = [*other.commands, *server.commands]
    assert not any(command.startswith(("LOGIN", "AUTHENTICATE")) for command in sent)


def encrypted(here, way, port=None):
    """Return the same surroundings, with another security and port."""
    source = here.settings.source
    text = source.read_text().replace('security = "none"', f'security = "{way}"')
    text = text.replace('host = "127.0.0.1"', 'host = "localhost"')
    source.write_text(re.sub(r"port = \d+", f"port = {port}", text) if port else text)
    settings = load_settings({"TWOBRAIN_CONFIG": str(source), "MAIL_PASSWORD": "swordfish"})
    return replace(here, settings=settings)
