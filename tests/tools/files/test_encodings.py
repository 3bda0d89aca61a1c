"""Files are read as the text they hold, and written back as they were held."""

import codecs
import unicodedata

import pytest

from tools.registry import open_registry

GERMAN = "Die Kündigung für die Wohnung.\r\nBitte prüfen Sie die Straße, 5 €.\r\n"
SPANISH = "¿Qué pasa mañana?\nEl niño comió.\n"
POLISH = "Łódź jest piękna, a święta są krótkie.\nProszę zadzwonić później.\n"
RUSSIAN = "Купить молоко и хлеб.\nПозвонить маме завтра утром.\n"  # noqa: RUF001
JAPANESE = "買い物リスト\n会議は明日の午後三時からです。\n"
CHINESE = "购物清单\n我住在北京市朝阳区。明天下午三点开会。\n"
TAIWANESE = "購物清單\n我住在台北市。明天下午三點開會。\n"
KOREAN = "장보기 목록\n회의는 내일 오후 세 시입니다.\n"
MARKED = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
GUESSED = [
    ("cp1252", GERMAN),
    ("cp1252", "5 €"),
    ("latin-1", SPANISH),
    ("latin-1", "caf\u00e9"),
    ("latin-1", "20 °C"),
    ("cp1250", POLISH),
    ("cp1251", RUSSIAN),
    ("cp932", JAPANESE),
    ("cp932", "a" + JAPANESE.replace("\n", "") * 1_000),
    ("cp932", "x" * 20_000 + JAPANESE),
    ("euc-jp", JAPANESE),
    ("gbk", CHINESE),
    ("gbk", "購物" + CHINESE.replace("\n", "") * 1_000),
    ("big5", TAIWANESE),
    ("euc-kr", KOREAN),
    ("euc-kr", f"[shop]\r\nlist = {KOREAN.strip()}\r\nport = 8080\r\n"),
]
GUESSED += [
    (codec, text)
    for codec in ("utf-16-le", "utf-16-be")
    for text in (GERMAN, POLISH, RUSSIAN, JAPANESE, CHINESE, KOREAN, "5 €", "this app can break\n")
]
FILES = {f"{codec}-bom": (mark, codec, GERMAN) for codec, mark in MARKED.items()} | {
    f"{codec}-{number}": (b"", codec, text) for number, (codec, text) in enumerate(GUESSED)
}


@pytest.fixture
def put(root):
    """Return a function that puts bytes into a file of the workspace."""
    root.mkdir(parents=True)

    def put(data, name="a.txt"):
        (root / name).write_bytes(data)
        return root / name

    return put


@pytest.mark.parametrize(
    "data",
    [
        b"one\0two\0",
        b"HOME=/root\0PATH=/bin\0",
        "für\0über mich\0".encode(),
        b"N\0",
        b"\x4e\x00\x4e\x00\x4e\x00\x00\x00",
        b"a\0b",
        "Die Kündigung".encode("utf-32-le"),
        b"\x01\0\x02\0\x03\0" * 9,
        bytes(range(256)) * 4,
    ],
)
async def test_what_is_no_text_is_still_none(call, put, data):
    put(data)
    assert "not text" in (await call("read_file", path="a.txt")).text


@pytest.mark.parametrize("held", FILES.values(), ids=FILES)
async def test_text_in_another_encoding_is_read_found_and_written_back_byte_for_byte(
    call, preview, put, held
):
    mark, codec, text = held
    file = put(mark + text.encode(codec))
    assert (await call("read_file", path="a.txt")).text == text
    word = text.split()[-1][:50]
    assert word in (await call("search_files", query=word)).text
    shown = await preview("write_file", path="a.txt", content=text)
    assert "changes nothing: it holds exactly that" in shown
    assert "Encoding: " in shown
    assert (await call("write_file", path="a.txt", content=text)).status == "executed"
    assert file.read_bytes() == mark + text.encode(codec)
    await call("write_file", path="a.txt", content=f"{text}ok")
    assert file.read_bytes() == mark + f"{text}ok".encode(codec)


async def test_line_ends_stay_where_the_new_text_only_has_the_plain_one(call, preview, put):
    for end in (b"\r\n", b"\r"):
        file = put(b"one" + end + b"two" + end)
        assert "changes nothing" in await preview("write_file", path="a.txt", content="one\ntwo\n")
        ends = end.decode("ascii").encode("unicode_escape").decode()
        assert await preview("write_file", path="a.txt", content="one\n2\n") == (
            f"Write {4 + 2 * len(end)} characters to a.txt (replaces {6 + 2 * len(end)} characters)\n"
            f"Encoding: UTF-8, line ends {ends}\n"
            "--- now\n+++ after\n@@ -1,2 +1,2 @@\n one\n-two\n+2"
        )
        await call("write_file", path="a.txt", content="one\n2\n")
        assert file.read_bytes() == b"one" + end + b"2" + end


