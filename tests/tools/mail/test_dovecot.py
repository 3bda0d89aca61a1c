"""The mailbox at a server that people have: Dovecot, as Debian brings it."""

import asyncio
import base64
import re
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from functools import partial

import pytest
from imapclient import IMAPClient

from base.settings import load_settings
from base.worker_threads import in_thread
from tests.tools.mail.dovecot import PROGRAM, open_dovecot
from tests.tools.mail.imap_server import ImapServer, mail
from tools.declaration import Here
from tools.registry import open_registry
from tools.run import run_tool

MIXED = "multipart/mixed; boundary=b"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Dovecot is not there: apt-get install dovecot-imapd"),
]


@pytest.fixture(scope="module")
def port():
    with open_dovecot() as port:
        yield port


@pytest.fixture
def box(port):
    """Return a client of ada's, whose mailbox is empty again."""
    with closing(_Client("127.0.0.1", port, ssl=False, timeout=30)) as client:
        client.login("ada", "swordfish")
        for _, _, name in client.list_folders():
            if name not in {"INBOX", "Entwürfe"}:
                client.delete_folder(name)
                continue
            client.select_folder(name)
            client.delete_messages(client.search())
            client.expunge()
        yield client


class _Client(IMAPClient):
    def close(self):
        self.logout()

    def arrive(self, *contents: bytes, folder: str = "INBOX") -> list[str]:
        """Put mails there; return their ids."""
        ids = []
        for content in contents:
            told = self.append(folder, content)
            validity, uid = re.search(rb"APPENDUID (\d+) (\d+)", told).groups()
            ids.append(f"{folder}:{validity.decode()}:{uid.decode()}")
        return ids


@pytest.fixture
def call(port, tmp_path):
    record = {}

    async def run(name, through=None, key="key-1", **args):
        source = tmp_path / "twobrain.toml"
        table = ImapServer(port=through or port).table
        source.write_text(f'[tools.inbox.ada]\n{table}authserv_id = "mx.home.example"\n')
        settings = load_settings({"TWOBRAIN_CONFIG": str(source), "MAIL_PASSWORD": "swordfish", "TZ": "UTC"})
        here = Here(settings, "ada", "user", "thread-1", "call-1", key)
        here = replace(here, log_undo=lambda data, first=False: record.update(data))
        tool = open_registry(settings).get(name)
        if name.startswith("draft") and not args:
            return await in_thread(partial(tool.undo.run, here, record))
        return await run_tool(tool, here, tool.check(args))

    return run


@asynccontextmanager
async def counted(port):
    """Yield a port that leads to another, and how many bytes came back."""
    came = [0]

    async def relay(reader, writer, count):
        while data := await reader.read(65_536):
            came[0] += len(data) * count
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader, writer):
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(relay(reader, ours, 0), relay(theirs, writer, 1))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], came


async def test_a_folder_of_any_name_is_listed_searched_and_read(box, call):
    box.create_folder("Größe & Maß")
    page = "Content-Type: text/html; charset=iso-8859-1\r\n\r\n<p>Five kilos"
    file = "Content-Type: text/plain; name*=utf-8''m%C3%BCll.txt\r\n\r\nxyz"
    first, second = box.arrive(
        mail(Subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
        mail(f"--b\r\n{page}\r\n--b\r\n{file}\r\n--b--\r\n", Content_Type=MIXED),
        folder="Größe & Maß",
    )
    listed = await call("list_mail", folder="Größe & Maß")
    assert first in listed.text
    found = await call("search_mail", subject="grüße", folder="Größe & Maß")
    assert first in found.text
    assert second not in found.text
    read = await call("read_mail", mail=second)
    assert f"[{second}/2] müll.txt, text/plain, 3 bytes" in read.text
    assert (await call("read_attachment", attachment=f"{second}/2")).text == "xyz"
    assert "There are: Größe & Maß, Entwürfe, INBOX" in (await call("list_mail", folder="x")).text
    box.delete_folder("Größe & Maß")
    box.create_folder("Größe & Maß")
    box.arrive(mail("of another"), folder="Größe & Maß")
    assert "out of date" in (await call("read_mail", mail=first)).text


async def test_a_real_mail_of_200_mb_is_listed_and_read_in_part(box, call, port):
    line = base64.b64encode(bytes(57)) + b"\r\n"
    text = "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n"
    film = "Content-Type: video/mp4; name=f.mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    head = mail(f"{text}{film}", Content_Type=MIXED)
    [name] = box.arrive(head + line * (200_000_000 // len(line)) + b"--b--\r\n")
    async with counted(port) as (through, came):
        assert name in (await call("list_mail", through=through)).text
        assert "hello" in (await call("read_mail", through=through, mail=name)).text
        refused = await call("read_attachment", through=through, attachment=f"{name}/2")
        assert "It was not fetched" in refused.text
        assert came[0] < 20_000


NESTED = "\r\n".join(f"--b{n}\r\nContent-Type: multipart/mixed; boundary=b{n + 1}\r\n" for n in range(500))
ODD = {
    "and 9,995 others": mail(To=", ".join(f"p{number}@x.example" for number in range(10_000))),
    "and at least ": mail(To=", ".join(f"person{number}@long.example" for number in range(50_000))),
    "Subject: nested": mail(NESTED, Content_Type=MIXED.replace("=b", "=b0"), Subject="nested"),
    "and 9,948 more": mail("--b\r\n\r\nx\r\n" * 30_000 + "--b--", Content_Type=MIXED),
    "Sender: failed": mail("=?x?q?" * 20_000, Subject="=?x?q?" * 20_000, From="(" * 5_000),
    "From: nobody": b"\r\n\r\n" + bytes(range(256)) * 100,
    "it is blank": b"no header at all",
}


@pytest.mark.parametrize("shown", ODD)
async def test_odd_mails_are_listed_and_read(box, call, shown):
    [name] = box.arrive(ODD[shown])
    assert name in (await call("list_mail")).text
    assert shown in (await call("read_mail", mail=name)).text


async def test_a_draft_is_saved_once_and_undone(box, call):
    [name] = box.arrive(mail(Message_ID="<1@school.example>"))
    saved = await call("draft_reply", mail=name, body="Gern. Grüße")
    assert saved.text == "Saved a draft to bo@school.example, 'Re: Trip', in Entwürfe. It was not sent."
    assert "is there already" in (await call("draft_reply", mail=name, body="Gern. Grüße")).text
    box.select_folder("Entwürfe", readonly=True)
    assert len(box.search(["DRAFT", "HEADER", "In-Reply-To", "<1@school.example>"])) == 1
    assert (await call("draft_reply")).startswith("Deleted: ")
    box.select_folder("Entwürfe", readonly=True)
    assert box.search() == []
