"""A signed report as a PDF (reportlab). What can't be written rightly is refused, never left out:
a character that the font lacks could be the "≥" of a dose."""

import io
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import reportlab
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer

from smart_app.disclaimers import disclaimer
from smart_app.language import gettext as _
from smart_app.presenters.patient import Banner
from smart_app.presenters.report import Finding, ReportView

# DejaVu has the letters of far more languages; Vera comes with reportlab.
_FOLDERS = (
    (Path("/usr/share/fonts/truetype/dejavu"), "DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    (Path(reportlab.__file__).parent / "fonts", "Vera.ttf", "VeraBd.ttf"),
)
PLAIN, BOLD = "MedSAGE", "MedSAGE-Bold"
# Written from right to left: without shaping and reordering such text would be wrong.
_UNSHAPED = frozenset({"R", "AL", "AN", "RLE", "RLO", "RLI"})


class CantPrint(ValueError):
    """The report has characters that the PDF could not show; `characters` names them."""

    def __init__(self, characters: Iterable[str]) -> None:
        self.characters = "".join(sorted(characters))
        super().__init__(f"characters without a glyph: {self.characters!r}")


def report_pdf(banner: Banner, report: ReportView, notices: Sequence[str] = ()) -> bytes:
    """The report as a PDF with the patient's identity on each page, under the `notices` that must
    be read first; the same report gives the same bytes. CPU work: call it in a thread. CantPrint
    when a character can't be shown."""
    lines = [*(("notice", text) for text in notices), *_lines(banner, report)]
    head = _head(banner, report)
    _check([head, *(text for _style, text in lines)])
    styles = _styles()
    story: list[Flowable] = []
    for style, text in lines:
        story += [
            Paragraph(escape(part), styles[style]) if part else Spacer(1, 2 * mm)
            for part in text.split("\n")
        ]
    written = io.BytesIO()
    made = SimpleDocTemplate(
        written,
        pagesize=A4,
        topMargin=26 * mm,
        bottomMargin=18 * mm,
        title=report.title,
        author="MedSAGE",
        invariant=1,
    )

    def frame(canvas: Any, page: Any) -> None:
        # The identity must not run off the page, however long the name.
        width = pdfmetrics.stringWidth(head, BOLD, 9)
        canvas.setFont(BOLD, 9 * min(1.0, 170 * mm / width))
        canvas.drawString(20 * mm, A4[1] - 14 * mm, head)
        canvas.setFont(PLAIN, 8)
        number = _("Page %(n)s") % {"n": page.page}
        canvas.drawRightString(A4[0] - 20 * mm, 10 * mm, number)
        canvas.line(20 * mm, A4[1] - 16 * mm, A4[0] - 20 * mm, A4[1] - 16 * mm)

    made.build(story, onFirstPage=frame, onLaterPages=frame)
    return written.getvalue()


def _head(banner: Banner, report: ReportView) -> str:
    return f"{banner.name} · {banner.born} · {banner.identifier} · {report.status}"


def _lines(banner: Banner, report: ReportView) -> Iterator[tuple[str, str]]:
    """(style, text) from top to bottom."""
    yield "title", report.title
    yield "plain", f"{banner.name} · {banner.born} ({banner.age}) · {banner.sex}"
    yield "plain", banner.identifier
    signed = {"who": ", ".join(report.interpreters)}
    yield "plain", _("AI-assisted; examined and signed by %(who)s.") % signed
    yield "quiet", _("Issued %(when)s, %(status)s, version %(version)s.") % {
        "when": report.when, "status": report.status, "version": report.version,
    }  # fmt: skip
    yield "head", _("Conclusion")
    if report.final_finding:
        yield "strong", report.final_finding.value
    yield "plain", report.conclusion
    yield "head", _("AI result")
    if not report.findings:
        yield "plain", _("No AI opinion. Not a negative result.")
    for found in report.findings:
        yield from _finding(found)
    for refusal in report.refusals:
        yield "plain", f"{_('Image not read:')} {refusal}"
    if report.first_reading:
        yield "plain", f"{_('First reading:')} {report.first_reading.value}"
    yield "quiet", disclaimer().caution


def _finding(found: Finding) -> Iterator[tuple[str, str]]:
    yield "strong", f"{found.title}: {found.value}"
    for text in (*found.support, *found.recommendations, *found.statements, *found.notes):
        yield "plain", text
    for label, text in found.details:
        yield "quiet", f"{label}: {text}"


def _check(texts: Iterable[str]) -> None:
    glyphs = _glyphs()
    wrong = {
        character
        for text in texts
        for character in text
        if character != "\n"
        and (ord(character) not in glyphs or unicodedata.bidirectional(character) in _UNSHAPED)
    }
    if wrong:
        raise CantPrint(wrong)


@cache
def _glyphs() -> frozenset[int]:
    """What both fonts can show; registers them."""
    folder, plain, bold = next(place for place in _FOLDERS if (place[0] / place[1]).exists())
    shown: list[set[int]] = []
    for name, file in ((PLAIN, plain), (BOLD, bold)):
        font = TTFont(name, str(folder / file))
        pdfmetrics.registerFont(font)
        shown.append(set(font.face.charToGlyph))
    return frozenset(shown[0] & shown[1])


def _styles() -> dict[str, ParagraphStyle]:
    plain = ParagraphStyle("plain", fontName=PLAIN, fontSize=10, leading=14)
    return {
        "plain": plain,
        "quiet": ParagraphStyle("quiet", plain, fontSize=8, leading=11, textColor="#444444"),
        "notice": ParagraphStyle(
            "notice",
            plain,
            fontName=BOLD,
            borderWidth=1.5,
            borderColor="#000000",
            borderPadding=4,
            spaceBefore=4,
            spaceAfter=10,
        ),
        "strong": ParagraphStyle("strong", plain, fontName=BOLD, spaceBefore=4),
        "head": ParagraphStyle("head", plain, fontName=BOLD, fontSize=12, spaceBefore=10),
        "title": ParagraphStyle("title", plain, fontName=BOLD, fontSize=15, leading=20),
    }
