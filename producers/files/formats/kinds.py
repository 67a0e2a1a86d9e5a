"""The actual kind of a file, whatever its name, and advice for kinds that are not read."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from schemas.errors import UsageError

__all__ = ["TEXTS", "WORKBOOKS", "better_encoding", "check_kind"]

WORKBOOKS = (".xlsx", ".xlsm")
TEXTS = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson")
_READ = "可读的文件为 .csv、.tsv、.txt、.xlsx、.xlsm、.jsonl、.ndjson"
_AS_XLSX = "请用 Excel 或 WPS 打开, 另存为 .xlsx 后再发布"
_BEGINNING = 1 << 14

_ENDINGS = {
    ".xls": f"旧版 Excel 工作簿 (.xls) 不能读取; {_AS_XLSX}",
    ".et": f"WPS 表格 (.et) 不能读取; {_AS_XLSX}",
    ".ett": f"WPS 模板 (.ett) 不能读取; {_AS_XLSX}",
    ".xlsb": f"二进制工作簿 (.xlsb) 不能读取; {_AS_XLSX}",
    ".xlt": f"Excel 模板 (.xlt) 不能读取; {_AS_XLSX}",
    ".xltx": f"Excel 模板 (.xltx) 不能读取; {_AS_XLSX}",
    ".ods": f"ODF 表格 (.ods) 不能读取; {_AS_XLSX}",
    ".numbers": "Numbers 表格 (.numbers) 不能读取; 请导出为 .xlsx 后再发布",
    ".json": "不读取 .json; 请存为每行一个对象的 .jsonl (如 jq -c '.[]' 原文件 > 新文件.jsonl)",
}
_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STREAMS = (
    ("EncryptedPackage", "有密码的工作簿 (加密); 请用 Excel 或 WPS 打开, 去除密码, 另存后再发布"),
    ("WordDocument", "Word 文档; 请将表格复制到 Excel, 存为 .xlsx 后再发布"),
    ("Workbook", f"旧版 Excel 或 WPS 工作簿 (.xls、.et), 不能读取; {_AS_XLSX}"),
    ("Book", f"旧版 Excel 工作簿 (.xls), 不能读取; {_AS_XLSX}"),
)
"""Streams in Microsoft's older container, and the kind of file that has each."""

_PARTS = (
    ("xl/workbook.bin", f"二进制工作簿 (.xlsb), 不能读取; {_AS_XLSX}"),
    ("content.xml", f"ODF 文档 (.ods), 不能读取; {_AS_XLSX}"),
    ("word/", "Word 文档; 请将表格复制到 Excel, 存为 .xlsx 后再发布"),
    ("", "压缩文件 (ZIP), 不是表格; 请解压后发布其中的文件"),
)
"""Parts of an archive, and the kind of archive that has each."""

_SIGNATURES = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), what)
    for pattern, what in (
        (rb"%PDF", "PDF 文档; 请取得原表, 存为 .xlsx 后再发布"),
        (rb"Rar!\x1a|7z\xbc\xaf|\x1f\x8b\x08", "压缩文件; 请解压后发布其中的文件"),
        (rb"\x89PNG|\xff\xd8\xff", "图片; 请取得原表后再发布"),
        (rb"\{\\rtf", f"RTF 文档; {_AS_XLSX}"),
        (
            rb"<\?xml[^>]*>.*?(?:Excel\.Sheet|schemas-microsoft-com:office:spreadsheet)",
            f"XML 表格 (Excel 2003), 不能读取; {_AS_XLSX}",
        ),
        (
            rb"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|meta|body|style|div|table)\b",
            f"网页 (HTML), 不是表格文件; {_AS_XLSX}",
        ),
        (rb"MIME-Version:", f"网页存档 (MHTML), 不是表格文件; {_AS_XLSX}"),
        (rb"ID;P", f"SYLK 表格, 不能读取; {_AS_XLSX}"),
    )
)
"""First bytes of files that are neither text nor workbooks, and their kinds."""

_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")