async def test_line_ends_and_blanks_that_change_are_shown_as_what_they_are(call, preview, put):
    file = put(b"one\r\ntwo\nthree  \n\tfour")
    content = "one\ntwo\r\nthree\n\tfour \t\n"
    assert await preview("write_file", path="a.txt", content=content) == (
        "Write 23 characters to a.txt (replaces 22 characters)\n"
        r"Encoding: UTF-8, line ends \n and \r\n" + "\n"
        "--- now\n+++ after\n@@ -1,4 +1,4 @@\n"
        "-one\\r\\n\n-two\n-three\\x20\\x20\n-\tfour\n\\ No newline at end of file\n"
        "+one\n+two\\r\\n\n+three\n+\tfour\\x20\\t"
    )
    await call("write_file", path="a.txt", content=content)
    assert file.read_bytes() == content.encode()


async def test_all_line_ends_that_change_are_told_once(preview, put):
    put(b"one\ntwo\n")
    shown = await preview("write_file", path="a.txt", content="one\r\ntwo\r\n")
    assert shown.splitlines()[1] == r"Encoding: UTF-8 → UTF-8, line ends \r\n"
    assert shown.splitlines()[5:] == ["-one\\n", "-two\\n", "+one", "+two"]


@pytest.mark.parametrize(("codec", "label"), [("cp1252", "Windows-1252"), ("cp932", "Shift-JIS")])
async def test_what_an_encoding_lacks_makes_the_file_utf8_and_the_preview_says_so(
    call, preview, put, codec, label
):
    text = {"cp1252": GERMAN, "cp932": JAPANESE}[codec]
    file = put(text.encode(codec))
    shown = (await preview("write_file", path="a.txt", content=f"{text}🙂")).splitlines()[1]
    assert shown.startswith(f"Encoding: {label} (a guess)")
    assert " → UTF-8" in shown
    assert shown.endswith(f"; {label} lacks a character of it")
    assert shown in (await call("write_file", path="a.txt", content=f"{text}🙂")).text
    assert file.read_bytes() == f"{text}🙂".encode()


async def test_a_mark_that_the_content_brings_stands_once(call, put, root):
    file = put(codecs.BOM_UTF8 + b"old")
    await call("write_file", path="a.txt", content="\N{BOM}new")
    assert file.read_bytes() == codecs.BOM_UTF8 + b"new"
    await call("write_file", path="b.txt", content="\N{BOM}new")
    assert (root / "b.txt").read_bytes() == codecs.BOM_UTF8 + b"new"
    assert (await call("read_file", path="b.txt")).text == "new"


async def test_lines_are_counted_as_editors_count_them(call, put):
    put("1\f\v1\u2028\u2029\x85\x1c\x1d\x1e1\n2\r\n3\r4 milk\x0cb.txt:9: milk\n".encode())
    assert (await call("search_files", query="milk")).text == "a.txt:4: 4 milk b.txt:9: milk"


TYPED = {
    "Screenshot at 3.04 PM.png": "Screenshot at 3.04\u202fPM.png",
    "10 km.txt": "10\u00a0km.txt",
    "買い物 一覧.txt": "買い物\u3000一覧.txt",
    "Ada's “list”.txt": "Ada\u2019s \u201clist\u201d.txt",
    "check-in.txt": "check\u2011in.txt",
    "café.txt": unicodedata.normalize("NFD", "caf\u00e9.txt"),
    "한글.txt": unicodedata.normalize("NFD", "한글.txt"),
}


@pytest.mark.parametrize("typed", TYPED, ids=map(str, range(len(TYPED))))
async def test_a_name_is_found_by_what_a_person_types(call, preview, root, put, typed):
    name = TYPED[typed]
    (root / name).mkdir()
    file = put(b"milk", f"{name}/{name}")
    path = f"{typed}/{typed}"
    assert (await call("read_file", path=path)).text == "milk"
    assert (await call("list_files", path=typed)).text == f"{name} (4 bytes)"
    assert (await call("search_files", query="milk", path=typed)).text == f"{name}/{name}:1: milk"
    shown = await preview("write_file", path=path, content="tea\n")
    assert shown.splitlines()[0] == f"Write 4 characters to {name}/{name} (replaces 4 characters)"
    await call("write_file", path=path, content="tea\n")
    assert file.read_bytes() == b"tea\n"
    assert (await preview("delete_file", path=path)).startswith(f"Delete {name}/{name} (4 bytes)")
    await call("delete_file", path=path)
    assert list((root / name).iterdir()) == []


async def test_a_name_that_may_be_several_is_answered_with_them_and_an_exact_one_wins(call, put, root):
    put(b"1", "a\u00a0b.txt")
    put(b"2", "a\u202fb.txt")
    told = await call("read_file", path="a b.txt")
    assert told.text == (
        r"Tool error: 'a b.txt' may be any of 'a\xa0b.txt', 'a\u202fb.txt'. Give one as it is here."
    )
    assert told.untrusted
    for name in ("write_file", "delete_file"):
        args = {"content": "x"} if name == "write_file" else {}
        assert (await call(name, path="a b.txt", **args)).text == told.text
    put(b"3", "a b.txt")
    read = [(await call("read_file", path=f"a{blank}b.txt")).text for blank in "\u00a0\u202f "]
    assert read == ["1", "2", "3"]


@pytest.mark.parametrize(("typed", "name"), TYPED.items(), ids=map(str, range(len(TYPED))))
def test_what_is_typed_alike_is_one_call_to_policy(here, typed, name):
    tool = open_registry(here.settings).get("delete_file")
    assert tool.fingerprint({"path": typed}) == tool.fingerprint({"path": f"./{name}"})
