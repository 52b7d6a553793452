"""Texts and files of the app: the catalogue is complete, sizes keep to their budgets."""

from babel.messages.pofile import read_po

from smart_app.catalogue import extract
from smart_app.language import LOCALES
from smart_app.problems import CAUSES, explain
from smart_app.rendering import STATIC, environment, published, static_files


def test_the_catalogue_has_every_text():
    with (LOCALES / "medsage.pot").open("rb") as file:
        stored = {message.id for message in read_po(file) if message.id}
    assert {message.id for message in extract() if message.id} == stored


def test_scripts_and_styles_keep_to_their_budgets():
    sizes = {path: len(content) for path, (content, *_rest) in static_files().items()}
    assert sum(size for path, size in sizes.items() if path.endswith(".js")) <= 40_000
    assert sum(size for path, size in sizes.items() if path.endswith(".css")) <= 40_000
    for path in STATIC.rglob("*.js"):
        assert len(path.read_text().splitlines()) < 150


def test_a_file_with_another_content_has_another_name():
    assert published("css/a.css", b"a") == "css/a.ca978112ca1b.css"
    assert published("css/a.css", b"b") != published("css/a.css", b"a")


def test_files_name_no_other_file_since_names_change():
    for path, (content, *_rest) in static_files().items():
        text = content.decode()
        for way in ("url(", "@import", "import ", "import(", "new Worker", "href="):
            assert way not in text, path


def test_scripts_use_no_markup_from_strings():
    for path in STATIC.rglob("*.js"):
        text = path.read_text()
        for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert sink not in text


def test_templates_have_no_inline_script_style_or_foreign_source():
    for name in environment("/app").list_templates():
        text = (STATIC.parent / "templates" / name).read_text()
        assert " style=" not in text, name
        assert "<style" not in text, name
        assert "<script>" not in text, name
        assert "https://" not in text, name
        assert " onclick" not in text, name


def test_every_cause_has_a_title_what_happened_and_what_to_do():
    for cause in CAUSES:
        told = explain(cause)
        assert told.title
        assert told.what
        assert told.do
        assert 400 <= told.status < 600
