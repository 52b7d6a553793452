"""How a search value is written: separators and escapes (R4 Search, "Escaping")."""

ESCAPED = ",|$\\"


def split(text: str, separator: str) -> list[str]:
    """The parts between separators that no backslash escapes; escapes stay in."""
    if separator not in text:
        return [text]
    parts, current, is_escaped = [], "", False
    for each in text:
        if each == separator and not is_escaped:
            parts.append(current)
            current = ""
        else:
            current += each
        is_escaped = each == "\\" and not is_escaped
    parts.append(current)
    return parts


def unescape(text: str) -> str:
    r"""The text that is meant by `\,` `\|` `\$` `\\`; any other backslash is itself."""
    if "\\" not in text:
        return text
    plain, index = "", 0
    while index < len(text):
        if text[index] == "\\" and text[index + 1 : index + 2] in tuple(ESCAPED):
            index += 1
        plain += text[index]
        index += 1
    return plain