_ENCODINGS = {
    "utf-8": "UTF-8", "gb18030": "GB18030", "big5hkscs": "Big5 (繁体)", "utf-16-le": "UTF-16 LE (无 BOM)",
    "utf-16-be": "UTF-16 BE (无 BOM)", "hz": "HZ-GB-2312", "utf-7": "UTF-7", "utf-32": "UTF-32", "shift_jis": "Shift_JIS", "euc_kr": "EUC-KR",
}  # fmt: skip
_TWICE = (
    ("gb18030", "utf-8"),
    ("cp1252", "utf-8"),
    ("latin-1", "utf-8"),
    ("cp1252", "gb18030"),
    ("latin-1", "gb18030"),
)
"""Encodings in which a text has been misread and saved again: the assumed one, and the actual one."""


def check_kind(path: Path) -> None:
    """Raise UsageError, naming the kind, if a file does not fit its name or is of a kind that is not read."""
    kind = path.suffix.lower()
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING)
    found = _disguised(path, kind, beginning)
    if found:
        raise UsageError(f"{path}: {found}")
    if kind not in WORKBOOKS + TEXTS:
        named = f"不能读取 {kind} 文件" if kind else "文件名没有扩展名, 不知是何种文件"
        raise UsageError(f"{path}: {_ENDINGS.get(kind) or f'{named}; {_READ}'}")
    if kind in WORKBOOKS and not beginning.startswith(b"PK"):
        if not beginning.strip():
            raise UsageError(f"{path}: 是空文件")
        if b"\0" in beginning and not beginning.startswith(_MARKS):
            raise UsageError(f"{path}: 不是 Excel 工作簿, 或已损坏; 请取得原文件, {_AS_XLSX.removeprefix('请')}")
        raise UsageError(f"{path}: 是文本文件 (如 CSV), 不是 Excel 工作簿; 请将文件名的 {kind} 改为 .csv 后再发布")


def _disguised(path: Path, kind: str, beginning: bytes) -> str | None:
    """Return the kind of a file if its first bytes show that it is no text and no workbook."""
    if beginning.startswith(_OLD):
        return f"是{_old(path)}"
    if beginning.startswith((b"PK\3\4", b"PK\5\6")):
        return _zipped(path, kind)
    text = beginning
    for mark in _MARKS:
        text = text.removeprefix(mark)
    text = text.replace(b"\0", b"") if text is not beginning else text  # UTF-16
    text = text.lstrip()
    return next((f"是{what}" for signature, what in _SIGNATURES if signature.match(text)), None)


def _old(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(1 << 26)
    for stream, what in _STREAMS:
        if stream.encode("utf-16-le") in content:
            return what
    return f"旧式 Office 文件 (.xls、.et、.doc), 不能读取; {_AS_XLSX}"


def _zipped(path: Path, kind: str) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.replace("\\", "/").lower() for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"工作簿不完整 (可能在传输时被截断), 不能读取; 请重新取得原文件, 或{_AS_XLSX.removeprefix('请')}"
    if "xl/workbook.xml" in names:
        return None if kind in WORKBOOKS else f"是 Excel 工作簿; 请将文件名的 {kind or '结尾'} 改为 .xlsx 后再发布"
    folders = names | {name.partition("/")[0] + "/" for name in names} | {""}
    return next((f"是{what}" for part, what in _PARTS if part in folders), None)


def better_encoding(raw: bytes, text: str | None, known: Callable[[str], int]) -> str | None:
    """Return the encoding in which the first lines have most known headers, if it fits better than `text`.

    `known` counts the headers in a text. A text that was misread and saved again is recognised, too.
    """
    best, name = (known(text) if text else 0), None
    for guess, what in _guesses(raw[:_BEGINNING], text):
        count = known(guess)
        if count > max(best, 2):
            best, name = count, what
    return name


def _guesses(raw: bytes, text: str | None) -> Iterable[tuple[str, str]]:
    for encoding, what in _ENCODINGS.items():
        yield raw.decode(encoding, "replace"), what
    for assumed, was in _TWICE if text else ():
        again = (text or "")[:_BEGINNING].encode(assumed, "ignore").decode(was, "ignore")
        yield again, f"{_ENCODINGS[was]}, 但曾被当作 {_ENCODINGS.get(assumed, assumed)} 打开后另存"
